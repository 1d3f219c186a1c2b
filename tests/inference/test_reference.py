"""What a reference does to predictions: calibrated scores, strangers refused, abstention."""

import dataclasses
import shutil

import numpy as np
import pytest

from cxr_transfer.cli.export import export
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.index import index
from cxr_transfer.datasets.manifest import write_manifest
from cxr_transfer.errors import ImageError, UsageError
from cxr_transfer.export.metadata import read_export_metadata
from cxr_transfer.export.openvino import convert
from cxr_transfer.inference.answer_words import NO_ABSTENTION, NO_REFERENCE
from cxr_transfer.inference.explain import Explainer
from cxr_transfer.inference.predictor import Predictor, not_sure
from cxr_transfer.inference.table import predict_into, resumable
from cxr_transfer.inference.writers import as_lines
from cxr_transfer.models.metadata import read_card
from cxr_transfer.models.reference import TrainingReference
from cxr_transfer.statistics.temperature import at_temperature
from cxr_transfer.training.reference import fit_reference
from made import write_image
from random_checkpoint import any_network

LABELS = ("normal", "bacterial", "covid19")


@pytest.fixture(scope="module")
def run(checkpoint, tmp_path_factory):
    """A run folder with its images: 24 to train on, 12 to validate on, which say nothing to it."""
    folder = tmp_path_factory.mktemp("run")
    for file in checkpoint.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    cases = [
        Case(
            path=write_image(folder / "images" / f"{number:02}.png", number),
            label=LABELS[number % 3],
            patient=f"p{number}",
            source=("here", "there")[number % 2],
            split="train" if number < 24 else "validation",
        )
        for number in range(36)
    ]
    write_manifest(folder / "split.csv", index(cases))
    return folder


def test_a_temperature_changes_scores_as_it_says_and_not_their_order(run):
    # Not what is fitted: of a network with random weights that may be none.
    reference = dataclasses.replace(fit_reference(run), temperature=1.7)
    assert reference.calibrated
    before = Predictor.open(run)
    image = run / "images" / "00.png"
    plain = before.predict(image)
    reference.save(run)
    try:
        after = Predictor.open(run).predict(image)
    finally:
        (run / "reference.safetensors").unlink()
    assert not plain.calibrated
    assert after.calibrated
    assert after.label == plain.label
    expected = at_temperature(
        np.array([list(plain.probabilities.values())], np.float32), reference.temperature
    )
    assert list(after.probabilities.values()) == pytest.approx(expected[0], abs=1e-4)


@any_network
def test_without_a_temperature_the_scores_stay(run, tmp_path):
    reference = fit_reference(run)  # of 12 validation images: too few to find one
    assert reference.temperature_check.reason == "too_few_images"
    assert reference.temperature is None
    assert not reference.calibrated
    sha256 = read_card(run / "checkpoint.json").weights_sha256
    reference.save(tmp_path)
    again = TrainingReference.load(tmp_path, weights_sha256=sha256)
    assert again.temperature is None
    predictor = Predictor.open(run)
    before = predictor.predict(run / "images" / "00.png")
    predictor.reference = again
    after = predictor.predict(run / "images" / "00.png")
    assert after.probabilities == before.probabilities
    assert not after.calibrated


@any_network
def test_an_unfamiliar_image_gets_no_class(run, monkeypatch):
    reference = fit_reference(run)
    predictor = Predictor.open(run)
    image = run / "images" / "01.png"
    assert predictor.predict(image).status == "ok"
    predictor.reference = reference
    object.__setattr__(reference, "ood_distance", 0.0)
    refused = predictor.predict(image)
    assert (refused.status, refused.code) == ("cannot_assess", "out_of_distribution")
    assert refused.label is None
    assert refused.probabilities == {}


def with_coverage(run, folder, coverage):
    """A copy of the run whose recipe wants this share answered."""
    shutil.copytree(run, folder)
    card = read_card(folder / "checkpoint.json")
    card = card.model_copy(update={"recipe": {"coverage": coverage}})
    (folder / "checkpoint.json").write_text(card.model_dump_json())
    return folder


@pytest.mark.slow
@any_network
def test_of_images_as_unsure_as_those_left_out_no_class_is_given(run, tmp_path):
    folder = with_coverage(run, tmp_path / "run", 0.5)
    fit_reference(folder).save(folder)
    predictor = Predictor.open(folder)
    assert predictor.reference.coverage == 0.5
    assert predictor.reference.confidence_threshold == round(
        predictor.reference.confidence_threshold, 6
    )
    validation = [folder / "images" / f"{number:02}.png" for number in range(24, 36)]
    answers = [predictor.predict(image) for image in validation]
    told = [answer for answer in answers if answer.status == "ok"]
    refused = [answer for answer in answers if answer.status != "ok"]
    assert 5 <= len(told) <= 8
    assert {answer.code for answer in refused} == {"not_sure"}
    assert all(answer.label is None for answer in refused)
    least = predictor.reference.confidence_threshold
    # Between which classes it could not tell is said all the same.
    assert all(tuple(answer.probabilities) == LABELS for answer in refused)
    assert max(max(answer.probabilities.values()) for answer in refused) < least
    (line,) = as_lines(refused[:1], LABELS)
    highest = 100 * max(refused[0].probabilities.values())
    assert "[not_sure]" in line
    assert f"{highest:.1f}" in line.split("[not_sure]")[1]
    assert min(max(answer.probabilities.values()) for answer in told) >= least - 1e-4
    assert f"below the {100 * least:.1f} that" in refused[0].message
    with pytest.raises(ImageError) as raised:
        Explainer.open(folder).explain(refused[0].file)
    assert raised.value.code == "not_sure"


@any_network
def test_a_score_just_below_the_limit_reads_as_below_it(run):
    reference = dataclasses.replace(fit_reference(run), confidence_threshold=0.412, coverage=0.9)
    said = not_sure(reference, np.array([0.408, 0.3, 0.292], np.float32))
    assert "40.8 of 100, below the 41.2 that 90 % of the images" in said


@pytest.mark.slow
@any_network
def test_where_the_limit_is_not_known_it_is_said_that_it_abstains_from_nothing(run, tmp_path):
    folder = with_coverage(run, tmp_path / "run", 0.5)
    exported = tmp_path / "network.xml"
    convert(folder, exported)
    for alone in (folder, exported):
        assert Predictor.open(alone).notes == (NO_REFERENCE, NO_ABSTENTION)
    reference = fit_reference(folder)
    few = reference.calibration_words
    assert few == "Scores are not calibrated: there are fewer than 100 validation images (12)."
    dataclasses.replace(reference, confidence_threshold=None, coverage=None).save(folder)
    assert Predictor.open(folder).notes == (few, NO_ABSTENTION)
    reference.save(folder)
    assert Predictor.open(folder).notes == (few,)
    dataclasses.replace(reference, temperature=1.3).save(folder)
    assert Predictor.open(folder).notes == ()
    assert Predictor.open(run).notes == (NO_REFERENCE,)


@pytest.mark.slow
@any_network
def test_an_export_tells_other_tools_when_no_class_is_given(run, tmp_path):
    folder = with_coverage(run, tmp_path / "run", 0.5)
    reference = fit_reference(folder)
    reference.save(folder)
    export(folder, tmp_path / "network.xml")
    found = read_export_metadata(tmp_path / "network.xml")
    assert found.temperature == reference.temperature
    assert (found.confidence_threshold, found.coverage) == (reference.confidence_threshold, 0.5)


@pytest.mark.slow
@any_network
def test_a_run_that_was_stopped_goes_on_under_no_other_coverage(run, tmp_path):
    folder = with_coverage(run, tmp_path / "run", 0.5)
    fit_reference(folder).save(folder)
    images, out = sorted((folder / "images").iterdir()), tmp_path / "x.csv"
    with resumable(Predictor.open(folder), images, out):
        pass  # stopped before the first chunk was done
    card = read_card(folder / "checkpoint.json")
    card = card.model_copy(update={"recipe": {"coverage": 0.8}})
    (folder / "checkpoint.json").write_text(card.model_dump_json())
    fit_reference(folder).save(folder)
    with pytest.raises(UsageError, match="confidence_threshold, coverage;") as raised:
        predict_into(Predictor.open(folder), images, out)
    assert raised.value.code == "other_run"


@any_network
def test_a_recipe_that_answers_all_abstains_from_none(run, tmp_path):
    reference = fit_reference(run)
    assert reference.confidence_threshold is None
    assert reference.accepts(np.array([[0.34, 0.33, 0.33]], np.float32)).all()
    reference.save(tmp_path)
    sha256 = read_card(run / "checkpoint.json").weights_sha256
    assert TrainingReference.load(tmp_path, weights_sha256=sha256).confidence_threshold is None
