"""What somebody declares of a training is matched by whatever names an image."""

import dataclasses
from pathlib import Path

import pytest

from cxr_transfer.datasets.case import Case
from cxr_transfer.errors import DataError
from cxr_transfer.subjects.declared_images import declared_images


def cases_in(folder):
    return [
        Case(
            folder / f"{row}.png",
            "clear",
            f"p{row}",
            "north",
            sha256=f"{row:064x}",
            pixels=f"x{row}",
        )
        for row in range(4)
    ]


@pytest.mark.parametrize(
    "text",
    ["path,label\nimages/1.png,clear\n", f"sha256\n{1:064x}\n", "pixels\nx1\n", "patient\np1\n"],
)
def test_one_of_four_names_is_enough(tmp_path, text):
    (tmp_path / "saw.csv").write_text(text)
    rows, named = declared_images(tmp_path / "saw.csv", cases_in(tmp_path / "images"))
    assert rows == 1
    assert named.tolist() == [False, True, False, False]


def test_a_path_is_seen_from_the_table_and_an_empty_cell_names_nothing(tmp_path):
    (tmp_path / "saw.csv").write_text("path,patient\n../images/2.png,\n,\n")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "saw.csv").write_text("path,patient\n../images/2.png,\n")
    nameless = [dataclasses.replace(case, patient="") for case in cases_in(tmp_path / "images")]
    assert declared_images(tmp_path / "inner" / "saw.csv", nameless)[1].tolist() == [
        False, False, True, False,
    ]  # fmt: skip
    assert not declared_images(tmp_path / "saw.csv", nameless)[1].any()


@pytest.mark.parametrize("text", ["", "path\n", "name\nx.png\n"])
def test_another_table_is_refused(tmp_path, text):
    (tmp_path / "saw.csv").write_text(text)
    with pytest.raises(DataError) as error:
        declared_images(tmp_path / "saw.csv", cases_in(Path("images")))
    assert error.value.code == "bad_declaration"
