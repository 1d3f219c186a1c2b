"""Why an image got its class: the same scores as everywhere, and files that harm no other."""

import dataclasses
import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from cxr_transfer import INTENDED_USE
from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.errors import DataError, ImageError
from cxr_transfer.figures.colours import HEAT
from cxr_transfer.inference.explain import (
    LARGEST_SIDE,
    NEIGHBOURS,
    NO_MAP,
    NO_NEIGHBOURS,
    Explainer,
    Explanation,
    heat_map_png,
    safe_stem,
    write_explanation,
)
from cxr_transfer.inference.predictor import UNFAMILIAR
from cxr_transfer.models.checkpoint import load_checkpoint, save_checkpoint
from cxr_transfer.models.forward import features, probabilities
from cxr_transfer.models.metadata import RELEASED, released_models
from cxr_transfer.models.reference import Neighbour
from cxr_transfer.models.registry import build
from cxr_transfer.models.saliency_maps import heat_maps, lung_share
from cxr_transfer.radiograph import Preprocessing, Radiograph
from cxr_transfer.radiograph.lung_segmentation import lung_mask
from cxr_transfer.statistics.temperature import at_temperature
from cxr_transfer.training.reference import learn_reference
from made import encoded
from random_checkpoint import any_network

HOSTILE = (
    "../../etc/passwd",
    "..",
    "/etc/passwd",
    "C:\\Windows\\x",
    "CON",
    "com1.dcm",
    "a\nb\0c",
    "=cmd()|' /C calc'!A0",
    "ß東京" * 100,
    "\udcff\udc80",
    ".hidden",
    "-rf",
    "  ",
    "",
)


def drawn(seed=0, finding="covid19", pixels=224):
    return Radiograph(
        draw_radiograph(finding, rng=np.random.default_rng(seed), pixels=pixels), "PNG"
    )


@pytest.fixture(scope="module")
def explainer(checkpoint):
    return Explainer.open(checkpoint)


@pytest.fixture(scope="module")
def explanation(explainer):
    return explainer.explain(drawn())


@pytest.fixture
def made_up():
    """An explanation that no network gave, for what is written of it."""
    heat, lungs = np.zeros((48, 48), np.float32), np.zeros((48, 48), bool)
    heat[:24, :24] = 1
    lungs[10:40, 5:43] = True
    return Explanation(
        model="model_3 0123456789ab",
        label="covid19",
        probabilities={"normal": 0.1, "bacterial": 0.2, "covid19": 0.7},
        calibrated=True,
        heat_map=heat,
        lungs=lungs,
        lung_share=0.42,
        lung_area=0.38,
        neighbours=(Neighbour("covid19", "cohen", 12.3),),
        warnings=("the image is unusual",),
    )


def model_input(card, radiograph):
    return torch.from_numpy(card.preprocessing.apply(radiograph))[None, None]


def reference_of(checkpoint, *, held_out=range(20, 40), temperature=2.0):
    """What is known of a network's training images, were they forty generated ones."""
    card, network = load_checkpoint(checkpoint)
    seen, others = (
        features(network, torch.cat([model_input(card, drawn(seed)) for seed in seeds])).numpy()
        for seeds in (range(20), held_out)
    )
    return learn_reference(
        seen,
        labels=[("bacterial", "covid19")[seed % 2] for seed in range(20)],
        sources=[("kermany", "cohen")[seed % 2] for seed in range(20)],
        held_out=others,
        temperature=temperature,
        weights_sha256=card.weights_sha256,
    )


@pytest.mark.slow
@any_network
def test_many_threads_get_the_explanations_that_one_gets(explainer):
    images = [drawn(seed) for seed in range(6)]
    expected = [explainer.explain(radiograph) for radiograph in images]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(explainer.explain, images * 3))
    for one, other in zip(found, expected * 3, strict=True):
        assert one.probabilities == other.probabilities
        assert np.array_equal(one.heat_map, other.heat_map)
        assert np.array_equal(one.lungs, other.lungs)


def test_an_array_is_explained_as_its_image_is(explainer, explanation):
    found = explainer.explain(drawn().stored)
    assert np.array_equal(found.heat_map, explanation.heat_map)
    deep = drawn().stored.astype(np.float32)
    assert explainer.explain(deep, value_range=(0, 255)).label == explanation.label
    with pytest.raises(TypeError, match="Expected an image"):
        explainer.explain(None)


def test_the_scores_are_the_networks_own(checkpoint, explanation):
    card, network = load_checkpoint(checkpoint)
    expected = probabilities(network, model_input(card, drawn()))[0].numpy()
    assert list(explanation.probabilities) == list(card.labels)
    assert list(explanation.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-4)
    assert explanation.label == card.labels[int(expected.argmax())]
    assert not explanation.calibrated
    assert card.weights_sha256[:12] in explanation.model


def test_the_map_is_of_the_class_and_its_share_of_the_lungs(checkpoint, explainer):
    card, network = load_checkpoint(checkpoint)
    image = model_input(card, drawn())
    lungs = lung_mask(image[0, 0].numpy())
    for target, label in enumerate(card.labels):
        found = explainer.explain(drawn(), label=label)
        assert found.label == label
        expected = heat_maps(network, image, target=[target])
        assert np.allclose(found.heat_map, expected[0], atol=1e-5)
        assert found.heat_map.shape == card.preprocessing.size
        assert np.array_equal(found.lungs, lungs)
        assert found.lung_area == pytest.approx(lungs.mean())
        if found.lung_share is None:
            assert NO_MAP in found.warnings
        else:
            share = lung_share(expected, lungs[None])[0]
            assert found.lung_share == pytest.approx(share, abs=1e-4)


def test_the_network_runs_once_for_scores_neighbours_and_map(checkpoint, monkeypatch):
    explainer = Explainer.open(checkpoint, reference=reference_of(checkpoint))
    seen = []
    network = explainer._engine._engine._network
    answer = network._answer
    monkeypatch.setattr(network, "_answer", lambda *given: seen.append(1) or answer(*given))
    explainer.explain(drawn(3))
    assert len(seen) == 1


@pytest.mark.parametrize("name", released_models())
def test_maps_of_released_models_are_those_of_gradients(name, cached_imagenet):
    explainer = Explainer.open(name)
    card, network = load_checkpoint(RELEASED / name)
    images = torch.cat([model_input(card, drawn(seed)) for seed in range(3)])
    scores, seen, at_places = explainer._engine.answer(images.numpy())
    assert np.allclose(scores, probabilities(network, images).numpy(), atol=1e-4)
    for target in range(len(card.labels)):
        expected = heat_maps(network, images, target=[target] * 3)
        assert expected.any()
        found = explainer._engine.maps(seen, at_places, target, card.preprocessing.size)
        assert np.abs(found - expected).max() < 1e-3


@pytest.mark.slow
@any_network
def test_explaining_needs_no_torch(checkpoint, tmp_path):
    Explainer.open(checkpoint)  # a checkpoint that was never opened is converted, with torch
    drawn_image = tmp_path / "image.png"
    drawn_image.write_bytes(encoded(drawn().stored))
    script = (
        "import sys; from pathlib import Path; from cxr_transfer.inference.explain import *; "
        "from cxr_transfer.radiograph import read_radiograph; image = "
        "read_radiograph(Path(sys.argv[2])); found = Explainer.open(sys.argv[1]).explain(image); "
        "write_explanation(found, image, Path(sys.argv[3]), 'image'); "
        "print({'torch', 'lightning', 'matplotlib', 'sklearn'} & sys.modules.keys())"
    )
    words = [sys.executable, "-c", script, checkpoint, drawn_image, tmp_path / "out"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_a_path_bytes_and_an_image_that_was_read_are_explained_alike(checkpoint, tmp_path):
    radiograph = drawn()
    path = tmp_path / "image.png"
    path.write_bytes(encoded(radiograph.stored))
    answers = [
        Explainer.open(checkpoint).explain(one)
        for one in (radiograph, path, str(path), path.read_bytes())
    ]
    said = {json.dumps(answer.as_dict()) for answer in answers}
    assert len(said) == 1


def test_without_a_reference_no_training_image_is_named_and_that_is_said(explanation):
    assert explanation.neighbours == ()
    assert NO_NEIGHBOURS in explanation.warnings


def test_with_a_reference_the_nearest_are_named_and_the_scores_calibrated(checkpoint):
    reference = reference_of(checkpoint)
    found = Explainer.open(checkpoint, reference=reference).explain(drawn(3))
    assert len(found.neighbours) == NEIGHBOURS
    nearest = found.neighbours[0]
    assert (nearest.label, nearest.source) == ("covid19", "cohen")  # the image itself
    assert nearest.distance < 0.01 < found.neighbours[1].distance
    distances = [one.distance for one in found.neighbours]
    assert distances == sorted(distances)
    assert NO_NEIGHBOURS not in found.warnings
    plain = Explainer.open(checkpoint).explain(drawn(3))
    scores = np.array([list(plain.probabilities.values())], np.float32)
    expected = at_temperature(scores, 2.0)[0].tolist()
    assert list(found.probabilities.values()) == pytest.approx(expected, abs=1e-6)
    assert found.calibrated
    assert found.label == plain.label
    written = found.as_dict()["neighbours"]
    assert [set(one) for one in written] == [{"label", "source", "distance"}] * NEIGHBOURS


def test_the_reference_beside_the_weights_is_found(checkpoint, tmp_path):
    for file in checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    reference_of(checkpoint).save(tmp_path)
    assert len(Explainer.open(tmp_path).explain(drawn()).neighbours) == NEIGHBOURS


def test_an_unfamiliar_image_is_not_explained(checkpoint):
    strict = dataclasses.replace(reference_of(checkpoint), ood_distance=1e-6, far_distance=1e-7)
    with pytest.raises(ImageError, match="far from all") as raised:
        Explainer.open(checkpoint, reference=strict).explain(drawn(77))
    assert raised.value.code == "out_of_distribution"
    assert raised.value.message == UNFAMILIAR


def test_an_image_that_is_not_sure_is_explained_only_for_a_class_that_is_named(checkpoint):
    unsure = dataclasses.replace(
        reference_of(checkpoint), confidence_threshold=0.9999, coverage=0.5, ood_distance=1e6
    )
    explainer = Explainer.open(checkpoint, reference=unsure)
    with pytest.raises(ImageError) as raised:
        explainer.explain(drawn(3))
    assert raised.value.code == "not_sure"
    found = explainer.explain(drawn(3), label="bacterial")
    assert found.label == "bacterial"
    assert max(found.probabilities.values()) < 0.9999


def test_what_the_predictor_would_refuse_is_refused_with_its_code(explainer, tmp_path):
    grey = Radiograph(np.full((300, 300), 90, np.uint8), "PNG")
    with pytest.raises(ImageError) as raised:
        explainer.explain(grey)
    assert raised.value.code == "blank_or_noise"
    with pytest.raises(ImageError) as raised:
        explainer.explain(tmp_path / "absent.png")
    assert raised.value.code == "missing_file"


@pytest.mark.slow
def test_a_map_of_a_part_lies_on_that_part_of_the_image(tmp_path):
    torch.manual_seed(4)
    prepared = Preprocessing(height=96, width=96, crop="lungs", detail=64, equalise=True)
    card = {
        "name": "cropped",
        "architecture": "resnet50_early",
        "labels": ("normal", "other_pneumonia", "covid19"),
        "preprocessing": prepared,
        "epsilon": 1e-3,
    }
    save_checkpoint(tmp_path, build("resnet50_early", 3, size=(96, 96), epsilon=1e-3), card)
    radiograph = drawn(3, pixels=400)
    left, top, right, bottom = (round(96 * edge) for edge in prepared.box(radiograph))
    found = Explainer.open(tmp_path).explain(radiograph)
    within = np.zeros((96, 96), bool)
    within[top:bottom, left:right] = True
    assert not within.all()
    assert found.heat_map.shape == (96, 96)
    assert found.heat_map[within].max() > 0.9
    assert not found.heat_map[~within].any()
    assert not found.lungs[~within].any()
    assert found.lungs.sum() > 0.2 * within.sum()
    # Of what the model sees, as the share of the map is.
    assert found.lung_area == pytest.approx(found.lungs[within].mean(), abs=0.03)


def test_a_class_that_the_network_does_not_know_is_refused(explainer):
    with pytest.raises(DataError, match="measles"):
        explainer.explain(drawn(), label="measles")


def test_an_empty_map_is_said_and_written(made_up, tmp_path):
    empty = dataclasses.replace(made_up, heat_map=np.zeros_like(made_up.heat_map), lung_share=None)
    sheet = write_explanation(empty, drawn(), tmp_path, "image")
    assert json.loads(sheet.with_suffix(".json").read_text())["lung_share"] is None
    overlay = Image.open(io.BytesIO(heat_map_png(empty, 224, 224)))
    assert overlay.getchannel("A").getextrema() == (0, 0)


def test_a_sheet_and_json_are_written_without_pixels_or_names(made_up, tmp_path):
    sheet = write_explanation(made_up, drawn(), tmp_path / "maps", "Mrs Example")
    assert sheet == tmp_path / "maps" / "Mrs_Example.png"
    with Image.open(sheet) as image:
        image.load()
        assert "Example" not in str(image.info)
    text = sheet.with_suffix(".json").read_text()
    content = json.loads(text)
    assert "Example" not in text
    assert content["intended_use"] == INTENDED_USE
    assert content["label"] == made_up.label
    assert content["probabilities"] == pytest.approx(made_up.probabilities, abs=1e-6)
    assert content["image_sha256"] == drawn().digest()
    assert len(text) < 5000
    assert len(list((tmp_path / "maps").iterdir())) == 2


def test_one_name_for_two_images_or_models_overwrites_nothing(made_up, tmp_path):
    first = write_explanation(made_up, drawn(), tmp_path, "image")
    second = write_explanation(made_up, drawn(9), tmp_path, "image")
    other = dataclasses.replace(made_up, model="another 0123456789ab")
    third = write_explanation(other, drawn(), tmp_path, "image")
    assert len({first, second, third}) == 3
    assert all(sheet.name.startswith("image") for sheet in (first, second, third))
    for sheet, radiograph in ((first, drawn()), (second, drawn(9)), (third, drawn())):
        content = json.loads(sheet.with_suffix(".json").read_text())
        assert content["image_sha256"] == radiograph.digest()


def test_the_same_image_again_takes_the_same_names(made_up, tmp_path):
    for _ in range(2):
        for seed in (0, 9):
            write_explanation(made_up, drawn(seed), tmp_path, "image")
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("name", ["image.png", "image.json"])
def test_a_file_of_somebody_else_is_left_alone(name, made_up, tmp_path):
    theirs = b"[1, 2]" if name.endswith("json") else encoded(drawn().stored)
    (tmp_path / name).write_bytes(theirs)
    sheet = write_explanation(made_up, drawn(), tmp_path, "image")
    assert (tmp_path / name).read_bytes() == theirs
    assert sheet.stem != "image"
    assert sheet.is_file()
    assert sheet.with_suffix(".json").is_file()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_never_a_path(name, tmp_path):
    stem = safe_stem(name)
    file = tmp_path / f"{stem}.json"
    file.write_text("x")
    assert [each.name for each in tmp_path.iterdir()] == [file.name]
    assert stem.isprintable()
    assert not stem.startswith((".", "-", "="))
    assert stem.partition(".")[0].upper() not in ("CON", "COM1")
    assert 0 < len(stem.encode()) <= 105
    assert safe_stem(stem) == stem


def test_stems_keep_what_tells_images_apart():
    for name in ("IM-0001-0001", "1.2.840.113619.2", "Übersicht_2", "東京"):
        assert safe_stem(name) == name


@pytest.mark.parametrize(("height", "width"), [(300, 200), (150, 450)])
def test_an_overlay_has_the_images_size_and_is_clear_where_the_map_is_low(height, width, made_up):
    overlay = Image.open(io.BytesIO(heat_map_png(made_up, height, width)))
    assert (overlay.format, overlay.mode, overlay.size) == ("PNG", "RGBA", (width, height))
    pixels = np.asarray(overlay)
    assert pixels[0, 0].tolist() == [*HEAT[-1], 178]
    assert pixels[-1, -1, 3] == 0
    assert pixels[0, -1, 3] == pixels[-1, 0, 3] == 0


def test_the_overlay_of_a_large_image_keeps_its_proportions(made_up):
    overlay = Image.open(io.BytesIO(heat_map_png(made_up, 4000, 3000)))
    assert overlay.size == (LARGEST_SIDE * 3 // 4, LARGEST_SIDE)


def test_colours_are_those_of_the_sheet():
    inferno = matplotlib.colormaps["inferno"](np.linspace(0, 1, len(HEAT)))[:, :3]
    assert np.abs(255 * inferno - HEAT).max() <= 0.5
