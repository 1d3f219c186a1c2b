"""Radiograph in, 8-bit model input out."""

import dataclasses

import numpy as np
import pytest
from pydantic import ValidationError

from cxr_transfer.datasets.phantom import draw_radiograph_and_lungs
from cxr_transfer.radiograph import Preprocessing, decode
from made import encoded, grey


def bilinear(pixels, size):
    """Resize the last axis with a triangle as wide as a step of the coarser grid."""
    step = pixels.shape[-1] / size
    centre = (np.arange(size)[:, None] + 0.5) * step
    weights = 1 - np.abs(np.arange(pixels.shape[-1]) + 0.5 - centre) / max(step, 1)
    weights = weights.clip(0)
    return pixels @ (weights / weights.sum(axis=1, keepdims=True)).T


def test_an_image_of_the_size_is_unchanged_value_for_value():
    every = np.arange(224 * 224, dtype=np.int64).reshape(224, 224) % 256
    radiograph = decode(encoded(every.astype(np.uint8)))
    model_input = Preprocessing().apply(radiograph)
    assert model_input.dtype == np.uint8
    assert np.array_equal(model_input, every)


@pytest.mark.parametrize("shape", [(300, 500), (500, 300), (448, 448), (130, 150), (224, 301)])
def test_any_other_is_resized_as_the_reference_does(shape):
    radiograph = decode(encoded(grey(3, *shape)))
    reference = bilinear(bilinear(radiograph.pixels.astype(np.float64), 224).T, 224).T * 255
    assert np.abs(Preprocessing().apply(radiograph) - reference).max() < 0.51


def test_eight_bits_kept_as_such_differ_from_their_quotients_at_ties_alone():
    radiograph = decode(encoded(grey(3, 384, 384)))
    assert radiograph.stored.dtype == np.uint8
    divided = dataclasses.replace(radiograph, stored=radiograph.pixels)
    a, b = (Preprocessing().apply(each).astype(int) for each in (radiograph, divided))
    assert np.abs(a - b).max() <= 1
    assert (a != b).mean() < 0.001


def test_height_and_width_are_not_exchanged():
    radiograph = decode(encoded(grey()))
    assert Preprocessing(height=64, width=96).apply(radiograph).shape == (64, 96)


def test_sixteen_bits_are_rounded_once_and_not_cut():
    radiograph = np.full((224, 224), 256 * 100 + 200, np.uint16)
    radiograph[:20] = np.linspace(0, 65535, 20 * 224).reshape(20, 224)  # its values fill their bits
    seen = Preprocessing().apply(decode(encoded(radiograph)))
    assert (seen[20:] == round((256 * 100 + 200) / 257)).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"heigth": 224},
        {"interpolation": "nearest"},
        {"keep_aspect": True},
        {"height": 31},
        {"width": 2049},
        {"height": "tall"},
        {"crop": "heart"},
        {"detail": 8},
    ],
)
def test_what_it_cannot_do_is_refused(settings):
    with pytest.raises(ValidationError):
        Preprocessing.model_validate(settings)


def test_it_cannot_change_once_it_travels():
    with pytest.raises(ValidationError):
        Preprocessing().height = 96


def image_of(image):
    return decode(encoded(image))


def test_a_lung_crop_keeps_the_box_around_the_lungs_and_nothing_else():
    image, lungs = draw_radiograph_and_lungs("normal", rng=np.random.default_rng(3), pixels=448)
    crop = Preprocessing(crop="lungs")
    left, top, right, bottom = crop.box(image_of(image))
    height, width = image.shape
    within = (
        slice(round(top * height), round(bottom * height)),
        slice(round(left * width), round(right * width)),
    )
    assert lungs[within].sum() > 0.97 * lungs.sum()
    assert (right - left) * (bottom - top) < 0.9
    inside = image_of(image[within])
    found, expected = crop.apply(image_of(image)), Preprocessing().apply(inside)
    assert np.abs(found.astype(int) - expected).mean() < 2


def test_a_letter_beside_the_lungs_does_not_reach_a_cropped_input():
    image, _ = draw_radiograph_and_lungs("normal", rng=np.random.default_rng(3), pixels=448)
    image = np.pad(image, 60)  # an image on a larger black plate
    marked = image.copy()
    marked[10:40, 10:60] = 255
    reached = {
        name: np.abs(one.apply(image_of(image)).astype(int) - one.apply(image_of(marked))).max()
        for name, one in (("whole", Preprocessing()), ("lungs", Preprocessing(crop="lungs")))
    }
    assert reached["whole"] > 200
    assert reached["lungs"] < 100


def test_images_stored_large_and_small_are_as_sharp_as_each_other():
    image, _ = draw_radiograph_and_lungs("covid19", rng=np.random.default_rng(1), pixels=896)
    rng = np.random.default_rng(0)
    grainy = image_of((image + rng.normal(0, 20, image.shape)).clip(0, 255).astype(np.uint8))
    stored_small = image_of(Preprocessing(height=130, width=130).apply(grainy))
    sharpness = {
        name: [
            np.abs(np.diff(one.apply(radiograph).astype(float))).mean()
            for radiograph in (grainy, stored_small)
        ]
        for name, one in (("own", Preprocessing()), ("same", Preprocessing(detail=64)))
    }
    assert sharpness["own"][0] > 1.2 * sharpness["own"][1]
    assert sharpness["same"][0] == pytest.approx(sharpness["same"][1], rel=0.05)


def test_equalised_inputs_use_every_grey_and_do_not_know_the_exposure():
    image, _ = draw_radiograph_and_lungs("normal", rng=np.random.default_rng(2), pixels=224)
    dark = np.rint(255 * (image / 255.0) ** 1.6).astype(np.uint8)
    spread = Preprocessing(equalise=True)
    bright_input, dark_input = (spread.apply(image_of(one)).astype(float) for one in (image, dark))
    assert np.abs(bright_input - dark_input).mean() < 3
    assert np.abs(image.astype(float) - dark).mean() > 15
    counts = np.histogram(bright_input, bins=4, range=(0, 256))[0] / bright_input.size
    assert counts.min() > 0.15


def test_a_change_before_the_last_steps_reaches_the_input_as_far_as_they_let_it():
    image, _ = draw_radiograph_and_lungs("normal", rng=np.random.default_rng(0), pixels=448)
    evened, radiograph = Preprocessing(crop="lungs", detail=112, equalise=True), image_of(image)
    plain, whole = evened.unfinished.apply(radiograph), evened.apply(radiograph)
    noise = np.random.default_rng(1).normal(0, 12, plain.shape)

    def changed(grey):
        return evened.finish(grey.round().clip(0, 255).astype(np.uint8)).astype(float)

    assert np.abs(changed(plain) - whole).mean() < 2
    assert np.abs(changed(plain + noise) - whole).mean() < 0.8 * np.abs(noise).mean()
    assert np.abs(changed(255 * (plain / 255) ** 0.7) - whole).mean() < 3
    assert np.array_equal(Preprocessing().finish(plain), plain)
