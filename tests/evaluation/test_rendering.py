"""Templates leave no hole: a missing fact is an error, a name that others chose does nothing."""

import re
from pathlib import Path

import numpy as np
import pytest
from markdown_it import MarkdownIt

from cxr_transfer.audits import report as audit_page
from cxr_transfer.audits.inputs import Check
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.manifest import write_manifest
from cxr_transfer.evaluation import evaluation_page, report
from cxr_transfer.evaluation.model_card import model_card
from cxr_transfer.evaluation.rendering import FOLDERS, render
from cxr_transfer.files import write_json
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.metadata import RELEASED, Checkpoint, read_card
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.statistics.metrics import evaluate
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.text import markdown

RENDER = MarkdownIt("commonmark").enable("table")
NAME = "<b>|`x`_y_ [a](http://b) **c** &lt;"
OTHER = f"{NAME} other"
LABELS = LabelSet((NAME, OTHER))
WEIGHTS = "ab" * 32
OPENED = {"times": 1, "by": {NAME: 1}}
HALF = Estimate(0.5, 0.4, 0.6).as_dict()
CALLED = {"source": NAME, "label": NAME, "images": 2, "called": {NAME: HALF, OTHER: HALF}}
HEAD = {
    "checkpoint": {"weights_sha256": WEIGHTS},
    "data_hash": "cd" * 32,
    "commit": "0" * 40,
    "time": "2026-01-03T00:00:00+00:00",
    "score_scale": "as the network gives them",
    "intervals": "made so",
}


def checkpoint():
    return Checkpoint(
        name="small",
        architecture="simple_cnn",
        labels=LABELS.names,
        preprocessing=Preprocessing(),
        epsilon=1e-3,
        weights_sha256=WEIGHTS,
    )


def scores():
    table = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    files = tuple("abcd")
    return Scores(LABELS, np.array([0, 1, 0, 1]), table, files, files)


def parts(tokens):
    for token in tokens:
        yield token
        yield from parts(token.children or ())


def check_inert(page):
    """Every foreign name is seen as it is; none is markup, none ends a cell."""
    found = list(parts(RENDER.parse(page)))
    assert not {one.type for one in found} & {"html_inline", "html_block"}
    links = [one.attrs["href"] for one in found if one.type == "link_open"]
    assert not [link for link in links if link.startswith("http")]
    assert "".join(one.content for one in found if one.type == "text").count(NAME) > 3
    for table in re.findall(r"(?:^\|.*\n)+", page, re.M):
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(bars) == 1, table


def test_names_in_an_evaluation_are_inert():
    point = {
        "threshold": 0.4,
        "sensitivity": HALF,
        "specificity": HALF,
        "prevalences": [{"prevalence": 0.1, "ppv": HALF, "npv": HALF}],
    }
    group = {"group": NAME, "images": 40, "patients": 40, "too_few": False, "accuracy": HALF}
    one = {"images": 2, "others": 2, "auroc": HALF}
    errors = dict.fromkeys(("brier", "log_loss", "ece", "ece_classwise"), HALF)
    worth = {
        "within_sources": {
            "compared": [{"source": NAME, "classes": {NAME: one}}],
            "one_class_only": [{"source": NAME, "label": OTHER}],
        },
        "subgroups": {"source": [group]},
        "gaps": {"source": {"gap": 0.1, "worst": NAME, "best": OTHER}},
        "calibration": {"before": errors, "after": None, "temperature_check": None},
        "operating_points": {NAME: {"sensitivity 0.95": point}},
        "risk_coverage": {"aurc": 0.1, "kept": []},
        "abstention": None,
    }
    content = HEAD | {
        "images": 4,
        "seen_in_training": 0,
        "damaged_files": 0,
        "errors": {"images": 1, "shown": 1},
        "groups": [CALLED],
        "test_set_accesses": OPENED,
        "worth": worth,
    }
    found = evaluate(scores(), resamples=20)
    check_inert(evaluation_page.page(checkpoint(), content, found))


def check_of(name, measured):
    return Check(name, "A title", "fail", True, f"{NAME} is what was found.", "fails", measured)


def test_names_in_an_audit_are_inert():
    left = {"sources": [NAME, OTHER], "images": 2, "auroc": {NAME: HALF}, "groups": [CALLED]}
    pair = {"classes": [NAME, OTHER], "on": ["age"], "images": 2, "matched": HALF, "all": HALF}
    checks = [
        check_of("outside", {"groups": [CALLED]}),
        check_of(
            "source_by_class",
            {"labels": [NAME], "sources": [OTHER], "counts": {OTHER: {NAME: 3}}},
        ),
        check_of(
            "left_out",
            {
                "left_out": [left | {"inside": HALF}],
                "not_possible": [{"sources": [NAME], "why": NAME}],
            },
        ),
        check_of("matched", {"pairs": [pair]}),
        check_of(
            "worst_group",
            {
                "sources": [
                    {
                        "source": NAME,
                        "images": 3,
                        "patients": 2,
                        "accuracy": HALF,
                        "auroc_macro": HALF,
                    }
                ],
                "groups": [
                    {"source": NAME, "label": OTHER, "images": 3, "patients": 2, "recall": HALF}
                ],
            },
        ),
        check_of(
            "operating_point",
            {
                "points": [
                    {
                        "source": NAME,
                        "label": OTHER,
                        "images": 2,
                        "others": 3,
                        "threshold": 0.5,
                        "sensitivity": HALF,
                        "false_alarms": HALF,
                        "false_alarms_elsewhere": 0.5,
                    }
                ]
            },
        ),
        check_of(
            "fairness",
            {
                "gaps": [
                    {
                        "axis": NAME,
                        "figure": "sensitivity",
                        "label": OTHER,
                        "lower": NAME,
                        "higher": OTHER,
                        "images": [20, 30],
                        "gap": HALF,
                        "p": 0.5,
                    }
                ]
            },
        ),
        check_of(
            "label_noise",
            {
                "likely_errors": 1,
                "images": [{"file": NAME, "given": NAME, "suggested": OTHER, "margin": 0.5}],
            },
        ),
    ]
    content = HEAD | {
        "verdict": "fail",
        "subject": {"kind": "checkpoint", "name": NAME},
        "images": {"scored": 4, "seen_in_training": 0, "elsewhere": 0},
        "accuracy": HALF,
        "auroc_macro": HALF,
        "not_done": [NAME],
        "test_set_accesses": OPENED,
        "lung_mask": "none",
        "precision": {"quoted_scores": "float32", "changed_images": "float32"},
    }
    check_inert(audit_page.page(NAME, content, checks))


def test_names_in_a_study_are_inert(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "_draw_study", lambda *drawn: None)
    row = report.Row(scores(), Estimate(1, 1, 1), "", WEIGHTS, None, resamples=20, seed=0)
    content = HEAD | {
        "generated_images": True,
        "input_size": None,
        "datasets": {"dataset_1": {NAME: 2, OTHER: 2}},
        "split": "patient",
        "folds": None,
        "seed": 0,
        "pretraining": "clean",
        "patients_in_two_parts": 0,
        "left_out": {"model_3": NAME},
        "test_set_accesses": {},
        "fold_by_fold": {},
    }
    report.write_study(tmp_path, content, {"model_1": row, "model_2": row})
    check_inert((tmp_path / "report.md").read_text())


def everything_known():
    """A card and a manifest in which every text is somebody else's."""
    fitted = {"name": NAME, "fit": "logistic", "penalty": 0.1}
    trained = {"name": NAME, "train": [NAME], "learning_rate": 0.1}
    kept = {"name": NAME, "kept_epoch": None, "epochs": 1}
    images = [
        Case(Path(f"{row}.png"), LABELS.names[row % 2], f"{row}", NAME, split=part, view=NAME,
             licence=NAME, sex=NAME, age=40.0, sha256=f"{row:064x}", pixels=f"{row}")
        for row, part in enumerate(("train", "train", "validation", "validation", "test", "test"))
    ]  # fmt: skip
    known = {
        "recipe": {"title": NAME, "stages": [fitted, trained]},
        "provenance": dict.fromkeys(("time", "commit", "precision", "device", "initial"), NAME)
        | {"seed": 7, "versions": {NAME: NAME}, "stages": [kept]},
        "data": dict.fromkeys(("name", "data_hash", "split_hash"), NAME)
        | {"images": {"train": 2, "validation": 2, "test": 2}}
        | {"damaged": 1, "left_out": {NAME: 1}},
    }
    return checkpoint().model_copy(update=known), images


def test_names_in_a_card_are_inert(tmp_path):
    card, images = everything_known()
    run = tmp_path / "study" / "run"
    run.mkdir(parents=True)
    (run / "checkpoint.json").write_text(card.model_dump_json())
    (run / "checkpoint.safetensors").write_bytes(b"")
    write_manifest(run / "split.csv", images)
    check = {"title": NAME, "verdict": "fail", "hard": True, "reading": f"{NAME} was found."}
    checks = [
        check | {"name": "occlusion"},
        check | {"name": "metadata", "verdict": NAME},
        check | {"name": "outside", "verdict": "not done"},
        check | {"name": "parts"},
    ]
    told = HEAD | {"score_scale": NAME, "intervals": NAME}
    audit = told | {"verdict": "fail", "checks": checks}
    errors = {"ece": HALF, "brier": HALF}
    point = {"threshold": 0.4, "sensitivity": HALF, "specificity": HALF}
    worth = {
        "subgroups": {NAME: [{"group": NAME, "images": 4, "too_few": False, "accuracy": HALF}]},
        "calibration": {"before": errors, "after": None, "temperature": None},
        "operating_points": {NAME: {NAME: point}},
    }
    metrics = evaluate(scores(), resamples=20).as_dict()
    evaluation = told | {"evaluation": metrics, "worth": worth, "time": NAME, "data_hash": NAME}
    pair = {"a": OTHER, "b": NAME, "accuracy_b_minus_a": HALF, "p_mcnemar_exact": 1, "p_holm": 1}
    model = metrics | {"weights_sha256": WEIGHTS}
    study = HEAD | {"models": {NAME: model}, "comparisons": [pair]}
    write_json(run.parent / "report.json", study)
    page = model_card(run, audit=audit, evaluation=evaluation)
    check_inert(page)
    # In backticks a name could not be markup anyhow.
    assert f"commit `{markdown(NAME[:12])}`, precision {markdown(NAME)} on" in page
    in_audit = {"accuracy": HALF, "auroc_macro": HALF, "images": {"scored": 4}, "data_hash": NAME}
    (run.parent / "report.json").unlink()
    check_inert(model_card(run, audit=audit | in_audit))


@pytest.mark.parametrize("released", ["model_3", "multi_source"])
def test_a_card_has_as_many_entries_as_it_says(released):
    page = model_card(RELEASED / released)
    titles = re.findall(r"^\*\*([^*]+)\*\*(?:: .*)?$", page, re.M)[1:]  # after the intended use
    assert len(titles) == len(set(titles)) == int(re.search(r" of (\d+) entries", page)[1])


def test_what_a_template_wants_and_nobody_gave_is_an_error():
    with pytest.raises(LookupError, match="facts"):
        render("model_card.md.j2", card=read_card(RELEASED / "model_3" / "checkpoint.json"),
               filled=1, entries=2)  # fmt: skip


def test_templates_of_two_rooms_do_not_hide_each_other():
    names = [path.name for folder in FOLDERS for path in folder.iterdir()]
    assert len(names) == len(set(names)) > 5
    assert all(name.endswith((".md.j2", ".tex.j2", ".html.j2", ".toml.j2")) for name in names)
