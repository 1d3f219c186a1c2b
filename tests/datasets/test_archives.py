"""Archives are found at or below a folder, each by its sign."""

import os

import pytest

from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.errors import DataError


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def kermany(root):
    touch(root / "train/NORMAL/IM-0001-0001.jpeg")


def cohen(root):
    touch(root / "images/a.jpg")
    text = "patientid,finding,view,modality,filename\n1,COVID-19,PA,X-ray,a.jpg\n"
    (root / "metadata.csv").write_text(text)


def adult(root):
    touch(root / "nih/1_2.png")
    (root / "labels.csv").write_text("filename,label,source\nnih/1_2.png,pneumonia,nih\n")


ARCHIVES = {"kermany": kermany, "cohen": cohen, "adult": adult}


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("where", [".", "one", "one/two/three/four"])
def test_an_archive_is_found_at_or_below(tmp_path, name, where):
    ARCHIVES[name](tmp_path / where)
    (found,) = read_archives(tmp_path)
    assert (found.name, found.root) == (name, tmp_path / where)
    assert len(found.cases) == 1


def test_all_are_found_copies_too(tmp_path):
    for name, make in ARCHIVES.items():
        make(tmp_path / name)
    kermany(tmp_path / "kermany-768")
    found = read_archives(tmp_path)
    assert [each.name for each in found] == ["adult", "cohen", "kermany", "kermany"]
    assert found[2].root != found[3].root


def test_what_a_zip_program_leaves_is_no_copy(tmp_path):
    kermany(tmp_path / "chest_xray")
    kermany(tmp_path / "chest_xray" / "chest_xray")  # Kaggle's own zip holds it twice
    kermany(tmp_path / "__MACOSX" / "chest_xray")
    kermany(tmp_path / ".Trash" / "chest_xray")
    (found,) = read_archives(tmp_path)
    assert found.root == tmp_path / "chest_xray"


def test_a_folder_per_class_is_read_only_where_no_archive_is(tmp_path):
    touch(tmp_path / "sick/1.png")
    touch(tmp_path / "well/1.png")
    (found,) = read_archives(tmp_path)
    assert found.name == "folder"
    cohen(tmp_path / "archive")
    (found,) = read_archives(tmp_path)
    assert found.name == "cohen"


def test_somebody_elses_table_is_no_archive_and_no_failure(tmp_path):
    kermany(tmp_path / "kermany")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "labels.csv").write_bytes("Größe\n".encode("latin-1"))
    assert [found.name for found in read_archives(tmp_path)] == ["kermany"]


@pytest.mark.parametrize("made", [(), ("sick/1.png",), ("a/b/c/d/e/train/NORMAL/1.jpeg",)])
def test_no_images_is_an_error_that_says_where_they_are_from(tmp_path, made):
    for name in made:
        touch(tmp_path / name)
    with pytest.raises(DataError) as error:
        read_archives(tmp_path)
    assert error.value.code == "empty"
    assert "10.17632/rscbjbr9sj" in error.value.message


def test_no_folder_is_an_error(tmp_path):
    touch(tmp_path / "file")
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(DataError) as error:
            read_archives(path)
        assert error.value.code == "no_folder"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="there is a pipe") as error:
        read_archives(tmp_path / "pipe")
    assert error.value.code == "no_folder"


def test_an_archive_that_links_lead_to_is_read_once(tmp_path):
    kermany(tmp_path / "store" / "chest_xray")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "again").symlink_to("chest_xray")
    (tmp_path / "data" / "chest_xray").symlink_to(tmp_path / "store" / "chest_xray")
    (tmp_path / "data" / "loop").symlink_to(".")
    (tmp_path / "data" / "up").symlink_to("..")
    (found,) = read_archives(tmp_path / "data")
    assert len(found.cases) == 1


def test_an_archive_is_found_however_deep_a_link_to_it_lies(tmp_path):
    kermany(tmp_path / "z" / "one" / "two")
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c" / "z").symlink_to(tmp_path / "z")
    (found,) = read_archives(tmp_path)
    assert found.root == tmp_path / "z" / "one" / "two"


def test_images_that_a_study_drew_beside_the_archives_are_no_copy(tmp_path):
    kermany(tmp_path / "chest_xray")
    kermany(tmp_path / "runs" / "study" / "phantom" / "kermany")
    touch(tmp_path / "runs" / "study" / ".lock")
    (tmp_path / "runs" / "study" / "run.json").write_text("{}")
    (found,) = read_archives(tmp_path)
    assert found.root == tmp_path / "chest_xray"
    (drawn,) = read_archives(tmp_path / "runs" / "study" / "phantom")
    assert drawn.root.name == "kermany"


@pytest.mark.parametrize("make", ARCHIVES.values(), ids=ARCHIVES.keys())
def test_images_are_named_as_seen_from_the_folder_that_was_given(tmp_path, make):
    make(tmp_path / "one" / "two")
    (found,) = read_archives(tmp_path)
    (case,) = found.cases
    assert case.file.startswith("one/two/")
    assert tmp_path / case.file == case.path


def own_table(root, header):
    """Somebody's own images in ``images/``, beside a ``metadata.csv``."""
    touch(root / "images" / "1.png")
    (root / "metadata.csv").write_text(f"{header}\n")


def test_somebody_elses_metadata_is_not_cohens(tmp_path):
    own_table(tmp_path, "id,finding,filename")
    touch(tmp_path / "normal" / "1.png")
    (found,) = read_archives(tmp_path)
    assert found.name == "folder"
    assert {case.label for case in found.cases} == {"images", "normal"}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("path,label", "metadata.csv itself"),
        ("Label;Path", "metadata.csv itself"),
        ("id,finding", "name its columns path,label"),
    ],
)
def test_what_a_table_that_is_no_archives_is_good_for_is_said(tmp_path, header, said):
    own_table(tmp_path, header)
    with pytest.raises(DataError) as error:
        read_archives(tmp_path)
    assert error.value.code == "empty"
    assert said in error.value.message
    assert "\n" not in error.value.message


def test_a_class_more_than_kermanys_does_not_vanish(tmp_path):
    for part in ("train", "test"):
        for label in ("NORMAL", "PNEUMONIA", "COVID19"):
            touch(tmp_path / part / label / "1.png")
    with pytest.raises(DataError) as error:
        read_archives(tmp_path)
    assert error.value.code == "parts_not_classes"
    found = read_archives(tmp_path / "train")[0]
    assert {case.label for case in found.cases} == {"NORMAL", "PNEUMONIA", "COVID19"}


@pytest.mark.parametrize("name", ["1.png", "sick/1.png"])
def test_images_without_two_classes_are_told_apart_from_none(tmp_path, name):
    touch(tmp_path / name)
    with pytest.raises(DataError) as error:
        read_archives(tmp_path)
    assert error.value.code == "empty"
    assert "images that do not lie in two folders" in error.value.message
