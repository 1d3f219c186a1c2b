"""The stages of an answer, called one after the other, answer as the predictor does."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.errors import MachineError
from cxr_transfer.inference import stages
from cxr_transfer.inference.predictor import Predictor

pytestmark = pytest.mark.parametrize("checkpoint", ["simple_cnn"], indirect=True)


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{number:02}.png" for number in range(20)]
    for seed, path in enumerate(paths):
        image = draw_radiograph(("normal", "covid19")[seed % 2], rng=np.random.default_rng(seed))
        Image.fromarray(image).save(path)
    paths[3].write_bytes(b"no image at all")
    paths[4].unlink()
    paths[5] = paths[5].rename(paths[5].with_suffix(".dcm"))  # a warning says so
    return [str(path) for path in paths]


@pytest.fixture
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the stages set it; put back behind the test


def through(checkpoint, files):
    """Answers of a chunk that goes through all stages, batch by batch."""
    predictor = Predictor.open(checkpoint)
    preparing = stages.Preparing(predictor.card.preprocessing, False)
    inferring = stages.Inferring(str(checkpoint), {})
    rows = [inferring(preparing(row)) for row in stages.read(stages.chunk_row(7, files))]
    assert {row["number"] for row in rows} == {7}
    assert [row["first"] for row in rows] == list(range(0, len(files), 16))
    return [answer for row in rows for answer in stages.answers_of(row)]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("travels", [stages.TRAVELS, 20_000, 0])
def test_the_stages_answer_as_the_predictor_does(checkpoint, files, monkeypatch, travels):
    """Whether contents travel, some of them, or none: what does not is read where it is decoded."""
    monkeypatch.setattr(stages, "TRAVELS", travels)
    expected = [answer.as_dict() for answer in Predictor.open(checkpoint).predict_files(files)]
    for one, other in zip(through(checkpoint, files), expected, strict=True):
        assert {**one, "ms": 0} == json.loads(json.dumps({**other, "ms": 0}))


def test_what_travels_is_bounded(checkpoint, files, monkeypatch):
    monkeypatch.setattr(stages, "TRAVELS", 20_000)
    for row in stages.read(stages.chunk_row(0, files)):
        contents = pickle.loads(row["contents"])
        assert sum(len(content or b"") for content in contents) <= 20_000
        assert len(contents) == len(json.loads(row["files"]))


@pytest.mark.usefixtures("one_thread")
def test_a_model_that_cannot_be_opened_is_told_as_a_row(checkpoint, files, tmp_path):
    inferring = stages.Inferring(str(tmp_path / "absent"), {})
    (row, *_) = stages.read(stages.chunk_row(0, files))
    preparing = stages.Preparing(Predictor.open(checkpoint).card.preprocessing, False)
    with pytest.raises(MachineError) as raised:
        stages.answers_of(inferring(preparing(row)))
    assert raised.value.code == "node_failed"


@pytest.mark.usefixtures("one_thread")
def test_what_ends_a_run_goes_through_the_stages_behind_it(checkpoint):
    """A bucket without its library, or without its server: no row of an image."""
    (row,) = stages.read(stages.chunk_row(0, ["gs://films/a.png"]))
    if not row["failed"]:
        pytest.skip("gcsfs is installed")
    preparing = stages.Preparing(Predictor.open(checkpoint).card.preprocessing, False)
    with pytest.raises(MachineError) as raised:
        stages.answers_of(stages.Inferring(str(checkpoint), {})(preparing(row)))
    assert raised.value.code == "missing_package"
    assert "cxr-transfer[gs]" in raised.value.message
