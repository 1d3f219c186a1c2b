"""One image is one radiograph, in whatever form a program has it in memory."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_files

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import decode, radiograph
from cxr_transfer.radiograph.in_memory import read_image
from made import encoded, full
from made_dicom import PLAIN, dicom

FILES = sorted({Path(name) for name in get_testdata_files() if Path(name).is_file()})
# They end early: pydicom gives what there is, and a data set does not tell that there was more.
ENDS_EARLY = {
    "MR_truncated.dcm",
    "rtplan_truncated.dcm",
    "emri_small_jpeg_2k_lossless_too_short.dcm",
}
QUIET = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}


@settings(max_examples=60, **QUIET)
@given(
    seed=st.integers(0, 50),
    bits=st.sampled_from([8, 10, 12, 14, 16]),
    low=st.floats(-1e4, 1e4),
    width=st.floats(1e-3, 1e5),
    syntax=st.sampled_from(PLAIN),
)
def test_an_image_is_one_radiograph_in_every_form(seed, bits, low, width, syntax):
    most = (1 << bits) - 1
    levels = full(seed).astype(np.float64) / 255
    stored = np.rint(levels * most).astype(np.uint8 if bits == 8 else np.uint16)
    content = encoded(Image.fromarray(stored))
    high = low + width
    floats = (low + levels * width).astype(np.float32)
    with Image.open(io.BytesIO(content)) as image:
        of_a_file = [read_image(given) for given in (content, io.BytesIO(content), image)]
    of_what_says_its_range = [
        read_image(stored, value_range=(0, most)),
        read_image(floats, value_range=(low, high)),
        read_image(dcmread(io.BytesIO(dicom(stored, syntax, BitsStored=bits)))),
    ]
    # Half a step of the depth; a large offset leaves float32 few digits for what lies above it.
    step = 0.5 / most + 2**-22 * (1 + abs(low) / width)
    for image in of_a_file + of_what_says_its_range:
        assert np.abs(image.pixels - levels).max() < step
    assert {image.warnings for image in of_a_file} == {decode(content).warnings}
    assert {image.warnings for image in of_what_says_its_range} == {()}


@settings(max_examples=60, **QUIET)
@given(data=st.data(), kind=st.sampled_from([np.uint8, np.uint16, np.float32]))
def test_an_array_keeps_the_order_of_its_values(data, kind):
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    array = (rng.random((130, 140)) * 250).astype(kind)
    found = read_image(array, value_range=(0, 250)).pixels
    order = np.argsort(array, axis=None, kind="stable")
    assert (np.diff(found.ravel()[order]) >= 0).all()
    assert 0 <= found.min() <= found.max() <= 1


@pytest.mark.filterwarnings("ignore")  # pydicom's, while it reads odd elements
@pytest.mark.parametrize("is_parsed", [False, True])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_data_set_is_the_radiograph_that_its_file_is(path, is_parsed, monkeypatch):
    monkeypatch.setattr(radiograph, "MIN_SIDE", 1)
    monkeypatch.setattr(radiograph, "MAX_ASPECT", 1e9)
    try:
        data = dcmread(path)
    except Exception:
        pytest.skip("pydicom does not read it")
    if is_parsed:
        with contextlib.suppress(Exception):
            list(data.iterall())
    of_file, of_data = seen(path.read_bytes()), seen(data)
    if path.name in ENDS_EARLY:
        assert of_file != of_data
        return
    assert of_file == of_data


def seen(given):
    """What is decoded, or the code of the refusal, to be compared."""
    try:
        found = read_image(given, any_modality=True)
    except ImageError as error:
        return error.code
    return found.stored.dtype, found.digest(), found.warnings, found.header
