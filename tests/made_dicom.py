"""DICOM files made by script, in every transfer syntax that can be written here."""

import io
import tempfile
from pathlib import Path

import gdcm
import imagecodecs
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from made import encoded

PLAIN = (
    *(ExplicitVRLittleEndian, ImplicitVRLittleEndian),
    *(ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian),
)
LOSSLESS = (RLELossless, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless)
PATIENT = "Doe^Jane^1970"
"""Stands in every file that is made here, and in nothing that is ever said of one."""


def dicom(samples, syntax=ExplicitVRLittleEndian, *, preamble=True, **elements):
    """Return the bytes of an image.

    Args:
        samples: (height, width) or (height, width, 3), uint8 or 16 bits.
        syntax: The transfer syntax.
        preamble: Whether preamble and file meta information are there.
        elements: By keyword; None takes one away.
    """
    data = dataset(samples, **elements)
    if syntax in PLAIN or "PixelData" in elements:
        return written(data, syntax, preamble=preamble)
    frame = {
        RLELossless: _pydicom,
        JPEG2000Lossless: _pydicom,
        JPEGBaseline8Bit: _pillow,
        **dict.fromkeys((JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000), _imagecodecs),
    }
    return frame.get(syntax, _gdcm)(data, samples, syntax)


def dataset(samples, **elements):
    """Return the data set of an image, as plain pixels."""
    data = Dataset()
    data.SOPClassUID = DigitalXRayImageStorageForPresentation
    data.SOPInstanceUID = "1.2.3.4"
    data.PatientName = data.PatientID = PATIENT
    data.PatientBirthDate = "19700101"
    data.Modality = "DX"
    data.BodyPartExamined = "CHEST"
    data.ViewPosition = "PA"
    data.Rows, data.Columns = samples.shape[:2]
    data.SamplesPerPixel = 3 if samples.ndim == 3 else 1
    data.PhotometricInterpretation = "RGB" if samples.ndim == 3 else "MONOCHROME2"
    if samples.ndim == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = 8 * samples.dtype.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(samples.dtype.kind == "i")
    data.PixelData = samples.tobytes() + bytes(samples.nbytes % 2)
    data["PixelData"].VR = "OW"
    for keyword, value in elements.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    if "BitsStored" in elements and "HighBit" not in elements:
        data.HighBit = data.BitsStored - 1
    return data


def written(data, syntax, *, preamble=True):
    """Return a data set as bytes."""
    out = io.BytesIO()
    little = syntax != ExplicitVRBigEndian
    if not little and data["PixelData"].VR == "OW":  # words, whatever they hold
        data.PixelData = np.frombuffer(data.PixelData, np.uint16).byteswap().tobytes()
    if not preamble:
        dcmwrite(out, data, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=little)
        return out.getvalue()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = UID(syntax)
    data.file_meta.MediaStorageSOPClassUID = data.get("SOPClassUID", "1.2")
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dcmwrite(out, data, enforce_file_format=True)
    return out.getvalue()


def table(first, entries, bits=16):
    """Return one item with a look-up table."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "OW", np.asarray(entries, "<u2").tobytes())
    return item


def _pillow(data, samples, syntax):
    data.PixelData = encapsulate([encoded(samples, "JPEG", quality=95)])
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    return written(data, syntax)


def _imagecodecs(data, samples, syntax):
    if syntax == JPEGLSNearLossless:
        frame = imagecodecs.jpegls_encode(samples, level=3)
    elif syntax == JPEG2000:
        frame = imagecodecs.jpeg2k_encode(samples, level=45, codecformat="j2k", reversible=False)
    else:
        bits = 8 if samples.dtype == np.uint8 else 12
        frame = imagecodecs.jpeg8_encode(samples, level=95, bitspersample=bits)
    data.PixelData = encapsulate([frame])
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    return written(data, syntax)


def _pydicom(data, samples, syntax):
    data.file_meta = FileMetaDataset()
    data.compress(syntax, np.ascontiguousarray(samples), generate_instance_uid=False)
    return written(data, syntax)


def _gdcm(data, samples, syntax):
    kinds = {
        JPEGLossless: gdcm.TransferSyntax.JPEGLosslessProcess14,
        JPEGLosslessSV1: gdcm.TransferSyntax.JPEGLosslessProcess14_1,
        JPEGLSLossless: gdcm.TransferSyntax.JPEGLSLossless,
    }
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "before"), Path(folder, "after")
        before.write_bytes(written(data, ExplicitVRLittleEndian))
        reader = gdcm.ImageReader()
        reader.SetFileName(str(before))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(kinds[syntax]))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(after))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return after.read_bytes()
