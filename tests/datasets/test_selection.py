"""Which images are meant: by source, view and label, without a word that has no effect."""

import pytest

from cxr_transfer.datasets.case import Collection
from cxr_transfer.datasets.selection import Selection, joined, read_all, selected
from cxr_transfer.errors import CxrError
from made import case
from made_collections import montgomery, nih, png, shenzhen


@pytest.fixture
def archives(tmp_path):
    nih(tmp_path)
    shenzhen(tmp_path)
    montgomery(tmp_path)
    return read_all(tmp_path)


def labels(found):
    return [case.label for each in found for case in each.cases]


def test_nothing_asked_for_is_everything(archives):
    assert selected(archives, Selection()) == archives


def test_a_source_is_kept_in_any_spelling_and_the_others_left_out(archives):
    found = selected(archives, Selection(("NIH", "montgomery")))
    assert {case.source for each in found for case in each.cases} == {"nih", "montgomery"}
    assert [each.name for each in found] == ["montgomery", "nih"]


def test_labels_are_counted_over_all_collections(archives):
    mapping = {"No Finding": "clear", "normal": "clear", "tuberculosis": "sick", "*": ""}
    found = selected(archives, Selection(mapping=mapping))
    assert sorted(set(labels(found))) == ["clear", "sick"]
    told = " ".join(line for each in found for line in each.notices)
    assert "No Finding counts as clear (2 images)" in told
    assert "left out, since they belong to none of the classes" in told


def test_parts_are_forgotten_on_a_word(archives):
    assert {case.split for each in archives for case in each.cases} == {"train", "test", ""}
    found = selected(archives, Selection(without_parts=True))
    assert {case.split for each in found for case in each.cases} == {""}


def test_lateral_views_are_left_out_and_unknown_ones_stay(tmp_path):
    views = ("PA", "AP", "AP Supine", "", "L", "oblique")
    cases = tuple(case(f"{view}.png", view=view) for view in views)
    (found,) = selected([Collection("folder", tmp_path, cases)], Selection(frontal=True))
    assert [each.view for each in found.cases] == list(views[:4])


@pytest.mark.parametrize(
    ("wanted", "code", "said"),
    [
        (Selection(("nhi",)), "unknown_source", "did you mean 'nih'"),
        (Selection(("nih", "shenzhen", "montgomery")), "unused_option", "--source"),
        (Selection(frontal=True), "unused_option", "--frontal"),
        (Selection(("montgomery",), without_parts=False, mapping={"sars": "x"}), "unused_option",
         "sars"),
        (Selection(mapping={"*": ""}), "empty", "at least one image"),
    ],
)  # fmt: skip
def test_a_word_without_effect_is_refused(archives, wanted, code, said):
    with pytest.raises(CxrError, match=said) as refused:
        selected(archives, wanted)
    assert refused.value.code == code


def test_parts_that_nobody_gave_cannot_be_forgotten(tmp_path):
    with pytest.raises(CxrError, match="--without-parts") as refused:
        selected(read_all(montgomery(tmp_path)), Selection(without_parts=True))
    assert refused.value.code == "unused_option"


def test_joined_they_are_one_data_set_and_copies_are_told(archives, tmp_path):
    one = joined((*archives, archives[0]), tmp_path)
    assert len(one.cases) == sum(len(each.cases) for each in archives) + len(archives[0].cases)
    assert f"2 copies of {archives[0].name} are read" in " ".join(one.notices)


def test_folders_are_no_classes_on_a_word(tmp_path):
    png(tmp_path / "images" / "p1" / "1.png")
    png(tmp_path / "images" / "p2" / "1.png", 1)
    assert labels(read_all(tmp_path / "images")) == ["p1", "p2"]
    assert labels(read_all(tmp_path / "images", no_labels=True)) == ["", ""]
    (tmp_path / "images.csv").write_text("path,label\nimages/p1/1.png,x\n")
    with pytest.raises(CxrError, match="--no-labels") as refused:
        read_all(tmp_path / "images.csv", no_labels=True)
    assert refused.value.code == "unused_option"


def test_parts_of_one_collection_alone_are_forgotten_and_told(archives, tmp_path):
    one = joined(archives, tmp_path)
    assert {case.split for case in one.cases} == {""}
    assert (
        f"parts are given to 5 of {len(one.cases)} images alone, and are forgotten" in one.notices
    )
    (alone,) = (found for found in archives if found.name == "nih")
    assert {case.split for case in joined([alone], tmp_path).cases} == {"train", "test"}
