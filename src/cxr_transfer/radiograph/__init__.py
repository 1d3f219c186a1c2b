"""A file becomes a radiograph: one decoder and one preprocessing for every door."""

from cxr_transfer.radiograph.film import Radiograph
from cxr_transfer.radiograph.preprocessing import Preprocessing
from cxr_transfer.radiograph.raster import read_film

__all__ = ["Preprocessing", "Radiograph", "read_film"]
