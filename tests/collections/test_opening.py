"""An audit meets the archives' films under labels that its network may know."""

import pytest

from cxr_transfer.collections.archives import read_archives
from cxr_transfer.collections.case import Case
from cxr_transfer.collections.manifest import write_manifest
from cxr_transfer.collections.multi_source import multi_source
from cxr_transfer.collections.opening import open_all, open_cases, open_dataset, spelled_as
from cxr_transfer.collections.phantom import PhantomSize, write_phantom
from cxr_transfer.labels import DATASET_0, DATASET_1, MULTI_SOURCE, LabelSet
from made import write_film


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    root = tmp_path_factory.mktemp("archives")
    write_phantom(root, seed=2, size=PhantomSize(normal=8, bacterial=8, viral=4, covid19=8))
    return root


def test_for_a_network_of_all_sources_archives_are_the_data_set_it_was_trained_on(archives):
    found = open_all(archives, MULTI_SOURCE).cases
    assert found == multi_source(read_archives(archives)).cases
    assert {case.label for case in found} == set(MULTI_SOURCE)


@pytest.mark.parametrize("labels", [DATASET_0, DATASET_1, LabelSet(("normal", "covid19"))])
def test_for_any_other_findings_keep_their_names(archives, labels):
    found = open_all(archives, labels).cases
    assert {"normal", "bacterial", "covid19", "streptococcus", "unknown"} <= {
        case.label for case in found
    }
    paths = {case.path for case in found}
    assert paths > {case.path for case in open_all(archives, MULTI_SOURCE).cases}


def test_films_of_ones_own_keep_their_labels_whatever_the_network_knows(tmp_path):
    cases = [
        Case(write_film(tmp_path / label / "1.png"), label, label, "clinic")
        for label in ("bacterial", "covid19")
    ]
    write_manifest(tmp_path / "films.csv", cases)
    for data in (tmp_path, tmp_path / "films.csv"):
        found = open_all(data, MULTI_SOURCE).cases
        assert {case.label for case in found} == {"bacterial", "covid19"}


def own(folder, labels):
    """A folder per class, a film in each."""
    for number, label in enumerate(labels):
        write_film(folder / label / f"{number}.png", seed=number)
    return folder


def test_labels_that_a_network_knows_in_another_spelling_are_its_labels(tmp_path):
    folder = own(tmp_path / "films", ("Normal", "COVID19", "Sarcoidosis"))
    read = spelled_as(open_cases(folder), DATASET_1)
    assert {case.label for case in read.cases} == {"normal", "covid19", "Sarcoidosis"}
    assert "'Normal' (1) taken as 'normal'" in read.notices[-1]
    assert open_all(folder, DATASET_1) == read


def test_own_classes_of_the_papers_names_are_the_papers_in_any_spelling(tmp_path):
    folder = own(tmp_path / "films", ("Normal", "Bacterial", "COVID19"))
    dataset = open_dataset(folder, "dataset_1")
    assert dataset.labels == DATASET_1
    assert "'Bacterial' (1) taken as 'bacterial'" in "".join(dataset.notices)


def test_own_classes_of_other_names_keep_their_spelling(tmp_path):
    folder = own(tmp_path / "films", ("Normal", "Sick"))
    assert open_dataset(folder, "dataset_1").labels == LabelSet(("Normal", "Sick"))


def test_what_was_passed_over_is_told_with_the_data_set(tmp_path):
    folder = own(tmp_path / "films", ("normal", "sick"))
    (folder / "sick" / "notes.txt").write_text("x")
    (told, leak) = open_dataset(folder, "dataset_1").notices
    assert told == "left out: 1 file that is no image (sick/notes.txt)"
    assert "no patient is known of 2 of 2 images" in leak
    assert open_cases(folder).notices == open_all(folder, DATASET_1).notices == (told, leak)


def test_films_are_named_as_seen_from_the_data_folder(archives, tmp_path):
    folder = own(tmp_path / "films", ("normal", "sick"))
    cases = open_dataset(folder, "dataset_1").cases
    assert [case.file for case in cases] == ["normal/0.png", "sick/1.png"]
    for case in open_all(archives, DATASET_1).cases:
        assert archives / case.file == case.path
