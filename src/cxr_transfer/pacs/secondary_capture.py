"""A picture of an answer, for viewers that show no structured report."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.figures.page import Page, Words, page_png
from cxr_transfer.pacs.answered_image import AnsweredImage
from cxr_transfer.pacs.dicom_header import new_object


def secondary_capture(image: AnsweredImage) -> Dataset:
    """Return the picture of an answer as a secondary capture image."""
    page = Page(500, 500, [Words(10, 20, INTENDED_USE, 8)])
    pixels = np.asarray(Image.open(io.BytesIO(page_png(page))).convert("RGB"))
    made = new_object(image, SecondaryCaptureImageStorage, "sc", "OT", (9002, "Class scores"))
    made.ConversionType = "WSD"
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.PatientOrientation = None
    made.BurnedInAnnotation = "YES"
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation = 3, "RGB"
    made.PlanarConfiguration = 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
    made.PixelRepresentation = 0
    made.PixelData = pixels.tobytes() + bytes(pixels.nbytes % 2)
    made["PixelData"].VR = "OB"
    return made
