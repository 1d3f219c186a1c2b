"""Published tables, files by name, and every collection by its layout through the same door."""

import dataclasses

import pytest

from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.cells import spelling_key
from cxr_transfer.datasets.findings import counts_as
from cxr_transfer.datasets.loading import open_dataset
from cxr_transfer.datasets.published import files_by_name, published_rows
from cxr_transfer.datasets.registry import COLLECTIONS as ROWS
from cxr_transfer.errors import DataError
from cxr_transfer.labels import MULTI_SOURCE
from made_collections import COLLECTIONS


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_collection_is_found_by_its_layout_below_a_folder(tmp_path, name):
    COLLECTIONS[name](tmp_path / "downloads")
    (found,) = read_archives(tmp_path)
    assert found.name == name
    assert found.cases
    for case in found.cases:
        assert tmp_path / case.file == case.path
        assert case.licence
        assert case.finding or name == "shenzhen"
        assert case.source in ("nih", "rsna", "valencia", "chexpert", "shenzhen", "montgomery")


@pytest.mark.parametrize("name", COLLECTIONS)
def test_no_patient_stands_in_two_official_parts(tmp_path, name):
    COLLECTIONS[name](tmp_path)
    (found,) = read_archives(tmp_path)
    parts = {}
    for case in found.cases:
        assert parts.setdefault(case.patient, case.split) == case.split


@pytest.mark.parametrize("name", COLLECTIONS)
def test_every_label_of_a_collection_counts_as_a_class_or_as_none(tmp_path, name):
    from cxr_transfer.datasets.findings import FINDINGS

    COLLECTIONS[name](tmp_path)
    (found,) = read_archives(tmp_path)
    rows = {spelling_key(label): counted for label, counted in ROWS[name].labels.items()}
    for case in found.cases:
        assert counts_as(case.label, FINDINGS | rows) in (*MULTI_SOURCE, "")


TASKS = {
    "nih": {"No Finding": "clear", "*Cardiomegaly*": "large heart", "*": ""},
    "rsna": {"Normal": "clear", "Lung Opacity": "opacity", "*": ""},
    "siim": {"Negative*": "clear", "Typical*": "typical", "*": ""},
    "chexpert": {"No Finding": "clear", "*Pneumonia*": "sick", "*": ""},
    "shenzhen": {"normal": "clear", "tuberculosis": "sick"},
    "montgomery": {"normal": "clear", "tuberculosis": "sick"},
}


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_mapping_makes_a_task_of_two_classes_of_it(tmp_path, name):
    root = COLLECTIONS[name](tmp_path)
    dataset = open_dataset(root, "dataset_1", mapping=TASKS[name])
    assert set(dataset.labels) == set(TASKS[name].values()) - {""}
    assert all(case.sha256 and case.width for case in dataset.cases), "every image can be read"
    assert bool(dataset.left_out) == ("*" in TASKS[name])


def test_of_two_files_of_one_name_the_first_counts_and_clutter_is_none(tmp_path):
    for name in ("b/x.png", "a/deep/x.png", "a/y.png", "a/.z.png", "a/deep/er/w.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = files_by_name([tmp_path / "a", tmp_path / "b"])
    assert found == {"y.png": tmp_path / "a/y.png", "x.png": tmp_path / "a/deep/x.png"}


def test_cells_that_are_not_there_are_empty_and_what_is_too_much_is_passed_over(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,\n 1 \n2,3,4,5\n", encoding="utf-8-sig")
    assert list(published_rows(tmp_path / "t.csv", {"a"})) == [
        {"a": "1", "b": ""},
        {"a": "2", "b": "3"},
    ]


def test_what_is_no_csv_is_refused_with_its_line(tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\n" + "x" * 200_000)
    with pytest.raises(DataError, match="in line 2") as refused:
        list(published_rows(tmp_path / "t.csv", {"a"}))
    assert refused.value.code == "collection"


def test_the_images_of_all_collections_stand_side_by_side(tmp_path):
    for make in COLLECTIONS.values():
        make(tmp_path)
    found = read_archives(tmp_path)
    assert sorted(each.name for each in found) == sorted(COLLECTIONS)
    paths = [case.path for each in found for case in each.cases]
    assert len(set(paths)) == len(paths)
    assert not any(dataclasses.astuple(each)[4] for each in found if each.name == "siim")
