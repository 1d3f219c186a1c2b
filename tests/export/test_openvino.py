"""A converted network is the checkpoint's network, or it is not kept."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from cxr_transfer.errors import ModelError, UsageError
from cxr_transfer.export import openvino
from cxr_transfer.export.metadata import read_export_metadata
from cxr_transfer.export.openvino import convert
from cxr_transfer.export.self_test import drawn_images, self_test_image
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.inference.prepare import prepare
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.engine import Engine
from cxr_transfer.models.forward import features, probabilities
from cxr_transfer.openvino_runtime import abilities
from cxr_transfer.provenance import processor_abilities
from random_checkpoint import any_network, not_the_large_one


@pytest.fixture(scope="module")
def conversion(checkpoint, tmp_path_factory):
    """A conversion that no test changes."""
    out = tmp_path_factory.mktemp("conversion") / "network.xml"
    convert(checkpoint, out)
    return out


@pytest.fixture
def converted(conversion, tmp_path):
    for file in conversion.parent.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path / conversion.name


def images(number, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, 1, 48, 48), dtype=np.uint8)


def refusal(act, code, kind=ModelError):
    with pytest.raises(kind) as raised:
        act()
    assert raised.value.code == code
    return raised.value.message


def test_scores_are_the_checkpoints_for_every_number_of_images(checkpoint, converted):
    _, network = load_checkpoint(checkpoint)
    engine = Engine(converted)
    for number in (1, 7):
        given = images(number, seed=number)
        expected = probabilities(network, torch.from_numpy(given)).numpy()
        assert np.abs(engine.scores(given) - expected).max() < 1e-5
        scores, seen = engine.answer(given)
        assert np.array_equal(scores, engine.scores(given))
        expected = features(network, torch.from_numpy(given)).numpy()
        assert seen.shape == expected.shape
        assert np.abs(seen - expected).max() < 1e-4 * np.abs(expected).max()


@any_network
def test_scores_that_were_given_out_do_not_change_with_the_next_image(converted):
    engine = Engine(converted)
    first = engine.scores(images(1, seed=1))
    both = engine.answer(images(1, seed=1))
    before = first.copy(), both[1].copy()
    engine.answer(images(1, seed=2))
    assert np.array_equal(first, before[0])
    assert np.array_equal(both[0], before[0])
    assert np.array_equal(both[1], before[1])


@any_network
def test_threads_are_as_many_as_a_batch_system_says(converted, monkeypatch):
    expected = Engine(converted).scores(images(3))
    for said in ("1", "2,1", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert np.allclose(Engine(converted).scores(images(3)), expected, atol=1e-6)


def test_bfloat16_is_another_precision_and_close(converted):
    exact = Engine(converted).scores(images(8))
    rounded = Engine(converted, precision="bfloat16").scores(images(8))
    assert np.abs(rounded - exact).mean() < 0.05
    refusal(lambda: Engine(converted, precision="float16"), "unknown_precision", UsageError)


@not_the_large_one
def test_int8_needs_training_images_and_stays_close(checkpoint, tmp_path):
    pytest.importorskip("nncf")
    out = tmp_path / "int8.xml"
    refusal(lambda: convert(checkpoint, out, precision="int8"), "no_calibration", UsageError)
    done = convert(checkpoint, out, precision="int8", calibration=images(24), check=images(12, 1))
    assert done.check["images"] == 12
    assert not done.check["drawn"]
    assert 0 < done.check["mean_difference"] < 0.02
    assert "FakeQuantize" in out.read_text()
    assert done.check["features_mean_difference"] > 0
    _, seen = Engine(out).answer(images(5))
    assert len(seen) == 5
    assert done.self_test.tolerance >= 0.02
    card, _ = load_checkpoint(checkpoint)
    Predictor.open(out).check(prepare(self_test_image(), card.preprocessing, quality_control=False))


AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
"""Keeps OpenVINO from VNNI, as a processor without it does: products of 8 bits saturate."""


def elsewhere(script, *arguments, **variables):
    """What a process writes that runs ``script`` with other ``variables``."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | variables,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@not_the_large_one
def test_int8_scores_alike_on_a_processor_without_vnni(checkpoint, tmp_path):
    pytest.importorskip("nncf")
    out = tmp_path / "int8.xml"
    convert(checkpoint, out, precision="int8", calibration=images(24), check=images(12, 1))
    np.save(tmp_path / "images.npy", images(12, 2))
    script = (
        "import sys, numpy\n"
        "from pathlib import Path\n"
        "from cxr_transfer.models.engine import Engine\n"
        "from cxr_transfer.inference.predictor import Predictor\n"
        "folder = Path(sys.argv[1])\n"
        "Predictor.open(folder / 'int8.xml')\n"
        "scores = Engine(folder / 'int8.xml').scores(numpy.load(folder / 'images.npy'))\n"
        "numpy.save(folder / 'scores.npy', scores)\n"
    )
    elsewhere(script, tmp_path, **AVX2)
    found, expected = np.load(tmp_path / "scores.npy"), Engine(out).scores(images(12, 2))
    assert np.abs(found - expected).max() < 1e-3


@pytest.mark.parametrize("checkpoint", ["resnet50_early"], indirect=True)
def test_int8_that_saturates_is_refused_wherever_it_does(checkpoint, tmp_path, monkeypatch):
    nncf = pytest.importorskip("nncf")
    settings = nncf.AdvancedQuantizationParameters

    def eight_bits(**_):
        return settings(overflow_fix=nncf.OverflowFix.DISABLE)

    monkeypatch.setattr(nncf, "AdvancedQuantizationParameters", eight_bits)
    given = {"precision": "int8", "calibration": images(24), "check": images(12, 1)}
    out = tmp_path / "int8.xml"
    if not {"avx512_vnni", "avx_vnni"} & set(processor_abilities()):
        refusal(lambda: convert(checkpoint, out, **given), "conversion_differs")
        return
    convert(checkpoint, out, **given)
    Predictor.open(out)
    script = (
        "import sys\n"
        "from cxr_transfer.errors import ModelError\n"
        "from cxr_transfer.inference.predictor import Predictor\n"
        "try: Predictor.open(sys.argv[1])\n"
        "except ModelError as error: print(error.code, error.message, end='')\n"
    )
    said = elsewhere(script, out, **AVX2)
    assert said.startswith("other_processor Expected")
    assert "\n" not in said
    assert "on this processor" in said


@pytest.mark.parametrize("precision", ["float32", "int8"])
@not_the_large_one
def test_a_conversion_is_compared_again_on_a_processor_of_other_abilities(
    checkpoint, tmp_path, precision
):
    if precision == "int8":
        pytest.importorskip("nncf")
    out = tmp_path / "network.xml"
    done = convert(
        checkpoint, out, precision=precision, calibration=images(24), check=images(12, 1)
    )
    assert done.made_on == abilities()
    spent = done.check["mean_difference" if precision == "int8" else "largest_difference"]
    bound = 0.02 if precision == "int8" else 1e-4
    assert done.self_test.drawn_tolerance == pytest.approx(bound - spent)
    drawn = drawn_images(done.card.preprocessing)
    assert np.allclose(done.self_test.drawn, Engine(out).scores(drawn), atol=1e-6)
    card = out.with_suffix(".json")
    content = json.loads(card.read_text())

    def keep(made_on, shift, **self_test):
        moved = [[scores[0] + shift, *scores[1:]] for scores in content["self_test"]["drawn"]]
        self_test = content["self_test"] | {"drawn": moved} | self_test
        card.write_text(json.dumps(content | {"made_on": made_on, "self_test": self_test}))

    # A mean over three classes.
    shift = 3 * bound if precision == "int8" else bound
    keep([*content["made_on"], "more"], 0.9 * (shift - 3 * spent))
    Predictor.open(out)
    keep([*content["made_on"], "more"], 1.1 * shift)
    assert "export" in refusal(lambda: Predictor.open(out), "other_processor")
    Predictor.open(out, precision="bfloat16")  # asked for, and another precision
    keep(content["made_on"], 1.1 * shift)
    Predictor.open(out)
    keep(["other"], float("nan"))
    refusal(lambda: Predictor.open(out), "bad_card")
    keep(["other"], 0.0, drawn_tolerance=0.03)
    assert "drawn_tolerance" in refusal(lambda: Predictor.open(out), "bad_card")
    keep(["other"], 0.0, drawn=[])
    refusal(lambda: Predictor.open(out), "bad_card")


@any_network
def test_a_conversion_that_differs_is_not_kept(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(openvino, "LARGEST_DIFFERENCE", 0.0)
    said = refusal(lambda: convert(checkpoint, tmp_path / "x.xml"), "conversion_differs")
    assert "nothing was written" in said
    assert not list(tmp_path.iterdir())


def test_the_card_travels_along(checkpoint, converted):
    card, _ = load_checkpoint(checkpoint)
    found = read_export_metadata(converted)
    assert found.card == card
    assert found.check["drawn"]
    assert found.check["largest_difference"] < 1e-4


@pytest.mark.parametrize("suffix", [".xml", ".bin"])
def test_other_bytes_than_were_exported_are_refused(converted, suffix):
    file = converted.with_suffix(suffix)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    refusal(lambda: read_export_metadata(converted), "wrong_hash")


def test_what_is_missing_or_foreign_is_named(converted):
    card = converted.with_suffix(".json")
    content = json.loads(card.read_text())
    for other, remedy in ((1, "anew"), (3, "anew"), (4, "anew"), (6, "update")):
        card.write_text(json.dumps(content | {"schema_version": other}))
        assert remedy in refusal(lambda: read_export_metadata(converted), "other_schema")
    card.write_text(json.dumps(content | {"of_tomorrow": 1}))
    assert "of_tomorrow" in refusal(lambda: read_export_metadata(converted), "bad_card")
    card.write_text("{")
    refusal(lambda: read_export_metadata(converted), "bad_card")
    card.unlink()
    assert str(card) in refusal(lambda: read_export_metadata(converted), "no_model")


def test_a_graph_that_is_none_is_a_model_error(tmp_path):
    (tmp_path / "x.xml").write_text("<net/>")
    (tmp_path / "x.bin").write_bytes(b"")
    refusal(lambda: Engine(tmp_path / "x.xml"), "bad_model")


def test_a_graph_without_features_is_a_model_error(tmp_path):
    import openvino
    from openvino import opset13

    images_in = opset13.parameter([-1, 1, 48, 48], np.uint8, name="images")
    graph = openvino.Model([opset13.convert(images_in, "f32")], [images_in], "other")
    assert "cxr export" in refusal(lambda: Engine(graph), "bad_model")


def test_a_name_that_is_no_graphs_is_refused(checkpoint, tmp_path):
    refusal(lambda: convert(checkpoint, tmp_path / "model.onnx"), "not_an_xml", UsageError)


def test_the_checkpoints_card_is_never_overwritten(checkpoint):
    before = (checkpoint / "checkpoint.json").read_bytes()
    out = checkpoint / "checkpoint.xml"
    refusal(lambda: convert(checkpoint, out), "overwrites_checkpoint", UsageError)
    assert (checkpoint / "checkpoint.json").read_bytes() == before
    assert not out.exists()


def test_drawn_images_are_the_same_every_time_and_differ(checkpoint):
    preprocessing = load_checkpoint(checkpoint)[0].preprocessing
    a, b = drawn_images(preprocessing), drawn_images(preprocessing)
    assert np.array_equal(a, b)
    assert a.shape == (8, 1, 48, 48)
    assert len({image.tobytes() for image in a}) == 8
