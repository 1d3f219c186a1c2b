"""What lies beside a checkpoint is read without its images; openings are counted, torn or not."""

import dataclasses
import os
import threading

import pytest

from cxr_transfer.datasets.manifest import write_manifest
from cxr_transfer.models.metadata import Checkpoint, fingerprint
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.runs.run_folder import (
    TEST_SET_ACCESS_FILE,
    access_sentence,
    own_overlap,
    parts,
    patients_in_several_parts,
    record_test_set_access,
    recorded_accesses,
)
from made import case

CASES = [
    case("1.png", "normal", "ann", split="train", sha256="a" * 64, pixels="p1", age=30.0, sex="F"),
    case("2.png", "covid19", "bob", split="validation", sha256="b" * 64, pixels="p2"),
    case("3.png", "normal", "cat", split="test", sha256="c" * 64, pixels="p3", licence="CC0"),
    case("4.png", "covid19", "dan", split="test", sha256="d" * 64, pixels="p4"),
]


@pytest.fixture
def folder(tmp_path):
    write_manifest(tmp_path / "split.csv", CASES)
    return tmp_path


def card(images=(), patients=()):
    return Checkpoint(
        name="m",
        architecture="simple_cnn",
        labels=("normal", "covid19"),
        preprocessing=Preprocessing(),
        epsilon=1e-3,
        weights_sha256="0" * 64,
        seen={
            "images": [fingerprint(image) for image in images],
            "patients": [fingerprint(patient) for patient in patients],
        },
    )


def test_parts_are_read_though_no_image_is_there(folder):
    rows = parts(folder)
    assert [(row.label, row.patient, row.split) for row in rows] == [
        (each.label, each.patient, each.split) for each in CASES
    ]
    assert (rows[0].age, rows[0].sex, rows[2].licence, rows[3].licence) == ("30", "F", "CC0", "")


def test_without_a_split_there_are_no_parts_and_no_count(tmp_path):
    assert parts(tmp_path) == ()
    assert record_test_set_access(tmp_path, "evaluate", CASES, "0" * 64) is None
    assert list(tmp_path.iterdir()) == []
    assert "Not done" in access_sentence(recorded_accesses(tmp_path))


@pytest.mark.parametrize(
    ("images", "patients", "found"),
    [([], [], 0), (["p1"], ["ann"], 0), (["p3"], [], 1), (["p3"], ["cat", "dan"], 2)],
)
def test_test_images_that_training_saw_are_counted(folder, images, patients, found):
    assert own_overlap(card(images, patients), parts(folder)) == found


def test_a_patient_in_two_parts_is_counted_once(tmp_path):
    again = dataclasses.replace(CASES[2], path=CASES[2].path.with_name("5.png"), patient="ann")
    write_manifest(tmp_path / "split.csv", [*CASES, again])
    assert patients_in_several_parts(parts(tmp_path)) == 1


def test_every_opening_of_the_test_part_is_counted_and_nothing_else(folder):
    assert recorded_accesses(folder) == {"times": 0, "by": {}}
    record_test_set_access(folder, "study", CASES[2:], "0" * 64)
    record_test_set_access(folder, "audit", CASES, "0" * 64)
    record_test_set_access(folder, "evaluate", CASES[:2], "0" * 64)  # no image of the test part
    found = record_test_set_access(folder, "study", CASES[3:], "0" * 64)
    assert found == recorded_accesses(folder) == {"times": 3, "by": {"study": 2, "audit": 1}}
    lines = (folder / TEST_SET_ACCESS_FILE).read_text().splitlines()
    assert [line.split(",")[1:3] for line in lines[1:]] == [
        ["study", "2"], ["audit", "2"], ["study", "1"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    "left", ["time,com", "time,command,images,data_hash,weights_sha256\n2026,stu"]
)
def test_a_line_that_was_cut_off_spoils_no_other(folder, left):
    (folder / TEST_SET_ACCESS_FILE).write_text(left)
    for _ in range(2):
        found = record_test_set_access(folder, "evaluate", CASES, "0" * 64)
    assert found == {"times": 2, "by": {"evaluate": 2}}


def test_two_at_once_lose_no_line(folder):
    def open_often():
        for _ in range(20):
            record_test_set_access(folder, "evaluate", CASES, "0" * 64)

    threads = [threading.Thread(target=open_often) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorded_accesses(folder)["times"] == 60


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to_stops_no_evaluation(folder):
    folder.chmod(0o500)
    assert record_test_set_access(folder, "evaluate", CASES, "0" * 64) == {"times": 0, "by": {}}
    folder.chmod(0o700)
