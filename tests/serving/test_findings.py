"""A model of several findings over HTTP: what is named, and what a heat map is of."""

import pytest
import torch

from cxr_transfer.inference.answer_words import NO_THRESHOLDS
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.models.checkpoint import save_checkpoint
from cxr_transfer.models.registry import build
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.serving.schemas import ImageAnswer, ModelCard
from serving.asking import as_bytes, phantom, running, send

SIDE = 48
FINDINGS = ("Edema", "Effusion", "Mass")


@pytest.fixture(scope="module")
def several(tmp_path_factory, cache):
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("several")
    network = build("simple_cnn", 3, size=(SIDE, SIDE), epsilon=1e-3)
    with torch.no_grad():  # Two are named of every image, one of none.
        network.head.bias.copy_(torch.tensor([4.0, 3.0, -4.0]))
    card = {
        "name": "several",
        "architecture": "simple_cnn",
        "labels": FINDINGS,
        "task": "multi_label",
        "preprocessing": Preprocessing(height=SIDE, width=SIDE),
        "epsilon": 1e-3,
    }
    save_checkpoint(folder, network, card)
    return folder


def test_without_a_reference_the_thresholds_are_even_and_that_is_said(several):
    predictor = Predictor.open(several)
    assert predictor.thresholds == dict.fromkeys(FINDINGS, 0.5)
    assert NO_THRESHOLDS in predictor.notes
    answer = predictor.predict(phantom())
    assert answer.findings == ("Edema", "Effusion")
    assert answer.label == "Edema|Effusion"
    assert sum(answer.probabilities.values()) > 1.5


def test_the_api_names_the_findings_and_whose_map_it_is(several):
    with running(several) as server, server.client() as client:
        (model,) = client.get("/v1/models").json()["models"]
        assert ModelCard.model_validate(model).task == "multi_label"
        assert model["thresholds"] == dict.fromkeys(FINDINGS, 0.5)
        (plain,) = send(client, as_bytes(phantom())).json()["answers"]
        assert plain["findings"] == ["Edema", "Effusion"]
        assert plain["label"] == "Edema|Effusion"
        files = {"files": ("a.png", as_bytes(phantom()))}
        response = client.post("/v1/predict", files=files, data={"heat_map": "true"})
        answer = ImageAnswer.model_validate(response.json()["answers"][0])
        assert answer.heat_map.startswith("data:image/png")
        assert answer.heat_map_of == "Edema"
        pdf = client.post("/v1/report", files=files)
        assert pdf.content.startswith(b"%PDF")
