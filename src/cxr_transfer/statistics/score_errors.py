"""How often validation images with a score like that got the wrong class: counted once, then read.

An entropy of the scores is low wherever a model is sure, right or wrong. What is known of a score
is how many images with such a score were wrong. Works on arrays alone; whoever counts must not give
images that trained the model. Knows nothing of files.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cxr_transfer.statistics.temperature import as_given

EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 0.999, 1.0)
"""Edges of the bands of the highest score; each band holds its upper edge. Finer where scores of
sure networks lie: a score of 0.9 is no score of 0.999."""

_MOST_SOURCES = 4000


class ErrorRate(BaseModel):
    """Images that were counted, and how many of them got the wrong class.

    Attributes:
        images: Number of images.
        wrong: Number of those whose highest score is not that of their label.
        low: Lower bound of the 95 % interval of the share that is wrong, by patient; None, as the
            upper bound, of too few images.
        high: Upper bound of that interval.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: int = Field(ge=1, description="Number of validation images.")
    wrong: int = Field(ge=0, description="Number of those that got the wrong class.")
    low: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Lower bound of the 95 % interval of the share that is wrong; null of too few.",
    )
    high: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="Upper bound of that interval."
    )

    @model_validator(mode="after")
    def _are_counts(self) -> ErrorRate:
        if self.wrong > self.images:
            raise ValueError("more images that are wrong than images")
        return self


class ScoreBand(BaseModel):
    """Validation images whose highest score lies in one band.

    Attributes:
        above: Lower edge of the band, which it does not hold (0 is held by the first).
        up_to: Upper edge of the band, which it holds.
        errors: Error rate of all images of the band; None where there is none.
        sources: Error rate by source, of the sources that have images in the band.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    above: float = Field(ge=0, le=1, allow_inf_nan=False, description="Lower edge, not held.")
    up_to: float = Field(ge=0, le=1, allow_inf_nan=False, description="Upper edge, held.")
    errors: ErrorRate | None = Field(None, description="All sources; null without an image.")
    sources: dict[str, ErrorRate] = Field(default_factory=dict, max_length=_MOST_SOURCES)


def count_errors(
    scores: npt.NDArray[np.floating],
    targets: npt.NDArray[np.int64],
    patients: Sequence[str],
    sources: Sequence[str],
) -> tuple[ScoreBand, ...]:
    """Count the errors of validation images by their highest score, and by source.

    The intervals are those of `statistics.intervals.share`: images of a patient stay together.

    Args:
        scores: Class scores (N, C), on the scale on which they are given.
        targets: Index of the true class of each image (N,).
        patients: Patient of each image, N names.
        sources: Source of each image, N names.

    >>> scores = np.array([[0.95, 0.05], [0.05, 0.95], [0.55, 0.45]])
    >>> bands = count_errors(scores, np.array([0, 0, 0]), ["a", "b", "c"], ["here"] * 3)
    >>> [(band.up_to, band.errors.wrong, band.errors.images) for band in bands if band.errors]
    [(0.6, 0, 1), (0.99, 1, 2)]
    """
    # Imported here: a prediction, which counts nothing, starts without it.
    from cxr_transfer.statistics.intervals import share
    from cxr_transfer.statistics.subgroups import TOO_FEW

    highest = as_given(scores.max(axis=1))
    wrong = scores.argmax(axis=1) != targets
    names, source_of = np.asarray(patients, dtype=str), np.asarray(sources, dtype=str)

    def rate(of: npt.NDArray[np.bool_]) -> ErrorRate:
        counted = int(of.sum())
        if counted < TOO_FEW:
            return ErrorRate(images=counted, wrong=int(wrong[of].sum()))
        held = share(wrong[of], names[of].tolist())
        return ErrorRate(images=counted, wrong=int(wrong[of].sum()), low=held.low, high=held.high)

    bands = []
    for above, up_to in itertools.pairwise(EDGES):
        inside = ((highest > above) | (above == 0)) & (highest <= up_to)
        by_source = {
            name: rate(inside & (source_of == name))
            for name in sorted(set(source_of[inside].tolist()))
        }
        errors = rate(inside) if inside.any() else None
        bands.append(ScoreBand(above=above, up_to=up_to, errors=errors, sources=by_source))
    return tuple(bands)
