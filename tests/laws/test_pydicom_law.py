"""Every file of pydicom's and pydicom-data's is shown as pydicom's own pipeline shows it.

Its pixels, modality LUT and VOI LUT against ours; sizes that no radiograph has are let through for
the comparison. Where nothing in a file says what is shown, ours must be one straight line through
theirs, clipped at both ends.
"""

import logging
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_files
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import decode, radiograph

FILES = sorted({Path(name) for name in get_testdata_files() if Path(name).is_file()})
# What is no grey picture of one frame and 8 or 16 bits.
REFUSED = {
    "colour_dicom",
    "multi_frame",
    "unsupported_format",
    "insufficient_depth",
    "no_pixel_data",
}
# A colour palette of fewer entries than described.
REFUSED_FILES = {"gdcm-US-ALOKA-16.dcm", "gdcm-US-ALOKA-16_big.dcm"}


@pytest.fixture(autouse=True)
def _any_size(monkeypatch):
    monkeypatch.setattr(radiograph, "MIN_SIDE", 1)
    monkeypatch.setattr(radiograph, "MAX_ASPECT", 1e9)


def theirs(path):
    """The data set and its pixels as pydicom decodes them; None where it cannot."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = pydicom.dcmread(path, force=True)
            return data, data.pixel_array
        except Exception:
            return None, None
        finally:
            logging.getLogger("pydicom").setLevel(logging.NOTSET)


def ours(path):
    try:
        return decode(path.read_bytes(), any_modality=True)
    except ImageError as error:
        return error.code


def upright(shown, data):
    """As a patient orientation of head and foot, left and right, says."""
    rows, columns = [value[:1] for value in (data.get("PatientOrientation") or ["L", "F"])][:2]
    if rows in ("H", "F") and columns in ("L", "R"):
        shown, rows, columns = shown.T, columns, rows
    if (rows in ("L", "R")) and (columns in ("H", "F")):
        shown = shown[:, ::-1] if rows == "R" else shown
        shown = shown[::-1] if columns == "H" else shown
    return shown


def shown_by_pydicom(data, pixels):
    """Brightness in [0, 1] as a window or a VOI LUT gives it, or None; and the device's values."""
    values = apply_modality_lut(pixels, data).astype(np.float64)
    if "VOILUTSequence" in data:
        table = data.VOILUTSequence[0].LUTData
        top = (1 << max(8, int(np.max(table)).bit_length())) - 1
        return apply_voi_lut(values.astype(np.int64), data).astype(np.float64) / top, values
    if "WindowWidth" not in data:
        return None, values
    shown = apply_voi_lut(values, data).astype(np.float64)
    # pydicom gives the whole range of what the rescaled bits can hold.
    signed, bits = data.PixelRepresentation, data.BitsStored
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if "RescaleSlope" in data:
        low, high = (edge * data.RescaleSlope + data.RescaleIntercept for edge in (low, high))
    return (shown - low) / (high - low), values


def is_one_line(shown, values):
    """Tell whether brightness is a straight line through values where it is not clipped."""
    inner = (shown > 0) & (shown < 1)
    if len(np.unique(values[inner])) < 3:
        return True
    slope, start = np.polyfit(values[inner], shown[inner], 1)
    line = np.clip(slope * values + start, 0, 1)
    return bool(np.abs(line - shown).max() < 1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_shown_as_pydicom_shows_it(path):
    mine = ours(path)
    data, pixels = theirs(path)
    if pixels is None:
        # Not ours to read either, but for 12 bits of a JPEG, which no decoder of pydicom's takes.
        assert isinstance(mine, str) or path.name in ("JPEG-lossy.dcm", "JPGExtended.dcm")
        return
    if isinstance(mine, str):
        assert mine in REFUSED or path.name in REFUSED_FILES
        assert pixels.ndim != 2 or mine != "multi_frame"
        assert (
            data.SamplesPerPixel == 3
            or mine != "colour_dicom"
            or "PALETTE" in (data.PhotometricInterpretation)
        )
        return
    brightness, values = shown_by_pydicom(data, pixels)
    seen = mine.pixels.astype(np.float64)
    if data.PhotometricInterpretation == "MONOCHROME1":
        seen = 1 - seen
    values = upright(values, data)
    is_picture = np.ones(values.shape, bool)
    if "PixelPaddingValue" in data:
        is_picture = upright(pixels != data.PixelPaddingValue, data)
    if any("left out" in warning for warning in mine.warnings):
        brightness = None
    if brightness is None:
        assert is_one_line(seen[is_picture], values[is_picture])
    else:
        assert np.abs(seen - upright(brightness, data))[is_picture].max() < 2e-3


def test_most_files_are_compared():
    """The law would hold of nothing if nothing were read."""
    read = [path for path in FILES if not isinstance(ours(path), str)]
    assert len(read) > 25
