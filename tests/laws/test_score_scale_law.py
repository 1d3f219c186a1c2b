"""One scale of scores: what a report's thresholds pick is what `cxr predict`'s own scores pick."""

import csv
import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cxr_transfer.cli.commands import app
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.index import index
from cxr_transfer.datasets.manifest import write_manifest
from cxr_transfer.evaluation.evaluate import evaluate_checkpoint
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.models.checkpoint import load_checkpoint, save_checkpoint
from cxr_transfer.models.forward import probabilities
from cxr_transfer.models.reference import reference_beside
from cxr_transfer.models.registry import build
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.runs.validation_scores import write_validation
from cxr_transfer.training.reference import fit_reference
from cxr_transfer.training.tensors import load_tensors
from made import write_image

LABELS = ("normal", "bacterial", "covid19")
PARTS = ("train", "validation", "test")
IMAGES = 120
SCALES = {
    "as the network gives them": None,
    "calibrated (temperature 0.6)": 0.6,
    "calibrated (temperature 2.5)": 2.5,
    "calibrated (temperature 11)": 11.0,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose network, of random weights, scores its images apart; its labels mean nothing."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(4)
    network = build("simple_cnn", 3, size=(48, 48), epsilon=1e-3)
    with torch.no_grad():
        network.head.weight.mul_(12)
    card = {
        "name": "sure",
        "architecture": "simple_cnn",
        "labels": LABELS,
        "preprocessing": Preprocessing(height=48, width=48),
        "epsilon": 1e-3,
    }
    save_checkpoint(folder, network, card)
    cases = index(
        [
            Case(
                path=write_image(folder / "images" / f"{number:03}.png", number),
                label=LABELS[(number // 7) % 3],
                patient=f"p{number // 2}",
                source="made",
                split=PARTS[number % 3],
            )
            for number in range(IMAGES)
        ]
    )
    write_manifest(folder / "split.csv", cases)
    checkpoint, network = load_checkpoint(folder)
    validation = [case for case in cases if case.split == "validation"]
    tensors = load_tensors(validation, checkpoint.preprocessing, checkpoint.label_set)
    scores = probabilities(network, tensors.images).numpy()
    write_validation(folder, validation, scores, checkpoint.label_set)
    fit_reference(folder).save(folder)
    return folder


def at(run, temperature):
    """The same run with another temperature in its reference, whatever suits its images."""
    known = load_checkpoint(run)[0]
    _, reference = reference_beside(run / "checkpoint.safetensors", known.weights_sha256)
    changed = dataclasses.replace(
        reference,
        temperature=temperature,
        ood_distance=1e6,
        confidence_threshold=None,
        coverage=None,
    )
    changed.save(run)


def predicted(run, paths):
    done = CliRunner().invoke(app, ["predict", *map(str, paths), "--model", str(run), "--json"])
    assert done.exit_code == 0, done.output
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return {line["file"].rpartition("/")[2]: line for line in map(json.loads, lines)}


@pytest.mark.parametrize("scale", SCALES)
def test_an_operating_point_picks_the_same_images_in_the_report_and_in_a_prediction(
    run, tmp_path, scale
):
    at(run, SCALES[scale])
    cases = [
        case
        for part in ("validation", "test")
        for case in index(
            [
                Case(
                    path=run / "images" / f"{number:03}.png",
                    label=LABELS[(number // 7) % 3],
                    patient=f"p{number // 2}",
                    source="made",
                )
                for number in range(IMAGES)
                if PARTS[number % 3] == part
            ]
        )
    ]
    report = evaluate_checkpoint(run, cases, tmp_path, resamples=5)
    answers = predicted(run, [case.path for case in cases])
    with (tmp_path / "predictions.csv").open(newline="") as handle:
        rows = {row["file"].rpartition("/")[2]: row for row in csv.DictReader(handle)}

    assert report["score_scale"] == scale
    assert scale in (tmp_path / "report.md").read_text()
    assert len(rows) == len(answers) == len(cases)
    for file, row in rows.items():
        answer = answers[file]
        assert row["predicted"] == answer["label"]
        assert (row["temperature"] or None) == (
            None if answer["temperature"] is None else str(answer["temperature"])
        )
        for label in LABELS:
            given = float(row[f"score_{label}"])
            assert given == pytest.approx(answer["probabilities"][label], abs=1.001e-6)

    truth = {case.path.name: case.label for case in cases}
    points = report["worth"]["operating_points"]
    assert set(points) == set(LABELS)
    picked_some = 0
    for label, of_label in points.items():
        for name, point in of_label.items():
            threshold = point["threshold"]
            # To a person it is told with every digit that it has.
            said = f"| {label} | {name} | {threshold:.6f} |"
            assert said in (tmp_path / "report.md").read_text()
            assert float(re.search(r"[\d.]+ \|$", said)[0][:-2]) == threshold
            here = {file for file, row in rows.items() if float(row[f"score_{label}"]) >= threshold}
            there = {
                file
                for file, answer in answers.items()
                if answer["probabilities"][label] >= threshold
            }
            assert here == there
            own = {file for file in truth if truth[file] == label}
            assert point["sensitivity"]["value"] == pytest.approx(len(here & own) / len(own))
            spared = len(truth) - len(own) - len(here - own)
            expected = spared / (len(truth) - len(own))
            assert point["specificity"]["value"] == pytest.approx(expected)
            picked_some += 0 < len(here) < len(truth)
    assert picked_some >= 4, "thresholds that tell nothing apart would show nothing"


def test_the_limit_of_abstention_leaves_the_same_images_in_the_report_and_in_a_prediction(
    run, tmp_path
):
    at(run, 3.0)
    card = json.loads((run / "checkpoint.json").read_text())
    (run / "checkpoint.json").write_text(json.dumps(card | {"recipe": {"coverage": 0.7}}))
    try:
        fitted = fit_reference(run)
        # The limit was chosen on scores as they are without a temperature: as given, here.
        dataclasses.replace(fitted, ood_distance=1e6).save(run)
        cases = index(
            [
                Case(run / "images" / f"{number:03}.png", LABELS[0], f"p{number}", "made")
                for number in range(0, IMAGES, 2)
            ]
        )
        report = evaluate_checkpoint(run, cases, tmp_path, resamples=5)
        predictor = Predictor.open(run)
        answers = [predictor.predict(case.path) for case in cases]
    finally:
        (run / "checkpoint.json").write_text(json.dumps(card))
        fit_reference(run).save(run)
    found = report["worth"]["abstention"]
    assert found["confidence_threshold"] == predictor.reference.confidence_threshold
    assert found["answered"] == sum(answer.status == "ok" for answer in answers)
    assert found["not_sure"] == sum(answer.code == "not_sure" for answer in answers) > 0
    limit = found["confidence_threshold"]
    for answer in answers:
        assert (max(answer.probabilities.values()) >= limit) == (answer.status == "ok")
    wrong = np.mean([answer.label != LABELS[0] for answer in answers if answer.status == "ok"])
    assert found["wrong_among_answered"]["value"] == pytest.approx(wrong)


def test_scales_differ_where_temperatures_do(run):
    """The law above would hold of a temperature that nobody applies, too."""
    image = run / "images" / "002.png"
    highest = []
    for temperature in (0.6, 2.5, 11.0):
        at(run, temperature)
        highest.append(max(Predictor.open(run).predict(image).probabilities.values()))
    assert highest[0] > highest[1] > highest[2] > 1 / 3
