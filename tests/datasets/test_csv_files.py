"""CSV files as programs save them: the text is the same, whatever the encoding."""

import codecs

import pytest

from cxr_transfer.datasets.csv_files import columns_of, decoded, has_columns

TEXT = "path,label\né.png,fièvre\n"
SAVED = {
    "utf-8": TEXT.encode(),
    "utf-8 with mark": codecs.BOM_UTF8 + TEXT.encode(),
    "utf-16 with mark": TEXT.encode("utf-16"),
    "utf-16 big-endian with mark": codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    "utf-16 little-endian": TEXT.encode("utf-16-le"),
    "utf-16 big-endian": TEXT.encode("utf-16-be"),
    "utf-32 with mark": TEXT.encode("utf-32"),
    "windows": TEXT.encode("cp1252"),
}


@pytest.mark.parametrize("content", SAVED.values(), ids=SAVED.keys())
def test_every_encoding_gives_the_same_text_and_columns(content, tmp_path):
    assert decoded(content)[0] == TEXT
    (tmp_path / "t.csv").write_bytes(content)
    assert columns_of(tmp_path / "t.csv") == ["path", "label"]


@pytest.mark.parametrize("content", [b"path,label\na.png,\0\n", b"\0" * 100, b"\xff\xfeabc"])
def test_what_is_no_text_is_refused(content):
    with pytest.raises(ValueError):
        decoded(content)


def test_bytes_of_no_encoding_are_some_text():
    assert decoded(b"a\x81\x8d")[1] == "latin-1"


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (b"", []),
        (b'"a;b";c\n', ["a;b", "c"]),
        (b"a\tb\r\n1\t2\r\n", ["a", "b"]),
        (b"a,b\r1,2\r", ["a", "b"]),
        (b"\x89PNG\r\n\x1a\n\0\0", []),
    ],
)
def test_columns_are_the_cells_of_the_first_row(content, columns, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)
    assert columns_of(tmp_path / "t.csv") == columns


def test_no_file_has_no_columns(tmp_path):
    assert columns_of(tmp_path / "none.csv") == []
    assert columns_of(tmp_path) == []


def test_a_large_table_is_not_read_to_know_its_columns(tmp_path):
    (tmp_path / "t.csv").write_bytes(("a,b\n" + "é,1\n" * 100_000).encode())
    assert columns_of(tmp_path / "t.csv") == ["a", "b"]


def test_needed_columns_may_stand_beside_others_in_any_order(tmp_path):
    (tmp_path / "t.csv").write_text("label;age;path\n")
    assert has_columns(tmp_path / "t.csv", ("path", "label"))
    assert not has_columns(tmp_path / "t.csv", ("path", "patient"))
    assert not has_columns(tmp_path / "none.csv", ("path",))
