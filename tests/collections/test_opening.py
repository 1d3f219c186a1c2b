"""An audit meets the archives' films under labels that its network may know."""

import pytest

from cxr_transfer.collections.archives import read_archives
from cxr_transfer.collections.case import Case
from cxr_transfer.collections.manifest import write_manifest
from cxr_transfer.collections.multi_source import multi_source
from cxr_transfer.collections.opening import open_all
from cxr_transfer.collections.phantom import PhantomSize, write_phantom
from cxr_transfer.labels import DATASET_0, DATASET_1, MULTI_SOURCE, LabelSet
from made import write_film


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    root = tmp_path_factory.mktemp("archives")
    write_phantom(root, seed=2, size=PhantomSize(normal=8, bacterial=8, viral=4, covid19=8))
    return root


def test_for_a_network_of_all_sources_archives_are_the_data_set_it_was_trained_on(archives):
    found = open_all(archives, MULTI_SOURCE)
    assert found == multi_source(read_archives(archives)).cases
    assert {case.label for case in found} == set(MULTI_SOURCE)


@pytest.mark.parametrize("labels", [DATASET_0, DATASET_1, LabelSet(("normal", "covid19"))])
def test_for_any_other_findings_keep_their_names(archives, labels):
    found = open_all(archives, labels)
    assert {"normal", "bacterial", "covid19", "streptococcus", "unknown"} <= {
        case.label for case in found
    }
    paths = {case.path for case in found}
    assert paths > {case.path for case in open_all(archives, MULTI_SOURCE)}


def test_films_of_ones_own_keep_their_labels_whatever_the_network_knows(tmp_path):
    cases = [
        Case(write_film(tmp_path / label / "1.png"), label, label, "clinic")
        for label in ("bacterial", "covid19")
    ]
    write_manifest(tmp_path / "films.csv", cases)
    for data in (tmp_path, tmp_path / "films.csv"):
        found = open_all(data, MULTI_SOURCE)
        assert {case.label for case in found} == {"bacterial", "covid19"}
