"""Deep pictures in colour, with alpha and turned: the same as the grey that they show."""

import numpy as np
import pytest

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph.deep_raster import CMYK, LAID_ON_BLACK, flattened, grey_of, turned
from cxr_transfer.radiograph.grey_range import spread
from made import full

IMAGE = full()
DEEP = IMAGE.astype(np.uint16) * 257
STORED = {
    "full": DEEP,
    "15 bits": DEEP >> 1,
    "12 bits": DEEP >> 4,
    "offset": DEEP // 3 + 30_000,
}


def shown(channels, colours=1, orientation=1, **options):
    return grey_of(flattened(np.dstack(channels), colours, **options), orientation)[:3]


def brightness(pixels):
    return pixels / 255 if pixels.dtype == np.uint8 else pixels


def test_8_bits_in_16_are_those_8_bits():
    some = IMAGE // 2 + 20
    for radiograph in (IMAGE, some):
        whole = radiograph.astype(np.uint16) * 257
        opaque = np.full_like(whole, 65_535)
        for pixels, warnings, _ in (
            shown([whole]),
            shown([whole] * 3, 3),
            shown([whole, opaque], alpha=1),
            shown([65_535 - whole], is_white_zero=True),
        ):
            assert pixels.dtype == np.uint8
            assert np.array_equal(pixels, radiograph)
            assert warnings == ()
    marked = some.astype(np.uint16) * 257
    marked[3, 3] += 1
    assert shown([marked])[0].dtype == np.float32, "one value more, and they are 16 bits"


@pytest.mark.parametrize("samples", STORED.values(), ids=STORED.keys())
def test_the_same_values_are_the_same_picture_as_grey_and_as_colours(samples):
    whole = np.full_like(samples, 65_535)
    expected, found = spread(samples, 16)
    notice = found.notice(16)
    assert bool(notice) == (samples is not DEEP)
    for pixels, warnings, colour in (
        shown([samples]),
        shown([samples] * 3, 3),
        shown([samples, whole], alpha=1),
        shown([samples] * 3 + [whole], 3, alpha=3),
        shown([samples, samples // 2]),  # a channel of which nobody says what it is
    ):
        assert np.array_equal(pixels, expected)
        assert warnings == ((notice,) if notice else ())
        assert colour == 0
    assert np.abs(brightness(expected) - IMAGE / 255).max() < 1e-3


@pytest.mark.parametrize("samples", STORED.values(), ids=STORED.keys())
def test_colour_is_measured_on_what_is_seen(samples):
    dark = np.full_like(samples, samples.min())
    assert shown([samples, dark, dark], 3)[2] > 0.4
    nearly = samples.copy()
    nearly[::7] = np.minimum(nearly[::7], samples.max() - 1) + 1
    assert 0 <= shown([samples, nearly, samples], 3)[2] < 0.01
    opacity = np.full_like(samples, 65_535)
    red, opacity[:, 70:] = samples.copy(), 0
    red[:, 70:] = samples.max()
    others = np.where(opacity, samples, samples.min())
    assert shown([red, others, others, opacity], 3, alpha=3)[2] == 0, "nobody sees it"


def test_what_is_transparent_is_black_and_does_not_count():
    opacity = np.full_like(DEEP, 65_535)
    opacity[:, :50] = 0
    samples = DEEP // 4
    samples[:, :50] = 65_535
    visible = spread(samples[:, 50:], 16)[0]
    for pixels, warnings, _ in (
        shown([samples, opacity], alpha=1),
        shown([samples] * 3 + [opacity], 3, alpha=3),
        shown([samples], key=(65_535,)),
        shown([samples] * 3, 3, key=(65_535,) * 3),
    ):
        assert np.array_equal(pixels[:, 50:], visible)
        assert not pixels[:, :50].any()
        assert warnings[0] == LAID_ON_BLACK
    with pytest.raises(ImageError) as error:
        shown([samples, samples * 0], alpha=1)
    assert error.value.code == "blank_image"


def test_half_transparent_is_half_as_bright():
    half = np.full_like(DEEP, 0x8000)
    pixels, _, _ = shown([DEEP, half], alpha=1)
    assert np.abs(pixels - IMAGE / 255 * (128 / 255)).max() < 1e-3


def test_white_may_be_the_lowest():
    pixels, _, _ = shown([65_535 - DEEP], is_white_zero=True)
    assert np.abs(brightness(pixels) - IMAGE / 255).max() < 1e-6
    opacity = np.where(DEEP > 30_000, 65_535, 0).astype(np.uint16)
    pixels, _, _ = shown([65_535 - DEEP, opacity], alpha=1, is_white_zero=True)
    assert not pixels[opacity == 0].any()


def test_inks_become_grey():
    none, black = np.zeros_like(DEEP), 65_535 - DEEP
    for inks in ([none, none, none, black], [black, black, black, none]):
        pixels, warnings, colour = shown(inks, 4)
        assert np.abs(brightness(pixels) - IMAGE / 255).max() < 1e-4
        assert (warnings, colour) == ((CMYK,), 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_pillow_turns_it(orientation):
    from PIL import Image, ImageOps

    image = Image.fromarray(IMAGE)
    exif = image.getexif()
    exif[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(turned(IMAGE, orientation), expected)
    pixels, _, _ = shown([DEEP], orientation=orientation)
    assert np.abs(brightness(pixels) - expected / 255).max() < 1e-6
