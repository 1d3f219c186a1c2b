"""The one listing of a folder's images: in order, by content, and all else counted."""

import os

import pytest

from cxr_transfer.datasets.image_files import (
    LeftOut,
    Why,
    holds_images,
    image_files,
    images_in,
    is_own_folder,
)
from cxr_transfer.figures.canvas import canvas
from made import chest, encoded, write_image
from made_dicom import dicom


def seen(root, paths):
    return [path.relative_to(root).as_posix() for path in paths]


def answered(root, **options):
    """What a prediction answers for, and what it says that it leaves out."""
    left_out = LeftOut(root)
    return seen(root, images_in([root], left_out=left_out, **options)), left_out


def test_a_folder_stands_for_its_images_in_the_order_of_their_names(tmp_path):
    for name in ("b/2.png", "b/1.png", "a.png", "c.png", ".hidden/x.png", "__MACOSX/y.png"):
        write_image(tmp_path / name)
    (tmp_path / "Thumbs.db").touch()
    found, left_out = answered(tmp_path)
    assert found == ["a.png", "c.png", "b/1.png", "b/2.png"]
    assert left_out.total == 3
    # There may be images among them, which would be missed.
    assert left_out.notices() == ("left out: 3 hidden files or folders",)
    assert list(images_in([tmp_path / "absent.png"])) == [tmp_path / "absent.png"]


def test_images_are_found_by_content_and_texts_are_told(tmp_path):
    (tmp_path / "IM0001").write_bytes(dicom(chest(1)))
    (tmp_path / "1.2.3").write_bytes(encoded(chest(2), "TIFF"))
    (tmp_path / "DICOMDIR").write_bytes(dicom(chest(1), SOPClassUID="1.2.840.10008.1.3.10"))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "damaged.png").write_bytes(b"no image")
    os.mkfifo(tmp_path / "pipe")
    found, left_out = answered(tmp_path)
    assert found == ["1.2.3", "IM0001", "damaged.png"]
    assert left_out.notices() == (
        "left out: 2 files that are no images (DICOMDIR, notes.txt), "
        "1 pipe, socket or device (pipe)",
    )


def test_what_may_be_an_image_and_cannot_be_read_gets_a_row(tmp_path):
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "moving.gif").write_bytes(encoded(chest(1), "GIF"))
    found, left_out = answered(tmp_path)
    assert found == ["gone.png", "moving.gif"]
    assert left_out.total == 0


def test_links_are_followed_once_and_never_for_ever(tmp_path):
    write_image(tmp_path / "z" / "1.png")
    for link in ("a", "zz"):
        (tmp_path / link).symlink_to("z")
    (tmp_path / "z" / "up").symlink_to("..")
    (tmp_path / "z" / "self").symlink_to("self")
    (tmp_path / "image").symlink_to("z/1.png")
    found, left_out = answered(tmp_path)
    # A folder is met under its own name first.
    assert found == ["image", "z/1.png", "z/self"]
    assert left_out.names == {Why.ENTERED_BEFORE: ["z/up", "a", "zz"]}


def test_a_link_that_leads_up_brings_nothing_in(tmp_path):
    write_image(tmp_path / "beside" / "1.png")
    write_image(tmp_path / "images" / "deep" / "2.png")
    (tmp_path / "images" / "deep" / "up").symlink_to(tmp_path)
    found, left_out = answered(tmp_path / "images")
    assert found == ["deep/2.png"]
    assert left_out.names == {Why.ENTERED_BEFORE: ["deep/up"]}


def test_a_folder_elsewhere_is_entered_through_a_link(tmp_path):
    write_image(tmp_path / "store" / "1.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "link").symlink_to(tmp_path / "store")
    assert answered(tmp_path / "images")[0] == ["link/1.png"]
    assert list(images_in([tmp_path / "images" / "link"])) == [
        tmp_path / "images" / "link" / "1.png"
    ]


def test_what_this_run_writes_is_no_input(tmp_path):
    write_image(tmp_path / "1.png")
    write_image(tmp_path / "maps" / "1.png")
    partial = tmp_path / "answers.csv.partial"
    partial.mkdir()
    (partial / ".lock").touch()
    (partial / "run.json").write_text("{}")
    (tmp_path / "answers.csv").write_text("file\n")
    written = [tmp_path / "answers.csv", partial, tmp_path / "maps"]
    found, left_out = answered(tmp_path, leave_out=written)
    assert found == ["1.png"]
    assert left_out.total == 0, "not even worth a word"
    # As a shell writes images/* out.
    listed = sorted(tmp_path.iterdir())
    assert seen(tmp_path, images_in(listed, leave_out=written)) == ["1.png", "maps/1.png"]
    # A folder that is asked for is meant.
    again = images_in([tmp_path / "maps"], leave_out=written)
    assert list(again) == [tmp_path / "maps" / "1.png"]


def test_what_earlier_runs_wrote_is_told(tmp_path):
    write_image(tmp_path / "1.png")
    for name, record in (("run", "run.json"), ("prepared", "prepared.json")):
        write_image(tmp_path / name / "figure.png")
        (tmp_path / name / ".lock").touch()
        assert not is_own_folder(tmp_path / name), "anybody's"
        (tmp_path / name / record).write_text("{}")
        assert is_own_folder(tmp_path / name)
    with canvas(tmp_path / "sheet.png", (4, 3), "a sheet") as figure:
        figure.subplots().imshow(chest(1))
    found, left_out = answered(tmp_path)
    assert found == ["1.png"]
    assert left_out.notices() == ("left out: 3 written by this program (sheet.png, prepared, run)",)
    # Asked for itself, a run's folder is a folder like any other.
    assert answered(tmp_path / "run")[0] == ["figure.png"]


def test_images_of_one_folder_alone(tmp_path):
    write_image(tmp_path / "b.png")
    write_image(tmp_path / "a" / "1.png")
    left_out = LeftOut(tmp_path)
    assert seen(tmp_path, image_files(tmp_path, left_out, recursive=False)) == ["b.png"]
    assert left_out.names == {Why.NO_IMAGE: ["a"]}
    assert seen(tmp_path, image_files(tmp_path, LeftOut())) == ["a/1.png", "b.png"]


def test_a_folder_holds_images_or_not(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "notes").write_text("x")
    assert not holds_images(tmp_path)
    write_image(tmp_path / "deep" / "er" / "1.png")
    assert holds_images(tmp_path)


@pytest.mark.parametrize("number", [5, 9])
def test_the_first_names_are_told_and_move_no_cursor(tmp_path, number):
    for one in range(number):
        (tmp_path / f"{one}\x1b[2J.txt").touch()
    left_out = LeftOut(tmp_path)
    assert image_files(tmp_path, left_out) == []
    (line,) = left_out.notices()
    assert line.isprintable()
    assert line.startswith(f"left out: {number} files that are no images (0\\x1b[2J.txt, ")
    assert line.count(".txt") == 5
    assert line.endswith(", ...)") == (number > 5)
