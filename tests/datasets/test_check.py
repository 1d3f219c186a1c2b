"""What `cxr data check` tells: counts, and which file is meant."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.check import COLUMNS, check
from cxr_transfer.datasets.loading import open_dataset
from cxr_transfer.datasets.manifest import read_listed
from cxr_transfer.datasets.splits import split
from cxr_transfer.errors import DataError, UsageError
from made import chest, encoded, write_image
from made_dicom import dicom


@pytest.fixture
def images(tmp_path):
    """Two folders with files of the same names; one image twice, one damaged."""
    root = tmp_path / "images"
    for number, name in enumerate(("a/1.png", "a/2.png", "b/1.png")):
        write_image(root / name, seed=number)
    (root / "b" / "2.tif").write_bytes(encoded(chest(1), "TIFF"))
    (root / "b" / "3.png").write_bytes((root / "a" / "1.png").read_bytes()[:2000])
    (root / "b" / "IM1").write_bytes(dicom(chest(7), PatientID="P1", ViewPosition="LL"))
    return root


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_folder_per_class_is_told_file_by_file(images):
    told = []
    found = check(read_archives(images), on_image=lambda: told.append(1))
    assert len(told) == 6
    rows = {row["file"]: row for row in found["images"]}
    assert list(rows) == ["a/1.png", "a/2.png", "b/1.png", "b/2.tif", "b/3.png", "b/IM1"]
    for name, row in rows.items():
        assert set(row) == set(COLUMNS)
        assert row["sha256"] == digest(images / name)
    assert rows["b/3.png"]["status"] == "truncated_image"
    assert {row["status"] for name, row in rows.items() if name != "b/3.png"} == {"ok"}
    few = np.asarray(Image.open(images / "b" / "1.png"))
    assert rows["b/1.png"]["grey_levels"] == len(np.unique(few)) <= 256
    assert rows["b/3.png"]["grey_levels"] is None
    assert (rows["b/IM1"]["view"], rows["b/IM1"]["format"]) == ("L", "DICOM")
    assert rows["b/IM1"]["patient"].startswith("dicom:")
    assert [row["file"] for row in found["damaged"]] == ["b/3.png"]
    assert [[row["file"] for row in group] for group in found["identical"]] == [
        ["a/2.png", "b/2.tif"]
    ]
    (table,) = found["archives"]
    assert (table["images"], table["patients"], table["images_of_unknown_patients"]) == (5, 1, 4)
    fewest = min(row["grey_levels"] for row in found["images"] if row["status"] == "ok")
    assert table["grey_levels"].startswith(f"{fewest} (")
    assert table["views"] == {"not stated": 4, "L": 1}
    assert "no patient is known of 5 of 6 images" in " ".join(table["notices"])


def test_a_manifest_is_told_by_its_own_paths_patients_and_parts(images):
    (images / "images.csv").write_text(
        "path,label,patient,split\n./a/1.png,a,p1,train\nb/1.png,b,p1,train\nb/3.png,b,p2,test\n"
    )
    found = check([read_listed(images / "images.csv")])
    names = [(row["file"], row["patient"], row["split"]) for row in found["images"]]
    assert names == [
        ("./a/1.png", "p1", "train"),
        ("b/1.png", "p1", "train"),
        ("b/3.png", "p2", "test"),
    ]
    (table,) = found["archives"]
    assert (table["collection"], table["images"], table["patients"]) == ("manifest", 2, 1)
    assert table["patients_with_several_images"] == 1
    assert table["parts"] == {"train": 2}
    assert found["damaged"][0]["sha256"] == digest(images / "b" / "3.png")


def listed(root, rows, columns="path,label,patient,split"):
    """A manifest of an image of its own for each row; what `rows` say stands behind the path."""
    for number, _ in enumerate(rows):
        write_image(root / f"{number}.png", seed=number)
    lines = [f"{number}.png,{row}" for number, row in enumerate(rows)]
    (root / "images.csv").write_text("\n".join([columns, *lines]) + "\n")
    return root / "images.csv"


def refused_by_training(path):
    try:
        split(open_dataset(path, "dataset_1"))
    except DataError as error:
        return {"code": error.code, "message": error.message}
    return None


PARTS = ("train", "validation", "test")
WHOLE = [f"{label},{label}{part},{part}" for label in "ab" for part in PARTS]


@pytest.mark.parametrize(
    ("rows", "codes"),
    [
        (WHOLE, []),
        ([*WHOLE, "a,atrain,test"], ["patient_overlap"]),
        ([*WHOLE, "a,p9,"], ["split_incomplete"]),
        ([*WHOLE, "a,p9,", "b,btest,train"], ["split_incomplete", "patient_overlap"]),
        (WHOLE[:-1], ["part_without_class"]),
        ([f"a,p{number},{part}" for number, part in enumerate(PARTS)], ["label_set"]),
        ([f"{'ab'[number % 2]},p{number}," for number in range(6)], ["too_few"]),
        ([f"{'ab'[number % 2]},p{number}," for number in range(20)], []),
    ],
    ids=lambda value: "-".join(value) if value and "," not in value[0] else "",
)
def test_what_training_would_refuse_is_told_beforehand_in_its_own_words(tmp_path, rows, codes):
    path = listed(tmp_path, rows)
    (table,) = check([read_listed(path)])["archives"]
    assert [error["code"] for error in table["refused"]] == codes
    if codes == ["too_few"]:
        assert "a has 3, b has 3" in table["refused"][0]["message"]
    assert refused_by_training(path) == next(iter(table["refused"]), None)


def test_images_that_are_not_those_of_the_manifest_are_told_as_training_tells_them(tmp_path):
    columns = "path,label,patient,split,sha256"
    path = listed(tmp_path, [f"{row},{'0' * 64}" for row in WHOLE], columns)
    (table,) = check([read_listed(path)])["archives"]
    assert [error["code"] for error in table["refused"]] == ["changed_images"]
    assert refused_by_training(path) == table["refused"][0]


def test_the_folder_in_which_one_is_is_named(images, monkeypatch):
    monkeypatch.chdir(images)
    (table,) = check(read_archives(Path()))["archives"]
    assert table["folder"] == f"{images.parent.name}/images"


def test_labels_that_join_findings_are_counted_finding_by_finding(tmp_path):
    lines = ["path,label,not_stated"]
    for row, label in enumerate(("Edema", "Mass|Edema", "Mass?", "No Finding")):
        write_image(tmp_path / f"{row}.png", seed=row)
        lines.append(f"{row}.png,{label},{'Edema' if row == 2 else ''}")
    (tmp_path / "images.csv").write_text("\n".join(lines))
    read = read_listed(tmp_path / "images.csv")
    (table,) = check([read], task="multi_label")["archives"]
    assert table["findings"] == {
        "Edema": {"with it": 2, "without": 1, "missing": 1},
        "Mass": {"with it": 1, "without": 2, "missing": 1},
    }
    assert [one["code"] for one in table["refused"]] == ["too_few"]
    (table,) = check([read], task="multi_label", mapping={"Mass": ""})["archives"]
    assert [one["code"] for one in table["refused"]] == ["label_set"]
    with pytest.raises(UsageError):
        check([read], task="multi_label", mapping={"Massive": ""}, on_image=pytest.fail)


def test_of_many_copies_of_one_image_the_first_are_named(tmp_path):
    for number in range(60):
        own = number if number >= 30 else 0
        write_image(tmp_path / ("clear", "cloudy")[number % 2] / f"{number:02}.png", own)
    (archive,) = check(read_archives(tmp_path))["archives"]
    (error,) = archive["refused"]
    assert error["code"] == "two_labels"
    assert "= cloudy/" in error["message"]
    assert error["message"].count(" = ") == 20
    assert "(+10 more)" in error["message"]
