"""Each check fails for its own reason, and for no other; what cannot be answered is not passed."""

import dataclasses

import numpy as np
import pytest

from cxr_transfer.audits.checks import run_checks, verdict
from cxr_transfer.audits.counterfactual import SWAPS
from cxr_transfer.audits.inputs import AuditInputs
from cxr_transfer.audits.mask_shape import BOX, ELSEWHERE, MASK
from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.metrics import evaluate
from cxr_transfer.statistics.scores import Scores
from made import case

LABELS = LabelSet(("normal", "covid19"))
IMAGES = 120


def scores_of(skill, seed=0):
    """Images of two classes, in turns, scored with so much skill (0 none, 4 a lot)."""
    rng = np.random.default_rng(seed)
    targets = np.arange(IMAGES) % 2
    ill = 1 / (1 + np.exp(-(skill * (targets - 0.5) * 2 + rng.normal(size=IMAGES))))
    names = tuple(f"{row}.png" for row in range(IMAGES))
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
        name: {"images": 0, "value": value, "low": value, "high": value}
        for name, value in (("normal", normal), ("covid19", covid19))
    }


def value(number):
    return {"value": number, "low": number, "high": number}


def pair(auroc):
    return {"classes": ["normal", "covid19"], "on": ["age"], "images": 40,
            "matched": value(auroc), "all": value(0.99)}  # fmt: skip


def maps(rich, alike):
    return {"enrichment": value(rich), "randomised": {"all layers": value(alike)}, "images": 50}


def swap(follows):
    return {"follows": value(follows), "otherwise": value(follows), "control": value(0.01)}


def evidence(**changes):
    """What the checks that change pictures measure of a model that goes by the lungs."""
    areas = {name: value(0.6) for name in (MASK, BOX, ELSEWHERE)}
    return {
        "robustness": {"images": 60, "accuracy": value(0.9), "fall": {"blur": value(0.01)}},
        "markers": {"marked": value(0.3), "cramers_v": 0.1, "painted": {
            "images": 30, "otherwise": value(0.01), "auroc_change": value(0.0)}},
        "counterfactual": {"images": 60, "swaps": {name: swap(0.02) for name in SWAPS}},
        "mask_shape": {"shape_auroc": value(0.55), "outline": value(0.0), "auroc": areas,
                       "images": 60},
        "reencoding": {"images": 40, "forms": {
            "TIFF": {"refused": 0, "difference": 0, "otherwise": value(0.0)}}},
    } | changes  # fmt: skip


def without(source, auroc, right=0.9):
    """What a recipe retrained without a source says of it; no AUROC where it has one class."""
    areas = {"normal": None, "covid19": None if auroc is None else value(auroc)}
    group = {"source": source, "label": "normal", "images": 50, "called": called(right, 1 - right)}
    return {"sources": [source], "images": 50, "auroc": areas, "groups": [group]}


def audit_inputs(**changes):
    """Of a model that has nothing to fear."""
    good, chance = scores_of(2), evaluate(scores_of(0), resamples=50)
    blameless = {
        "scores": good,
        "cases": cases_of(good),
        "evaluation": evaluate(good, resamples=50),
        "occluded": {"lungs blacked out": chance, "border only": chance},
        "metadata": chance,
        "grey_levels": None,
        "demographics": chance,
        "association": {"cramers_v": 0.1},
        "source_classifier": {
            "accuracy": {"value": 0.5, "low": 0.4, "high": 0.6},
            "chance": 0.5,
            "sources": 2,
        },
        "near_copies": [],
        "own_images_seen": 0,
        "outside": [
            {"source": "c", "label": "normal", "images": 50, "called": called(0.9, 0.1)},
            {"source": "c", "label": "sars", "images": 50, "called": called(0.5, 0.5)},
        ],
        "parts": {"patients_in_several": 0, "image_split": {"share": 0.2}},
        "matched": [pair(0.95)],
        "heat_maps": maps(1.3, 0.1),
        "left_out": {"left_out": [without("a", 0.9)], "not_possible": []},
        "evidence": evidence(),
    }
    return AuditInputs(**blameless | changes)


def failed(given):
    return {check.name for check in run_checks(given) if check.verdict == "fail"}


def test_a_model_with_nothing_to_fear_fails_nothing():
    checks = run_checks(audit_inputs())
    assert failed(audit_inputs()) == set()
    assert verdict(checks) in ("pass", "warn")
    assert len({check.name for check in checks}) == len(checks) == 25
    for check in checks:
        assert check.reading
        assert check.bounds
        assert check.as_dict()["verdict"] == check.verdict


@pytest.mark.parametrize(
    ("changes", "name", "hard"),
    [
        ({"own_images_seen": 1}, "overlap", True),
        (
            {"outside": [{"source": "c", "label": "normal", "images": 50,
                          "called": called(0.05, 0.95)}]},
            "outside",
            True,
        ),
        (
            {"outside": [{"source": "c", "label": "sars", "images": 50,
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
        ({"evidence": evidence(robustness={"images": 60, "accuracy": value(0.9),
            "fall": {"blur": value(0.4)}})}, "robustness", False),
        ({"parts": {"patients_in_several": 3, "image_split": None}}, "parts", False),
        ({"matched": [pair(0.9), pair(0.6)]}, "matched", False),
        ({"heat_maps": maps(0.7, 0.1)}, "heat_maps", False),
        ({"heat_maps": maps(1.3, 0.9)}, "heat_maps", False),
        ({"left_out": {"left_out": [without("a", 0.9), without("b", 0.6)], "not_possible": []}},
         "left_out", False),
        ({"left_out": {"left_out": [without("a", None, 0.4)], "not_possible": []}}, "left_out",
         False),
        ({"evidence": evidence(counterfactual={"images": 60, "swaps": {
            name: swap(0.8) for name in SWAPS}})},
         "counterfactual", True),
        ({"evidence": evidence(mask_shape={"shape_auroc": value(0.9), "outline": value(0.0),
            "auroc": {name: value(0.6) for name in (MASK, BOX, ELSEWHERE)}, "images": 60})},
         "mask_shape", False),
    ],
    ids=["overlap", "healthy", "others", "occlusion", "metadata", "ages", "source", "features",
         "blur", "parts", "matched", "outside the lungs", "not of the weights", "left out",
         "one class left out", "surroundings", "outline"],
)  # fmt: skip
def test_each_check_fails_for_its_own_reason_alone(changes, name, hard):
    given = audit_inputs(**changes)
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
    given = audit_inputs(scores=scores, cases=cases, evaluation=evaluate(scores, resamples=50))
    assert "within_source" in failed(given)


def test_what_the_images_cannot_answer_is_not_passed():
    good = scores_of(2)
    cases = [
        dataclasses.replace(each, source=each.label) for each in cases_of(good)
    ]  # one class a source
    given = audit_inputs(
        cases=cases, outside=[], metadata=None, demographics=None, source_classifier=None,
        evidence={}, parts=None, matched=[], association={"cramers_v": None},
        heat_maps={"enrichment": value(None)}, left_out={"left_out": [], "not_possible": []},
    )  # fmt: skip
    checks = {check.name: check.verdict for check in run_checks(given)}
    for name in ("within_source", "outside", "metadata", "demographics", "source_classifier",
                 "robustness", "parts", "matched", "heat_maps", "left_out",
                 "source_by_class"):  # fmt: skip
        assert checks[name] == "not done"
    assert verdict(run_checks(given)) == "warn"


def test_a_near_copy_warns_and_is_named():
    pair = {"seen": "a.png", "scored": "b.png", "distance": 2, "mirrored": False}
    (overlap,) = (c for c in run_checks(audit_inputs(near_copies=[pair])) if c.name == "overlap")
    assert overlap.verdict == "warn"
    assert overlap.measured["near_duplicates"] == [pair]


def test_few_images_from_elsewhere_judge_nobody():
    group = {"source": "c", "label": "normal", "images": 5, "called": called(0.0, 1.0)}
    (outside,) = (c for c in run_checks(audit_inputs(outside=[group])) if c.name == "outside")
    assert outside.verdict == "not done"


def test_retraining_that_nobody_asked_for_is_no_check():
    assert "left_out" not in {check.name for check in run_checks(audit_inputs(left_out=None))}


def test_what_a_split_by_image_is_worth_is_told_beside_the_runs_own():
    both = {"image": {"accuracy": value(0.99)}, "patient": {"accuracy": value(0.9)}}
    given = audit_inputs(
        parts={"patients_in_several": 0, "image_split": {"share": 0.2}, "retrained": both}
    )
    (check,) = (each for each in run_checks(given) if each.name == "parts")
    assert check.verdict == "pass"
    for said in ("20 of 100 test images", "99.0 [99.0, 99.0] percent by image", "90.0"):
        assert said in check.reading


def test_groups_of_a_column_of_the_manifest_are_looked_at_where_they_are_asked_for():
    weak = scores_of(1)
    wrong = weak.predicted != weak.targets
    east = wrong | (np.arange(IMAGES) < 20)
    cases = [
        dataclasses.replace(one, extra=(("ward", "east" if is_east else "west"),))
        for one, is_east in zip(cases_of(weak), east, strict=True)
    ]
    given = {"scores": weak, "cases": cases, "evaluation": evaluate(weak, resamples=50)}
    assert "groups" not in failed(audit_inputs(**given))
    asked = audit_inputs(**given, columns=("ward",))
    assert "groups" in failed(asked)
    (found,) = (check for check in run_checks(asked) if check.name == "groups")
    assert found.measured["gaps"]["ward"]["worst"] == "east"
    assert "by ward" in found.reading
