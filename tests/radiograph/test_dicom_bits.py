"""Bits Stored and High Bit against the samples: values are read whole, overlays never."""

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
)

from cxr_transfer.radiograph import decode
from cxr_transfer.radiograph.in_memory import read_image
from made import chest, full
from made_dicom import dataset, dicom, written

IMAGE = full()
TWELVE = np.rint(IMAGE * (4095 / 255)).astype(np.uint16)
PLAIN = decode(dicom(TWELVE, BitsStored=12)).pixels
STEP = 1.2e-4
STORED, HIGH = "Bits Stored (0028,0101)", "High Bit (0028,0102)"
TEXT = (slice(20, 40), slice(30, 60))  # of an image


def up_to(highest, image=IMAGE):
    return np.rint(image * (highest / 255)).astype(np.uint16)


def window(highest):
    return {"WindowCenter": (highest + 1) / 2, "WindowWidth": highest + 1}


def seen(content):
    image = decode(content)
    return image.pixels, image.warnings


def with_overlay(stored, position=12, **elements):
    data = dataset(stored, **elements)
    data.add_new(0x60020100, "US", 16)
    data.add_new(0x60020102, "US", position)
    return written(data, ExplicitVRLittleEndian)


@pytest.mark.parametrize("image", [IMAGE, chest(0), chest(2)], ids=["waves", "normal", "covid19"])
@pytest.mark.parametrize(
    ("stored", "highest"),
    [(12, 4300), (12, 5000), (12, 8191), (12, 16_383), (12, 65_535), (10, 4095), (8, 4095)],
)
def test_values_beyond_bits_stored_are_read_whole(stored, highest, image):
    values = up_to(highest, image)
    whole, _ = seen(dicom(values, **window(highest)))
    found, warnings = seen(dicom(values, BitsStored=stored, **window(highest)))
    assert np.array_equal(found, whole)
    (warning,) = warnings
    assert f"{STORED} is {stored}" in warning
    assert f"{highest.bit_length()} bits" in warning
    # Without a window too, where the values in use decide.
    found, warnings = seen(dicom(values, BitsStored=stored))
    assert np.array_equal(found, seen(dicom(values))[0])
    assert STORED in warnings[0]


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, JPEG2000Lossless, JPEGLSLossless])
def test_they_are_in_every_syntax(syntax):
    values = up_to(5000)
    elements = {"BitsStored": 12, **window(5000)}
    if syntax == ExplicitVRBigEndian:
        found, warnings = seen(dicom(values, syntax, **elements))
    else:
        honest = dicom(values, syntax, **window(5000))
        lying = dicom(values, **elements)
        head = b"\x28\x00\x01\x01US\x02\x00"  # Bits Stored, High Bit
        ours, theirs = (content[content.index(head) :][:20] for content in (honest, lying))
        assert honest.count(ours) == 1
        found, warnings = seen(honest.replace(ours, theirs))
    assert np.array_equal(found, seen(dicom(values, **window(5000)))[0])
    assert len(warnings) == 1


@pytest.mark.parametrize("highest", [16_383, 65_535])
def test_values_that_pass_a_bit_only_at_a_sharp_edge_are_read_whole(highest):
    """A bright field on black: no pixel lies between."""
    values = up_to(highest, 140 + IMAGE // 4)
    values[:, :30] = 0
    whole, _ = seen(dicom(values, **window(highest)))
    found, warnings = seen(dicom(values, BitsStored=12, **window(highest)))
    assert np.array_equal(found, whole)
    assert len(warnings) == 1


def test_signed_values_beyond_bits_stored_are_read_whole():
    values = up_to(5000).astype(np.int16) - 2500
    elements = {"WindowCenter": 0, "WindowWidth": 5001}
    found, warnings = seen(dicom(values, BitsStored=12, **elements))
    assert np.array_equal(found, seen(dicom(values, **elements))[0])
    assert len(warnings) == 1
    assert STORED in warnings[0]


@pytest.mark.parametrize("extended", [True, False])
def test_the_sign_is_no_value_beyond(extended):
    values = TWELVE.astype(np.int16) - 2048
    stored = values if extended else values & 0x0FFF
    found, warnings = seen(dicom(stored, BitsStored=12, WindowCenter=0, WindowWidth=4096))
    assert np.abs(found - IMAGE / np.float32(255)).max() < 2 * STEP
    assert warnings == ()


@pytest.mark.parametrize("position", [12, 13, 15])
@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("elements", [{}, window(4095)], ids=["", "window"])
def test_an_overlay_in_the_high_bits_is_no_value(position, declared, elements):
    stored = TWELVE.copy()
    stored[TEXT] |= 1 << position
    more = {"position": position} if declared else {}
    make = with_overlay if declared else dicom
    content = make(stored, BitsStored=12, **more, **elements)
    found, warnings = seen(content)
    assert np.abs(found - PLAIN).max() < 3e-4
    assert len(warnings) == (0 if declared else 1)
    assert declared or HIGH in warnings[0]


def test_a_data_set_in_memory_declares_its_overlays_too():
    stored = TWELVE.copy()
    stored[TEXT] |= 1 << 12
    image = read_image(dcmread(DicomBytesIO(with_overlay(stored, BitsStored=12))))
    assert np.array_equal(image.pixels, PLAIN)
    assert image.warnings == ()


def test_an_overlay_that_is_declared_may_cover_the_whole_image():
    smooth = TWELVE.copy()
    smooth[TWELVE > 2000] |= 1 << 12
    found, warnings = seen(with_overlay(smooth, BitsStored=12))
    assert np.array_equal(found, PLAIN)
    assert warnings == ()


@pytest.mark.parametrize("value", [65_535, 63_536, 0x8000])
@pytest.mark.parametrize("size", [1, 5, 60])
@pytest.mark.parametrize("elements", [{}, window(4095)], ids=["", "window"])
def test_padding_that_nobody_declared_does_not_rescale_the_image(value, size, elements):
    stored = TWELVE.copy()
    stored[:size, :size] = value
    found, warnings = seen(dicom(stored, BitsStored=12, **elements))
    assert not found[:size, :size].any()
    is_image = np.ones(IMAGE.shape, bool)
    is_image[:size, :size] = False
    # Its lowest values may lie under the padding.
    assert np.abs(found - PLAIN)[is_image].max() < 0.02
    (warning,) = warnings
    assert STORED in warning
    assert "padding" in warning


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_so_it_is_of_signed_and_of_inverted_images(photometric):
    values = TWELVE.astype(np.int16) - 2048
    if photometric == "MONOCHROME1":
        values = -1 - values
    values[:, :20] = -32_768
    elements = {"BitsStored": 12, "PhotometricInterpretation": photometric}
    for more in ({}, {"WindowCenter": 0, "WindowWidth": 4096}):
        found, warnings = seen(dicom(values, **elements, **more))
        assert not found[:, :20].any()
        assert np.abs(found - PLAIN)[:, 20:].max() < 0.02
        assert "padding" in warnings[0]


def test_padding_beside_values_beyond_bits_stored():
    values = up_to(5000)
    stored = values.copy()
    stored[:, :10] = 65_535
    found, warnings = seen(dicom(stored, BitsStored=12, **window(5000)))
    assert not found[:, :10].any()
    whole, _ = seen(dicom(values, **window(5000)))
    assert np.array_equal(found[:, 10:], whole[:, 10:])
    assert [STORED in warning for warning in warnings] == [True, True]


def test_a_declared_padding_value_is_no_value_beyond():
    stored = TWELVE.copy()
    stored[:, :10] = 65_535
    _, warnings = seen(dicom(stored, BitsStored=12, PixelPaddingValue=65_535))
    assert warnings == ()


def test_few_bright_pixels_do_not_widen_eight_bits():
    stored = IMAGE.astype(np.uint16)
    bright = np.unravel_index(np.argsort(stored, axis=None)[-20:], stored.shape)
    stored[bright] = 256 + np.arange(20)
    found, _ = seen(dicom(stored, BitsStored=8))
    others = np.ones(IMAGE.shape, bool)
    others[bright] = False
    assert np.abs(found - IMAGE / np.float32(255))[others].max() < 1e-6


# High Bit


@pytest.mark.parametrize("high", [12, 13, 14, 15])
@pytest.mark.parametrize("elements", [{}, window(4095)], ids=["", "window"])
def test_a_high_bit_above_values_that_are_not_shifted_is_a_mistake(high, elements):
    found, warnings = seen(dicom(TWELVE, BitsStored=12, HighBit=high, **elements))
    assert np.abs(found - PLAIN).max() < 3e-4
    assert warnings == (f"{HIGH} contradicts {STORED}, and was taken as 11",)


def test_so_it_is_of_signed_values_and_beside_padding():
    signed = TWELVE.astype(np.int16) - 2048
    elements = {"WindowCenter": 0, "WindowWidth": 4096}
    found, warnings = seen(dicom(signed, BitsStored=12, HighBit=13, **elements))
    assert np.abs(found - PLAIN).max() < 3e-4
    assert HIGH in warnings[0]
    stored = TWELVE.copy()
    stored[:, :10] = 65_535
    found, warnings = seen(dicom(stored, BitsStored=12, HighBit=13))
    assert np.abs(found - PLAIN)[:, 10:].max() < 0.02
    assert not found[:, :10].any()
    assert [HIGH in warnings[0], "padding" in warnings[1]] == [True, True]


@pytest.mark.parametrize("shift", [1, 2, 4])
@pytest.mark.parametrize("below", [0, 1], ids=["", "overlay below"])
@pytest.mark.parametrize("signed", [False, True])
def test_values_that_are_shifted_are_shifted_back(shift, below, signed):
    values = TWELVE.astype(np.int32) - (2048 if signed else 0)
    stored = (values << shift).astype(np.int16 if signed else np.uint16)
    stored[TEXT] |= below
    centre = {"WindowCenter": 0 if signed else 2048, "WindowWidth": 4096}
    found, warnings = seen(dicom(stored, BitsStored=12, HighBit=11 + shift, **centre))
    assert np.abs(found - PLAIN).max() < 3e-4
    assert warnings == ()
