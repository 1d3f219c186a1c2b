"""What leaves for another tool is the checkpoint's network, and says all that the tool must do."""

import builtins
import json
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from cxr_transfer import INTENDED_USE
from cxr_transfer.datasets.manifest import write_manifest
from cxr_transfer.errors import MachineError, ModelError, UsageError
from cxr_transfer.export import openvino
from cxr_transfer.export.calibration_data import calibration_and_check
from cxr_transfer.export.formats import export
from cxr_transfer.export.metadata import read_export_metadata
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.forward import features, probabilities
from cxr_transfer.radiograph import Preprocessing, Radiograph, read_radiograph
from made import case, full_disk, grey, write_image
from random_checkpoint import any_network

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

# Where the network does not matter, the one that is exported quickly.


@pytest.fixture(scope="module")
def onnx_file(checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("onnx") / "network.onnx"
    export(checkpoint, out)
    return out


@pytest.fixture(scope="module")
def torchscript_file(checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp("torchscript") / "network.pt"
    assert export(checkpoint, out).format == "torchscript"
    return out


def images(number, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (number, 1, 48, 48), dtype=np.uint8)


def refusal(act, code, kind):
    with pytest.raises(kind) as raised:
        act()
    assert raised.value.code == code
    return raised.value.message


def run_onnx(path, given):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["scores", "features"], {"images": given})


def test_onnx_answers_as_the_checkpoint_for_every_number_of_images(checkpoint, onnx_file):
    _, network = load_checkpoint(checkpoint)
    for number in (1, 5):
        given = images(number, seed=number)
        scores, seen = run_onnx(onnx_file, given)
        expected = features(network, torch.from_numpy(given)).numpy()
        assert np.allclose(scores, probabilities(network, torch.from_numpy(given)), atol=1e-5)
        assert np.abs(seen - expected).max() < 1e-4 * np.abs(expected).max()


def test_torchscript_answers_as_the_checkpoint_for_every_number_of_images(
    checkpoint, torchscript_file
):
    _, network = load_checkpoint(checkpoint)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        other = torch.jit.load(torchscript_file)
    for number in (1, 5):
        given = torch.from_numpy(images(number, seed=number))
        scores, seen = other(given)
        assert torch.allclose(scores, probabilities(network, given), atol=1e-6)
        assert torch.allclose(seen, features(network, given), atol=1e-5)


@any_network
def test_the_json_says_all_that_another_tool_must_do(checkpoint, onnx_file, tmp_path):
    """Only the JSON, Pillow and ONNX Runtime: the score is ours."""
    said = json.loads(onnx_file.with_name("network.onnx.json").read_text())
    card, network = load_checkpoint(checkpoint)
    assert said["intended_use"] == INTENDED_USE
    assert said["labels"] == list(card.labels)
    assert said["card"]["weights_sha256"] == card.weights_sha256
    (name, told), *others = said["inputs"].items()
    assert (name, others) == ("images", [])
    image = Image.fromarray(np.stack([grey(3), grey(4), grey(5)], axis=2))
    image.save(tmp_path / "image.png")

    red, green, blue = (np.asarray(band).astype(int) for band in image.split())
    levels = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    size = told["width"], told["height"]
    steps = " ".join(told["steps"])
    assert "19595 R + 38470 G + 7471 B + 32768" in steps
    assert "half to even" in steps
    resized = Image.fromarray(levels.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    given = np.rint(np.asarray(resized)).clip(0, 255).astype(np.uint8)[None, None]

    ours = card.preprocessing.apply(read_radiograph(tmp_path / "image.png"))[None, None]
    assert np.array_equal(given, ours)
    scores, _ = run_onnx(onnx_file, given)
    assert np.allclose(scores, probabilities(network, torch.from_numpy(ours)), atol=1e-5)


@any_network
def test_the_steps_stand_in_the_order_in_which_they_are_done(checkpoint, onnx_file):
    steps = json.loads(onnx_file.with_name("network.onnx.json").read_text())["inputs"]["images"][
        "steps"
    ]
    said = ("BILINEAR", "half to even", "BICUBIC", "equalize", "(N, 1, height, width)")
    places = [next(at for at, step in enumerate(steps) if word in step) for word in said]
    assert places == sorted(places)

    preprocessing = Preprocessing(height=48, width=64, detail=32, equalise=True)
    stored = np.sqrt(grey(7) / np.float32(255))  # of more than 8 bits: rounding shows
    coarse = Image.fromarray(255 * stored).resize((32, 32), Image.Resampling.BILINEAR)
    rounded = Image.fromarray(np.rint(np.asarray(coarse)).clip(0, 255).astype(np.uint8))
    fine = ImageOps.equalize(rounded.resize((64, 48), Image.Resampling.BICUBIC))
    assert np.array_equal(np.asarray(fine), preprocessing.apply(Radiograph(stored, "PNG")))


@any_network
def test_the_json_says_when_no_class_is_given(checkpoint, onnx_file, tmp_path):
    plain = json.loads(onnx_file.with_name("network.onnx.json").read_text())
    assert (plain["confidence_threshold"], plain["coverage"]) == (None, None)
    assert plain["outputs"]["scores"]["scale"] == "as the network gives them"
    assert "no class" in plain["outputs"]["scores"]["calibrated"]
    assert "below confidence_threshold" in plain["outputs"]["scores"]["calibrated"]
    limits = {"temperature": 1.5, "confidence_threshold": 0.6, "coverage": 0.9}
    for name, card in (("x.xml", "x.json"), ("x.pt", "x.pt.json")):
        export(checkpoint, tmp_path / name, **limits)
        found = json.loads((tmp_path / card).read_text())
        assert {limit: found[limit] for limit in limits} == limits
    assert read_export_metadata(tmp_path / "x.xml").confidence_threshold == 0.6


@any_network
def test_what_the_json_says_of_torchs_interpolation_is_so(checkpoint):
    preprocessing = load_checkpoint(checkpoint)[0].preprocessing
    image = torch.from_numpy(grey(6).astype(np.float32))[None, None]
    resized = torch.nn.functional.interpolate(
        image, preprocessing.size, mode="bilinear", antialias=True, align_corners=False
    )
    ours = preprocessing.apply(Radiograph(grey(6), "PNG"))
    assert np.abs(resized[0, 0].numpy() - ours).max() < 0.51


def test_no_path_of_this_machine_travels_along(onnx_file, torchscript_file):
    with zipfile.ZipFile(torchscript_file) as archive:
        contents = [archive.read(name) for name in archive.namelist()]
    for content in (onnx_file.read_bytes(), *contents):
        assert b"site-packages" not in content
        assert str(Path(openvino.__file__).parents[2]).encode() not in content


@any_network
def test_real_images_are_compared_where_the_run_has_them_and_drawn_ones_where_not(
    checkpoint, tmp_path
):
    run = tmp_path / "run"
    run.mkdir()
    for file in checkpoint.iterdir():
        (run / file.name).write_bytes(file.read_bytes())
    paths = [write_image(tmp_path / f"{number}.png", number) for number in range(4)]
    cases = [
        case(path, split="validation" if number else "train") for number, path in enumerate(paths)
    ]
    write_manifest(run / "split.csv", cases)
    calibration, check = calibration_and_check(run, calibrate=False)
    assert calibration is None
    done = export(run, tmp_path / "x.pt", check=check)
    assert (done.check["images"], done.check["drawn"]) == (3, False)
    paths[2].unlink()
    assert calibration_and_check(run) == (None, None)
    assert export(run, tmp_path / "x.pt").check["drawn"]


@any_network
def test_what_differs_is_refused_and_nothing_is_written(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(openvino, "LARGEST_DIFFERENCE", -1.0)
    for name in ("x.onnx", "x.pt", "x.xml"):
        said = refusal(
            lambda n=name: export(checkpoint, tmp_path / n), "conversion_differs", ModelError
        )
        assert "nothing was written" in said
    assert not list(tmp_path.iterdir())


@any_network
def test_features_that_differ_are_refused_too(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(openvino, "LARGEST_FEATURE_DIFFERENCE", -1.0)
    said = refusal(lambda: export(checkpoint, tmp_path / "x.pt"), "conversion_differs", ModelError)
    assert "features" in said
    assert not list(tmp_path.iterdir())


@any_network
def test_the_suffix_chooses_and_what_fits_nothing_is_refused(checkpoint, tmp_path):
    done = export(checkpoint, tmp_path / "x.xml", temperature=1.5)
    assert done.format == "openvino"
    assert read_export_metadata(tmp_path / "x.xml").temperature == 1.5
    assert export(checkpoint, tmp_path / "x.torchscript").format == "torchscript"
    assert export(checkpoint, tmp_path / "x.bin2", format="torchscript").format == "torchscript"
    for name in ("x", "x.h5"):
        refusal(lambda n=name: export(checkpoint, tmp_path / n), "unknown_format", UsageError)
    refusal(
        lambda: export(checkpoint, tmp_path / "x.json", format="onnx"), "unknown_format", UsageError
    )
    refusal(
        lambda: export(checkpoint, tmp_path / "x.onnx", precision="int8"),
        "unknown_precision",
        UsageError,
    )


@any_network
def test_a_missing_package_is_named_with_its_extra(checkpoint, tmp_path, monkeypatch):
    real = builtins.__import__

    def without_onnx(name, *arguments):
        if name == "onnxruntime":
            raise ImportError(name=name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without_onnx)
    said = refusal(lambda: export(checkpoint, tmp_path / "x.onnx"), "missing_package", MachineError)
    assert "onnxruntime" in said
    assert "cxr-transfer[export]" in said


@any_network
def test_a_full_disk_leaves_what_was_there(checkpoint, tmp_path):
    out = tmp_path / "x.pt"
    out.write_bytes(b"before")
    with full_disk(10_000):
        refusal(lambda: export(checkpoint, out), "disk_full", MachineError)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("x.pt", b"before")]
