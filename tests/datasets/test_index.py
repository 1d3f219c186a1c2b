"""Every image opened once: hashes of content, damaged images by name."""

import dataclasses
import hashlib
import shutil

import pytest

from cxr_transfer.datasets.index import data_hash, index, index_readable
from cxr_transfer.errors import DataError
from made import case, chest, encoded, write_image


def test_an_image_is_known_by_its_content(tmp_path):
    path = write_image(tmp_path / "a.png")
    (found,) = index([case(path)])
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.height, found.width) == chest().shape
    assert found == dataclasses.replace(
        case(path),
        sha256=found.sha256,
        pixels=found.pixels,
        width=found.width,
        height=found.height,
    )


def test_a_copy_is_equal_and_another_encoding_is_equal_in_pixels(tmp_path):
    write_image(tmp_path / "a.png", seed=1)
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    (tmp_path / "c.tif").write_bytes(encoded(chest(1), "TIFF"))
    write_image(tmp_path / "d.png", seed=2)
    first, copy, other, new = index(
        [case(tmp_path / f) for f in ("a.png", "b.png", "c.tif", "d.png")]
    )
    assert first.sha256 == copy.sha256 != other.sha256
    assert first.pixels == copy.pixels == other.pixels != new.pixels


def test_order_is_kept_and_every_image_is_told_of(tmp_path):
    cases = [case(write_image(tmp_path / f"{number}.png", number)) for number in range(9)]
    told = []
    found = index(cases, on_image=lambda: told.append(None))
    assert [each.path for each in found] == [each.path for each in cases]
    assert len(told) == 9


def test_what_can_be_read_is_indexed_and_what_cannot_is_told_with_code_and_reason(tmp_path):
    good = write_image(tmp_path / "good.png")
    (tmp_path / "empty.png").touch()
    cases = [case(tmp_path / name) for name in ("empty.png", "good.png", "gone.png")]
    done, damaged = index_readable(cases)
    assert done == index([case(good)])
    assert [(one.path.rpartition("/")[2], one.code) for one in damaged] == [
        ("empty.png", "empty_file"),
        ("gone.png", "missing_file"),
    ]
    assert all(one.message.startswith("Expected ") for one in damaged)


def test_damaged_images_are_named_with_their_codes_and_counted(tmp_path):
    good = write_image(tmp_path / "good.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "half.png").write_bytes(good.read_bytes()[:3000])
    names = ("good.png", "empty.png", "half.png", "gone.png")
    with pytest.raises(DataError) as error:
        index([case(tmp_path / name) for name in names])
    assert error.value.code == "damaged_images"
    assert "3 of 4" in error.value.message
    for said in ("empty.png (empty_file)", "half.png (truncated_image)", "gone.png (missing_file)"):
        assert said in error.value.message
    assert "good.png" not in error.value.message


def test_twenty_damaged_images_are_named_and_the_rest_counted(tmp_path):
    with pytest.raises(DataError, match=r"19\.png.*\(\+3 more\)") as error:
        index([case(tmp_path / f"{number}.png") for number in range(23)])
    assert " 20.png" not in error.value.message


CASES = [case(name, sha256=name * 64) for name in "abc"]


def test_the_hash_of_the_data_is_of_content_in_any_order_and_place():
    moved = [dataclasses.replace(each, path=each.path / "moved", patient="x") for each in CASES]
    assert data_hash(CASES) == data_hash(CASES[::-1]) == data_hash(moved)


@pytest.mark.parametrize(
    "others",
    [
        CASES[:2],
        [*CASES, CASES[0]],
        [*CASES[:2], dataclasses.replace(CASES[2], label="viral")],
        [*CASES[:2], dataclasses.replace(CASES[2], sha256="d" * 64)],
    ],
    ids=["one less", "one twice", "another label", "another image"],
)
def test_other_data_have_another_hash(others):
    assert data_hash(others) != data_hash(CASES)


def test_images_that_were_not_opened_have_no_hash():
    with pytest.raises(DataError) as error:
        data_hash([*CASES, case("unopened")])
    assert error.value.code == "not_indexed"
