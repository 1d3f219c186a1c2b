"""How well findings are told, each for itself, where an image has any number of them.

In come probabilities of findings and their labels, some of which are missing; out go statistics of
each finding, with intervals by patient, and means over findings. A finding and its absence are two
classes on the images whose label is known: what is computed of classes is computed of these.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.errors import DataError
from cxr_transfer.labels import ABSENT, LabelSet
from cxr_transfer.statistics.auroc import auroc_intervals
from cxr_transfer.statistics.calibration import calibration
from cxr_transfer.statistics.intervals import (
    NOT_DEFINED,
    Estimate,
    percentile_interval,
    value_and_resamples,
)
from cxr_transfer.statistics.operating_points import at_threshold, youden_threshold
from cxr_transfer.statistics.scores import Floats, Scores, WeightedScores, ratio
from cxr_transfer.statistics.subgroups import gaps, subgroups, within_sources
from cxr_transfer.statistics.temperature import (
    EVEN,
    FEWEST_IMAGES,
    SMALLEST,
    TemperatureCheck,
    as_given,
    choose_temperature,
)

MEANS = ("auroc", "sensitivity", "specificity", "brier")
"""Statistics of which the mean over findings is told."""


@dataclass(frozen=True, eq=False)
class FindingScores:
    """A model's probabilities of findings for images, with the labels that are known.

    Attributes:
        labels: The findings, in the order of the columns.
        targets: (N, F) int64, 1 present, 0 absent, -1 where the label is missing.
        probabilities: (N, F) float64 in [0, 1].
        patients: N names; images of one patient share theirs.
        files: N names, in the order of the rows.

    Raises:
        DataError: ``scores`` when one of these does not hold.
    """

    labels: LabelSet
    targets: npt.NDArray[np.int64]
    probabilities: Floats
    patients: tuple[str, ...]
    files: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = (len(self.files), len(self.labels))
        shapes = (self.targets.shape, self.probabilities.shape, len(self.patients))
        wrong = ""
        if not shape[0] or shapes != (shape, shape, shape[0]):
            wrong = f"targets, probabilities and patients of {shapes} for {shape[0]} files"
        elif not np.isin(self.targets, (-1, 0, 1)).all():
            wrong = "targets other than -1, 0 and 1"
        elif not ((self.probabilities >= 0) & (self.probabilities <= 1)).all():
            wrong = "probabilities that are none; apply the sigmoid first"
        if wrong:
            raise DataError(
                "scores",
                f"Expected a target and a probability of each finding for each of >= 1 files, but "
                f"got {wrong}.",
            )

    @classmethod
    def of(
        cls,
        labels: LabelSet,
        targets: npt.NDArray[np.int64],
        probabilities: npt.NDArray[np.floating],
        cases: Sequence[Case],
    ) -> FindingScores:
        """Return the scores of ``cases``, row for row."""
        patients, files = (tuple(getattr(case, name) for case in cases) for name in _NAMES)
        return cls(labels, targets, probabilities.astype(np.float64), patients, files)

    def known(self, name: str) -> npt.NDArray[np.bool_]:
        """Return of which images, (N,), the label of a finding is known."""
        return np.asarray(self.targets[:, self.labels.target(name)] >= 0)

    def of_finding(self, name: str) -> Scores | None:
        """Return a finding and its absence as two classes, of the images whose label is known.

        None where no label is known. The finding is the second class.
        """
        place, rows = self.labels.target(name), np.flatnonzero(self.known(name))
        if not len(rows):
            return None
        probability = self.probabilities[rows, place]
        return Scores(
            labels=finding_classes(name),
            targets=self.targets[rows, place],
            probabilities=np.stack([1 - probability, probability], axis=1),
            patients=tuple(self.patients[row] for row in rows),
            files=tuple(self.files[row] for row in rows),
        )


_NAMES = ("patient", "file")


def finding_classes(name: str) -> LabelSet:
    """Return a finding and its absence as two classes; the finding is the second."""
    return LabelSet((f"{ABSENT}{name}", name))


def absence_and_finding(probability: Floats, threshold: float = EVEN) -> Floats:
    """Return the two classes' scores (N, 2), moved so that the threshold lies at 0.5.

    The odds are divided by those of the threshold: the order of the images stays.

    Args:
        probability: Probability of the finding, (N,).
        threshold: Probability from which on it is named; 0.5 moves nothing.

    >>> absence_and_finding(np.array([0.2, 0.1]), 0.2).round(3)
    array([[0.5  , 0.5  ],
           [0.692, 0.308]])
    """
    limit = min(max(threshold, SMALLEST), 1 - SMALLEST)
    present, absent = probability * (1 - limit), (1 - probability) * limit
    moved = present / (present + absent)
    return np.stack([1 - moved, moved], axis=1)


def findings_temperature(scores: FindingScores) -> tuple[float | None, TemperatureCheck | None]:
    """Choose one temperature for all findings, on the labels that are known.

    Args:
        scores: Probabilities, as the network gives them, of images that neither trained the model
            nor will test it.

    Returns:
        The temperature, or None where the probabilities are better left as they are; and what was
        found, None where no label is known.
    """
    rows, places = np.nonzero(scores.targets >= 0)
    if not len(rows):
        return None, None
    probability = scores.probabilities[rows, places]
    images = len(np.unique(rows))
    temperature, check = choose_temperature(
        np.stack([1 - probability, probability], axis=1),
        scores.targets[rows, places],
        [scores.patients[row] for row in rows],
        # A rule about images, whose labels are what is counted there.
        fewest=0 if images >= FEWEST_IMAGES else len(rows) + 1,
    )
    return temperature, check.model_copy(update={"images": images})


def findings_thresholds(validation: FindingScores) -> tuple[float, ...]:
    """Choose from which probability on each finding is named.

    Args:
        validation: Probabilities on the scale on which they are given.

    Returns:
        For each finding the threshold of `youden_threshold`; `EVEN` where the images do not have
        it both ways.
    """
    thresholds = []
    for name in validation.labels:
        scores = validation.of_finding(name)
        both = scores is not None and len(set(scores.targets.tolist())) == 2
        thresholds.append(youden_threshold(scores, name) if scores is not None and both else EVEN)
    return tuple(thresholds)


def mean_area(scores: FindingScores) -> float:
    """Return the mean AUROC over the findings that some images have and some have not; else NaN."""
    areas = []
    for part in map(scores.of_finding, scores.labels):
        if part is not None:
            (area,), _ = auroc_intervals(
                part.targets[None] == 1, part.probabilities[None, :, 1], part.patients
            )
            areas += [area.value] if area.defined else []
    return float(np.mean(areas)) if areas else math.nan


def named(
    probabilities: npt.NDArray[np.floating], thresholds: npt.ArrayLike
) -> npt.NDArray[np.bool_]:
    """Return which findings (N, F) reach their thresholds, as probabilities are given.

    Args:
        probabilities: Probabilities, (N, F).
        thresholds: Thresholds of the findings, (F,), or of each image's model, (N, F).
    """
    reached: npt.NDArray[np.bool_] = as_given(probabilities) >= np.array(thresholds)
    return reached


def evaluate_findings(
    scores: FindingScores,
    thresholds: npt.ArrayLike,
    cases: Sequence[Case],
    *,
    columns: Sequence[str] = (),
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the figures of each finding, and the means over findings, for JSON.

    Args:
        scores: N images, F findings.
        thresholds: Probability from which on each finding is named: (F,), or (N, F) where the
            images' models differ in it.
        cases: Cases of the same N images, in the same order.
        columns: Columns of a user's table by which groups are formed, too.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap.

    Returns:
        ``images``, ``patients``; ``per_class``: for each finding ``images`` with a known label,
        ``missing``, ``present``, ``patients_present``, ``auroc``, ``average_precision``,
        ``threshold``, ``sensitivity``, ``specificity``, ``prevalences`` (predictive values),
        ``brier``, ``log_loss``, ``ece``, ``within_sources``, and ``subgroups`` with their ``gaps``,
        in which an image is right where it is named as it should be; ``threshold`` is null where
        the models differ in it; and ``auroc_macro``,
        ``sensitivity_macro``, ``specificity_macro``, ``brier_macro``: means over the findings of
        which they are defined, with ``macro_over``, how many findings that are.
    """
    weights = value_and_resamples(scores.patients, resamples=resamples, seed=seed)
    limits = np.broadcast_to(np.asarray(thresholds, np.float64), scores.targets.shape)
    again: dict[str, Any] = {"resamples": resamples, "seed": seed}
    per_finding: dict[str, dict[str, Any]] = {}
    parts: list[_Finding] = []
    for place, name in enumerate(scores.labels):
        part, has_label = scores.of_finding(name), scores.known(name)
        head = {"images": int(has_label.sum()), "missing": int((~has_label).sum())}
        if part is None:
            per_finding[name] = head | {"present": 0, "patients_present": 0, **_undefined()}
            continue
        finding = _Finding(part, name, limits[has_label, place], weights[:, has_label])
        labelled_cases = [case for case, is_known in zip(cases, has_label, strict=True) if is_known]
        # Under the label that they have as far as this finding goes.
        labelled_cases = [
            dataclasses.replace(case, label=part.labels.names[target])
            for case, target in zip(labelled_cases, part.targets.tolist(), strict=True)
        ]
        grouped = subgroups(finding.as_named, labelled_cases, columns=columns, **again)
        per_finding[name] = head | {
            **finding.as_dict(resamples=resamples, seed=seed),
            "within_sources": within_sources(part, labelled_cases),
            "subgroups": grouped,
            "gaps": gaps(grouped),
        }
        parts.append(finding)
    means, over = _means(scores, parts)
    return {
        "images": len(scores.files),
        "patients": len(set(scores.patients)),
        "macro_over": over,
        **{f"{name}_macro": estimate.as_dict() for name, estimate in means.items()},
        "per_class": per_finding,
    }


class _Finding:
    """One finding on the images whose label is known, with what the means are made of.

    Attributes:
        as_named: Scores of 1 for the class that is named, and of 0 for the other.
        replicates: Values of each of `MEANS`, (1 + resamples,): the value, then its resamples.
        units: Number of patients on which each of `MEANS` rests.
    """

    def __init__(
        self, scores: Scores, name: str, thresholds: Floats, weights: npt.NDArray[np.int64]
    ) -> None:
        self.scores, self.name, self.thresholds = scores, name, thresholds
        self.present = scores.targets == 1
        probability = scores.probabilities[:, 1]
        self.areas, self.precisions = (
            column[:, 1] for column in WeightedScores(scores, weights.astype(np.float64)).areas
        )
        called = named(probability, thresholds)
        self.as_named = dataclasses.replace(
            scores, probabilities=np.stack([~called, called], axis=1).astype(np.float64)
        )
        everyone = np.ones(len(probability), np.bool_)
        self.replicates = {
            "auroc": self.areas,
            "sensitivity": _share(weights, called, self.present),
            "specificity": _share(weights, ~called, ~self.present),
            "brier": _share(weights, (probability - scores.targets) ** 2, everyone),
        }
        with_it, without, all_of_them = (
            len({scores.patients[row] for row in np.flatnonzero(rows)})
            for rows in (self.present, ~self.present, everyone)
        )
        self.units = {
            "auroc": min(with_it, without),
            "sensitivity": with_it,
            "specificity": without,
            "brier": all_of_them,
        }

    def as_dict(self, *, resamples: int, seed: int) -> dict[str, Any]:
        """Return what `evaluate_findings` tells of the finding."""
        scores = self.scores
        again: dict[str, Any] = {"resamples": resamples, "seed": seed}
        calibrated = calibration(scores, **again)
        (area,), _ = auroc_intervals(
            self.present[None], scores.probabilities[None, :, 1], scores.patients
        )
        precision = percentile_interval(
            self.precisions[0], self.precisions[1:], units=self.units["sensitivity"]
        )
        return {
            "present": int(self.present.sum()),
            "patients_present": self.units["sensitivity"],
            "auroc": area.as_dict(),
            "average_precision": precision.as_dict(),
            **at_threshold(self.as_named, self.name, EVEN, **again),
            "threshold": float(self.thresholds[0]) if np.ptp(self.thresholds) == 0 else None,
            # Of two classes that sum to 1 the score counts each distance twice.
            "brier": _halved(calibrated.brier).as_dict(),
            "log_loss": calibrated.log_loss.as_dict(),
            "ece": calibrated.ece_classwise.as_dict(),
        }


def _means(
    scores: FindingScores, parts: Sequence[_Finding]
) -> tuple[dict[str, Estimate], dict[str, int]]:
    """Return the means over findings of which a statistic is defined, and over how many.

    Where nothing varies, a mean is as sure as its finding with the fewest patients.
    """
    means, over = {}, {}
    for name in MEANS:
        defined = [part for part in parts if not math.isnan(part.replicates[name][0])]
        over[name] = len(defined)
        if not defined:
            means[name] = NOT_DEFINED
            continue
        # A resample without an image of some finding has no mean.
        mean = np.stack([part.replicates[name] for part in defined]).mean(axis=0)
        fewest = min(part.units[name] for part in defined)
        means[name] = percentile_interval(mean[0], mean[1:], units=fewest)
    if (scores.targets >= 0).all() and over["auroc"] == len(scores.labels):
        _, means["auroc"] = auroc_intervals(
            scores.targets.T == 1, scores.probabilities.T, scores.patients
        )
    return means, over


def _share(
    weights: npt.NDArray[np.int64], values: npt.NDArray[Any], among: npt.NDArray[np.bool_]
) -> Floats:
    """Return the weighted mean (R,) of values among some images; NaN without any of these."""
    counted = weights.astype(np.float64) * among
    return ratio(counted @ values.astype(np.float64), counted.sum(axis=1))


def _halved(estimate: Estimate) -> Estimate:
    return Estimate(estimate.value / 2, estimate.low / 2, estimate.high / 2)


def _undefined() -> dict[str, Any]:
    names = ("auroc", "average_precision", "sensitivity", "specificity", "brier", "log_loss", "ece")
    return {
        **{name: NOT_DEFINED.as_dict() for name in names},
        "threshold": None,
        "prevalences": [],
        "within_sources": {"compared": [], "one_class_only": []},
        "subgroups": {},
        "gaps": {},
    }
