"""The answer for an image, and many of them as the rows of a table.

Knows no network and no file format: `predictor` makes answers, `writers` and `table` write them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, overload

from cxr_transfer.data_frame import data_frame

if TYPE_CHECKING:
    import pandas

COLUMNS = (
    *("file", "status", "code", "message", "label"),
    *("calibrated", "temperature", "model", "warnings", "ms"),
)


@dataclass(frozen=True)
class Prediction:
    """Answer for one image.

    Attributes:
        file: The path as it was given; "" of an image that was in memory.
        status: "ok", "cannot_assess" (it was read, and no class should be given) or "error".
        code: Code of the refusal or the error; "" without one.
        message: Line for a person; "" when the status is "ok".
        label: Class with the highest score; of a network of findings those that are named, joined
            ("No Finding" without any); None unless the status is "ok".
        probabilities: Class scores, or probabilities of findings, in the network's order; empty
            unless the status is "ok" or the code ``not_sure``: then they are too close for a class,
            and say between which.
        calibrated: Whether the scores were fitted to what came true on validation images.
        temperature: Temperature at which they are given; None where they are the network's own.
        model: Name and first digits of the hash of the network's weights.
        warnings: Lines that a reader should know of the image.
        ms: Milliseconds for reading this image, and its share of its batch's inference.
        findings: Findings whose probabilities reach their thresholds; None of a network of classes,
            or without an answer.
        unusual: Whether the image got an answer, but is unlike most training images.
        trained_on: Whether this image, or a copy of it, is known to be a training image.
    """

    file: str
    status: str
    code: str = ""
    message: str = ""
    label: str | None = None
    probabilities: dict[str, float] = field(default_factory=dict)
    calibrated: bool = False
    temperature: float | None = None
    model: str = ""
    warnings: tuple[str, ...] = ()
    ms: float = 0.0
    findings: tuple[str, ...] | None = None
    unusual: bool = False
    trained_on: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it as it stands in JSON: ``findings`` only where the network tells some."""
        fields = asdict(self)
        if self.findings is None:
            del fields["findings"]
        return fields


def explained_label(answer: Mapping[str, Any]) -> str | None:
    """Return what a heat map of an answer is of: its class, or its most probable finding.

    Args:
        answer: Answer as it stands in JSON.
    """
    if "findings" not in answer:
        label: str | None = answer["label"]
        return label
    probabilities: Mapping[str, float] = answer["probabilities"]
    return max(probabilities, key=probabilities.__getitem__, default=None)


class Predictions(Sequence[Prediction]):
    """Answers for images, in their order; also as a table.

    Attributes:
        labels: Classes of the network, in its order.
    """

    def __init__(self, answers: Iterable[Prediction], labels: Sequence[str]) -> None:
        self._answers, self.labels = tuple(answers), tuple(labels)

    @overload
    def __getitem__(self, place: int) -> Prediction: ...
    @overload
    def __getitem__(self, place: slice) -> Predictions: ...
    def __getitem__(self, place: int | slice) -> Prediction | Predictions:
        if isinstance(place, slice):
            return Predictions(self._answers[place], self.labels)
        return self._answers[place]

    def __len__(self) -> int:
        return len(self._answers)

    def __repr__(self) -> str:
        return f"Predictions({len(self)} answers)"

    def to_frame(self) -> pandas.DataFrame:
        """Return a row per image, with the columns of ``cxr predict --csv``.

        Raises:
            MachineError: ``missing_package`` without pandas.
        """
        rows = [cells(answer.as_dict(), self.labels) for answer in self]
        return data_frame(rows, columns(self.labels))


def columns(labels: Sequence[str]) -> list[str]:
    """Return the columns of a table of answers, with one for each class's score."""
    before = COLUMNS.index("label") + 1
    return [*COLUMNS[:before], *(f"score_{label}" for label in labels), *COLUMNS[before:]]


def cells(answer: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """Return an answer, as it stands in JSON, by column; what it does not have is None."""
    scores = {f"score_{label}": answer["probabilities"].get(label) for label in labels}
    return {**answer, "warnings": "; ".join(answer["warnings"]), **scores}
