"""The contact sheet as it is drawn: a row for a class and source, captions under each image."""

import numpy as np
import pytest

from cxr_transfer.datasets.contact_sheet import Picture, Sheet
from cxr_transfer.errors import UsageError
from cxr_transfer.figures.contact_sheet import ACROSS
from cxr_transfer.figures.data_sheet import check_sheet, draw_sheet

IMAGE = np.zeros((160, 160), np.uint8)


def sheet(*pictures, groups=2):
    return Sheet({}, groups, {picture.number: picture for picture in pictures})


def captions(figure):
    return [[text.get_text() for text in axes.texts] for axes in figure.axes]


def test_captions_say_class_source_and_quality_issues(tmp_path, drawn):
    path = tmp_path / "sheet.png"
    draw_sheet(
        path,
        sheet(
            Picture(1, "1.png", "normal", "clinic", IMAGE, ()),
            Picture(2, "2.png", "normal", "clinic", IMAGE, ("view", "inverted")),
            Picture(3, "3.png", "", "clinic\n$b$", None, ("truncated_image",)),
        ),
    )
    assert path.read_bytes().startswith(b"\x89PNG")
    (figure,) = drawn
    assert figure._suptitle.get_text() == "3 images of 2 classes and sources (for your own eyes)"
    told = captions(figure)
    assert told[:2] == [["1. normal", "clinic"], ["2. normal", "clinic", "view, inverted"]]
    assert told[2:ACROSS] == [[]] * (ACROSS - 2), "the next group has a row of its own"
    assert told[ACROSS] == ["3. no label", "clinic $b$", "truncated_image"]
    assert [bool(axes.images) for axes in figure.axes[: ACROSS + 1]] == [
        *(True, True),
        *[False] * (ACROSS - 1),
    ]


def test_the_title_says_that_there_are_more_groups(tmp_path, drawn):
    shown = [Picture(1, "1.png", "a", "x", IMAGE, ())]
    draw_sheet(tmp_path / "sheet.png", sheet(*shown, groups=800))
    assert "1 images of 1 of 800 classes" in drawn[0]._suptitle.get_text()


def test_a_file_that_cannot_be_the_sheet_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"ending in \.png") as refused:
        check_sheet(tmp_path / "sheet.pdf")
    assert refused.value.code == "bad_sheet"
    (tmp_path / "sheet.png").touch()
    with pytest.raises(UsageError) as refused:
        check_sheet(tmp_path / "sheet.png")
    assert refused.value.code == "out_exists"
