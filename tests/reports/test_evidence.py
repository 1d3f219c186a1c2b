"""Facts say where they are from; a file of another model is refused."""

import json

import pytest

from cxr_transfer.errors import DataError
from cxr_transfer.files import write_json
from cxr_transfer.reports.documents import gather
from cxr_transfer.reports.evidence import collect
from made_reports import COMMIT, RECIPE, audit, evaluation, make_run, validation


def test_a_fact_names_its_file_its_place_and_its_commit(tmp_path):
    run = make_run(tmp_path)
    evidence = collect(gather(run, evaluation=tmp_path / "report.json"))
    fact = evidence["figures.performance"]
    assert fact.file == f"{tmp_path.name}/report.json"
    assert (fact.path, fact.commit) == ("$.evaluation", COMMIT)
    assert "Accuracy 75.0 [70.0, 80.0] %" in fact.words
    assert evidence["data.disjoint"].file == "small/split.csv"
    assert evidence["data.left_out"].words == (
        "3 with the label unknown, 1 files that cannot be read were left out"
    )


def test_a_run_alone_proves_nothing_of_figures(tmp_path):
    evidence = collect(gather(make_run(tmp_path)))
    kinds = ("figures.", "audit.", "validation.")
    assert [name for name, fact in evidence.items() if name.startswith(kinds) and fact] == []
    assert evidence["training.selection"].words == "all: weights of epoch 2 of 3, by val_loss"


def test_reports_in_the_run_folder_are_found(tmp_path):
    run = make_run(tmp_path)
    for name, inner in (("report", "test"), ("audit", "audit"), ("validation", "validation")):
        content = json.loads((tmp_path / f"{name}.json").read_text())
        write_json(run / inner / f"{name}.json", content)
    evidence = collect(gather(run))
    assert evidence["figures.internal"].file == "test/report.json"
    assert evidence["audit.robustness"].words == "robustness: pass. <robustness> was read."
    assert evidence["validation.sources"].words == "nih (50 images)"


def test_a_check_that_was_not_done_proves_nothing(tmp_path):
    evidence = collect(gather(make_run(tmp_path), audit=tmp_path / "audit.json"))
    assert evidence["audit.heat_maps"] is None
    assert evidence["audit.failed"].words == "occlusion: <occlusion> was read."


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("evaluation", evaluation("00" * 32)),
        ("audit", audit("00" * 32)),
        ("validation", validation(RECIPE | {"sampling": "balanced"})),
        ("validation", validation() | {"kind": "model", "weights_sha256": ["00" * 32]}),
    ],
)
def test_files_of_another_model_are_refused(tmp_path, name, content):
    run = make_run(tmp_path)
    write_json(tmp_path / "other.json", content)
    with pytest.raises(DataError) as caught:
        gather(run, **{name: tmp_path / "other.json"})
    assert caught.value.code == "other_weights"
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["evaluation", "audit", "validation"])
@pytest.mark.parametrize(("text", "code"), [("no", "not_json"), ("{}", "other_report")])
def test_what_is_no_report_is_refused(tmp_path, name, text, code):
    run = make_run(tmp_path)
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(DataError) as caught:
        gather(run, **{name: tmp_path / "other.json"})
    assert caught.value.code == code


def test_a_report_of_another_form_is_told_in_one_line(tmp_path):
    run = make_run(tmp_path)
    write_json(tmp_path / "audit.json", audit() | {"checks": [{"name": "robustness"}]})
    with pytest.raises(DataError) as caught:
        collect(gather(run, audit=tmp_path / "audit.json"))
    assert caught.value.code == "other_report"
