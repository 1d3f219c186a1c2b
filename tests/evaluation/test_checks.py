"""Each check fails for its own reason, and for no other; what cannot be answered is not passed."""

import dataclasses

import numpy as np
import pytest

from cxr_transfer.evaluation.audit import verdict
from cxr_transfer.evaluation.checks import Evidence, run_checks
from cxr_transfer.evaluation.metrics import Scores, evaluate
from cxr_transfer.labels import LabelSet
from made import case

LABELS = LabelSet(("normal", "covid19"))
FILMS = 120


def scores_of(skill, seed=0):
    """Films of two classes, in turns, scored with so much skill (0 none, 4 a lot)."""
    rng = np.random.default_rng(seed)
    targets = np.arange(FILMS) % 2
    ill = 1 / (1 + np.exp(-(skill * (targets - 0.5) * 2 + rng.normal(size=FILMS))))
    names = tuple(f"{row}.png" for row in range(FILMS))
    return Scores(LABELS, targets, np.stack([1 - ill, ill], 1), names, names)


def cases_of(scores, sources=("a", "b")):
    """Every source holds both classes, unless it is told otherwise."""
    return [
        dataclasses.replace(
            case(name, LABELS.names[target], name), source=sources[(row // 2) % len(sources)]
        )
        for row, (name, target) in enumerate(zip(scores.files, scores.targets, strict=True))
    ]


def called(normal, covid19):
    return {
        name: {"films": 0, "value": value, "low": value, "high": value}
        for name, value in (("normal", normal), ("covid19", covid19))
    }


def evidence(**changes):
    """Of a model that has nothing to fear."""
    good, chance = scores_of(2), evaluate(scores_of(0), resamples=50)
    blameless = {
        "scores": good,
        "cases": cases_of(good),
        "evaluation": evaluate(good, resamples=50),
        "occluded": {"lungs blacked out": chance, "border only": chance},
        "corrupted": {"blur": float((good.predicted == good.targets).mean()) - 0.01},
        "metadata": chance,
        "grey_levels": None,
        "demographics": chance,
        "association": {"cramers_v": 0.1},
        "source_classifier": {
            "accuracy": {"value": 0.5, "low": 0.4, "high": 0.6},
            "chance": 0.5,
            "sources": 2,
        },
        "seen_pairs": [],
        "exact_pairs": 0,
        "outside": [
            {"source": "c", "label": "normal", "films": 50, "called": called(0.9, 0.1)},
            {"source": "c", "label": "sars", "films": 50, "called": called(0.5, 0.5)},
        ],
        "labels_seen": LABELS.names,
    }
    return Evidence(**blameless | changes)


def failed(given):
    return {check.name for check in run_checks(given) if check.verdict == "fail"}


def test_a_model_with_nothing_to_fear_fails_nothing():
    checks = run_checks(evidence())
    assert failed(evidence()) == set()
    assert verdict(checks) in ("pass", "warn")
    assert len({check.name for check in checks}) == len(checks) == 11
    for check in checks:
        assert check.reading
        assert check.bounds
        assert check.as_dict()["verdict"] == check.verdict


@pytest.mark.parametrize(
    ("changes", "name", "hard"),
    [
        ({"exact_pairs": 1}, "overlap", True),
        (
            {"outside": [{"source": "c", "label": "normal", "films": 50,
                          "called": called(0.05, 0.95)}]},
            "outside",
            True,
        ),
        (
            {"outside": [{"source": "c", "label": "sars", "films": 50,
                          "called": called(0.05, 0.95)}]},
            "outside",
            True,
        ),
        ({"occluded": {"lungs blacked out": evaluate(scores_of(2), resamples=50)}}, "occlusion",
         True),
        ({"metadata": evaluate(scores_of(2), resamples=50)}, "metadata", True),
        ({"demographics": evaluate(scores_of(2), resamples=50)}, "demographics", False),
        ({"association": {"cramers_v": 0.95}}, "source_by_class", False),
        (
            {"source_classifier": {"accuracy": {"value": 0.98, "low": 0.9, "high": 1.0},
                                   "chance": 0.5, "sources": 2}},
            "source_classifier",
            False,
        ),
        ({"corrupted": {"blur": 0.5}}, "fragility", False),
    ],
    ids=["overlap", "healthy", "others", "occlusion", "metadata", "ages", "source", "features",
         "blur"],
)  # fmt: skip
def test_each_check_fails_for_its_own_reason_alone(changes, name, hard):
    given = evidence(**changes)
    assert failed(given) == {name}
    assert (verdict(run_checks(given)) == "fail") == hard


def test_a_source_inside_which_nothing_is_told_apart_fails():
    good = scores_of(3)
    # Right on the whole, because each source has mostly one class; blind inside source "a".
    cases = [
        dataclasses.replace(each, source="a" if row < 60 else "b")
        for row, each in enumerate(cases_of(good))
    ]
    blind = np.array(good.probabilities)
    blind[:60] = scores_of(0, seed=3).probabilities[:60]
    scores = dataclasses.replace(good, probabilities=blind)
    given = evidence(scores=scores, cases=cases, evaluation=evaluate(scores, resamples=50))
    assert "within_source" in failed(given)


def test_what_the_films_cannot_answer_is_not_passed():
    good = scores_of(2)
    cases = [
        dataclasses.replace(each, source=each.label) for each in cases_of(good)
    ]  # one class a source
    given = evidence(
        cases=cases, outside=[], metadata=None, demographics=None, source_classifier=None,
        corrupted={},
    )  # fmt: skip
    checks = {check.name: check.verdict for check in run_checks(given)}
    for name in ("within_source", "outside", "metadata", "demographics", "source_classifier",
                 "fragility"):  # fmt: skip
        assert checks[name] == "not done"
    assert verdict(run_checks(given)) == "warn"


def test_a_near_copy_warns_and_is_named():
    pair = {"seen": "a.png", "scored": "b.png", "distance": 2, "mirrored": False}
    (overlap,) = (c for c in run_checks(evidence(seen_pairs=[pair])) if c.name == "overlap")
    assert overlap.verdict == "warn"
    assert overlap.measured["near_duplicates"] == [pair]


def test_few_films_from_elsewhere_judge_nobody():
    group = {"source": "c", "label": "normal", "films": 5, "called": called(0.0, 1.0)}
    (outside,) = (c for c in run_checks(evidence(outside=[group])) if c.name == "outside")
    assert outside.verdict == "not done"
