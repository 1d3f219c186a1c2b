"""A grey picture in, the bytes of a small DICOM file out: to try how the decoder reads it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydicom.uid import ComputedRadiographyImageStorage

from cxr_transfer.radiograph.dicom_dataset import Dataset, written


def grey_dicom(
    grey: npt.NDArray[np.uint8],
    photometric: Literal["MONOCHROME1", "MONOCHROME2"] = "MONOCHROME2",
) -> bytes:
    """Return a file that shows a picture of 8 bits.

    Args:
        grey: Picture (H, W), bright = dense.
        photometric: Photometric interpretation; MONOCHROME1 stores it inverted.
    """
    stored = 255 - grey if photometric == "MONOCHROME1" else grey
    dataset = Dataset()
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.Modality = "CR"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, photometric
    dataset.Rows, dataset.Columns = grey.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    content = np.ascontiguousarray(stored).tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OB"
    return written(dataset)
