"""What may have been meant otherwise is said with its numbers, and changed by nobody."""

import pytest

from cxr_transfer.datasets.check import check
from cxr_transfer.datasets.doubts import label_notices, number_notices, view_notices
from cxr_transfer.datasets.folder import read_folder
from cxr_transfer.datasets.loading import open_dataset
from cxr_transfer.datasets.manifest import read_listed
from made import write_image

MIXED = "n\u043ermal"  # its second letter is Cyrillic


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["Other Pneumonia", "other_pneumonia"], "'Other Pneumonia' (1) and 'other_pneumonia' (1)"),
        (["COVID-19", "covid19", "covid 19"], "'COVID-19' (1) and 'covid 19' (1) and 'covid19'"),
        (["0", "1.0", "0"], "labels that are numbers: '0' (2); '1.0' (1)"),
        (["inf", "normal"], "labels that are numbers: 'inf' (1)"),
        (["missing", "normal"], "labels that may stand for no class: 'missing' (1)"),
        ([MIXED, "normal"], r"look alike: 'n\u043ermal' (1)"),
    ],
)
def test_odd_labels_are_told(labels, said):
    (line,) = label_notices(labels)
    assert said in line
    assert line.isprintable()


@pytest.mark.parametrize(
    "labels",
    [
        ["normal", "other_pneumonia", "covid19"],
        ["\u043d\u043e\u0440\u043c\u0430", "\u80ba\u708e"],
        ["\u03b2-thalassemia", "b"],
        ["type 1", "type 2"],
    ],
)
def test_usual_labels_are_not(labels):
    assert label_notices(labels) == ()


def test_numbers_that_lost_their_zeros_are_counted_and_not_named():
    (line,) = number_notices(["7731", "007731", "5", "0", "00", "A01"])
    assert "kept apart: 4 (" in line
    assert "7731" not in line
    assert number_notices(["1", "2", "10", "A1", "A01"]) == ()


def test_views_that_are_not_known_are_told():
    assert (
        "'Axial' (1); 'banana' (2)" in view_notices(["banana", "PA", "L", "", "Axial", "banana"])[0]
    )
    assert view_notices(["PA", "AP", "AP Supine", "L", ""]) == ()


def listed(root, rows):
    for number, _ in enumerate(rows):
        write_image(root / f"{number}.png", seed=number)
    lines = [f"{number}.png,{row}" for number, row in enumerate(rows)]
    (root / "images.csv").write_text("\n".join(["path,label,patient,view", *lines]))
    return root / "images.csv"


def test_training_and_a_check_both_tell_them(tmp_path):
    path = listed(tmp_path, ["0,1,banana", "1.0,001,PA", "Other Lung,5,", "other_lung,6,"])
    told = " ".join(read_listed(path).notices)
    for words in ("are numbers", "leading zeros", "not known: 'banana'", "classes of their own"):
        assert words in told
    (table,) = check([read_listed(path)])["archives"]
    assert " ".join(table["notices"]) == told
    seen = []
    open_dataset(path, "dataset_1", before=seen.append)
    assert set(read_listed(path).notices) <= set(seen[0].notices)


def test_folders_are_labels_too(tmp_path):
    for label in ("covid-19", "covid_19"):
        write_image(tmp_path / label / "1.png")
    assert "classes of their own" in " ".join(read_folder(tmp_path).notices)


def test_one_patient_in_every_row_may_be_a_placeholder(tmp_path):
    rows = ["a,0,", "b,0,"] * 10
    told = [line for line in read_listed(listed(tmp_path, rows)).notices if "placeholder" in line]
    assert told == [
        "one patient is named for 20 of 20 images: where that is a placeholder, leave the cell "
        "empty"
    ]
    rows = [f"a,{number // 2}," for number in range(20)]
    assert "placeholder" not in " ".join(read_listed(listed(tmp_path, rows)).notices)
