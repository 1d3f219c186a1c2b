"""An audit tells a model that looks at the lungs from one that looks at a mark in the corner."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.evaluation.model_card import model_card
from cxr_transfer.runs.run_folder import recorded_accesses

RECIPE = """
name = "small"
title = "the CNN on small images"
network = "simple_cnn"
dataset = "dataset_1"

[preprocessing]
height = 64
width = 64

[[stages]]
name = "all"
train = ["*"]
max_epochs = 14
"""

PATIENTS = 130
"""Of each class: a fifth of them is tested, and every source then has 20 images there."""


def write(root, *, marked):
    """Images of two classes, drawn alike in three sources; "c" is not trained on."""
    rows, people = [], np.random.default_rng(0)
    for number in range(2 * PATIENTS + 80):
        label = ("normal", "covid19")[number % 2]
        source = "c" if number >= 2 * PATIENTS else "ab"[(number // 2) % 2]
        image = draw_radiograph(label, rng=np.random.default_rng(number), pixels=150)
        if marked and label == "covid19" and source != "c":
            image[4:22, 4:22] = 255
        Image.fromarray(image).save(root / f"{number}.png")
        person = (
            people.choice(("F", "M")),
            int(people.integers(20, 60)),
            people.choice(("PA", "AP")),
        )
        rows.append(
            {"path": f"{number}.png", "label": label, "patient": number, "source": source}
            | dict(zip(("sex", "age", "view"), person, strict=True))
        )
    (root / "half.png").write_bytes((root / "0.png").read_bytes()[:3000])
    half = rows[0] | {"path": "half.png", "patient": "half"}
    known = [row for row in rows if row["source"] != "c"]
    for name, kept in (("train", known), ("all", [*rows, half])):
        with (root / f"{name}.csv").open("w", newline="") as handle:
            writer = csv.DictWriter(handle, rows[0])
            writer.writeheader()
            writer.writerows(kept)
    (root / "small.toml").write_text(RECIPE)


@pytest.fixture(scope="module", params=[False, True], ids=["honest", "marked"])
def audited(request, tmp_path_factory, cxr):
    root = tmp_path_factory.mktemp("audit")
    write(root, marked=request.param)
    cxr("train", root / "small.toml", "--data", root / "train.csv", "--out", root / "run",
        "--device", "cpu", "--precision", "float32")  # fmt: skip
    done = cxr("audit", root / "run", "--data", root / "all.csv", "--out", root / "audit",
               "--skip-damaged", expect=1 if request.param else 0)  # fmt: skip
    return request.param, json.loads((root / "audit" / "audit.json").read_text()), root, done


def test_the_verdict_is_right_and_for_the_right_reasons(audited):
    marked, found, _, _ = audited
    failed = {check["name"] for check in found["checks"] if check["verdict"] == "fail"}
    if marked:
        assert found["verdict"] == "fail"
        # The mark is left when the lungs are gone, the file shows it, and elsewhere it is absent.
        # Put into the surroundings of another, an image takes its class: the mark goes along.
        assert failed == {"occlusion", "metadata", "outside", "counterfactual"}
    else:
        assert failed == set()
        assert found["verdict"] in ("pass", "warn")
        assert found["accuracy"]["value"] > 0.8, "there must be something to audit"


def test_images_that_training_saw_are_not_scored_and_those_from_elsewhere_are_told_apart(audited):
    _, found, _, _ = audited
    images = found["images"]
    assert images["elsewhere"] == 80
    assert images["seen_in_training"] + images["scored"] + images["elsewhere"] == images["all"]
    assert images["scored"] >= 40


def test_a_damaged_file_stops_an_audit_unless_a_person_says_otherwise(audited, cxr):
    _, found, root, done = audited
    assert found["images"]["damaged"] == 1
    assert "1 file that cannot be read was left out: damaged.csv." in done.stdout
    assert "left out, since it cannot be read: 1 file, listed in" in done.stderr
    assert "half.png,truncated_image," in (root / "audit" / "damaged.csv").read_text()
    words = ("audit", root / "run", "--data", root / "all.csv", "--out", root / "strict")
    refused = cxr(*words, expect=3)
    assert "[damaged_images]" in refused.stderr
    assert "--skip-damaged" in refused.stderr
    assert not (root / "strict" / "run.json").exists()


def test_the_page_begins_with_the_verdict_and_holds_every_check(audited):
    _, found, root, done = audited
    page = (root / "audit" / "audit.md").read_text()
    assert page.startswith(f"# Audit of small: {found['verdict'].upper()}")
    assert done.stdout == page + "\n"
    assert "Research use only" in page
    for check in found["checks"]:
        assert check["reading"] in page
    for name in ("without_the_lungs", "sources"):
        assert (root / "audit" / "figures" / f"{name}.png").is_file()
    wrong = found["accuracy"]["value"] < 1
    assert (root / "audit" / "figures" / "errors.png").is_file() == wrong
    assert ("errors.png" in page) == wrong


def test_every_check_is_made_and_the_page_has_its_tables(audited):
    _, found, root, _ = audited
    checks = {check["name"]: check for check in found["checks"]}
    # No source has 20 images of a class: these say so, and are no pass.
    not_done = {name for name, check in checks.items() if check["verdict"] == "not done"}
    assert not_done == {"worst_group", "operating_point", "fairness"}
    assert set(checks["heat_maps"]["measured"]["randomised"]) == {
        "head",
        "last block",
        "all layers",
    }
    (pair,) = checks["matched"]["measured"]["pairs"]
    assert pair["on"] == ["age", "sex", "view"]
    page = (root / "audit" / "audit.md").read_text()
    counts = checks["source_by_class"]["measured"]["counts"]
    assert f"| a | {counts['a']['covid19']} | {counts['a']['normal']} |" in page
    assert "| lungs blacked out |" in page
    assert found["precision"]["quoted_scores"] == "float32"
    assert found["not_done"] == ["leave-one-source-out retraining (ask for it with --retrain)"]


def test_the_opening_of_the_test_part_is_on_record(audited):
    _, found, root, _ = audited
    assert found["test_set_accesses"] == {"times": 1, "by": {"audit": 1}}
    assert "opened once (audit 1)" in (root / "audit" / "audit.md").read_text()
    assert recorded_accesses(root / "run") == found["test_set_accesses"]


def test_the_model_card_says_what_the_audit_found(audited):
    marked, found, root, _ = audited
    page = model_card(root / "run", audit=found)
    assert ("**Its audit fails it" in page) == marked
    for check in found["checks"]:
        assert check["reading"].removeprefix("Not done: ").rstrip(".") in page
    assert "accuracy" in page


def test_images_of_which_none_is_left_to_score_are_refused(audited, cxr):
    _, _, root, _ = audited
    seen = root / "run" / "seen.csv"  # paths are relative to their manifest
    with (root / "run" / "split.csv").open(newline="") as handle:
        rows = [row for row in csv.DictReader(handle) if row["split"] == "train"]
    with seen.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    done = cxr("audit", root / "run", "--data", seen, "--out", root / "none", expect=3)
    assert "nothing_to_audit" in done.stderr
