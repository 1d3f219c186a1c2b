"""One image is one radiograph, however it is stored; and any bytes are an image or are refused."""

import functools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import UID, JPEGBaseline8Bit

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import decode
from made import encoded, full
from made_dicom import LOSSLESS, PLAIN, dicom
from watchdog import seconds

# As `raster` and `dicom` set it at import; pytest takes that back.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

QUIET = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}


def at(image, bits):
    """The image's 8 bits in as many as asked for."""
    kind = np.uint8 if bits == 8 else np.uint16
    return np.rint(image.astype(np.float64) * ((1 << bits) - 1) / 255).astype(kind)


@settings(max_examples=50, **QUIET)
@given(
    seed=st.integers(0, 50),
    bits=st.sampled_from([8, 10, 12, 14, 15, 16]),
    syntax=st.sampled_from([*PLAIN, *LOSSLESS]),
    negative=st.booleans(),
    signed=st.booleans(),
    windowed=st.booleans(),
)
def test_an_image_is_one_radiograph_at_every_depth(seed, bits, syntax, negative, signed, windowed):
    image = full(seed)
    stored = at(255 - image if negative else image, bits)
    elements = {
        "BitsStored": bits,
        "PhotometricInterpretation": "MONOCHROME1" if negative else "MONOCHROME2",
    }
    half = 1 << (bits - 1)
    if signed:
        stored = (stored.astype(np.int32) - half).astype(np.int8 if bits == 8 else np.int16)
        elements |= {"PixelRepresentation": 1, "RescaleIntercept": half, "RescaleSlope": 1}
    if windowed:  # the whole range: C.11.2.1.2.1
        elements |= {"WindowCenter": half, "WindowWidth": 1 << bits}
    radiograph = decode(dicom(stored, syntax, **elements))
    # Half a step of the depth, and what a window's centre lies beside the middle.
    step = 1.5 / ((1 << bits) - 1)
    assert np.abs(radiograph.pixels - image / np.float32(255)).max() < step, UID(syntax).name
    assert radiograph.pixels.dtype == np.float32
    assert radiograph.warnings == ()


@settings(max_examples=30, **QUIET)
@given(seed=st.integers(0, 50), kind=st.sampled_from(["PNG", "TIFF"]), deep=st.booleans())
def test_an_image_is_one_radiograph_in_every_file_format(seed, kind, deep):
    image = full(seed)
    raster = decode(encoded(at(image, 16) if deep else image, kind))
    secondary = decode(dicom(at(image, 16) if deep else image))
    assert raster.digest() == secondary.digest() == decode(encoded(image)).digest() or deep
    assert np.abs(raster.pixels - secondary.pixels).max() < 1e-6


@functools.cache
def seeds():
    image = full()
    window = {"BitsStored": 12, "WindowCenter": 2000, "WindowWidth": 3000}
    return (
        *(dicom(image, syntax) for syntax in (*PLAIN, RLE, JPEG_2000, JPEGBaseline8Bit)),
        dicom(at(image, 12), **window),
        dicom(image, preamble=False),
    )


RLE, JPEG_2000 = LOSSLESS[0], LOSSLESS[-1]


def check_any(content):
    try:
        with seconds(60):
            image = decode(content)
    except ImageError as error:
        refused = error.message
    else:
        refused = ""
    if refused:
        assert refused.startswith("Expected ")
        assert "Doe" not in refused
        return
    assert image.pixels.ndim == 2
    assert 0 <= image.pixels.min() <= image.pixels.max() <= 1


@settings(max_examples=300, **QUIET)
@given(st.data())
def test_a_mutated_dicom_file_is_an_image_or_refused(data):
    content = bytearray(data.draw(st.sampled_from(seeds())))
    position = st.integers(0, 900) | st.integers(0, len(content) - 1)
    for at_, value in data.draw(st.lists(st.tuples(position, st.integers(0, 255)), max_size=12)):
        content[at_ % len(content)] = value
    end = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    check_any(bytes(content[:end]))


@settings(max_examples=200, **QUIET)
@given(
    st.binary(max_size=300),
    st.sampled_from([bytes(128) + b"DICM", b"\x08\0\5\0CS", b"\2\0\0\0UL\4\0", b"\0\x08\0\5CS"]),
)
def test_random_bytes_behind_a_start_of_dicom_are_refused(content, start):
    with pytest.raises(ImageError):
        decode(start + content)
