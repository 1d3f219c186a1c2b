"""Lung masks are those of the lung network, and each is looked for once."""

import numpy as np
import pytest

from cxr_transfer.datasets import lung_masks
from cxr_transfer.datasets.lung_masks import LungMasks
from cxr_transfer.radiograph.lung_segmentation import lung_mask
from made import chest


@pytest.fixture
def images():
    return np.stack([chest(seed)[:131, :147] for seed in range(4)])[:, None]


def test_masks_are_those_of_the_lung_network(images):
    masks = LungMasks(images).masks()
    assert (masks.shape, masks.dtype) == (images.shape, np.bool_)
    for mask, image in zip(masks, images, strict=True):
        assert np.array_equal(mask[0], lung_mask(image[0]))


def test_a_mask_is_looked_for_once_whoever_asks(images, monkeypatch):
    looked = []
    monkeypatch.setattr(lung_masks, "lung_mask", lambda image: looked.append(1) or lung_mask(image))
    whole = LungMasks(images)
    part = whole.only(np.array([3, 1]))
    assert looked == []
    assert np.array_equal(part.mask(0), lung_mask(images[3, 0]))
    expected = np.stack([lung_mask(image) for image in images[:, 0]])
    assert np.array_equal(whole.masks([1, 3])[:, 0], expected[[1, 3]])
    assert np.array_equal(part.only(np.array([False, True])).masks()[:, 0], expected[[1]])
    assert len(looked) == 2
    assert np.array_equal(whole.masks()[:, 0], expected)
    assert len(looked) == len(whole) == 4
