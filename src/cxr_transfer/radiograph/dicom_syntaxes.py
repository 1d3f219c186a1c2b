"""The transfer syntaxes that can be read, and the decoder of each that is compressed."""

from __future__ import annotations

from collections.abc import Mapping

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
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

from cxr_transfer.radiograph import codestream
from cxr_transfer.radiograph.codestream import Codec

PLAIN = (
    *(ImplicitVRLittleEndian, ExplicitVRLittleEndian),
    *(ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian),
    "",
)
"""Transfer syntaxes of pixels that are not compressed; "" where the file names none."""
CODECS: Mapping[str, Codec] = {
    JPEGBaseline8Bit: codestream.JPEG_BASELINE,
    JPEGExtended12Bit: codestream.JPEG_EXTENDED,
    JPEGLossless: codestream.JPEG_LOSSLESS,
    JPEGLosslessSV1: codestream.JPEG_LOSSLESS,
    JPEGLSLossless: codestream.JPEG_LS,
    JPEGLSNearLossless: codestream.JPEG_LS,
    JPEG2000Lossless: codestream.JPEG_2000,
    JPEG2000: codestream.JPEG_2000,
    HTJ2KLossless: codestream.JPEG_2000,
    HTJ2KLosslessRPCL: codestream.JPEG_2000,
    HTJ2K: codestream.JPEG_2000,
    RLELossless: codestream.RLE,
}
"""Decoders by the UID of a transfer syntax that is compressed."""
