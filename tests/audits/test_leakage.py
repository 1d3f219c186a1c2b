"""How many test images a split by image leaves with a known patient."""

import pytest

from cxr_transfer.audits.leakage import parts_evidence
from cxr_transfer.labels import LabelSet
from cxr_transfer.runs.run_folder import PartRow
from made import case

LABELS = LabelSet(("normal", "covid19"))


def cases(images, per_patient):
    return [
        case(f"{number}.png", LABELS.names[number // per_patient % 2],
             f"p{number // per_patient}", pixels=f"{number}")
        for number in range(images)
    ]  # fmt: skip


def row(each, split):
    unknown = dict.fromkeys(("licence", "view", "age", "sex"), "")
    return PartRow(
        each.label, each.patient, each.source, split, each.sha256, each.pixels, **unknown
    )


def test_where_each_patient_has_one_image_nothing_leaks():
    found = parts_evidence((), cases(100, 1), LABELS)
    assert found["patients_in_several"] is None
    assert found["image_split"] == {"test_images": 20, "known": 0, "share": 0.0}


def test_where_patients_have_five_images_nearly_every_test_image_is_of_a_known_one():
    # All of a patient's other four in the test part: (20 / 100) ** 4.
    assert parts_evidence((), cases(400, 5), LABELS)["image_split"]["share"] > 0.95


def test_the_runs_own_images_come_before_others_and_tell_its_parts():
    images = cases(100, 2)
    rows = [row(each, ("train", "validation", "test")[i % 3]) for i, each in enumerate(images)]
    found = parts_evidence(rows, [], LABELS)
    assert found["patients_in_several"] == 50
    assert found["image_split"]["test_images"] == 20


@pytest.mark.parametrize("given", [cases(8, 1), [case("1.png")]])
def test_images_that_are_too_few_to_part_give_no_share(given):
    assert parts_evidence((), given, LABELS)["image_split"] is None
