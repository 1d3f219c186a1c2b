"""One run, or all that lie in a folder."""

import json

import pytest

from cxr_transfer.errors import ModelError
from cxr_transfer.runs.members import MOST, member_folders


def run_in(folder):
    folder.mkdir(parents=True)
    (folder / "checkpoint.json").touch()
    return folder


def test_a_run_stands_for_itself_whatever_lies_in_it(tmp_path):
    run = run_in(tmp_path / "run")
    run_in(run / "without_clinic")
    assert member_folders(run) == (run,)
    assert member_folders(run / "checkpoint.json") == (run / "checkpoint.json",)
    assert member_folders(tmp_path / "model_3") == (tmp_path / "model_3",)


def test_a_folder_of_runs_stands_for_all_of_them(tmp_path):
    runs = [
        run_in(tmp_path / f"fold_{fold}" / "mine" / f"seed_{seed}")
        for fold in (1, 2)
        for seed in (0, 1)
    ]
    assert member_folders(tmp_path) == tuple(runs)
    assert member_folders(tmp_path / "fold_2") == tuple(runs[2:])
    (tmp_path / "empty").mkdir()
    assert member_folders(tmp_path / "empty") == (tmp_path / "empty",)


def test_a_cross_validation_stands_for_the_runs_that_it_chose(tmp_path):
    chosen = run_in(tmp_path / "fold_1" / "a" / "seed_0")
    run_in(tmp_path / "fold_1" / "b" / "seed_0")
    names = {"members": ["fold_1/a/seed_0", "../elsewhere"]}
    (tmp_path / "report.json").write_text(json.dumps(names))
    assert member_folders(tmp_path) == (chosen,), "and none leads out of the folder"


def test_more_runs_than_can_be_meant_are_refused(tmp_path):
    for number in range(MOST + 1):
        run_in(tmp_path / str(number))
    with pytest.raises(ModelError) as error:
        member_folders(tmp_path)
    assert error.value.code == "too_many_members"
