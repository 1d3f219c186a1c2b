"""Contents of a reference file beside its arrays, and what they may be.

What a person feeds in may hold anything: names are checked, numbers are finite and in their range.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from cxr_transfer.labels import MOST_LABELS
from cxr_transfer.models.folder import checked_words
from cxr_transfer.models.metadata import Sha256
from cxr_transfer.statistics.score_errors import ScoreBand
from cxr_transfer.statistics.temperature import TemperatureCheck

Temperature = Annotated[float, Field(ge=0.01, le=100, allow_inf_nan=False)]
"""By which logits are divided: it is looked for between 0.05 and 20."""

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

_MOST_SOURCES, _MOST_BANDS = 4000, 100
_LATER = ("thresholds", "score_errors")
"""Written only where there are some: an older version reads a file without them."""


class ReferenceHeader(BaseModel):
    """Contents of a reference file beside its arrays; see `TrainingReference`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    weights_sha256: Sha256
    labels: tuple[str, ...] = Field(min_length=1, max_length=MOST_LABELS)
    sources: tuple[str, ...] = Field(min_length=1, max_length=_MOST_SOURCES)
    rest: float = Field(ge=0, allow_inf_nan=False)
    far_distance: float = Field(ge=0, allow_inf_nan=False)
    ood_distance: float = Field(ge=0, allow_inf_nan=False)
    temperature: Temperature | None
    confidence_threshold: Share | None = None
    coverage: Share | None = None
    temperature_check: TemperatureCheck | None = None
    thresholds: tuple[Share, ...] | None = Field(None, max_length=MOST_LABELS)
    score_errors: tuple[ScoreBand, ...] | None = Field(None, max_length=_MOST_BANDS)

    @field_validator("labels", "sources")
    @classmethod
    def _may_be_shown(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        checked_words(names)
        return names

    @field_validator("score_errors")
    @classmethod
    def _sources_may_be_shown(
        cls, bands: tuple[ScoreBand, ...] | None
    ) -> tuple[ScoreBand, ...] | None:
        for band in bands or ():
            checked_words(tuple(band.sources))
        return bands

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        return {
            name: value
            for name, value in written.items()
            if name not in _LATER or value is not None
        }
