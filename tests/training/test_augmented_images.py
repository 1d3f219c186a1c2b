"""Random changes of images: what each does, and that a seed fixes all of it."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.radiograph import Preprocessing, Radiograph
from cxr_transfer.training.augmentation import AUGMENTATIONS
from cxr_transfer.training.augmented_images import augmented, equalised, mixed

STRONG = {name: min(row.most, 20.0) for name, row in AUGMENTATIONS.items()}


@pytest.fixture(scope="module")
def images():
    prepared = Preprocessing(height=64, width=80)
    drawn = [draw_radiograph("normal", rng=np.random.default_rng(seed)) for seed in range(6)]
    return torch.from_numpy(
        np.stack([prepared.apply(Radiograph(image, "PNG"))[None] for image in drawn])
    )


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_change_changes_images_and_keeps_shape_and_type(images, name):
    changed = augmented(images, {name: STRONG[name]}, seed=1)
    assert (changed.shape, changed.dtype) == (images.shape, torch.uint8)
    assert not torch.equal(changed, images)
    assert torch.equal(changed, augmented(images, {name: STRONG[name]}, seed=1))
    if name not in ("flip", "clahe"):  # at its largest probability every image is changed
        assert not torch.equal(changed, augmented(images, {name: STRONG[name]}, seed=2))


def test_without_a_change_nothing_changes(images):
    assert torch.equal(augmented(images, {}, seed=1), images)


def test_a_flip_mirrors_left_and_right(images):
    assert torch.equal(augmented(images, {"flip": 1.0}, seed=0), images.flip(3))
    half = augmented(images.repeat(50, 1, 1, 1), {"flip": 0.5}, seed=0)
    mirrored = (half == images.repeat(50, 1, 1, 1).flip(3)).flatten(1).all(dim=1)
    assert 0.4 < mirrored.float().mean() < 0.6


def test_a_turn_keeps_the_proportions_of_what_is_on_the_image():
    # A disc is a disc after a turn, also on an image that is wider than it is high.
    rows, columns = np.mgrid[:60, :100]
    disc = (((rows - 30) ** 2 + (columns - 50) ** 2) < 15**2) * np.uint8(200)
    image = torch.from_numpy(disc[None, None])
    turned = augmented(image.repeat(8, 1, 1, 1), {"rotation": 45}, seed=3)
    overlap = ((turned > 100) & (image > 100)).flatten(1).sum(1) / (image > 100).sum()
    assert overlap.min() > 0.95


def test_a_move_has_the_length_that_was_asked_for():
    image = torch.zeros((200, 1, 100, 100), dtype=torch.uint8)
    image[:, :, 45:55, 45:55] = 255
    moved = augmented(image, {"translation": 0.2}, seed=5).float()
    weights = moved[:, 0] / moved[:, 0].sum((1, 2), keepdim=True)
    centre = (weights.sum(2) * torch.arange(100)).sum(1)
    assert (centre - 49.5).abs().max() <= 20.5
    assert (centre - 49.5).abs().max() > 15


def test_noise_has_no_more_than_its_standard_deviation(images):
    even = torch.full((40, 1, 64, 64), 128, dtype=torch.uint8)
    noisy = augmented(even, {"noise": 10}, seed=0).float()
    spread = noisy.std(dim=(2, 3)).flatten()
    assert spread.max() < 10.5
    assert spread.min() < 3
    assert (noisy.mean((2, 3)) - 128).abs().max() < 1


def test_a_cutout_covers_a_square_with_the_mean():
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.integers(0, 256, (20, 1, 50, 50), dtype=np.uint8))
    cut = augmented(image, {"cutout": 0.5}, seed=0)
    share = (cut != image).float().mean((1, 2, 3))
    assert share.max() <= 0.27
    for before, after in zip(image, cut, strict=True):
        values = after[after != before].unique()
        assert len(values) <= 1
        assert all(abs(int(value) - float(before.float().mean())) <= 1 for value in values)


def test_equalising_without_tiles_or_bound_is_plain_equalisation(images):
    image = images[0, 0].numpy()
    plain = np.asarray(ImageOps.equalize(Image.fromarray(image)))
    found = equalised(image, tiles=1, clip=256.0)
    assert np.corrcoef(plain.ravel(), found.ravel())[0, 1] > 0.99


def test_a_bound_keeps_an_even_image_from_being_spread():
    image = np.full((64, 64), 100, np.uint8)
    image[::2] = 102
    assert np.ptp(equalised(image, clip=1.0)) < np.ptp(equalised(image, clip=100.0))


def test_mixing_takes_a_share_of_each_of_two_images(images):
    found, partners, share = mixed(images, alpha=0.4, seed=7)
    assert 0 <= share <= 1
    expected = share * images.float() + (1 - share) * images[partners].float()
    assert torch.equal(found, expected)
    again = mixed(images, alpha=0.4, seed=7)
    assert torch.equal(again[0], found)
    assert sorted(partners.tolist()) == list(range(len(images)))
