"""Kermany's layout: causes, patients and parts from names."""

from collections import Counter

import pytest

from cxr_transfer.datasets.kermany import is_kermany, read_kermany

IMAGES = {
    "train/NORMAL/IM-0115-0001.jpeg": ("normal", "IM-0115"),
    "train/NORMAL/IM-0115-0002.jpeg": ("normal", "IM-0115"),
    "train/NORMAL/NORMAL2-IM-0115-0001.jpeg": ("normal", "NORMAL2-IM-0115"),
    "train/NORMAL/IM-0131-0001-0002.jpeg": ("normal", "IM-0131-0001"),
    "train/PNEUMONIA/person1_bacteria_1.jpeg": ("bacterial", "person1"),
    "train/PNEUMONIA/person1_virus_7.jpeg": ("viral", "person1"),
    "train/PNEUMONIA/person12_virus_8.JPG": ("viral", "person12"),
    "test/PNEUMONIA/person1_bacteria_2.jpeg": ("bacterial", "person1"),
    "val/NORMAL/NORMAL2-IM-1427-0001.jpeg": ("normal", "NORMAL2-IM-1427"),
    "val/PNEUMONIA/person1946_bacteria_4874.jpeg": ("bacterial", "person1946"),
}
JUNK = ("train/NORMAL/.DS_Store", "train/NORMAL/Thumbs.db", "test/PNEUMONIA/._person1_virus_1.jpeg")


@pytest.fixture
def root(tmp_path):
    for name in (*IMAGES, *JUNK, "train/PNEUMONIA/person_unknown.jpeg", "train/NORMAL/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "train/NORMAL/__MACOSX").mkdir()
    return tmp_path


def test_the_name_tells_label_patient_and_part(root):
    cases = {case.path.relative_to(root).as_posix(): case for case in read_kermany(root).cases}
    assert cases.keys() == IMAGES.keys()
    for name, (label, patient) in IMAGES.items():
        assert (cases[name].label, cases[name].patient) == (label, f"kermany:{patient}"), name
        assert cases[name].split == name.partition("/")[0]
        assert (cases[name].source, cases[name].licence) == ("kermany", "CC BY 4.0")


def test_a_patient_is_one_in_every_part_and_with_every_cause(root):
    images_of = Counter(case.patient for case in read_kermany(root).cases)
    assert images_of["kermany:person1"] == 3
    assert images_of["kermany:IM-0115"] == 2


def test_what_is_no_image_is_counted_and_an_untold_cause_is_told(root):
    found = read_kermany(root)
    assert found.ignored == len(JUNK) + 2  # and the notes, and __MACOSX
    assert len(found.missing) == 1
    assert found.missing[0].startswith("train/PNEUMONIA/person_unknown.jpeg: ")
    assert "train/NORMAL/notes.txt" in found.notices[0]


def test_the_layout_is_known_by_train(root, tmp_path):
    assert is_kermany(root)
    assert not is_kermany(root / "train")
    (tmp_path / "user" / "train").mkdir(parents=True)
    assert not is_kermany(tmp_path / "user")


def test_other_collections_of_such_folders_are_not_this_one(root, tmp_path):
    (root / "train" / "COVID19").mkdir()
    assert not is_kermany(root), "a class more"
    for name in ("a.png", "b.png", "person1_bacteria_1.jpeg"):
        (tmp_path / "own" / "train" / "PNEUMONIA").mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / "train" / "PNEUMONIA" / name).touch()
    assert not is_kermany(tmp_path / "own"), "other names"
    (tmp_path / "own" / "train" / "NORMAL").mkdir()
    (tmp_path / "own" / "train" / "NORMAL" / "IM-0115-0001.jpeg").touch()
    assert is_kermany(tmp_path / "own")
