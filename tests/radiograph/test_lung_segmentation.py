"""Lungs are found on generated images, whose lungs are known, and taken away or left alone."""

import numpy as np
import pytest
from numpy.random import default_rng
from PIL import Image
from scipy import ndimage

from cxr_transfer.datasets.phantom import draw_radiograph_and_lungs
from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.parallel import in_order
from cxr_transfer.radiograph.lung_segmentation import (
    MARGIN,
    border_only,
    dice,
    lung_box,
    lung_mask,
    lungs_blacked,
    lungs_only,
)

FINDINGS = ("normal", "bacterial", "viral", "covid19")
SEEDS = range(6)
BLANK = np.zeros((224, 224), np.uint8)


def drawn(finding="normal", seed=0, child=False):
    return draw_radiograph_and_lungs(finding, rng=default_rng(seed), child=child)


def covered(mask, lungs):
    return (mask & lungs).sum() / lungs.sum()


def resized(image, lungs, shape):
    size = shape[::-1]
    image = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    lungs = Image.fromarray(lungs).resize(size, Image.Resampling.NEAREST)
    return np.asarray(image), np.asarray(lungs)


def images():
    """Three images as a model has them, (3, 1, 224, 224)."""
    some = [resized(*drawn(finding, 3), (224, 224))[0] for finding in FINDINGS[:3]]
    return np.stack(some)[:, None]


@pytest.mark.parametrize("child", [False, True])
@pytest.mark.parametrize("finding", FINDINGS)
def test_the_lungs_of_generated_images_are_found(finding, child):
    overlap, cover = [], []
    for seed in SEEDS:
        image, lungs = drawn(finding, seed, child)
        overlap.append(dice(lung_mask(image, margin=0), lungs))
        cover.append(covered(lung_mask(image), lungs))
    assert min(overlap) > 0.9
    assert min(cover) >= 0.97


def test_the_image_decides_and_not_the_usual_place_alone():
    usual = lung_mask(BLANK, margin=0)
    gain = []
    for seed in SEEDS:
        image, lungs = resized(*drawn(seed=seed), (224, 224))
        gain.append(dice(lung_mask(image, margin=0), lungs) - dice(usual, lungs))
    assert np.mean(gain) > 0.1


def test_an_image_in_black_bands_has_the_same_lungs_in_another_place():
    for seed in SEEDS:
        image, lungs = drawn(seed=seed)
        small, where = resized(image, lungs, (150, 160))
        banded, there = np.zeros((224, 224), np.uint8), np.zeros((224, 224), bool)
        banded[60:210, 15:175], there[60:210, 15:175] = small, where
        assert dice(lung_mask(banded, margin=0), there) > 0.88
        assert covered(lung_mask(banded), there) > 0.95
        assert dice(lung_mask(BLANK, margin=0), there) < 0.7  # or nothing would have been shown


@pytest.mark.parametrize(("down", "across"), [(12, 0), (-8, 0), (0, 10), (0, -10)])
def test_the_mask_moves_with_the_chest(down, across):
    for seed in SEEDS:
        image, lungs = resized(*drawn(seed=seed), (224, 224))
        image = ndimage.shift(image, (down, across), mode="nearest")
        lungs = ndimage.shift(lungs.astype(np.uint8), (down, across), order=0).astype(bool)
        assert dice(lung_mask(image, margin=0), lungs) > 0.88


@pytest.mark.parametrize("shape", [(48, 48), (224, 224), (300, 500), (500, 300)])
def test_any_size_gives_a_mask_of_its_own_shape(shape):
    image, lungs = resized(*drawn(seed=1), shape)
    mask = lung_mask(image, margin=0)
    assert mask.shape == shape
    assert mask.dtype == np.bool_
    assert dice(mask, lungs) > 0.75


def test_exposure_plays_no_part():
    image, _ = drawn("covid19", 2)
    darker = np.rint(255 * (image / 255) ** 1.5 * 0.8).astype(np.uint8)
    assert dice(lung_mask(image), lung_mask(darker)) > 0.97


def test_a_mirrored_image_has_the_mirrored_mask():
    image, _ = drawn("bacterial", 4)
    assert dice(lung_mask(image), lung_mask(image[:, ::-1])[:, ::-1]) > 0.99


def test_the_same_image_has_the_same_mask_and_is_left_alone():
    image, _ = drawn()
    before = image.copy()
    assert (lung_mask(image) == lung_mask(image)).all()
    assert (image == before).all()


@pytest.mark.parametrize("grey", [0, 127, 255])
def test_a_blank_image_has_two_lungs_at_their_usual_place(grey):
    mask = lung_mask(np.full((224, 224), grey, np.uint8), margin=0)
    assert (mask == lung_mask(BLANK, margin=0)).all()
    assert ndimage.label(mask)[1] == 2
    assert (mask == mask[:, ::-1]).all()
    assert 0.25 < mask.mean() < 0.5


def test_a_gas_bubble_or_a_letter_is_no_lung():
    image, _ = resized(*drawn(seed=2), (224, 224))
    before = lung_mask(image, margin=0)
    image = image.copy()
    image[200:212, 30:44] = 0
    image[4:20, 4:30] = 255
    after = lung_mask(image, margin=0)
    assert ndimage.label(after)[1] <= 2
    assert dice(before, after) > 0.95


def test_lungs_are_found_on_an_image_that_was_cropped_to_them():
    overlap = []
    for seed in SEEDS:
        image, lungs = drawn(seed=seed)
        left, top, right, bottom = lung_box(image)
        height, width = image.shape
        rows = slice(round(top * height), round(bottom * height))
        columns = slice(round(left * width), round(right * width))
        image, lungs = resized(image[rows, columns], lungs[rows, columns], (224, 224))
        overlap.append(dice(lung_mask(image, margin=0), lungs))
    assert min(overlap) > 0.73


def test_the_box_reaches_as_far_beyond_the_lungs_as_it_is_told():
    image, _ = drawn(seed=1)
    (left, top, right, bottom), wide = lung_box(image, margin=0), lung_box(image, margin=0.05)
    mask = lung_mask(image, margin=0)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    found = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    edges = np.array((left, top, right, bottom)) * (image.shape[::-1] * 2)
    assert np.abs(edges - found).max() < 0.01 * image.shape[1]
    across, down = 0.05 * (right - left), 0.05 * (bottom - top)
    expected = (left - across, top - down, right + across, bottom + down)
    assert wide == pytest.approx(expected, abs=1e-6)
    mirrored = lung_box(image[:, ::-1], margin=0)
    assert mirrored == pytest.approx((1 - right, top, 1 - left, bottom), abs=0.005)


def test_many_threads_find_what_one_finds():
    some = [drawn(finding, seed)[0] for seed in SEEDS for finding in FINDINGS]
    assert list(in_order(lung_box, some, workers=6)) == [lung_box(image) for image in some]


def test_noise_has_a_mask_too():
    for seed in SEEDS:
        noise = default_rng(seed).integers(0, 256, (224, 224), dtype=np.uint8)
        assert lung_mask(noise).any()
        left, top, right, bottom = lung_box(noise)
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (7, 5)])
def test_the_smallest_pictures_raise_nothing(shape):
    for grey in (BLANK[:1, :1], np.array([[9, 200], [3, 40]], np.uint8)):
        assert lung_mask(np.resize(grey, shape)).shape == shape


def test_the_margin_is_a_share_of_the_width_in_every_direction():
    image, _ = drawn()
    outline, wider = lung_mask(image, margin=0), lung_mask(image, margin=0.05)
    away = ndimage.distance_transform_edt(~outline)
    assert (wider == (away <= 0.05 * image.shape[1])).all()
    assert (lung_mask(image) == lung_mask(image, margin=MARGIN)).all()
    assert outline.sum() < lung_mask(image).sum() < wider.sum()


def test_without_lungs_everything_else_is_untouched():
    before = images()
    after = lungs_blacked(before)
    assert after.shape == before.shape
    assert after.dtype == np.uint8
    for old, new in zip(before[:, 0], after[:, 0], strict=True):
        lungs = lung_mask(old)
        assert (new[~lungs] == old[~lungs]).all()
        assert set(new[lungs]) == {round(old[~lungs].mean())}
    assert (before == images()).all()


def test_what_is_taken_away_leaves_no_trace_in_its_fill():
    whiter = images()
    whiter[:, :, 40:180, 40:180] = 250
    assert (border_only(whiter) == border_only(images())).all()


def test_lungs_only_keeps_exactly_what_the_other_takes_away():
    before = images()
    only, blacked = lungs_only(before, margin=0.01), lungs_blacked(before, margin=0.01)
    for old, kept, rest in zip(before[:, 0], only[:, 0], blacked[:, 0], strict=True):
        lungs = lung_mask(old, margin=0.01)
        assert (np.where(lungs, kept, rest) == old).all()
        assert set(kept[~lungs]) == {round(old[lungs].mean())}


def test_the_border_is_kept_to_the_share_and_nothing_within():
    before = default_rng(0).integers(0, 256, (2, 1, 100, 200), dtype=np.uint8)
    after = border_only(before, share=0.12)
    middle = np.zeros((100, 200), bool)
    middle[12:88, 24:176] = True
    for old, new in zip(before[:, 0], after[:, 0], strict=True):
        assert (new[~middle] == old[~middle]).all()
        assert set(new[middle]) == {round(old[~middle].mean())}
    assert (border_only(before) == after).all()


@pytest.mark.parametrize("occlude", [lungs_blacked, lungs_only, border_only])
def test_no_images_are_no_images(occlude):
    assert occlude(images()[:0]).shape == (0, 1, 224, 224)


@pytest.mark.parametrize("occlude", [lungs_blacked, lungs_only, border_only])
@pytest.mark.parametrize(
    "wrong", [images()[:, 0], np.repeat(images(), 3, axis=1), images().astype(np.float32)]
)
def test_other_arrays_are_refused(occlude, wrong):
    with pytest.raises(DataError) as caught:
        occlude(wrong)
    assert caught.value.code == "not_a_model_input"


@pytest.mark.parametrize("wrong", [images(), BLANK.astype(np.float32), BLANK[:0]])
def test_a_mask_is_of_one_image(wrong):
    with pytest.raises(DataError) as caught:
        lung_mask(wrong)
    assert caught.value.code == "not_a_model_input"


def test_margins_and_shares_that_mean_nothing_are_refused():
    for margin in (-0.01, 0.51, float("nan")):
        with pytest.raises(UsageError) as caught:
            lung_mask(BLANK, margin=margin)
        assert caught.value.code == "bad_margin"
    for share in (0, 0.5, float("nan")):
        with pytest.raises(UsageError) as caught:
            border_only(images(), share=share)
        assert caught.value.code == "bad_share"


def test_dice_of_known_masks():
    a = np.array([[1, 1, 0, 0]], bool)
    assert dice(a, a) == 1
    assert dice(a, ~a) == 0
    assert dice(a, np.array([[0, 1, 1, 1]], bool)) == pytest.approx(2 / 5)
    assert dice(a & ~a, a & ~a) == 1
    with pytest.raises(DataError) as caught:
        dice(a, a.T)
    assert caught.value.code == "other_shape"
