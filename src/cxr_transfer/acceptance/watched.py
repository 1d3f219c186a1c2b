"""With what later answers are compared: the record of an acceptance test, or a validation part.

In comes a path; out go scores, shares and promises. Compares nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.acceptance.criteria import Criteria, PromisedShare
from cxr_transfer.acceptance.record import bad_record, read_record, verify
from cxr_transfer.acceptance.tested_model import two_sided
from cxr_transfer.errors import DataError, ModelError, UsageError
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.metadata import checkpoint_files, read_card
from cxr_transfer.models.reference import reference_beside
from cxr_transfer.runs.run_folder import validation_scores
from cxr_transfer.statistics.calibration import apply_temperature


@dataclass(frozen=True, eq=False)
class Watched:
    """What answers are compared with.

    Attributes:
        name: Name for people.
        sha256: Hash of the record, or of the run's weights.
        weights: SHA-256 of each network whose answers these can be; none where that is not known.
        labels: Classes of the model.
        positive: Classes that are looked for.
        scores: Scores of what is looked for, (M,).
        images: Number of images, with and without an answer; None where that is not known.
        without_answer: Number of images without an answer.
        refused: Number of images that quality control refused; None where nobody looked.
        threshold: Threshold in use; None where none is promised.
        floors: What is promised, less the margin, by "sensitivity" and "specificity".
    """

    name: str
    sha256: str
    weights: tuple[str, ...]
    labels: tuple[str, ...]
    positive: tuple[str, ...]
    scores: npt.NDArray[np.float64]
    images: int | None = None
    without_answer: int | None = None
    refused: int | None = None
    threshold: float | None = None
    floors: Mapping[str, float] = field(default_factory=dict)


def open_watched(reference: Path, positive: tuple[str, ...]) -> Watched:
    """Open what answers are compared with.

    Args:
        reference: ``acceptance.json`` or its folder; or a run folder, whose validation part counts.
        positive: Classes that are looked for, of a run folder; a record has its own.

    Raises:
        UsageError: ``no_positive``, ``unused_option``, ``unknown_class``.
        DataError: ``bad_record``, ``changed_record``.
        ModelError: ``no_validation``, and what opening a run raises.
    """
    is_record = reference.suffix == ".json" or (reference / "acceptance.json").is_file()
    return _of_record(reference, positive) if is_record else _of_run(reference, positive)


def _of_record(path: Path, positive: tuple[str, ...]) -> Watched:
    record = read_record(path)
    if verify(path)["sha256"] != record.get("sha256"):
        raise DataError(
            "changed_record",
            f"Expected the record in {path} as it was written, but its content does not have its "
            "hash; take the record as 'cxr accept run' wrote it.",
        )
    if positive:
        raise UsageError(
            "unused_option",
            "Expected no --positive, since the record says what is looked for; leave it out.",
        )
    try:
        return _as_watched(record)
    except (KeyError, TypeError, ValueError) as error:
        raise bad_record(path, f"a part of it is absent or another ({type(error).__name__})") from (
            None
        )


def _as_watched(record: dict[str, Any]) -> Watched:
    criteria = Criteria.model_validate(record["criteria"])
    floors = {"sensitivity": criteria.sensitivity.floor}
    if criteria.specificity:
        floors["specificity"] = criteria.specificity.floor
    subject, watch = record["subject"], record["watch"]
    return Watched(
        name=f"the acceptance test of {subject['name']} ({record['time'][:10]})",
        sha256=record["sha256"],
        weights=tuple(subject["sha256"]) if subject["kind"] == "model" else (),
        labels=tuple(subject["labels"]),
        positive=criteria.positive,
        scores=np.array(watch["scores"], dtype=np.float64),
        images=watch["images"],
        without_answer=watch["without_answer"],
        refused=watch["refused"],
        threshold=record["in_use"]["threshold"],
        floors=floors,
    )


def _of_run(folder: Path, positive: tuple[str, ...]) -> Watched:
    card_path, weights = checkpoint_files(folder)
    card = read_card(card_path)
    if not positive:
        raise UsageError(
            "no_positive",
            "Expected --positive CLASS with a run folder, since only the record of an acceptance "
            f"test says what is looked for; choose of {', '.join(card.labels)}.",
        )
    positive = tuple(dict.fromkeys(positive))
    _check_positive(positive, card.label_set)
    scores = validation_scores(card_path.parent, card.label_set)
    if scores is None:
        raise ModelError(
            "no_validation",
            f"Expected the scores of validation images beside {weights}, but there are none; give "
            "the acceptance.json of an acceptance test.",
        )
    beside = reference_beside(weights, card.weights_sha256)
    temperature = beside[1].temperature if beside else None
    if temperature is not None:
        scores = apply_temperature(scores, temperature)
    return Watched(
        name=f"the validation part of {card.name}",
        sha256=card.weights_sha256,
        weights=(card.weights_sha256,),
        labels=card.labels,
        positive=positive,
        scores=two_sided(scores, positive).probabilities[:, 1],
    )


def _check_positive(positive: tuple[str, ...], labels: LabelSet) -> None:
    Criteria(positive=positive, sensitivity=PromisedShare(minimum=0.5)).check_classes(labels)
