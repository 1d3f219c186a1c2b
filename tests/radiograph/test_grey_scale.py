"""The grey-scale pipeline by numbers: each formula of the standard at its corners."""

import numpy as np
import pytest

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph.grey_scale import (
    Bits,
    GreyScale,
    Logarithm,
    Rescale,
    Table,
    Window,
)

TWELVE = Bits(12, 11, signed=False)
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def shown(scale, samples=RAMP):
    image, *_ = scale.apply(samples)
    assert image.dtype in (np.uint8, np.float32)
    return image.ravel()


@pytest.mark.parametrize(
    ("function", "width", "expected"),
    [
        # C.11.2.1.2.1: black up to c - 0.5 - (w - 1) / 2, white from c - 0.5 + (w - 1) / 2 on
        ("LINEAR", 101, {949: 0, 950: 0.005, 999: 0.495, 1000: 0.505, 1049: 0.995, 1050: 1}),
        ("LINEAR", 1, {999: 0, 1000: 1}),
        ("LINEAR", 2, {998: 0, 999: 0, 1000: 1}),
        ("LINEAR_EXACT", 100, {950: 0, 951: 0.01, 1000: 0.5, 1049: 0.99, 1050: 1}),
        ("LINEAR_EXACT", 0.5, {999: 0, 1000: 0.5, 1001: 1}),
        ("SIGMOID", 100, {1000: 0.5, 1025: 1 / (1 + np.exp(-1)), 975: 1 / (1 + np.exp(1))}),
    ],
)
def test_a_window_shows_what_the_standard_says(function, width, expected):
    image = shown(GreyScale(TWELVE, voi=Window(1000, width, function)))
    for value, brightness in expected.items():
        assert image[value] == pytest.approx(brightness, abs=1e-6), value
    assert (np.diff(image) >= 0).all()


def test_a_steep_sigmoid_does_not_overflow():
    image = shown(GreyScale(TWELVE, voi=Window(2000, 1e-6, "SIGMOID")))
    assert image[1999] < 1e-6
    assert image[2001] > 1 - 1e-6


@pytest.mark.parametrize(
    ("window", "possible"),
    [
        (Window(10, 1), True),
        (Window(10, 0.5), False),
        (Window(10, 0), False),
        (Window(10, -5), False),
        (Window(10, 0.5, "LINEAR_EXACT"), True),
        (Window(10, 0, "SIGMOID"), False),
        (Window(float("nan"), 10), False),
        (Window(10, float("inf")), False),
    ],
)
def test_a_window_without_width_has_no_meaning(window, possible):
    assert window.is_possible == possible


def test_rescale_comes_before_the_window():
    plain = GreyScale(TWELVE, voi=Window(2000, 1000))
    moved = GreyScale(TWELVE, Rescale(2, -500), Window(2 * 2000 - 500 - 0.5, 1999))
    assert np.allclose(shown(plain), shown(moved), atol=1e-6)


def test_a_falling_rescale_turns_bright_into_dark():
    assert np.allclose(
        shown(GreyScale(TWELVE, Rescale(-1, 100))), 1 - shown(GreyScale(TWELVE)), atol=1e-6
    )


def test_inversion_is_the_last_step():
    window = Window(1000, 400)
    assert np.allclose(
        shown(GreyScale(TWELVE, voi=window, inverted=True)),
        1 - shown(GreyScale(TWELVE, voi=window)),
    )


def test_padding_is_black_in_either_polarity():
    for inverted in (False, True):
        scale = GreyScale(TWELVE, inverted=inverted, padding=(4000, 4095))
        assert (shown(scale)[4000:] == 0).all()
        assert shown(scale)[2000] > 0.4


def test_padding_does_not_widen_the_range():
    image = RAMP % 256
    image[0, 0] = 4095
    scale = GreyScale(TWELVE, padding=(4095, 4095))
    assert shown(scale, image)[255] == 1
    assert shown(scale, image)[0] == 0


def test_signed_values_are_in_twos_complement():
    signed = (RAMP.astype(np.int16) - 2048).astype(np.int16)
    low = signed & 0xFFF  # nothing above the 12 bits
    for samples in (signed, low):
        image = shown(GreyScale(Bits(12, 11, signed=True)), samples)
        assert np.allclose(image, shown(GreyScale(TWELVE)), atol=1e-6)


def test_signed_values_without_negative_ones_begin_at_black():
    image = (RAMP // 2).astype(np.int16)
    assert shown(GreyScale(Bits(12, 11, signed=True)), image)[0] == 0
    assert shown(GreyScale(Bits(12, 11, signed=True)), image)[-1] == 1


def test_a_few_negative_values_do_not_make_black_grey():
    image = np.linspace(0, 4000, 4096).astype(np.int16).reshape(64, 64)
    scale = GreyScale(Bits(16, 15, signed=True))
    plain = shown(scale, image)
    image[0, :5] = range(-5, 0)
    assert np.allclose(shown(scale, image), plain, atol=0.005)


def test_an_image_around_zero_is_shown_over_the_values_in_use():
    image = np.linspace(-2048, 900, 4096).astype(np.int16).reshape(64, 64)
    seen = shown(GreyScale(Bits(16, 15, signed=True)), image)
    assert (seen[0], seen[-1]) == (0, 1)


def test_what_hardly_varies_is_not_made_a_picture():
    image = (RAMP.astype(np.int16) % 21) - 10
    seen = shown(GreyScale(Bits(16, 15, signed=True)), image)
    assert np.ptp(seen) == pytest.approx(20 / 63)


@pytest.mark.parametrize("order", ["<", ">"])
def test_bits_around_the_samples_are_nothing(order):
    overlay = (RAMP | (RAMP << 12)).astype(f"{order}u2")
    assert np.array_equal(shown(GreyScale(TWELVE), overlay), shown(GreyScale(TWELVE)))
    raised = (RAMP << 4 | 9).astype(f"{order}u2")
    assert np.array_equal(shown(GreyScale(Bits(12, 15, False)), raised), shown(GreyScale(TWELVE)))


def test_the_range_is_that_of_the_values_in_use():
    image, (notice,), _ = GreyScale(Bits(16, 15, signed=False)).apply(RAMP)
    assert "16 bits" in notice
    assert "0 to 4095" in notice
    assert np.array_equal(image.ravel(), shown(GreyScale(TWELVE)))
    image, notices, _ = GreyScale(Bits(8, 7, signed=False)).apply((RAMP // 64).astype(np.uint8))
    assert image.max() == 63, "8 bits are taken as they are"
    assert notices == ()


@pytest.mark.parametrize("modality", [Rescale(), Rescale(2, -300), Rescale(-3, 5)])
def test_offset_and_marks_change_nothing(modality):
    sixteen = Bits(16, 15, signed=False)
    ramps = np.tile(RAMP, (2, 1))
    plain = shown(GreyScale(sixteen, modality), ramps)
    image = ramps + 12_000
    assert np.allclose(shown(GreyScale(sixteen, modality), image), plain, atol=1e-6)
    image[0, :8] = 65_535
    image[0, 8:16] = 0
    seen = shown(GreyScale(sixteen, modality), image)
    assert np.allclose(seen[16:], plain[16:], atol=1e-6)
    white = 1 if modality.slope > 0 else 0
    assert (seen[:8] == white).all()
    assert (seen[8:16] == 1 - white).all()


def test_a_window_that_shows_nothing_is_left_out():
    image, notices, _ = GreyScale(TWELVE, voi=Window(60_000, 100)).apply(RAMP)
    assert np.array_equal(image.ravel(), shown(GreyScale(TWELVE)))
    assert notices == ("its window or VOI LUT shows next to nothing, and was left out",)
    blank = np.full_like(RAMP, 7)
    image, notices, _ = GreyScale(TWELVE, voi=Window(60_000, 100)).apply(blank)
    assert not image.any()
    assert notices == (), "nothing is hidden by it"


def test_what_is_hidden_is_black_and_does_not_widen_the_range():
    hidden = np.zeros(RAMP.shape, bool)
    hidden[:8] = hidden[-8:] = True
    for inverted in (False, True):
        image, *_ = GreyScale(TWELVE, inverted=inverted).apply(RAMP, hidden)
        assert not image[hidden].any()
        assert (image[~hidden].min(), image[~hidden].max()) == (0, 1)


def test_a_table_may_lack_what_no_pixel_needs():
    short = Table(0, np.arange(2048, dtype=np.uint16), 2048)
    whole = Table(0, np.arange(4096, dtype=np.uint16))
    dark = RAMP // 2
    for name, kind in (("modality", {"modality": short}), ("VOI", {"voi": short})):
        image, notices, _ = GreyScale(TWELVE, **kind).apply(dark)
        assert notices[0] == f"its {name} LUT is shorter than described; no pixel needs the rest"
        assert image.max() == 1
    image, notices, _ = GreyScale(TWELVE, voi=short).apply(RAMP)
    assert notices[0] == "its VOI LUT is shorter than described, and was left out"
    assert np.array_equal(image.ravel(), shown(GreyScale(TWELVE)))
    with pytest.raises(ImageError, match="2048 entries that pixels need"):
        GreyScale(TWELVE, modality=short).apply(RAMP)
    assert np.array_equal(shown(GreyScale(TWELVE, whole)), shown(GreyScale(TWELVE)))


def test_a_detectors_own_values_are_shown_by_their_logarithm():
    dense = np.linspace(0, 5, 4096).reshape(64, 64)
    counts = np.rint(60_000 * np.exp(-dense)).astype(np.uint16)
    seen = shown(GreyScale(Bits(16, 15, signed=False), Logarithm()), counts)
    assert np.abs(seen - dense.ravel() / 5).max() < 1e-3


def test_a_table_clamps_at_its_ends():
    table = Table(1000, np.array([0, 255], np.uint16))
    image = shown(GreyScale(TWELVE, voi=table))
    assert (image[:1001] == 0).all()
    assert (image[1001:] == 1).all()


def test_a_table_may_begin_below_zero():
    table = Table(-10, np.arange(256, dtype=np.uint16))
    image = shown(GreyScale(TWELVE, Rescale(1, -100), table))
    assert image[89] == 0
    assert image[100] == pytest.approx(10 / 255)


def test_a_table_that_overstates_its_bits_is_scaled_by_those_it_uses():
    table = Table(0, np.arange(4096, dtype=np.uint16))
    assert np.allclose(shown(GreyScale(TWELVE, voi=table)), shown(GreyScale(TWELVE)), atol=1e-6)
    assert np.allclose(shown(GreyScale(TWELVE, table)), shown(GreyScale(TWELVE)), atol=1e-6)


def test_eight_bits_stay_eight_bits():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    bits = Bits(8, 7, signed=False)
    assert np.array_equal(shown(GreyScale(bits), image), image.ravel())
    assert np.array_equal(shown(GreyScale(bits, inverted=True), image), 255 - image.ravel())
    assert shown(GreyScale(bits, voi=Window(100, 77)), image).dtype == np.float32


@pytest.mark.parametrize("slope", [float("nan"), float("inf"), 1e308, 5e-324])
def test_what_is_not_finite_is_refused(slope):
    with pytest.raises(ImageError) as error:
        GreyScale(TWELVE, Rescale(slope, 1)).apply(RAMP)
    assert error.value.code == "bad_grey_scale"


def test_a_large_image_is_looked_up_in_parts():
    image = np.resize(np.arange(4096, dtype=np.uint16), (1100, 1100))
    assert np.array_equal(
        GreyScale(TWELVE).apply(image)[0], (image / np.float64(4095)).astype(np.float32)
    )


@pytest.mark.parametrize("modality", [Rescale(), Rescale(0.5, -1024), Rescale(-2, 9000)])
def test_a_stretch_is_told_by_what_the_bits_can_hold(modality):
    whole, part = RAMP % 4096, np.clip(RAMP, 300, 4000)
    for samples, is_told in ((whole, False), (part, True)):
        _, notices, _ = GreyScale(TWELVE, modality=modality).apply(samples)
        assert bool(notices) == is_told


def test_a_stretch_behind_a_modality_table_is_told_by_what_the_table_can_hold():
    for offset, is_told in ((0, False), (1000, True)):
        entries = np.clip(np.arange(4096) + offset, 0, 4095).astype(np.uint16)
        _, notices, _ = GreyScale(TWELVE, modality=Table(0, entries)).apply(RAMP)
        assert bool(notices) == is_told
