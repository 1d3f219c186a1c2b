"""A folder per class: the folder names are the labels."""

import pytest

from cxr_transfer.collections.folder import is_folder, read_folder

FILMS = ("a/1.png", "a/deep/er/2.JPG", "b c/1.png", "b c/3.tiff")
JUNK = ("a/.DS_Store", "a/Thumbs.db", "a/._1.png", "b c/notes.txt")


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "films"
    for name in (*FILMS, *JUNK, "empty/readme.md", ".hidden/1.png", "__MACOSX/a/1.png", "top.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_every_film_has_the_label_of_its_folder(root):
    found = read_folder(root)
    assert {case.path.relative_to(root).as_posix() for case in found.cases} == set(FILMS)
    assert all(case.label == case.path.relative_to(root).parts[0] for case in found.cases)
    assert {case.source for case in found.cases} == {"films"}


def test_every_film_is_its_own_patient(root):
    cases = read_folder(root).cases
    assert len({case.patient for case in cases}) == len(cases)


def test_junk_is_counted_and_never_a_film(root):
    (root / "a" / "__MACOSX").mkdir()
    (root / "a" / "__MACOSX" / "1.png").touch()
    found = read_folder(root)
    assert len(found.cases) == len(FILMS)
    assert found.ignored == len(JUNK) + 1


def test_it_takes_two_folders_with_films(root, tmp_path):
    assert is_folder(root)
    assert not is_folder(root / "a")
    assert not is_folder(tmp_path / "nowhere")
