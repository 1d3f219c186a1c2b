"""An audit meets the archives' images under labels that its network may know."""

import pytest

from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.loading import open_all, open_cases, open_dataset, spelled_as
from cxr_transfer.datasets.manifest import write_manifest
from cxr_transfer.datasets.multi_source import multi_source
from cxr_transfer.datasets.phantom import PhantomSize, write_phantom
from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.labels import DATASET_0, DATASET_1, MULTI_SOURCE, LabelSet
from made import write_image


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


def test_images_of_ones_own_keep_their_labels_whatever_the_network_knows(tmp_path):
    cases = [
        Case(write_image(tmp_path / label / "1.png"), label, label, "clinic")
        for label in ("bacterial", "covid19")
    ]
    write_manifest(tmp_path / "images.csv", cases)
    for data in (tmp_path, tmp_path / "images.csv"):
        found = open_all(data, MULTI_SOURCE).cases
        assert {case.label for case in found} == {"bacterial", "covid19"}


def own(folder, labels):
    """A folder per class, an image in each."""
    for number, label in enumerate(labels):
        write_image(folder / label / f"{number}.png", seed=number)
    return folder


def test_labels_that_a_network_knows_in_another_spelling_are_its_labels(tmp_path):
    folder = own(tmp_path / "images", ("Normal", "COVID19", "Sarcoidosis"))
    read = spelled_as(open_cases(folder), DATASET_1)
    assert {case.label for case in read.cases} == {"normal", "covid19", "Sarcoidosis"}
    assert "'Normal' (1) taken as 'normal'" in read.notices[-1]
    assert open_all(folder, DATASET_1) == read


def test_own_classes_of_the_papers_names_are_the_papers_in_any_spelling(tmp_path):
    folder = own(tmp_path / "images", ("Normal", "Bacterial", "COVID19"))
    dataset = open_dataset(folder, "dataset_1")
    assert dataset.labels == DATASET_1
    assert "'Bacterial' (1) taken as 'bacterial'" in "".join(dataset.notices)


def test_own_classes_of_other_names_keep_their_spelling(tmp_path):
    folder = own(tmp_path / "images", ("Normal", "Sick"))
    assert open_dataset(folder, "dataset_1").labels == LabelSet(("Normal", "Sick"))


def test_what_was_passed_over_is_told_with_the_data_set(tmp_path):
    folder = own(tmp_path / "images", ("normal", "sick"))
    (folder / "sick" / "notes.txt").write_text("x")
    (told, leak) = open_dataset(folder, "dataset_1").notices
    assert told == "left out: 1 file that is no image (sick/notes.txt)"
    assert "no patient is known of 2 of 2 images" in leak
    assert open_cases(folder).notices == open_all(folder, DATASET_1).notices == (told, leak)


def test_images_are_named_as_seen_from_the_data_folder(archives, tmp_path):
    folder = own(tmp_path / "images", ("normal", "sick"))
    cases = open_dataset(folder, "dataset_1").cases
    assert [case.file for case in cases] == ["normal/0.png", "sick/1.png"]
    for case in open_all(archives, DATASET_1).cases:
        assert archives / case.file == case.path


def no_images(root, *labels, number=1):
    """Files that are no images, a folder per class: whoever opens one gets an error."""
    for label in labels:
        (root / label).mkdir(parents=True)
        for radiograph in range(number):
            (root / label / f"{radiograph}.png").write_text("no image")
    return root


def test_whatever_is_refused_before_is_refused_without_opening_an_image(tmp_path):
    no_images(tmp_path / "images", "clear", "cloudy")
    seen = []

    def refuse(dataset):
        seen.append((dataset.labels.names, [case.sha256 for case in dataset.cases]))
        raise UsageError("refused", "Expected something else.")

    with pytest.raises(UsageError, match="something else"):
        open_dataset(tmp_path / "images", "dataset_1", before=refuse)
    assert seen == [(("clear", "cloudy"), ["", ""])]
    with pytest.raises(DataError) as error:
        open_dataset(tmp_path / "images", "dataset_1")
    assert error.value.code == "damaged_images"


@pytest.mark.parametrize("name", ["dataset_0", "dataset_1", "multi_source"])
def test_of_archives_too_the_labels_are_known_before_an_image_is_opened(archives, name):
    told = []
    found = open_dataset(archives, name, before=told.append)
    assert [dataset.labels for dataset in told] == [found.labels]
    assert not any(case.sha256 for case in told[0].cases)
    assert all(case.sha256 for case in found.cases)


def test_own_images_for_the_three_classes_go_by_the_table(tmp_path):
    for number, label in enumerate(("Normal", "bacterial", "COVID-19", "atypical")):
        write_image(tmp_path / label / "1.png", number)
    found = open_dataset(tmp_path, "multi_source")
    assert found.labels == MULTI_SOURCE
    assert [case.label for case in found.cases] == ["covid19", "normal", "other_pneumonia"]
    assert found.left_out == {"atypical": 1}
    write_image(tmp_path / "pneumothorax" / "1.png", 5)
    with pytest.raises(DataError) as error:
        open_dataset(tmp_path, "multi_source")
    assert error.value.code == "unknown_label"
    found = open_dataset(tmp_path, "multi_source", mapping={"pneumothorax": "normal"})
    assert sum(case.label == "normal" for case in found.cases) == 2


def test_own_classes_may_be_renamed_and_left_out(tmp_path):
    for number, label in enumerate(("clear", "odd", "cloudy", "Cloudy2")):
        write_image(tmp_path / label / "1.png", number)
    found = open_dataset(
        tmp_path, "dataset_1", mapping={"odd": "", "cloudy2": "cloudy"}, table={"absent": "clear"}
    )
    assert found.labels.names == ("clear", "cloudy")
    assert found.counts() == {"clear": 1, "cloudy": 2}
    assert found.left_out == {"odd": 1}


@pytest.mark.parametrize("name", ["dataset_0", "dataset_1"])
@pytest.mark.parametrize("given", [{"mapping": {"normal": "x"}}, {"table": {"normal": "x"}}])
def test_the_papers_labels_are_not_mapped_in_silence(archives, name, given):
    with pytest.raises(UsageError) as error:
        open_dataset(archives, name, **given)
    assert error.value.code == "unused_option"


def test_pretraining_is_refused_where_nothing_is_pretrained(archives, tmp_path):
    no_images(tmp_path / "images", "normal", "bacterial", "viral")
    for data, name in ((archives, "dataset_1"), (tmp_path / "images", "dataset_0")):
        with pytest.raises(UsageError) as error:
            open_dataset(data, name, pretraining="clean")
        assert error.value.code == "unused_option"
    whole = open_dataset(archives, "dataset_0", pretraining="paper")
    clean = open_dataset(archives, "dataset_0", pretraining="clean")
    assert len(clean.cases) < len(whole.cases)
    assert open_dataset(archives, "dataset_0").cases == clean.cases


def test_damaged_files_are_refused_or_left_out_and_listed(tmp_path):
    for number in range(4):
        write_image(tmp_path / ("clear" if number % 2 else "cloudy") / f"{number}.png", number)
    (tmp_path / "clear" / "half.png").write_bytes(
        (tmp_path / "clear" / "1.png").read_bytes()[:3000]
    )
    (tmp_path / "cloudy" / "empty.png").touch()
    with pytest.raises(DataError, match="--skip-damaged") as error:
        open_dataset(tmp_path, "dataset_1")
    assert error.value.code == "damaged_images"
    found = open_dataset(tmp_path, "dataset_1", skip_damaged=True)
    assert {(one.path, one.code) for one in found.damaged} == {
        ("clear/half.png", "truncated_image"),
        ("cloudy/empty.png", "empty_file"),
    }
    assert sorted(case.path.name for case in found.cases) == ["0.png", "1.png", "2.png", "3.png"]


def test_a_class_of_damaged_files_alone_is_refused_all_the_same(tmp_path):
    write_image(tmp_path / "clear" / "1.png")
    no_images(tmp_path, "cloudy")
    with pytest.raises(DataError, match="none of cloudy"):
        open_dataset(tmp_path, "dataset_1", skip_damaged=True)


def test_an_evaluation_and_an_audit_take_labels_for_the_networks_classes(tmp_path):
    for number, label in enumerate(("healthy", "COVID19", "odd")):
        write_image(tmp_path / label / "1.png", number)
    labels = LabelSet(("normal", "covid19"))
    asked = {"mapping": {"odd": ""}, "table": {"healthy": "normal", "absent": "normal"}}
    for read in (
        open_cases(tmp_path, labels=labels, **asked),
        open_all(tmp_path, labels, **asked),
    ):
        assert [case.label for case in read.cases] == ["covid19", "normal"]
        assert read.notices[-3:-1] == (
            "labels: healthy counts as normal (1 image)",
            "left out, since they belong to none of the classes: 1 image of odd",
        )
        assert "taken as 'covid19'" in read.notices[-1]
    for opened in (open_all, lambda data, names, **given: open_cases(data, labels=names, **given)):
        with pytest.raises(UsageError) as error:
            opened(tmp_path, labels, mapping={"odd": "pneumonia"})
        assert error.value.code == "bad_label"


def test_an_audit_of_archives_says_what_is_left_out(archives):
    read = open_all(archives, MULTI_SOURCE)
    assert read.notices[-1] == (
        "left out, since they belong to none of the classes: 4 images of unknown"
    )


def test_one_source_of_archives_is_a_data_set_of_its_own_labels(tmp_path):
    rows = ["filename,label,source"]
    for number, (source, label) in enumerate(
        [("nih", "normal"), ("nih", "pneumonia"), ("rsna", "normal")]
    ):
        write_image(tmp_path / source / f"{number}_0.png", seed=number)
        rows.append(f"{source}/{number}_0.png,{label},{source}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    dataset = open_dataset(tmp_path, "dataset_1", sources=["nih"])
    assert dataset.counts() == {"normal": 1, "pneumonia": 1}
    mapped = open_dataset(tmp_path, "dataset_1", sources=["NIH"], mapping={"pneumonia": "sick"})
    assert mapped.labels.names == ("normal", "sick")
    with pytest.raises(UsageError) as error:
        open_dataset(tmp_path, "dataset_1", sources=["nhi"])
    assert error.value.code == "unknown_source"


def test_parts_that_are_drawn_beside_given_ones_are_told_with_the_data_set(tmp_path):
    lines = ["path,label,patient,split"]
    for number in range(6):
        write_image(tmp_path / f"{number}.png", seed=number)
        lines.append(f"{number}.png,{'ab'[number % 2]},p{number},{('train', 'test')[number // 4]}")
    (tmp_path / "images.csv").write_text("\n".join(lines) + "\n")
    told = " ".join(open_dataset(tmp_path / "images.csv", "dataset_1").notices)
    assert "the data give no part validation: drawn from the training part" in told
