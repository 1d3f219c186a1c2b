import dataclasses
import json
import math

import numpy as np
import pytest
from sklearn import metrics as reference

from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.labels import DATASET_1
from cxr_transfer.statistics.metrics import evaluate
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.statistics.subgroups import (
    AXES,
    TOO_FEW,
    age_band,
    check_columns,
    gaps,
    subgroups,
    within_sources,
)
from made import case


def of_source(found, source="made", **known):
    return dataclasses.replace(found, source=source, **known)


def scored(cases, probabilities):
    """The scores of these cases."""
    return Scores(
        DATASET_1,
        [DATASET_1.target(found.label) for found in cases],
        probabilities,
        tuple(found.patient for found in cases),
        tuple(found.path.name for found in cases),
    )


def images(number, label="normal", source="made", right=None, per_patient=1, **known):
    """Cases of one kind, and rows that call so many of them rightly (by default all)."""
    tag = f"{source}-{label}-{'-'.join(map(str, known.values()))}"
    cases = [
        of_source(case(f"{tag}-{i}.png", label, f"{tag}-{i // per_patient}", **known), source)
        for i in range(number)
    ]
    target = DATASET_1.target(label)
    called = np.where(np.arange(number) < (number if right is None else right), target, target - 1)
    return cases, np.eye(3)[called]


def together(*parts):
    cases = [found for part, _ in parts for found in part]
    return cases, scored(cases, np.concatenate([rows for _, rows in parts]))


def drawn(number=240, seed=0):
    """A middling model on images of many kinds, two images a patient."""
    rng = np.random.default_rng(seed)
    cases = []
    for i in range(0, number, 2):
        known = {
            "view": str(rng.choice(["PA", "AP", ""])),
            "sex": str(rng.choice(["F", "M", ""])),
            "age": rng.choice([None, 5.0, 30.0, 50.0, 70.0, 85.0]),
        }
        label, source = rng.choice(DATASET_1.names), str(rng.choice(["b", "a", ""]))
        for image in (i, i + 1):
            found = case(f"{image}.png", str(label), f"p{i}", **known)
            cases.append(of_source(found, source))
    logits = rng.normal(size=(number, 3))
    logits[np.arange(number), [DATASET_1.target(found.label) for found in cases]] += 1
    probabilities = np.exp(logits)
    return cases, scored(cases, probabilities / probabilities.sum(axis=1, keepdims=True))


def test_figures_of_a_group_are_those_of_scikit_learn_on_its_images():
    cases, scores = drawn()
    found = subgroups(scores, cases, resamples=20)
    assert list(found) == ["source", "view", "sex", "age"]
    compared = 0
    for axis, groups in found.items():
        assert sum(group["images"] for group in groups) == len(cases)
        for group in groups:
            rows = [i for i, one in enumerate(cases) if AXES[axis](one) == group["group"]]
            truth, predicted = scores.targets[rows], scores.predicted[rows]
            assert group["images"] == len(rows)
            assert group["patients"] == len({cases[row].patient for row in rows}) == len(rows) / 2
            assert group["accuracy"]["value"] == pytest.approx((truth == predicted).mean())
            recalls = reference.recall_score(truth, predicted, average=None, labels=range(3))
            for target, label in enumerate(DATASET_1):
                of_class = group["recall"][label]
                assert of_class["images"] == (truth == target).sum()
                assert of_class["too_few"] == (of_class["images"] < 20)
                if not of_class["too_few"]:
                    assert of_class["recall"]["value"] == pytest.approx(recalls[target])
                    compared += 1
    assert compared > 10  # the loop did not pass over everything


def test_a_group_of_all_images_has_the_figures_of_the_whole_report():
    cases, scores = drawn()
    cases = [of_source(found, "one", view="", sex="", age=None) for found in cases]
    whole = evaluate(scores, resamples=60, seed=3)
    found = subgroups(scores, cases, resamples=60, seed=3)
    for axis, name in (("source", "one"), ("view", "not stated"), ("age", "not stated")):
        (group,) = found[axis]
        assert group["group"] == name
        assert group["accuracy"] == whole.accuracy.as_dict()
        for label in DATASET_1:
            assert group["recall"][label]["recall"] == whole.per_class[label]["recall"].as_dict()


def test_the_figures_of_a_group_do_not_depend_on_the_images_of_others():
    cases, scores = together(images(40, right=30, view="PA"), images(30, right=1, view="AP"))
    alone_cases, alone = together(images(40, right=30, view="PA"))
    beside = subgroups(scores, cases, resamples=40)["view"]
    assert beside[1] == subgroups(alone, alone_cases, resamples=40)["view"][0]
    assert beside[1]["accuracy"]["value"] == 0.75


def test_groups_stand_in_the_order_of_their_names_and_the_unknown_last():
    found = subgroups(*reversed(drawn()), resamples=2)
    names = {axis: [group["group"] for group in groups] for axis, groups in found.items()}
    assert names == {
        "source": ["a", "b", "not stated"],
        "view": ["AP", "PA", "not stated"],
        "sex": ["F", "M", "not stated"],
        "age": ["0-17", "18-39", "40-59", "60-79", "80+", "not stated"],
    }


@pytest.mark.parametrize(
    ("age", "band"),
    [
        (0, "0-17"),
        (17.99, "0-17"),
        (18, "18-39"),
        (39.5, "18-39"),
        (40, "40-59"),
        (59, "40-59"),
        (60, "60-79"),
        (80, "80+"),
        (103, "80+"),
        (None, "not stated"),
        (-1, "not stated"),
        (math.nan, "not stated"),
        (math.inf, "not stated"),
    ],
)
def test_ages_fall_into_bands(age, band):
    assert age_band(age) == band


def test_under_twenty_images_there_is_a_count_and_no_figure():
    assert TOO_FEW == 20
    cases, scores = together(images(19, right=10, sex="F"), images(20, right=15, sex="M"))
    few, enough = subgroups(scores, cases, resamples=30)["sex"]
    assert few == {
        "group": "F",
        "images": 19,
        "patients": 19,
        "too_few": True,
        "accuracy": None,
        "recall": {"normal": {"images": 19, "too_few": True, "recall": None}},
    }
    assert (enough["too_few"], enough["accuracy"]["value"]) == (False, 0.75)
    assert enough["recall"]["normal"]["recall"] == enough["accuracy"]


def test_a_class_with_few_images_in_a_large_group_has_a_count_and_no_recall():
    cases, scores = together(
        images(30, right=24, view="PA"), images(19, "bacterial", right=19, view="PA")
    )
    (group,) = subgroups(scores, cases, resamples=30)["view"]
    assert group["accuracy"]["value"] == pytest.approx(43 / 49)
    assert group["recall"]["normal"]["recall"]["value"] == pytest.approx(0.8)
    assert group["recall"]["bacterial"] == {"images": 19, "too_few": True, "recall": None}
    assert "covid19" not in group["recall"]  # no image, no entry


def test_intervals_go_by_patient():
    """20 patients all right or all wrong, of 1 image or of 5: the interval is the same."""
    alone = images(20, right=15, view="PA")
    clustered = images(100, right=75, per_patient=5, view="PA")
    widths = []
    for part in (alone, clustered):
        cases, scores = together(part)
        (group,) = subgroups(scores, cases, resamples=200)["view"]
        assert group["patients"] == 20
        widths.append(group["accuracy"]["high"] - group["accuracy"]["low"])
    assert widths[1] == pytest.approx(widths[0], rel=0.15)  # by image it would be 0.45 of it


def test_results_are_json_and_the_seed_alone_decides():
    cases, scores = drawn()
    one, again, other = (subgroups(scores, cases, resamples=30, seed=s) for s in (0, 0, 1))
    assert one == again != other
    found = within_sources(scores, cases)
    assert found == within_sources(scores, cases)
    for each in (one, found):
        assert json.loads(json.dumps(each, allow_nan=False)) == each


def test_the_gap_lies_between_the_best_and_the_worst_group_that_is_large_enough():
    cases, scores = together(
        images(40, right=30, view="PA", sex="F"),
        images(40, right=36, view="AP", sex="F"),
        images(40, right=20, view="AP Supine", sex="F"),
        images(19, right=0, view="L", sex="M"),
    )
    found = gaps(subgroups(scores, cases, resamples=5))
    assert found["view"] == {"worst": "AP Supine", "best": "AP", "gap": pytest.approx(0.4)}
    assert found["sex"] is None  # the men are too few
    assert found["age"] is None  # one group: not stated
    assert list(found) == ["source", "view", "sex", "age"]


def test_equal_groups_have_a_gap_of_0_between_two_of_them():
    cases, scores = together(images(20, right=15, sex="F"), images(20, right=15, sex="M"))
    assert gaps(subgroups(scores, cases, resamples=5))["sex"] == {
        "worst": "F",
        "best": "M",
        "gap": 0,
    }


def test_within_a_source_the_area_is_that_of_scikit_learn_on_its_images():
    cases, scores = drawn()
    found = within_sources(scores, cases)
    assert found["one_class_only"] == []
    assert [one["source"] for one in found["compared"]] == ["a", "b", "not stated"]
    for one in found["compared"]:
        rows = [i for i, c in enumerate(cases) if AXES["source"](c) == one["source"]]
        assert (one["images"], one["patients"]) == (len(rows), len(rows) / 2)
        for target, label in enumerate(DATASET_1):
            of_class = one["classes"][label]
            positive = scores.targets[rows] == target
            area = reference.roc_auc_score(positive, scores.probabilities[rows, target])
            assert of_class["auroc"]["value"] == pytest.approx(area, abs=1e-12)
            assert of_class["auroc"]["low"] < area < of_class["auroc"]["high"]
            assert (of_class["images"], of_class["others"]) == (positive.sum(), (~positive).sum())


def test_a_model_that_knows_the_source_alone_is_found_out():
    """Its area over all images is high, and within either source that of a coin."""
    parts = [
        images(90, "normal", "ward"),
        images(10, "covid19", "ward"),
        images(10, "normal", "web"),
        images(90, "covid19", "web"),
    ]
    cases = [found for part, _ in parts for found in part]
    shortcut = [[0.8, 0.0, 0.2] if c.source == "ward" else [0.2, 0.0, 0.8] for c in cases]
    scores = scored(cases, np.array(shortcut))
    whole = evaluate(scores, resamples=5).per_class["covid19"]["auroc"].value
    assert whole == pytest.approx(0.9)  # 0.9 * 0.9 + 2 * 0.9 * 0.1 / 2
    for one in within_sources(scores, cases)["compared"]:
        assert one["classes"]["covid19"]["auroc"]["value"] == 0.5
        assert one["classes"]["normal"]["auroc"]["value"] == 0.5


def test_a_source_with_one_class_is_listed_apart():
    cases, scores = together(
        images(30, "covid19", "web", per_patient=3),
        images(12, "normal", "ward"),
        images(12, "bacterial", "ward"),
        images(5, "normal", ""),
    )
    found = within_sources(scores, cases)
    (ward,) = found["compared"]
    assert (ward["source"], list(ward["classes"])) == ("ward", ["normal", "bacterial"])
    note = "one class only: nothing to compare"
    assert found["one_class_only"] == [
        {"source": "web", "images": 30, "patients": 10, "label": "covid19", "note": note},
        {"source": "not stated", "images": 5, "patients": 5, "label": "normal", "note": note},
    ]


def test_under_ten_images_of_the_class_or_of_others_there_is_no_area():
    def classes(*numbers):
        parts = [images(n, label) for n, label in zip(numbers, DATASET_1, strict=True) if n]
        (found,) = within_sources(*reversed(together(*parts)))["compared"]
        return found["classes"]

    assert classes(30, 9, 0) == {
        "normal": {"images": 30, "others": 9, "too_few": True, "auroc": None},
        "bacterial": {"images": 9, "others": 30, "too_few": True, "auroc": None},
    }
    assert all(not one["too_few"] and one["auroc"] for one in classes(30, 10, 0).values())
    # The nine stay among the others of the other classes.
    mixed = classes(30, 9, 9)
    assert [one["too_few"] for one in mixed.values()] == [False, True, True]
    assert mixed["normal"]["others"] == 18
    assert mixed["normal"]["auroc"]["value"] == 1.0


@pytest.mark.parametrize("function", [subgroups, within_sources])
def test_cases_that_are_not_the_scored_images_are_refused(function):
    cases, scores = together(images(3, per_patient=2), images(2, "covid19"))
    moved = [*cases[:2], *cases[3:], cases[2]]
    relabelled = [*cases[:4], dataclasses.replace(cases[4], label="normal")]
    other_patient = [*cases[:4], dataclasses.replace(cases[4], patient="somebody")]
    for wrong, words in (
        (cases[:4], "5 scored images, but got 4"),
        ([], "but got 0"),
        (moved, "position 3"),
        (relabelled, "position 5"),
        (other_patient, "position 5"),
    ):
        with pytest.raises(DataError, match=words) as error:
            function(scores, wrong)
        assert error.value.code == "not_paired"
        assert "somebody" not in error.value.message


def test_no_resamples_are_refused():
    cases, scores = together(images(20), images(20, "covid19"))
    with pytest.raises(UsageError, match="got 0"):
        subgroups(scores, cases, resamples=0)


def of_scanner(cases, *names):
    """The cases, each with a further column and another one."""
    return [
        dataclasses.replace(one, extra=(("Scanner", names[row % len(names)]), ("row", str(row))))
        for row, one in enumerate(cases)
    ]


def test_a_column_of_a_manifest_forms_groups_beside_the_others():
    cases, scores = drawn()
    cases = of_scanner(cases, "old", "new", "")
    columns = check_columns([" scanner", "Scanner"], cases)
    assert columns == ("Scanner",)
    found = subgroups(scores, cases, columns=columns, resamples=5)
    assert list(found) == [*AXES, "Scanner"]
    names = [group["group"] for group in found["Scanner"]]
    assert names == ["new", "old", "not stated"]
    assert sum(group["images"] for group in found["Scanner"]) == len(cases)
    assert "Scanner" in gaps(found)
    assert subgroups(scores, cases, resamples=5).keys() == AXES.keys()


@pytest.mark.parametrize(
    ("column", "code", "said"),
    [
        ("scaner", "unknown_subgroup", "did you mean 'Scanner'"),
        ("age", "unused_option", "always reported"),
        ("row", "bad_subgroup", "at most 50 different values"),
    ],
)
def test_what_is_no_column_to_form_groups_by_is_refused(column, code, said):
    cases = of_scanner(drawn()[0], "old", "new")
    with pytest.raises(UsageError, match=said) as refused:
        check_columns([column], cases)
    assert refused.value.code == code


def test_without_further_columns_there_is_nothing_to_choose_from():
    with pytest.raises(UsageError, match="add the column") as refused:
        check_columns(["scanner"], drawn()[0])
    assert refused.value.code == "unknown_subgroup"
