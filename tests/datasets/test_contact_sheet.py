"""What a contact sheet shows: a few images of each class and source, chosen evenly."""

import numpy as np
import pytest

from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.case import Collection
from cxr_transfer.datasets.check import check
from cxr_transfer.datasets.contact_sheet import MOST_GROUPS, OF_A_GROUP, THUMBNAIL, Sheet
from cxr_transfer.radiograph import read_radiograph
from made import case, write_image
from made_dicom import dicom


def collection(root, counts):
    """Cases of no images: how many of each label and source."""
    cases = [
        case(f"{label}-{source}-{number:03}.png", label, patient=f"{number}")
        for label, source, images in counts
        for number in range(images)
    ]
    return Collection("folder", root, tuple(cases))


def test_a_group_shows_images_from_its_first_to_its_last(tmp_path):
    sheet = Sheet.of([collection(tmp_path, [("a", "x", 101), ("b", "x", 2)])])
    names = [path.name for path in sheet.places]
    assert names == [
        *(f"a-x-{number:03}.png" for number in (0, 20, 40, 60, 80, 100)),
        *("b-x-000.png", "b-x-001.png"),
    ]
    assert list(sheet.places.values()) == list(range(1, OF_A_GROUP + 3))
    assert sheet.groups == 2


def test_of_many_groups_the_largest_are_shown(tmp_path):
    counts = [(f"{number:02}", "x", 1 + (number % 2)) for number in range(2 * MOST_GROUPS)]
    sheet = Sheet.of([collection(tmp_path, counts)])
    assert sheet.groups == 2 * MOST_GROUPS
    shown = {path.name.partition("-")[0] for path in sheet.places}
    assert shown == {label for label, _, images in counts if images == 2}


@pytest.fixture
def checked(tmp_path):
    """A folder with a lateral view by its header and a damaged file, checked with a sheet."""
    for seed, name in enumerate(("a/1.png", "a/2.png", "b/1.png")):
        write_image(tmp_path / name, seed)
    image = np.asarray(read_radiograph(tmp_path / "a" / "1.png").stored)
    (tmp_path / "b" / "side").write_bytes(dicom(image, ViewPosition="LL"))
    (tmp_path / "b" / "cut.png").write_bytes((tmp_path / "b" / "1.png").read_bytes()[:900])
    archives = read_archives(tmp_path)
    sheet = Sheet.of(archives)
    return tmp_path, sheet, check(archives, sheet=sheet)


def test_pictures_are_the_images_with_what_quality_control_has_against_them(checked):
    root, sheet, found = checked
    pictures = {picture.file: picture for picture in sheet.in_order()}
    assert list(pictures) == ["a/1.png", "a/2.png", "b/1.png", "b/cut.png", "b/side"]
    assert "view" in pictures["b/side"].issues
    assert pictures["b/cut.png"].image is None
    assert pictures["b/cut.png"].issues == ("truncated_image",)
    for name in ("a/1.png", "b/1.png"):
        expected = THUMBNAIL.apply(read_radiograph(root / name))
        assert np.array_equal(pictures[name].image, expected)
    assert [row["file"] for row in found["sheet"]] == list(pictures)
    assert [row["number"] for row in found["sheet"]] == [1, 2, 3, 4, 5]


def test_without_a_sheet_nothing_is_told_of_one(tmp_path):
    write_image(tmp_path / "a" / "1.png")
    write_image(tmp_path / "b" / "1.png", 1)
    assert check(read_archives(tmp_path))["sheet"] == []
