"""Each image file opened and decoded once in a command, and what is kept of it.

Comes in: cases, and what the command wants. Goes out: a `Record` per image with hashes, size,
header, what the file tells, and the image after each preprocessing. Full-size pixels go as soon as
the record is made: of 20,000 images none could stay. Knows nothing of networks and tensors.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.file_features import file_features
from cxr_transfer.radiograph import (
    Header,
    Preprocessing,
    decode,
    named_format,
    read_content,
    read_radiograph,
)
from cxr_transfer.radiograph.preprocessing import Box
from cxr_transfer.radiograph.quality_control import QualityIssue, quality_issues

Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Wanted:
    """Facts that a command wants of each image, beside hashes, size and header.

    Attributes:
        preprocessings: Preprocessings after which the image is kept.
        file_features: Whether `file_features` are kept.
        grey_levels: Whether the grey values in use are counted.
        quality: Whether quality control looks at the image.
    """

    preprocessings: tuple[Preprocessing, ...] = ()
    file_features: bool = False
    grey_levels: bool = False
    quality: bool = False


@dataclass(frozen=True, eq=False)
class Record:
    """Facts and pixels that are kept of one decoded image.

    Attributes:
        path: File that was read.
        sha256: SHA-256 of its bytes.
        pixels: SHA-256 of the decoded image (`Radiograph.digest`).
        width: Width in pixels.
        height: Height in pixels.
        format: Format of the content: "JPEG", "PNG", "TIFF", "DICOM".
        header: Header of the file, as far as it says what the image is.
        warnings: Warnings of the decoder.
        images: Image (H, W) uint8 after each preprocessing that was wanted.
        file_features: `file_features`; None where they were not wanted.
        grey_levels: Number of grey values in use; None where it was not wanted.
        quality: Quality issues; None where they were not wanted.
    """

    path: Path
    sha256: str
    pixels: str
    width: int
    height: int
    format: str
    header: Header
    warnings: tuple[str, ...]
    images: dict[Preprocessing, Grey] = field(default_factory=dict)
    file_features: dict[str, float] | None = None
    grey_levels: int | None = None
    quality: tuple[QualityIssue, ...] | None = None

    def described(self, case: Case) -> Case:
        """Return ``case`` with the hashes and the size of its image."""
        return dataclasses.replace(
            case, sha256=self.sha256, pixels=self.pixels, width=self.width, height=self.height
        )


def decode_image(path: Path, wanted: Wanted = Wanted()) -> Record:
    """Open a file once; decode it and keep what is wanted.

    Raises:
        ImageError: What `read_content` and `decode` raise.
    """
    return record_of(path, read_content(path), wanted)


def record_of(path: Path, content: bytes, wanted: Wanted = Wanted()) -> Record:
    """Decode the content of a file that was read, and keep what is wanted.

    Args:
        path: File that was read.
        content: Content of the file.
        wanted: Facts that are kept.

    Raises:
        ImageError: What `decode` raises.
    """
    radiograph = decode(content, named=named_format(path.name))
    # Preprocessings that look for the lungs in one thumbnail share the box.
    boxes: dict[tuple[str, int, int], Box] = {}
    images = {}
    for preprocessing in wanted.preprocessings:
        crop = (preprocessing.crop, preprocessing.height, preprocessing.width)
        if crop not in boxes:
            boxes[crop] = preprocessing.box(radiograph)
        images[preprocessing] = preprocessing.apply(radiograph, boxes[crop])
    return Record(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        pixels=radiograph.digest(),
        width=radiograph.width,
        height=radiograph.height,
        format=radiograph.format,
        header=radiograph.header,
        warnings=radiograph.warnings,
        images=images,
        file_features=file_features(content, radiograph) if wanted.file_features else None,
        grey_levels=radiograph.levels if wanted.grey_levels else None,
        quality=tuple(quality_issues(radiograph)) if wanted.quality else None,
    )


class Records:
    """Records of one data set by path, which data sets that share files can share.

    Args:
        preprocessings: Preprocessings after which every image is kept.
        shared: Records of another data set of the same command; its files are not opened again.
    """

    def __init__(self, *preprocessings: Preprocessing, shared: Records | None = None) -> None:
        self.wanted = Wanted(tuple(dict.fromkeys(preprocessings)))
        self._shared = shared
        self._by_path: dict[Path, Record] = {}

    def read(self, case: Case) -> Record:
        """Return the record of a case; its file is opened where it is in no record yet.

        Any number of threads may ask at once.

        Raises:
            ImageError: What `decode_image` raises.
        """
        own = self._by_path.get(case.path)
        if own is not None:
            return own
        record = self._shared.stored(case, self.wanted) if self._shared else None
        return decode_image(case.path, self.wanted) if record is None else record

    def stored(self, case: Case, wanted: Wanted) -> Record | None:
        """Return the record of a case where there is one that has all that is wanted."""
        record = self._by_path.get(case.path)
        if record is None or not set(wanted.preprocessings) <= record.images.keys():
            return None
        images = {
            preprocessing: record.images[preprocessing] for preprocessing in wanted.preprocessings
        }
        return dataclasses.replace(record, images=images)

    def keep(self, record: Record) -> None:
        """Keep a record."""
        self._by_path[record.path] = record

    def take(self, case: Case, preprocessing: Preprocessing) -> Grey:
        """Return the image of a case after a preprocessing, and keep it no longer.

        Raises:
            ImageError: What `read_radiograph` raises, for an image that is not kept.
        """
        record = self._by_path.get(case.path)
        kept = record.images.pop(preprocessing, None) if record else None
        # Without the hashes, which nobody asks for here.
        return preprocessing.apply(read_radiograph(case.path)) if kept is None else kept


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
