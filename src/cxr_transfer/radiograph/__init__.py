"""A file becomes a radiograph: one decoder and one preprocessing for every entry point."""

from cxr_transfer.radiograph.preprocessing import Preprocessing
from cxr_transfer.radiograph.radiograph import Header, Radiograph
from cxr_transfer.radiograph.reading import decode, named_format, read_content, read_radiograph

__all__ = [
    "Header",
    "Preprocessing",
    "Radiograph",
    "decode",
    "named_format",
    "read_content",
    "read_radiograph",
]
