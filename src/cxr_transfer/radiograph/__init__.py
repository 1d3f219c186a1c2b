"""A file becomes a radiograph: one decoder and one preprocessing for every door."""

from cxr_transfer.radiograph.film import Header, Radiograph
from cxr_transfer.radiograph.preprocessing import Preprocessing
from cxr_transfer.radiograph.reading import decode, named_format, read_film

__all__ = ["Header", "Preprocessing", "Radiograph", "decode", "named_format", "read_film"]
