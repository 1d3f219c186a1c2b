"""Checks of scores alone: each fails where its fault is put in, and passes where it is not."""

import dataclasses

import numpy as np
import pytest

from cxr_transfer.audits import score_checks as checks
from cxr_transfer.audits.inputs import AuditInputs
from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.confident_learning import label_doubts
from cxr_transfer.statistics.metrics import evaluate
from cxr_transfer.statistics.scores import Scores
from made import case

LABELS = LabelSet(("normal", "covid19"))
IMAGES = 400
ROWS = np.arange(IMAGES)
IN_B = (ROWS // 2) % 2 == 1
OLD = (ROWS // 4) % 2 == 1
WOMEN = (ROWS // 8) % 2 == 1


def inputs_of(logits, targets=None, columns=()):
    targets = ROWS % 2 if targets is None else targets
    ill = 1 / (1 + np.exp(-np.asarray(logits, dtype=np.float64)))
    names = tuple(f"{row}.png" for row in range(IMAGES))
    scores = Scores(LABELS, targets, np.stack([1 - ill, ill], 1), names, names)
    cases = [
        dataclasses.replace(
            case(name, LABELS.names[target], name),
            source="b" if in_b else "a",
            age=70.0 if old else 30.0,
            sex="F" if woman else "M",
        )
        for name, target, in_b, old, woman in zip(names, targets, IN_B, OLD, WOMEN, strict=True)
    ]
    empty = dict.fromkeys(("metadata", "grey_levels", "demographics", "source_classifier"), None)
    return AuditInputs(
        scores=scores, cases=cases, evaluation=evaluate(scores, resamples=20), occluded={},
        association={}, near_copies=[], own_images_seen=0, outside=[],
        columns=columns, **empty,
    )  # fmt: skip


def logits(skill=2.2, seed=0):
    """Logits that mean what they say: of two normal distributions at ``skill`` / 2 beside 0."""
    rng = np.random.default_rng(seed)
    of_class = np.where(ROWS % 2, 1, -1)
    return skill * (of_class * skill / 2 + rng.normal(size=IMAGES))


@pytest.fixture(scope="module")
def honest():
    return inputs_of(logits(3.5))


JUDGES = (
    checks.worst_group,
    checks.operating_point,
    checks.fair,
    checks.calibrated_by_group,
    checks.useful,
    checks.label_noise,
)


@pytest.mark.parametrize("judge", JUDGES, ids=lambda judge: judge.__name__)
def test_a_model_that_serves_all_alike_passes(judge, honest):
    assert judge(honest).verdict == "pass"


def test_the_worst_source_and_class_is_named_and_fails_where_most_of_it_is_wrong():
    values = logits(3.5)
    values[IN_B & (ROWS % 2 == 1)] *= -1
    found = checks.worst_group(inputs_of(values))
    assert found.verdict == "fail"
    assert "b: covid19 (100 images)" in found.reading
    first, *others = found.measured["groups"]
    assert (first["source"], first["label"]) == ("b", "covid19")
    assert first["recall"]["high"] < 0.2
    assert min(other["recall"]["value"] for other in others) > 0.8
    assert {row["source"]: row["images"] for row in found.measured["sources"]} == {
        "a": 200, "b": 200,
    }  # fmt: skip


def test_a_threshold_that_does_not_travel_fails():
    values = logits(3.5)
    values[IN_B] -= 8
    found = checks.operating_point(inputs_of(values))
    assert found.verdict == "fail"
    points = {point["source"]: point for point in found.measured["points"]}
    assert points["b"]["sensitivity"]["value"] < 0.5  # set in a, where scores are higher
    assert points["a"]["false_alarms"]["value"] > 0.5  # set in b, where they are lower
    assert points["b"]["images"] == points["b"]["others"] == 100


def test_a_threshold_of_one_source_is_not_carried_anywhere(honest):
    one = dataclasses.replace(
        honest, cases=[dataclasses.replace(each, source="a") for each in honest.cases]
    )
    assert checks.operating_point(one).verdict == "not done"


def test_two_groups_at_once_that_are_missed_fail_although_each_alone_may_not():
    values = logits(3.5)
    values[WOMEN & OLD & (ROWS % 2 == 1)] *= -1
    found = checks.fair(inputs_of(values))
    assert found.verdict == "fail"
    widest = max(found.measured["gaps"], key=lambda gap: gap["gap"]["value"])
    assert widest["axis"] == "sex and age"
    assert widest["lower"] == "F, 60-79"
    assert widest["figure"] == "sensitivity"
    assert widest["p"] < 0.05
    assert found.measured["equalised_odds"]["sex and age"] == widest["gap"]["value"]
    sizes = {g["group"]: g["images"] for g in found.measured["groups"]["sex and age"]}
    assert sizes["F, 60-79"] == int((WOMEN & OLD).sum())


def test_scores_that_are_too_sure_of_one_group_fail_there():
    values = np.where(WOMEN, 6 * logits(0.8), logits(0.8))
    found = checks.calibrated_by_group(inputs_of(values))
    assert found.verdict == "fail"
    worst = found.measured["groups"][0]
    assert (worst["axis"], worst["group"]) == ("sex", "F")
    assert worst["by_chance"] < 0.1 < worst["excess"]


def test_small_groups_of_calibrated_scores_are_not_blamed():
    few = inputs_of(logits(1.0, seed=3))
    few = dataclasses.replace(few, scores=few.scores.only(ROWS[:100]), cases=few.cases[:100])
    found = checks.calibrated_by_group(few)
    assert max(group["ece"]["value"] for group in found.measured["groups"]) > 0.05
    assert found.verdict == "pass"


def test_acting_on_scores_that_say_the_opposite_harms():
    found = checks.useful(inputs_of(-logits(3.5)))
    assert found.verdict == "fail"
    curve = found.measured["classes"]["covid19"]
    assert curve["harmful"] > 0.5
    assert curve["prevalence"] == 0.5
    assert "normal" not in found.measured["classes"]


def test_wrong_labels_are_found_and_named():
    given = (ROWS % 2).copy()
    flipped = np.random.default_rng(1).permutation(IMAGES)[:100]
    given[flipped] = 1 - given[flipped]
    found = checks.label_noise(inputs_of(logits(5), given))
    assert found.verdict == "fail"
    assert found.measured["estimated_share"] == pytest.approx(0.25, abs=0.06)
    first = found.measured["images"][0]
    row = int(first["file"].removesuffix(".png"))
    assert row in flipped
    assert first["suggested"] == LABELS.names[row % 2]
    assert len(found.measured["images"]) == checks.MOST_LISTED


def test_most_of_the_doubted_labels_are_wrong_and_most_wrong_ones_are_doubted():
    given = (ROWS % 2).copy()
    flipped = np.random.default_rng(2).permutation(IMAGES)[:40]
    given[flipped] = 1 - given[flipped]
    doubted = label_doubts(inputs_of(logits(4), given).scores).rows
    right = np.isin(doubted, flipped).sum()
    assert right / len(doubted) > 0.8
    assert right / len(flipped) > 0.8
