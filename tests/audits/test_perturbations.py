"""Changes that change no finding: each does something, to every image, and not too much."""

import numpy as np
import pytest

from cxr_transfer.audits.perturbations import CORRUPTIONS, UNCHANGED, corrupted
from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.radiograph import Preprocessing


@pytest.fixture(scope="module")
def images():
    drawn = [
        draw_radiograph("normal", rng=np.random.default_rng(seed), pixels=160)[:, :160]
        for seed in range(3)
    ]
    return np.stack(drawn)[:, None]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_change_changes_every_image_and_keeps_what_it_shows(images, name):
    before = images.copy()
    changed = corrupted(images, name)
    assert changed.shape == images.shape
    assert changed.dtype == np.uint8
    assert np.array_equal(images, before), "the images that came in are as they were"
    for one, other in zip(images, changed, strict=True):
        assert not np.array_equal(one, other)
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.6


def test_noise_is_the_same_for_the_same_seed_only(images):
    a, b, c = (corrupted(images, "noise", seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_no_images_are_no_images(images):
    assert corrupted(images[:0], "blur").shape == (0, *images.shape[1:])


def test_changed_images_are_finished(images):
    evened = Preprocessing(height=160, width=160, detail=80, equalise=True)
    found = corrupted(images, "noise", preprocessing=evened)
    expected = [evened.finish(image[0]) for image in corrupted(images, "noise")]
    assert np.array_equal(found[:, 0], np.stack(expected))
    assert not np.array_equal(found, corrupted(images, "noise"))


def test_no_change_is_none_but_the_last_steps(images):
    assert np.array_equal(corrupted(images, UNCHANGED), images)
    evened = Preprocessing(height=160, width=160, detail=80, equalise=True)
    found = corrupted(images, UNCHANGED, preprocessing=evened)
    assert np.array_equal(found[1, 0], evened.finish(images[1, 0]))
