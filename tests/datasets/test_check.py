"""What `cxr data check` tells: counts, and which file is meant."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.check import COLUMNS, check
from cxr_transfer.datasets.manifest import read_listed
from made import chest, encoded, write_film
from made_dicom import dicom


@pytest.fixture
def films(tmp_path):
    """Two folders with files of the same names; one film twice, one damaged."""
    root = tmp_path / "films"
    for number, name in enumerate(("a/1.png", "a/2.png", "b/1.png")):
        write_film(root / name, seed=number)
    (root / "b" / "2.tif").write_bytes(encoded(chest(1), "TIFF"))
    (root / "b" / "3.png").write_bytes((root / "a" / "1.png").read_bytes()[:2000])
    (root / "b" / "IM1").write_bytes(dicom(chest(7), PatientID="P1", ViewPosition="LL"))
    return root


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_folder_per_class_is_told_file_by_file(films):
    told = []
    found = check(read_archives(films), each=lambda: told.append(1))
    assert len(told) == 6
    rows = {row["file"]: row for row in found["images"]}
    assert list(rows) == ["a/1.png", "a/2.png", "b/1.png", "b/2.tif", "b/3.png", "b/IM1"]
    for name, row in rows.items():
        assert set(row) == set(COLUMNS)
        assert row["sha256"] == digest(films / name)
    assert rows["b/3.png"]["status"] == "truncated_image"
    assert {row["status"] for name, row in rows.items() if name != "b/3.png"} == {"ok"}
    few = np.asarray(Image.open(films / "b" / "1.png"))
    assert rows["b/1.png"]["grey_levels"] == len(np.unique(few)) <= 256
    assert rows["b/3.png"]["grey_levels"] is None
    assert (rows["b/IM1"]["view"], rows["b/IM1"]["format"]) == ("L", "DICOM")
    assert rows["b/IM1"]["patient"].startswith("dicom:")
    assert [row["file"] for row in found["damaged"]] == ["b/3.png"]
    assert [[row["file"] for row in group] for group in found["identical"]] == [
        ["a/2.png", "b/2.tif"]
    ]
    (table,) = found["archives"]
    assert (table["films"], table["patients"], table["films_of_unknown_patients"]) == (5, 1, 4)
    fewest = min(row["grey_levels"] for row in found["images"] if row["status"] == "ok")
    assert table["grey_levels"].startswith(f"{fewest} (")
    assert table["views"] == {"not stated": 4, "L": 1}
    assert "no patient is known of 5 of 6 images" in " ".join(table["notices"])


def test_a_manifest_is_told_by_its_own_paths_patients_and_parts(films):
    (films / "films.csv").write_text(
        "path,label,patient,split\n./a/1.png,a,p1,train\nb/1.png,b,p1,train\nb/3.png,b,p2,test\n"
    )
    found = check([read_listed(films / "films.csv")])
    names = [(row["file"], row["patient"], row["split"]) for row in found["images"]]
    assert names == [
        ("./a/1.png", "p1", "train"),
        ("b/1.png", "p1", "train"),
        ("b/3.png", "p2", "test"),
    ]
    (table,) = found["archives"]
    assert (table["collection"], table["films"], table["patients"]) == ("manifest", 2, 1)
    assert table["patients_with_several_films"] == 1
    assert table["parts"] == {"train": 2}
    assert found["damaged"][0]["sha256"] == digest(films / "b" / "3.png")


def test_the_folder_in_which_one_is_is_named(films, monkeypatch):
    monkeypatch.chdir(films)
    (table,) = check(read_archives(Path()))["archives"]
    assert table["folder"] == f"{films.parent.name}/films"
