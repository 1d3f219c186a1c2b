"""What a flow diagram is drawn of: nothing is lost between what was found and the parts."""

import dataclasses

from cxr_transfer.datasets.damaged import Damaged
from cxr_transfer.datasets.findings import relabelled
from cxr_transfer.datasets.flow import UNREADABLE, dataset_flow
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.labels import LabelSet
from made import case

LABELS = LabelSet(("clear", "cloudy"))
PARTS = ("train", "validation", "test")


def found():
    return [
        case(f"{label}{row}.png", label, patient=f"{label}{row // 2}", split=PARTS[row % 3])
        for label in ("clear", "cloudy", "junk")
        for row in range(6)
    ]


def flow_of_a_data_set():
    read = relabelled(found(), {"junk": ""})
    whole = [each for each in read.cases if each.file != "clear0.png"]
    dataset = Dataset(
        name="made",
        labels=LABELS,
        cases=tuple(whole),
        damaged=(Damaged("clear0.png", "truncated_image", "Expected ..."),),
        excluded=read.excluded,
    )
    return dataset_flow(dataset, read.cases)


def test_images_and_patients_are_counted_with_the_reason_that_they_were_left_out_for():
    flow = flow_of_a_data_set()
    assert flow["found"] == {"images": 18, "patients": 9}
    assert flow["left_out"] == [
        {"why": "label junk is none of the classes", "images": 6, "patients": 3},
        {"why": UNREADABLE, "images": 1, "patients": 1},
    ]
    assert flow["analysed"] == {
        "images": 11, "patients": 6, "classes": {"cloudy": 6, "clear": 5},
    }  # fmt: skip


def test_every_image_that_was_found_is_left_out_or_in_one_part():
    flow = flow_of_a_data_set()
    left_out = sum(each["images"] for each in flow["left_out"])
    assert flow["found"]["images"] == left_out + flow["analysed"]["images"]
    (parts,) = flow["parts"]
    assert [part["name"] for part in parts] == list(PARTS)
    assert sum(part["images"] for part in parts) == flow["analysed"]["images"]


def test_of_a_cross_validation_each_fold_has_its_parts():
    cases = tuple(each for each in found() if each.label != "junk")
    dataset = Dataset("made", LABELS, cases)
    turned = [
        dataclasses.replace(each, split=PARTS[(PARTS.index(each.split) + 1) % 3]) for each in cases
    ]
    other = dataclasses.replace(dataset, cases=tuple(turned))
    flow = dataset_flow(dataset, cases, [dataset, other])
    assert flow["left_out"] == []
    assert len(flow["parts"]) == 2
    assert all(sum(part["images"] for part in parts) == 12 for parts in flow["parts"])
