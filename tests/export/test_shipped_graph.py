"""A shipped graph has no numbers of its own, and becomes the one that was compared, to the bit."""

import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from cxr_transfer.errors import ModelError
from cxr_transfer.export.metadata import read_export_metadata
from cxr_transfer.export.openvino import convert
from cxr_transfer.export.shipped_graph import (
    GRAPH,
    LAYOUT,
    export_shipped,
    pack,
    put_together,
    ships_graph,
)
from cxr_transfer.inference.kept_conversions import converted_network
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.engine import Engine
from cxr_transfer.models.folder import safetensors_header
from cxr_transfer.models.metadata import CARD, RELEASED, WEIGHTS, read_card, released_models
from cxr_transfer.models.released import weights_at_hand
from cxr_transfer.openvino_runtime import abilities


def halve(folder):
    """Keep the kernels of a checkpoint in float16, as those of released models are."""
    content = (folder / WEIGHTS).read_bytes()
    _, metadata = safetensors_header(content)
    halved = {
        name: tensor.astype(np.float16) if tensor.ndim > 1 else tensor
        for name, tensor in safetensors.numpy.load(content).items()
    }
    content = safetensors.numpy.save(halved, metadata)
    (folder / WEIGHTS).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    card = read_card(folder / CARD).model_copy(update={"weights_sha256": digest})
    (folder / CARD).write_text(card.model_dump_json())


@pytest.fixture(scope="module")
def shipment(checkpoint, tmp_path_factory):
    """A folder with a shipped model, and the graph that it was made from; no test changes it."""
    place = tmp_path_factory.mktemp("shipment")
    folder = place / "model"
    shutil.copytree(checkpoint, folder)
    halve(folder)
    convert(folder, place / "graph.xml")
    pack(place / "graph.xml", folder / WEIGHTS, folder)
    return place


@pytest.fixture
def shipped(shipment, tmp_path):
    """A folder with a checkpoint and its shipped graph, and the graph that this was made from."""
    shutil.copytree(shipment, tmp_path, dirs_exist_ok=True)
    return tmp_path / "model"


def test_the_graph_is_put_together_to_the_bit(shipped, tmp_path):
    card = read_card(shipped / CARD)
    assert ships_graph(shipped / CARD)
    assert not shipped.joinpath(GRAPH).with_suffix(".bin").exists()
    out = tmp_path / "out" / "network.xml"
    converted = put_together(card, shipped, shipped / WEIGHTS, out)
    for suffix in (".xml", ".bin"):
        expected = (tmp_path / "graph.xml").with_suffix(suffix).read_bytes()
        assert out.with_suffix(suffix).read_bytes() == expected
    assert converted == read_export_metadata(out) == read_export_metadata(tmp_path / "graph.xml")


def test_the_layout_holds_no_weights(shipped):
    constants = json.loads((shipped / LAYOUT).read_text())["constants"]
    own = [one["of"] for one in constants if one["kind"] == "bytes"]
    assert sum(map(len, own)) / 2 < 2000
    assert {one["kind"] for one in constants} > {"bytes", "tensor"}


def test_on_another_processor_the_scores_are_compared_once(shipped, tmp_path):
    card = read_card(shipped / CARD)
    description = (shipped / GRAPH).with_suffix(".json")
    content = json.loads(description.read_text()) | {"made_on": ["another"]}
    description.write_text(json.dumps(content))
    out = tmp_path / "out" / "network.xml"
    assert put_together(card, shipped, shipped / WEIGHTS, out).made_on == abilities()
    assert read_export_metadata(out).made_on == abilities()
    content["self_test"]["drawn"] = np.roll(content["self_test"]["drawn"], 1, axis=1).tolist()
    description.write_text(json.dumps(content))
    with pytest.raises(ModelError) as raised:
        put_together(card, shipped, shipped / WEIGHTS, out)
    assert raised.value.code == "other_processor"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda layout: layout["constants"].pop(), "wrong_hash"),
        (lambda layout: layout["constants"][-1].update(of="nowhere"), "bad_model"),
        (lambda layout: layout["constants"][0].update(kind="pickle"), "bad_model"),
        (lambda layout: layout["constants"].insert(1, layout["constants"][1]), "bad_model"),
        (lambda layout: layout.clear(), "bad_model"),
    ],
)
def test_a_layout_that_is_not_of_these_weights_is_refused(change, code, shipped, tmp_path):
    layout = json.loads((shipped / LAYOUT).read_text())
    change(layout)
    (shipped / LAYOUT).write_text(json.dumps(layout))
    with pytest.raises(ModelError) as raised:
        put_together(read_card(shipped / CARD), shipped, shipped / WEIGHTS, tmp_path / "o.xml")
    assert raised.value.code == code


def test_another_checkpoints_graph_is_refused(shipped, tmp_path):
    other = read_card(shipped / CARD).model_copy(update={"name": "another"})
    with pytest.raises(ModelError, match="another checkpoint") as raised:
        put_together(other, shipped, shipped / WEIGHTS, tmp_path / "o.xml")
    assert raised.value.code == "bad_model"


def test_a_checkpoint_without_a_graph_is_converted(checkpoint, tmp_path):
    assert not ships_graph(checkpoint / CARD)
    assert export_shipped(checkpoint, tmp_path / "o.xml", {}) is None


@pytest.mark.parametrize("name", released_models())
def test_a_shipped_graph_is_what_its_checkpoint_is_converted_to(name, cached_imagenet, tmp_path):
    converted = convert(RELEASED / name, tmp_path / "fresh.xml")
    graph, _, kept, _ = converted_network(RELEASED / name)
    fresh, shipped = (path.with_suffix(".bin") for path in (tmp_path / "fresh.xml", graph))
    assert shipped.read_bytes() == fresh.read_bytes()
    # Of another number of threads, or another processor, the last digits differ.
    assert kept.self_test.scores == pytest.approx(converted.self_test.scores, abs=1e-5)
    images = np.random.default_rng(0).integers(0, 255, (2, 1, *kept.card.preprocessing.size))
    one, other = (
        Engine(path).answer(images.astype(np.uint8)) for path in (fresh.with_suffix(".xml"), graph)
    )
    assert all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


@pytest.mark.parametrize("name", released_models())
def test_a_released_model_answers_and_is_exported_without_torch(name, cached_imagenet, tmp_path):
    script = (
        "import sys; from pathlib import Path; from cxr_transfer import Predictor; "
        "from cxr_transfer.export.formats import export; "
        "Predictor.released(sys.argv[1]); export(Path(sys.argv[1]), Path(sys.argv[2])); "
        "print({'torch', 'scipy', 'sklearn', 'matplotlib'} & sys.modules.keys())"
    )
    words = [sys.executable, "-c", script, name, tmp_path / "x.xml"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")
    assert (
        read_export_metadata(tmp_path / "x.xml").card.name == read_card(RELEASED / name / CARD).name
    )


def test_the_changed_weights_load_as_the_whole_checkpoint(cached_imagenet):
    card, network = load_checkpoint(RELEASED / "model_3")
    assert weights_at_hand(card, RELEASED / "model_3" / WEIGHTS).is_file()
    assert len(network.state_dict()) == 320
