"""Whether two data sets of one SOP Instance UID are one image in two transfer syntaxes.

Archives and senders convert what they pass on, and send the result under the same UID. Pixels that
lie in clear are compared byte by byte; of compressed ones the header decides, since nothing is
decoded here.
"""

from __future__ import annotations

import io
import zlib

import numpy as np
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from cxr_transfer.radiograph.silence import silence
from cxr_transfer.serving.settings import MIB

_LASTING = (
    *("SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "InstanceNumber"),
    *("AcquisitionDate", "AcquisitionTime", "ContentDate", "ContentTime"),
    *("Rows", "Columns", "SamplesPerPixel", "BitsStored", "PixelRepresentation"),
    *("PhotometricInterpretation", "NumberOfFrames"),
)
"""Elements that no transfer syntax changes in a radiograph."""

_PIXELS = 0x7FE00010


def is_same_image(first: bytes, first_syntax: str, second: bytes, second_syntax: str) -> bool:
    """Tell whether two data sets are the same image; what cannot be read is another one.

    Args:
        first: Data set without file meta information.
        first_syntax: UID of its transfer syntax.
        second: The other data set.
        second_syntax: UID of its transfer syntax, another than the first's.
    """
    if first_syntax == second_syntax:
        return first == second
    try:
        with silence():
            is_clear = not (UID(first_syntax).is_compressed or UID(second_syntax).is_compressed)
            last = _PIXELS if is_clear else _PIXELS - 1
            one = _read(first, first_syntax, last, len(second))
            other = _read(second, second_syntax, last, len(first))
            if any(str(one.get(word, "")) != str(other.get(word, "")) for word in _LASTING):
                return False
            return not is_clear or _pixels(one, first_syntax) == _pixels(other, second_syntax)
    except Exception:  # pydicom raises every kind for what cannot be read
        return False


def _read(dataset: bytes, syntax: str, last: int, size: int) -> Dataset:
    """Return the elements up to a tag; of a deflated data set not much more than the other's bytes.

    The same image is as large when both are in clear: what becomes larger is another one.
    """
    named = UID(syntax)
    if named == DeflatedExplicitVRLittleEndian:
        dataset = zlib.decompressobj(-zlib.MAX_WBITS).decompress(dataset, size + MIB)
    return read_dataset(
        io.BytesIO(dataset),
        is_implicit_VR=named.is_implicit_VR,
        is_little_endian=named.is_little_endian,
        stop_when=lambda tag, *_: tag > last,
    )


def _pixels(dataset: Dataset, syntax: str) -> bytes:
    """Return the bytes of pixels that lie in clear, in the order of little-endian."""
    content = bytes(dataset.PixelData)
    if UID(syntax).is_little_endian or dataset.BitsAllocated != 16:
        return content
    return np.frombuffer(content, ">u2").astype("<u2").tobytes()
