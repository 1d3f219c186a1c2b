"""One source that a model never met: its scores become the figures of a report.

In come scores with what set the thresholds; out go the entries of ``validation.json`` for a source,
and the summary over all of them. Trains nothing, opens no image and writes no file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxr_transfer.datasets.case import Case
from cxr_transfer.statistics.external import (
    abstention,
    answered,
    calibration_figures,
    calls,
    class_counts,
    shortcut_ratio,
    transported_points,
    within_source,
)
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.statistics.scores import Scores

POINTS = ("sensitivity", "specificity")
"""What a transported threshold was set for, and what is measured of it."""


@dataclass(frozen=True, eq=False)
class ScoredSource:
    """Images of one source, scored by a model that never met them.

    Attributes:
        source: Name of the source.
        run: Name of the run folder whose model scored it, or of the model.
        cases: Images that are scored.
        scores: Scores, as a person is given them.
        own: Scores as the network gives them, before the temperature.
        temperature: Temperature of the model; None where it has none.
        confidence_threshold: Limit of the highest score below which no class is given; None gives
            one to every image.
        statuses: Status of each image by the training reference; None where there is none.
        elsewhere: Scores of images of other sources, which set the thresholds; None where there
            are none.
        without_lungs: Scores of the same images with the lungs blacked out; None where the images
            were not scored by a network.
        inside: Scores of images of the training sources that training has not met; None where
            there are none.
        probe: What `source_classifier` tells of the features of images of other sources; None
            where there are no features.
        met: Number of images of the source that are left out, since training met them.
        trained_on: Number of images of the model's training and validation, by source; empty where
            it is not known.
    """

    source: str
    run: str
    cases: tuple[Case, ...]
    scores: Scores
    own: Scores
    temperature: float | None
    confidence_threshold: float | None
    statuses: Sequence[str] | None
    elsewhere: Scores | None
    without_lungs: Scores | None
    inside: Scores | None
    probe: Mapping[str, Any] | None
    met: int
    trained_on: Mapping[str, int]


def source_figures(scored: ScoredSource, *, resamples: int, seed: int) -> dict[str, Any]:
    """Return all figures of a source; each estimate as a dict, null where it is not defined.

    Args:
        scored: Scores of the source.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap.
    """
    scores, again = scored.scores, {"resamples": resamples, "seed": seed}
    rule: dict[str, Any] = {
        "confidence_threshold": scored.confidence_threshold,
        "statuses": scored.statuses,
    }
    areas, macro = within_source(scores)
    inside = None if scored.inside is None else within_source(scored.inside)[1].as_dict()
    return {
        "source": scored.source,
        "run": scored.run,
        "images": len(scored.cases),
        "patients": len(set(scores.patients)),
        "classes": class_counts(scores),
        "met_in_training": scored.met,
        "trained_on": dict(scored.trained_on),
        "was_trained_on": scored.source in scored.trained_on,
        "auroc": {label: area and area.as_dict() for label, area in areas.items()},
        "auroc_macro": macro.as_dict(),
        "auroc_macro_inside": inside,
        "threshold_images": None if scored.elsewhere is None else class_counts(scored.elsewhere),
        "operating_points": None
        if scored.elsewhere is None
        else transported_points(scores, scored.elsewhere, **again),
        "calibration": {
            "temperature": scored.temperature,
            "before": calibration_figures(scored.own, **again),
            "after": calibration_figures(scores, **again),
        },
        "abstention": abstention(scores, **rule | again),
        "calls": calls(scores, answered(scores, **rule)[0], **again),
        "without_lungs": _without_lungs(scored, macro),
        "source_probe": None if scored.probe is None else dict(scored.probe),
    }


def _without_lungs(scored: ScoredSource, whole: Estimate) -> dict[str, Any] | None:
    """Return what is told without the lungs; the ratio is null where the whole tells nothing."""
    if scored.without_lungs is None:
        return None
    blacked = within_source(scored.without_lungs)[1]
    is_told = whole.defined and whole.value > 0.5
    return {
        "auroc_macro": blacked.as_dict(),
        "shortcut_ratio": shortcut_ratio(whole.value, blacked.value) if is_told else None,
    }


def summary_of(sources: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> dict[str, Any]:
    """Return the worst source and the mean over all.

    Args:
        sources: Figures of each source, as `source_figures` has them.
        labels: Classes.

    Returns:
        ``order``: names of the sources, the worst one (lowest mean AUROC) first; ``worst``: its
        name, AUROC and lowest transported figures; ``mean``: plain means over the sources, of each
        figure over those that have it, null where none does. So few sources give no interval.
    """
    ordered = sorted(
        sources,
        key=lambda of_source: (_value(of_source["auroc_macro"], math.inf), of_source["source"]),
    )
    worst = ordered[0]
    return {
        "order": [of_source["source"] for of_source in ordered],
        "worst": {"source": worst["source"], "auroc_macro": worst["auroc_macro"]},
        "mean": {
            "sources": len(ordered),
            "auroc_macro": _mean([_value(of_source["auroc_macro"]) for of_source in ordered]),
            "auroc": {
                label: _mean([_value(of_source["auroc"][label]) for of_source in ordered])
                for label in labels
            },
            **_mean_points(ordered, labels),
            "ece": _mean(
                [_value(of_source["calibration"]["after"]["ece"]) for of_source in ordered]
            ),
            "without_class": _mean(
                [_value(of_source["abstention"]["without_class"]) for of_source in ordered]
            ),
            "accuracy_answered": _mean(
                [_value(of_source["abstention"]["accuracy"]) for of_source in ordered]
            ),
            "aurc": _mean([of_source["abstention"]["aurc"] for of_source in ordered]),
            "shortcut_ratio": _mean(
                [
                    _number((of_source["without_lungs"] or {}).get("shortcut_ratio"))
                    for of_source in ordered
                ]
            ),
        },
    }


def _mean_points(
    sources: Sequence[Mapping[str, Any]], labels: Sequence[str]
) -> dict[str, dict[str, float | None]]:
    """Return, by class, the mean sensitivity and specificity at the threshold set for each."""
    means: dict[str, dict[str, float | None]] = {}
    for measured in POINTS:
        means[measured] = {
            label: _mean([_value(point_of(of_source, label, measured)) for of_source in sources])
            for label in labels
        }
    return means


def point_of(figures: Mapping[str, Any], label: str, measured: str) -> Mapping[str, Any] | None:
    """Return the sensitivity, or specificity, in a source at the threshold that was set for it.

    Args:
        figures: Figures of the source.
        label: Class.
        measured: "sensitivity" or "specificity".
    """
    points = (figures["operating_points"] or {}).get(label)
    if points is None:
        return None
    name = next(name for name in points if name.startswith(measured))
    estimate: Mapping[str, Any] = points[name][measured]
    return estimate


def _value(estimate: Mapping[str, Any] | None, otherwise: float = math.nan) -> float:
    return _number(None if estimate is None else estimate["value"], otherwise)


def _number(value: float | None, otherwise: float = math.nan) -> float:
    return otherwise if value is None else float(value)


def _mean(values: Sequence[float]) -> float | None:
    """Return the mean of those that are numbers; None where none is."""
    numbers = [value for value in values if not math.isnan(value)]
    return float(np.mean(numbers)) if numbers else None
