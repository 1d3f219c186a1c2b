"""Radiograph in, 8-bit model input out."""

import dataclasses

import numpy as np
import pytest
from pydantic import ValidationError

from cxr_transfer.radiograph import Preprocessing, decode
from made import encoded, grey


def bilinear(pixels, size):
    """Resize the last axis with a triangle as wide as a step of the coarser grid."""
    step = pixels.shape[-1] / size
    centre = (np.arange(size)[:, None] + 0.5) * step
    weights = 1 - np.abs(np.arange(pixels.shape[-1]) + 0.5 - centre) / max(step, 1)
    weights = weights.clip(0)
    return pixels @ (weights / weights.sum(axis=1, keepdims=True)).T


def test_a_film_of_the_size_is_unchanged_value_for_value():
    every = np.arange(224 * 224, dtype=np.int64).reshape(224, 224) % 256
    film = decode(encoded(every.astype(np.uint8)))
    model_input = Preprocessing().apply(film)
    assert model_input.dtype == np.uint8
    assert np.array_equal(model_input, every)


@pytest.mark.parametrize("shape", [(300, 500), (500, 300), (448, 448), (130, 150), (224, 301)])
def test_any_other_is_resized_as_the_reference_does(shape):
    film = decode(encoded(grey(3, *shape)))
    reference = bilinear(bilinear(film.pixels.astype(np.float64), 224).T, 224).T * 255
    assert np.abs(Preprocessing().apply(film) - reference).max() < 0.51


def test_eight_bits_kept_as_such_differ_from_their_quotients_at_ties_alone():
    film = decode(encoded(grey(3, 384, 384)))
    assert film.stored.dtype == np.uint8
    divided = dataclasses.replace(film, stored=film.pixels)
    a, b = (Preprocessing().apply(each).astype(int) for each in (film, divided))
    assert np.abs(a - b).max() <= 1
    assert (a != b).mean() < 0.001


def test_height_and_width_are_not_exchanged():
    film = decode(encoded(grey()))
    assert Preprocessing(height=64, width=96).apply(film).shape == (64, 96)


def test_sixteen_bits_are_rounded_once_and_not_cut():
    film = decode(encoded(np.full((224, 224), 256 * 100 + 200, np.uint16)))
    assert (Preprocessing().apply(film) == round((256 * 100 + 200) / 257)).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"heigth": 224},
        {"interpolation": "nearest"},
        {"keep_aspect": True},
        {"height": 31},
        {"width": 2049},
        {"height": "tall"},
    ],
)
def test_what_it_cannot_do_is_refused(settings):
    with pytest.raises(ValidationError):
        Preprocessing.model_validate(settings)


def test_it_cannot_change_once_it_travels():
    with pytest.raises(ValidationError):
        Preprocessing().height = 96
