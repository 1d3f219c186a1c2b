"""The values in use decide what is black and white: invariant to offset, gain, bits and marks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr_transfer.radiograph.grey_range import (
    LEAST_LEVELS,
    counted,
    notice_of_8_bits,
    range_in_use,
    spread,
)
from made import full, grey

IMAGE = np.rint(full().astype(np.float64) * (4095 / 255)).astype(np.uint16)


def found(samples, bits=16):
    values = np.arange(1 << bits, dtype=np.float64)
    return range_in_use(values, counted(samples, len(values)))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 20),
    offset=st.integers(0, 20_000),
    gain=st.integers(1, 10),
    marks=st.sampled_from([None, 0, 65_535]),
)
def test_a_picture_looks_the_same_with_an_offset_a_gain_and_marks(seed, offset, gain, marks):
    image = grey(seed).astype(np.uint16) * 16
    plain, _ = spread(image, 16)
    stored = image * gain + offset
    kept = np.ones(image.shape, bool)
    far = marks is not None and abs(marks - float(stored.mean())) > 1.5 * np.ptp(stored)
    if far:
        stored[:4, :4], kept[:4, :4] = marks, False
    shown, _ = spread(stored, 16)
    assert np.abs(shown - plain)[kept].max() < 1e-6
    if far:
        assert (shown[:4, :4] == (1 if marks else 0)).all()


def test_a_flat_border_far_from_the_picture_does_not_count():
    image = IMAGE + 12_000
    image[:, :60] = 0  # more pixels than any value of the picture has
    assert found(image).low == image[:, 60:].min()
    assert found(image).high == image[:, 60:].max()


def test_both_ends_may_stand_apart():
    image = IMAGE + 20_000
    image[0], image[-1] = 0, 65_535
    assert (found(image).low, found(image).high) == (image[1:-1].min(), image[1:-1].max())
    assert found(image).outside == pytest.approx(2 / image.shape[0])


def test_values_that_hang_together_are_kept():
    assert (found(IMAGE).low, found(IMAGE).high) == (0, 4095)
    sparse = full().astype(np.uint16) * 257  # 8 bits in 16: wide gaps everywhere
    assert (found(sparse).low, found(sparse).high) == (0, 65_535)


@pytest.mark.parametrize("levels", [1, 2, 5])
def test_what_hardly_varies_stays_blank(levels):
    image = (1000 + np.arange(132 * 148) % levels).reshape(132, 148).astype(np.uint16)
    shown, _ = spread(image, 16)
    assert np.ptp(shown) == pytest.approx((levels - 1) / (LEAST_LEVELS - 1))


def test_a_notice_says_what_was_in_use():
    assert found(full().astype(np.uint16) * 257).notice(16) == ""
    assert "16 bits" in found(IMAGE).notice(16)
    assert "0 to 4095" in found(IMAGE).notice(16)
    assert found(IMAGE, 12).notice(12) == ""
    marked = IMAGE.copy()
    marked[0, :7] = 60_000
    assert "0.036 % of the pixels lie beyond" in found(marked).notice(16)


@pytest.mark.parametrize(("low", "high"), [(0, 3900), (200, 4095), (200, 3900)])
def test_a_stretch_that_can_be_seen_is_told_at_either_end(low, high):
    image = low + np.rint(full() * ((high - low) / 255)).astype(np.uint16)
    assert f"{low} to {high}" in found(image, 12).notice(12)
    nearly = 40 + np.rint(full() * (4020 / 255)).astype(np.uint16)
    assert found(nearly, 12).notice(12) == "", "a hundredth of the range is not"
    container = (low - 1000.0, high - 1000.0)
    values = np.arange(4096.0) - 1000
    signed = range_in_use(values, counted(image, 4096))
    assert signed.notice(12, container) == "", "the file can hold no others"
    assert signed.notice(12, (-1000.0, 3095.0)) != ""


def test_few_levels_of_8_bits_are_told_and_left():
    assert notice_of_8_bits(full()) == ""
    assert notice_of_8_bits(full() // 2 + 64) == ""
    for image, levels in ((full() // 3, 86), (full() // 3 + 170, 86), (full() & 0xF0, 16)):
        assert notice_of_8_bits(image) == (
            f"only {levels} of 256 grey levels are in use; contrast was left as it is"
        )
    marked = full() // 3
    marked[:3, :3] = 255
    assert "only 87 of 256" in notice_of_8_bits(marked)
    assert notice_of_8_bits(full() / np.float32(1000)) == "", "deeper ones are told of elsewhere"


def test_pixels_that_are_left_out_do_not_count():
    left_out = np.zeros(IMAGE.shape, bool)
    left_out[:50] = True
    counts = counted(IMAGE, 4096, left_out)
    assert counts.sum() == IMAGE[50:].size
    assert np.array_equal(counts, np.bincount(IMAGE[50:].ravel(), minlength=4096))


def test_nothing_in_use_is_no_error():
    counts = np.zeros(4096, np.int64)
    assert range_in_use(np.arange(4096.0), counts).low == 0
