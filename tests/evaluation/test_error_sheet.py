"""The errors of an evaluation: all in a table, the surest in a picture."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from cxr_transfer.evaluation.error_sheet import SHOWN, error_sheet, most_confident_errors
from cxr_transfer.evaluation.evaluate import evaluate_checkpoint
from cxr_transfer.labels import DATASET_1, LabelSet
from cxr_transfer.models.checkpoint import save_checkpoint
from cxr_transfer.models.forward import probabilities
from cxr_transfer.models.registry import build
from cxr_transfer.radiograph import Preprocessing, read_radiograph
from cxr_transfer.runs.validation_scores import write_validation
from cxr_transfer.training.tensors import ImageTensors
from made import case, grey, write_image

SIDE = 48
WARNING = "This picture holds the images themselves"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A network that calls every image normal, one with more certainty than another."""
    torch.manual_seed(4)
    network = build("simple_cnn", 3, size=(SIDE, SIDE), epsilon=1e-3)
    with torch.no_grad():
        network.head.bias.copy_(torch.tensor([5.0, 0.0, 0.0]))
    folder = tmp_path_factory.mktemp("checkpoint")
    card = {
        "name": "made",
        "architecture": "simple_cnn",
        "labels": DATASET_1.names,
        "preprocessing": Preprocessing(height=SIDE, width=SIDE),
        "epsilon": 1e-3,
    }
    save_checkpoint(folder, network, card)
    labels = ["normal"] * 7 + ["bacterial", "covid19"]
    images = torch.from_numpy(np.stack([grey(i, SIDE, SIDE) for i in range(9)])[:, None])
    held_out = ImageTensors(images, torch.tensor([DATASET_1.target(label) for label in labels]))
    cases = [case(f"{i}.png", label) for i, label in enumerate(labels)]
    scores = probabilities(network, held_out.images).numpy()
    write_validation(folder, cases, scores, DATASET_1)
    return folder


@pytest.fixture(scope="module")
def tensors(tmp_path_factory):
    """Three normal images, two of a class unknown to the network, and `SHOWN` + 2 others."""
    root = tmp_path_factory.mktemp("images")
    labels = ["normal"] * 3 + ["sars"] * 2 + ["bacterial", "covid19"] * (SHOWN // 2 + 1)
    return [
        case(write_image(root / f"{i:02}.png", seed=i), label, patient=f"p{i} of nobody's business")
        for i, label in enumerate(labels)
    ]


def assessed(checkpoint, cases, out):
    return evaluate_checkpoint(checkpoint, cases, out, device="cpu", resamples=20)


def rows(path):
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def captions(figure):
    """Of every image that is shown, the lines under it."""
    return [[text.get_text() for text in axes.texts] for axes in figure.axes if axes.images]


def test_the_surest_error_comes_first_and_equals_keep_their_order():
    scored = np.array([[6, 4], [9, 1], [2, 8], [6, 4], [7, 3], [9, 1], [4, 6]]) / 10
    # The image of row 1 is called right, that of row 5 cannot be.
    assert most_confident_errors(np.array([1, 0, 0, 1, 1, -1, 0]), scored).tolist() == [
        2,
        4,
        0,
        3,
        6,
    ]


def test_no_error_is_found_where_there_is_none():
    assert (
        most_confident_errors(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])).tolist() == []
    )
    assert most_confident_errors(np.array([], dtype=np.int64), np.empty((0, 2))).tolist() == []


def test_every_error_is_in_the_table_and_the_first_in_the_picture(
    checkpoint, tensors, tmp_path, drawn
):
    content = assessed(checkpoint, tensors, tmp_path)
    wrong = rows(tmp_path / "errors.csv")
    told = {row["file"]: row for row in rows(tmp_path / "predictions.csv")}
    assert {row["file"] for row in wrong} == {radiograph.file for radiograph in tensors[5:]}
    assert [row["number"] for row in wrong] == [str(i + 1) for i in range(SHOWN + 2)]
    scores = [float(row["score_normal"]) for row in wrong]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 1, "else their order would say nothing"
    for row in wrong:
        del row["number"]
        assert row == told[row["file"]], "no more is told than of any image"
    assert content["errors"] == {"images": SHOWN + 2, "shown": SHOWN}

    (sheet,) = [
        figure for figure in drawn if figure._suptitle and "errors" in figure._suptitle.get_text()
    ]
    assert f"{SHOWN} of {SHOWN + 2} errors" in sheet._suptitle.get_text()
    assert captions(sheet) == [
        [f"{i}. {row['label']}", f"called normal {float(row['score_normal']):.3f}", "made"]
        for i, row in enumerate(wrong[:SHOWN], start=1)
    ]
    preprocessing = Preprocessing(height=SIDE, width=SIDE)
    shown = [axes.images[0].get_array() for axes in sheet.axes if axes.images]
    for image, row in zip(shown, wrong, strict=False):
        path = Path(row["file"])
        assert np.array_equal(image, preprocessing.apply(read_radiograph(path))), (
            "as the network saw it"
        )
    assert (tmp_path / "figures" / "errors.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_shows_the_sheet_beside_the_confusion_matrix_and_warns(
    checkpoint, tensors, tmp_path
):
    assessed(checkpoint, tensors, tmp_path)
    page = (tmp_path / "report.md").read_text()
    section = page.partition("## Errors\n")[2].partition("\n## ")[0]
    assert f"{SHOWN + 2} of {SHOWN + 5}." in section
    assert f"the first {SHOWN} as the network saw them" in section
    for link in ("figures/made_confusion.png", "errors.csv", "figures/errors.png"):
        assert f"]({link})" in section
        assert (tmp_path / link).is_file()
    assert WARNING in section
    assert "business" not in page, "patients are for the tables alone"
    assert "business" in (tmp_path / "errors.csv").read_text()


def test_without_errors_there_is_no_picture_not_even_that_of_before(checkpoint, tensors, tmp_path):
    assessed(checkpoint, tensors, tmp_path)
    content = assessed(checkpoint, tensors[:3], tmp_path)
    assert content["errors"] == {"images": 0, "shown": 0}
    assert not (tmp_path / "figures" / "errors.png").exists()
    assert rows(tmp_path / "errors.csv") == []
    page = (tmp_path / "report.md").read_text()
    assert "there is no error to show" in page
    assert "errors.png" not in page
    assert WARNING not in page


def test_an_image_of_an_unknown_class_is_no_error(checkpoint, tensors, tmp_path):
    content = assessed(checkpoint, tensors[3:5], tmp_path)
    assert content["errors"] is None
    assert rows(tmp_path / "errors.csv") == []
    assert not (tmp_path / "figures" / "errors.png").exists()
    assert "## Errors" not in (tmp_path / "report.md").read_text()


def test_long_and_odd_names_leave_the_score_and_the_other_images_their_place(tmp_path, drawn):
    labels = LabelSet(("a class of many, many words", "b"))
    odd = "a\udcff clinic\nof the " + "far " * 9
    cases = [dataclasses.replace(case("f.png", "b"), source=source) for source in (odd, "made")]
    images = np.zeros((2, 1, 64, 48), np.uint8)
    scored = np.array([[0.75, 0.25], [0.5, 0.5]])
    error_sheet(tmp_path / "f.png", labels, scored, cases, images, np.array([0, 1]), "made")
    assert captions(drawn[0])[0] == [
        "1. b",
        "called a class of man… 0.750",
        "a? clinic of the far far fa…",
    ]
