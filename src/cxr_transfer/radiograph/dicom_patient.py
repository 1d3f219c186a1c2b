"""What a DICOM header says of whom it shows, and with which machine; for grouping, never for words.

The decoder never looks at these elements but the view. This module reads them and no others, for
one purpose: a folder of DICOM files tells its patients, so that nobody stands in training and in
test. Whoever takes `PatientFacts.number` must hash it at once (`datasets.patients`). It reads
the first `LARGEST_HEADER` bytes of a file and a bounded number of elements, passes over odd ones,
and raises nothing. Clauses are those of the DICOM standard, edition 2024.
"""

from __future__ import annotations

import io
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.filereader import data_element_generator
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from cxr_transfer.radiograph.signatures import HEAD, is_dicom
from cxr_transfer.radiograph.silence import silence

LARGEST_HEADER = 1 << 20
"""Bytes of a file (of a deflated one: inflated) that are looked at; the patient stands in front."""

_MOST_HEADERS = 1 << 16
"""Bytes in which nearly every header ends: of 10,000 files not a megabyte each is read."""

_READS = 20_000
_PREAMBLE = 132  # PS3.10, section 7.1
_SYNTAX = 0x00020010
_NUMBER, _SEX, _AGE = 0x00100020, 0x00100040, 0x00101010  # PS3.3, C.7.1.1 and C.7.2.2
_VIEW_POSITION = 0x00185101  # PS3.3, C.8.1.1
_MAKER, _MODEL = 0x00080070, 0x00081090  # PS3.3, C.7.5.1
_CLASS, _ROWS = 0x00080016, 0x00280010
_WANTED = [_CLASS, _MAKER, _MODEL, _NUMBER, _SEX, _AGE, _VIEW_POSITION, _ROWS]
_UIDS = "1.2.840.10008.5.1.4."
_WITHOUT_PICTURE = (  # PS3.4, B.5
    *(f"{_UIDS}1.1.{kind}." for kind in (9, 11, 66, 88, 104)),  # waveforms to documents
    *(f"{_UIDS}1.1.481.{kind}" for kind in (3, 4, 5, 6, 7, 8, 9)),  # of radiotherapy
    *(f"{_UIDS}{kind}" for kind in (3, 4)),  # worklists, hanging protocols, palettes
)


@dataclass(frozen=True)
class PatientFacts:
    """Facts of a patient in one DICOM header, as they are written there; "" where one is missing.

    Attributes:
        number: Patient ID. Not to be kept, shown or written.
        age: Patient's Age, such as "045Y".
        sex: Patient's Sex.
        view: View Position.
        has_picture: Whether the file may hold a picture: it states a size, or is not of a class
            that never has one (a report, a presentation state).
        maker: Manufacturer of the machine.
        model: Manufacturer's Model Name.
    """

    number: str = field(default="", repr=False)
    age: str = ""
    sex: str = ""
    view: str = ""
    has_picture: bool = True
    maker: str = ""
    model: str = ""


def read_patient_facts(path: Path) -> PatientFacts | None:
    """Return what the header of the file at ``path`` says; None where it is no DICOM file.

    A file that cannot be read says nothing: the decoder finds out what is wrong with it.
    """
    try:
        with open(path, "rb") as handle:
            content = handle.read(HEAD)
            if not is_dicom(content):
                return None
            content += handle.read(_MOST_HEADERS - HEAD)
            elements = _elements(content)
            if _ROWS not in elements and len(content) == _MOST_HEADERS:
                elements = _elements(content + handle.read(LARGEST_HEADER - _MOST_HEADERS))
    except (OSError, ValueError):
        return None
    return _facts(elements)


def patient_facts(content: bytes) -> PatientFacts:
    """Return what the first bytes of a DICOM file say of the patient; see `read_patient_facts`."""
    return _facts(_elements(content))


def _elements(content: bytes) -> dict[int, bytes]:
    """Return the elements that are wanted, in the order of the file: the size comes last."""
    elements: dict[int, bytes] = {}
    # Damaged bytes lead to every kind of exception; what was read before stands.
    with silence(), suppress(Exception):
        _read(content, elements)
    return elements


def _facts(elements: dict[int, bytes]) -> PatientFacts:
    return PatientFacts(
        number=_text(elements.get(_NUMBER, b"")),
        age=_text(elements.get(_AGE, b"")),
        sex=_text(elements.get(_SEX, b"")),
        view=_text(elements.get(_VIEW_POSITION, b"")),
        has_picture=_ROWS in elements
        or not _text(elements.get(_CLASS, b"")).startswith(_WITHOUT_PICTURE),
        maker=_text(elements.get(_MAKER, b"")),
        model=_text(elements.get(_MODEL, b"")),
    )


class _Bounded(io.BytesIO):
    """Bytes that can be read from only so often: sequences may nest, and be empty by millions."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > _READS:
            raise ValueError("more elements than a header has")
        return super().read(size)


def _read(content: bytes, elements: dict[int, bytes]) -> None:
    """Put the elements that are wanted into ``elements``, one after the other."""
    stream = _Bounded(content)
    stream.seek(_PREAMBLE if content[_PREAMBLE - 4 : _PREAMBLE] == b"DICM" else 0)
    # PS3.10, section 7.1: the file meta information is explicit and little-endian, always.
    syntax = ""
    for element in data_element_generator(
        stream, False, True, stop_when=lambda tag, *_: tag >> 16 != 2, specific_tags=[_SYNTAX]
    ):
        syntax = _text(element.value) if isinstance(element.value, bytes) else ""
    if syntax == DeflatedExplicitVRLittleEndian:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        stream = _Bounded(inflater.decompress(content[stream.tell() :], LARGEST_HEADER))
    start = stream.tell()
    first = stream.read(6)
    stream.seek(start)
    little = syntax != ExplicitVRBigEndian if syntax else first[:1] != b"\0"
    # Some writers name the one and write the other; letters where the VR would be tell them apart.
    explicit = first[4:6].isalpha() and first[4:6].isupper()
    for element in data_element_generator(
        stream,
        not explicit,
        little,
        specific_tags=list(_WANTED),
        stop_when=lambda tag, *_: tag > _ROWS,
    ):
        if isinstance(element.value, bytes):
            elements.setdefault(int(element.tag), element.value)


def _text(value: bytes) -> str:
    """Return the first value of a text element, whatever bytes it holds."""
    return value[:1024].decode("utf-8", "surrogateescape").partition("\\")[0].strip(" \0")
