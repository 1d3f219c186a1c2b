"""Figures of findings are those of two classes; a label that is missing changes none of them."""

import dataclasses

import numpy as np
import pytest

from cxr_transfer.errors import DataError
from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.calibration import calibration
from cxr_transfer.statistics.findings import (
    FindingScores,
    evaluate_findings,
    findings_temperature,
    findings_thresholds,
    named,
)
from cxr_transfer.statistics.metrics import evaluate
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.statistics.temperature import at_temperature, each_at_temperature
from made import case

LABELS = LabelSet(("A", "B"), exclusive=False)
FEW = {"resamples": 60, "seed": 1}


def made(number=80, seed=0, missing=0.0, sharper=1.0):
    rng = np.random.default_rng(seed)
    targets = (rng.random((number, 2)) < (0.5, 0.3)).astype(np.int64)
    logits = sharper * (1.5 * (2 * targets - 1) + rng.normal(0, 2, targets.shape))
    targets[rng.random(targets.shape) < missing] = -1
    cases = tuple(case(f"{row}.png", "A", f"p{row // 2}") for row in range(number))
    return FindingScores.of(LABELS, targets, 1 / (1 + np.exp(-logits)), cases), cases


def with_missing(scores, cases, number=30):
    """The same and as many images more, all of whose labels are missing."""
    rng = np.random.default_rng(9)
    more = tuple(case(f"more {row}.png", "A", f"more {row}") for row in range(number))
    return FindingScores.of(
        LABELS,
        np.concatenate([scores.targets, np.full((number, 2), -1)]),
        np.concatenate([scores.probabilities, rng.random((number, 2))]),
        (*cases, *more),
    ), (*cases, *more)


def test_a_finding_has_the_figures_of_two_classes():
    scores, cases = made()
    found = evaluate_findings(scores, (0.5, 0.5), cases, **FEW)["per_class"]["A"]
    part = scores.of_finding("A")
    as_classes = evaluate(part, **FEW)
    assert found["auroc"] == as_classes.per_class["A"]["auroc"].as_dict()
    assert found["sensitivity"] == as_classes.per_class["A"]["recall"].as_dict()
    assert found["ece"] == calibration(part, **FEW).ece_classwise.as_dict()
    expected = ((part.probabilities[:, 1] - part.targets) ** 2).mean()
    assert found["brier"]["value"] == pytest.approx(expected)


def test_images_without_a_label_change_no_figure():
    scores, cases = made(missing=0.2)
    more, more_cases = with_missing(scores, cases)
    before = evaluate_findings(scores, (0.4, 0.6), cases, **FEW)
    after = evaluate_findings(more, (0.4, 0.6), more_cases, **FEW)
    for name in LABELS:
        one, other = before["per_class"][name], after["per_class"][name]
        assert other["missing"] == one["missing"] + 30
        for key in ("images", "present", "auroc", "sensitivity", "specificity", "brier", "ece"):
            assert one[key] == other[key], key
    for name in ("auroc", "sensitivity", "specificity", "brier"):
        key = f"{name}_macro"
        assert before[key]["value"] == pytest.approx(after[key]["value"], abs=1e-12)


def test_temperature_and_thresholds_ignore_what_is_missing():
    scores, cases = made(number=240, missing=0.2, sharper=3.0)
    more, _ = with_missing(scores, cases)
    heat, check = findings_temperature(scores)
    assert heat is not None
    assert heat > 1.3, "scores three times too sure are made less sure"
    assert findings_temperature(more) == (heat, check)
    assert findings_thresholds(more) == findings_thresholds(scores)
    assert check.images == int((scores.targets >= 0).any(axis=1).sum())


def test_few_images_set_no_temperature_however_many_findings_they_have():
    heat, check = findings_temperature(made(number=60)[0])
    assert (heat, check.reason, check.images) == (None, "too_few_images", 60)


def test_another_temperature_of_a_finding_is_that_of_its_two_classes():
    p = np.array([[0.9, 0.2], [1e-9, 0.5]])
    for place in range(2):
        both = np.stack([1 - p[:, place], p[:, place]], axis=1)
        found = each_at_temperature(p, 2.5)[:, place]
        assert found == pytest.approx(at_temperature(both, 2.5)[:, 1], rel=1e-6)
    assert np.isfinite(each_at_temperature(np.array([[0.0, 1.0]]), 0.05)).all()
    assert each_at_temperature(p, None) is p


def test_a_threshold_parts_best_and_is_even_where_nothing_can_be_parted():
    targets = np.array([[1, 1], [1, 1], [0, 1], [0, -1]])
    p = np.array([[0.8, 0.1], [0.4, 0.1], [0.2, 0.1], [0.1, 0.1]])
    cases = [case(f"{row}.png") for row in range(4)]
    scores = FindingScores.of(LABELS, targets, p, cases)
    assert findings_thresholds(scores) == (0.3, 0.5)
    assert named(p, (0.3, 0.5)).tolist() == [[True, False], [True, False], [False] * 2, [False] * 2]


def test_a_finding_of_which_nothing_is_known_is_not_defined_and_has_no_part_in_the_mean():
    scores, cases = made()
    targets = scores.targets.copy()
    targets[:, 1] = -1
    found = evaluate_findings(
        dataclasses.replace(scores, targets=targets), (0.5, 0.5), cases, **FEW
    )
    assert found["per_class"]["B"]["auroc"]["value"] is None
    assert found["macro_over"]["auroc"] == 1
    assert found["auroc_macro"]["value"] == found["per_class"]["A"]["auroc"]["value"]


def test_statistics_of_classes_refuse_findings():
    with pytest.raises(DataError) as refused:
        Scores(LABELS, np.array([0]), np.array([[0.5, 0.5]]), ("p",), ("f",))
    assert refused.value.code == "scores"


@pytest.mark.parametrize("wrong", ["targets", "probabilities"])
def test_scores_that_are_none_are_refused(wrong):
    scores, _ = made(number=4)
    with pytest.raises(DataError):
        dataclasses.replace(scores, **{wrong: getattr(scores, wrong) + 2})
