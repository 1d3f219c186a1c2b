"""Files that cannot be read stand in a list with their code, by the name that a person knows."""

import csv

from cxr_transfer.datasets.damaged import DAMAGED_FILE, Damaged, write_damaged
from cxr_transfer.errors import ImageError
from made import case


def test_the_list_names_each_file_as_a_person_knows_it(tmp_path):
    error = ImageError("empty_file", 'Expected a "image", but got 0 bytes.')
    given = case(tmp_path / "images" / "a, b.png", written="images/a, b.png")
    write_damaged(tmp_path, [Damaged.of(given, error)])
    with (tmp_path / DAMAGED_FILE).open(newline="") as handle:
        (row,) = csv.DictReader(handle)
    assert row == {
        "path": "images/a, b.png",
        "code": "empty_file",
        "message": 'Expected a "image", but got 0 bytes.',
    }


def test_where_nothing_is_damaged_any_more_no_list_stays(tmp_path):
    write_damaged(tmp_path, [Damaged("a.png", "empty_file", "Expected ...")])
    assert (tmp_path / DAMAGED_FILE).is_file()
    write_damaged(tmp_path, [])
    assert not (tmp_path / DAMAGED_FILE).exists()
