"""Descriptions: what is taken, what is refused, and where one is looked for."""

import pytest

import made_subjects as made
from cxr_transfer.errors import CxrError
from cxr_transfer.subjects.description import NEW, description_of, read_description


def written(tmp_path, text):
    path = tmp_path / "network.toml"
    path.write_text(text)
    return path


def test_the_one_to_start_from_is_whole(tmp_path):
    assert read_description(written(tmp_path, NEW)).labels == ("normal", "covid19")


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("range = [0.0, 1.0]\n", "", "input.range"),
        ("[0.0, 1.0]", "[1.0, 1.0]", "same value"),
        ("channels = 1", "channels = 2", "input.channels"),
        ("channels = 1", "channels = 1\nmean = [1.0, 2.0]", "2 values for 1 channels"),
        ('"covid19"', '"normal"', "two different class names"),
        ("[output]", "[output]\nswaped = true", "output.swaped"),
        ("height", "heigth", "input.height"),
        ("= ", "", "Expected"),
    ],
)
def test_what_is_not_whole_is_refused(tmp_path, old, new, word):
    text = made.description()
    assert old in text
    with pytest.raises(CxrError) as refused:
        read_description(written(tmp_path, text.replace(old, new, 1)))
    assert refused.value.code == "bad_description"
    assert word in refused.value.message


def test_one_beside_the_file_is_taken_and_none_is_never_assumed(tmp_path):
    file = tmp_path / "network.onnx"
    with pytest.raises(CxrError) as refused:
        description_of(str(file), file, None)
    assert refused.value.code == "no_description"
    assert "cxr audit inspect" in refused.value.message
    written(tmp_path, made.description("beside"))
    assert description_of(str(file), file, None).name == "beside"


def test_an_editors_mark_and_line_ends_are_taken(tmp_path):
    path = tmp_path / "network.toml"
    path.write_bytes(("\ufeff" + made.description("marked").replace("\n", "\r\n")).encode())
    assert read_description(path).name == "marked"


def test_a_text_that_nests_without_an_end_is_refused(tmp_path):
    with pytest.raises(CxrError) as refused:
        read_description(written(tmp_path, "a = " + "[" * 5000))
    assert refused.value.code == "bad_description"
