"""The bytes of a DICOM file in, radiograph out: CR, DX, secondary capture and the like.

Of the data set only the elements in `_WANTED` are looked at: those that say how the picture is
shown. Names, numbers and dates of patients are skipped as bytes, so no message, warning or log can
hold them. Every element that decides how much memory is needed is checked before pixels are
decoded. Clauses are those of the DICOM standard, edition 2024.
"""

from __future__ import annotations

import io
import logging
import math
import warnings as python_warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.filereader import data_element_generator, read_sequence
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
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

from cxr_transfer.errors import FilmError
from cxr_transfer.radiograph import codestream
from cxr_transfer.radiograph.codestream import Codec, Samples, Shape, decode_frame, wrong_length
from cxr_transfer.radiograph.film import (
    MAX_PIXELS,
    Grey,
    Header,
    Radiograph,
    check_size,
    several_frames,
)
from cxr_transfer.radiograph.grey_scale import Bits, GreyScale, Rescale, Table, Window

MAX_INFLATED = 2 * MAX_PIXELS + (8 << 20)
"""Bytes that a deflated data set may have: the largest film of 16 bits, and its header."""
MAX_READS = 40_000
"""Reads that a data set may take: far above any film's, and less than a second."""

_PREAMBLE = 132  # PS3.10, section 7.1
_UNDEFINED = 0xFFFFFFFF

_SYNTAX = 0x00020010
_MODALITY, _BODY_PART, _VIEW_POSITION = 0x00080060, 0x00180015, 0x00185101
_PATIENT_ORIENTATION = 0x00200020
_SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES = 0x00280002, 0x00280004, 0x00280006, 0x00280008
_ROWS, _COLUMNS, _ASPECT = 0x00280010, 0x00280011, 0x00280034
_ALLOCATED, _STORED, _HIGH, _SIGNED = 0x00280100, 0x00280101, 0x00280102, 0x00280103
_PADDING, _PADDING_LIMIT = 0x00280120, 0x00280121
_CENTRE, _WIDTH, _INTERCEPT, _SLOPE, _FUNCTION = (
    *(0x00281050, 0x00281051, 0x00281052, 0x00281053),
    0x00281056,
)
_PALETTE_DESCRIPTORS = (0x00281101, 0x00281102, 0x00281103)
_PALETTES = (0x00281201, 0x00281202, 0x00281203)
_MODALITY_LUT, _VOI_LUT, _LUT_DESCRIPTOR, _LUT = 0x00283000, 0x00283010, 0x00283002, 0x00283006
_SHAPE = 0x20500020
_FLOAT_PIXELS, _DOUBLE_PIXELS, _PIXELS = 0x7FE00008, 0x7FE00009, 0x7FE00010
_WANTED = [
    *(_MODALITY, _BODY_PART, _VIEW_POSITION, _PATIENT_ORIENTATION),
    *(_SAMPLES, _PHOTOMETRIC, _PLANAR, _FRAMES, _ROWS, _COLUMNS, _ASPECT),
    *(_ALLOCATED, _STORED, _HIGH, _SIGNED, _PADDING, _PADDING_LIMIT),
    *(_CENTRE, _WIDTH, _INTERCEPT, _SLOPE, _FUNCTION, *_PALETTE_DESCRIPTORS, *_PALETTES),
    *(_MODALITY_LUT, _VOI_LUT, _SHAPE, _FLOAT_PIXELS, _DOUBLE_PIXELS, _PIXELS),
]

_PLAIN = (
    *(ImplicitVRLittleEndian, ExplicitVRLittleEndian),
    *(ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian),
)
_CODECS: Mapping[str, Codec] = {
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

# The standard's are CR, DX, RG, RF, XA, and OT of secondary captures; the others occur.
_RADIOGRAPHS = ("CR", "DX", "DR", "XR", "RG", "RF", "XA", "OT", "SC", "")
_OTHER_MODALITIES = (
    *("AR", "AU", "BDUS", "BI", "BMD", "CT", "DG", "DOC", "ECG", "EPS", "ES", "FID", "GM", "HD"),
    *("IO", "IVOCT", "IVUS", "KO", "LEN", "LS", "MG", "MR", "NM", "OAM", "OCT", "OP", "OPT"),
    *("OSS", "PLAN", "PR", "PT", "PX", "REG", "RESP", "RTDOSE", "RTIMAGE", "RTPLAN", "RTSTRUCT"),
    *("SEG", "SM", "SMR", "SR", "TG", "US", "VA", "XC"),
)  # PS3.3, C.7.3.1.1.1
_CHEST = ("CHEST", "THORAX", "TORAX", "LUNG", "RIB", "STERNUM", "HEART", "")
_OTHER_PARTS = (
    *("ABDOMEN", "ABDOMENPELVIS", "ANKLE", "ARM", "BLADDER", "BRAIN", "BREAST", "CALCANEUS"),
    *("CALF", "CAROTID", "CEREBELLUM", "CERVIX", "CLAVICLE", "COCCYX", "COLON", "CSPINE"),
    *("ELBOW", "EXTREMITY", "EYE", "FACE", "FEMUR", "FINGER", "FOOT", "FOREARM", "HAND", "HEAD"),
    *("HIP", "HUMERUS", "JAW", "KIDNEY", "KNEE", "LEG", "LIVER", "LSPINE", "MANDIBLE", "MAXILLA"),
    *("NECK", "ORBIT", "PATELLA", "PELVIS", "SCAPULA", "SHOULDER", "SKULL", "SSPINE", "STOMACH"),
    *(
        "TEETH",
        "THIGH",
        "THUMB",
        "TIBIA",
        "TIBIAFIBULA",
        "TOE",
        "TSPINE",
        "ULNA",
        "WHOLEBODY",
        "WRIST",
    ),
    *("ZYGOMA",),
)  # PS3.16, annex L
_VIEWS = {"PA": "PA", "AP": "AP", "LL": "lateral", "RL": "lateral", "LATERAL": "lateral"}
_MIRRORED = "turned as its patient orientation says"

_Element: TypeAlias = RawDataElement | DataElement

# pydicom's warnings and log lines can quote what stands in a file, so nobody gets them.
python_warnings.filterwarnings("ignore", module=r"pydicom\b")
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)


def decode(content: bytes, *, any_modality: bool = False) -> Radiograph:
    """Decode the bytes of one DICOM file.

    Args:
        content: The file; preamble and file meta information may be missing.
        any_modality: Take it whatever it calls its modality and body part.

    Returns:
        The film as its VOI LUT or first window shows it, bright = dense, upright where the patient
        orientation says how it lies; what was done to it is in its warnings.

    Raises:
        FilmError: ``no_pixel_data``, ``wrong_modality``, ``multi_frame``, ``too_many_pixels``,
            ``too_small``, ``bad_aspect``, ``insufficient_depth``, ``unsupported_format``,
            ``unsupported_syntax``, ``missing_decoder``, ``pixel_length_mismatch``,
            ``truncated_image``, ``corrupt_image``, ``colour_dicom``, ``bad_grey_scale``,
            ``too_many_bytes``.
    """
    try:
        data = _read(content)
        header = _header(data, any_modality)
        shape, bits = _check_header(data)
        samples = _samples(data, shape)
        warnings: list[str] = []
        grey_samples, palette = _without_colour(data, samples, shape)
        scale = _grey_scale(data, _bits_of(grey_samples, bits), palette, warnings)
        film, is_narrow = scale.apply(grey_samples)
        if is_narrow:
            warnings.append("without a window, scaled over the bits that its values use")
        ratio = data.numbers(_ASPECT)
        if len(ratio) == 2 and ratio[0] != ratio[1]:
            warnings.append("its pixels are not square, and were taken as if they were")
        film, header = _upright(data, film, header, warnings)
    except (FilmError, MemoryError):
        raise
    except Exception:
        # Damaged bytes lead to every kind of exception; they all say the same.
        raise _damaged() from None
    return Radiograph(film, "DICOM", tuple(warnings), header)


class _Bounded(io.BytesIO):
    """Bytes that can be read from only so often: sequences may nest, and be empty by millions."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > MAX_READS:
            raise ValueError("more elements than a film has")
        return super().read(size)


@dataclass(frozen=True)
class _Data:
    """The elements of a data set that say how its picture is shown.

    Attributes:
        elements: By tag; values are bytes still, but those of undefined-length sequences.
        syntax: The UID of the transfer syntax; "" where the file does not name it.
        little: Whether its numbers are little-endian.
    """

    elements: Mapping[int, _Element]
    syntax: str
    little: bool

    def content(self, tag: int) -> bytes:
        """Return the bytes of an element; none where it is missing."""
        return _content(self.elements.get(tag))

    def texts(self, tag: int) -> list[str]:
        """Return the values of a text element (CS, DS, IS, UI), upper case: PS3.5, 6.2 and 6.4."""
        return _texts(self.content(tag))

    def text(self, tag: int) -> str:
        """Return the first value of a text element; "" where it is missing."""
        return next(iter(self.texts(tag)), "")

    def numbers(self, tag: int) -> list[float]:
        """Return the values of a decimal or integer string.

        Raises:
            ValueError: One of them is no number.
        """
        return [float(text) for text in self.texts(tag) if text]

    def integers(self, tag: int, *, signed: bool = False) -> list[int]:
        """Return the values of a US or SS element."""
        return self._integers(self.content(tag), signed)

    def integer(self, tag: int, otherwise: int) -> int:
        """Return the first value of a US element."""
        return next(iter(self.integers(tag)), otherwise)

    def table(self, sequence: int, signed: bool) -> Table | None:
        """Return the look-up table of a sequence's first item; None without one.

        Args:
            sequence: Its tag.
            signed: Whether the values that it stands for may be negative.
        """
        items: Sequence[Dataset] = ()
        found = self.elements.get(sequence)
        if isinstance(found, RawDataElement):
            content = found.value or b""
            items = read_sequence(
                _Bounded(content), found.is_implicit_VR, self.little, len(content), "iso8859"
            )
        elif found is not None:
            items = found.value
        if not items:
            return None
        item = items[0]
        descriptor, data = (
            item.get_item(tag) if tag in item else None for tag in (_LUT_DESCRIPTOR, _LUT)
        )
        if descriptor is not None and descriptor.VR in ("US", "SS"):
            signed = descriptor.VR == "SS"
        return self.table_of(_content(descriptor), _content(data), signed)

    def table_of(self, descriptor: bytes, data: bytes, signed: bool) -> Table:
        """Return a look-up table: PS3.3, C.11.1.1 and C.7.6.3.1.5."""
        described = self._integers(descriptor, False)
        if len(described) != 3:
            raise _bad_scale("its look-up table is not described")
        count = described[0] or 1 << 16
        first = self._integers(descriptor, signed)[1]
        if len(data) in (count, count + count % 2) and described[2] <= 8:
            entries = np.frombuffer(data, "u1", count)
        elif len(data) >= 2 * count:
            entries = np.frombuffer(data, "<u2" if self.little else ">u2", count)
        else:
            raise _bad_scale("its look-up table is shorter than described")
        return Table(first, entries.astype(np.uint16))

    def _integers(self, content: bytes, signed: bool) -> list[int]:
        kind = ("<" if self.little else ">") + ("i2" if signed else "u2")
        return [int(value) for value in np.frombuffer(content[: len(content) // 2 * 2], kind)]


def _content(element: _Element | None) -> bytes:
    if element is None or not isinstance(element.value, bytes):
        return b""
    return element.value


def _texts(content: bytes) -> list[str]:
    text = content[:1024].decode("ascii", "replace").upper()
    return [part.strip(" \0") for part in text.split("\\")]


def _read(content: bytes) -> _Data:
    """Read the elements that are wanted, and no others.

    Raises:
        FilmError: ``no_pixel_data``, ``truncated_image``, ``too_many_bytes``.
    """
    stream = _Bounded(content)
    stream.seek(_PREAMBLE if content[_PREAMBLE - 4 : _PREAMBLE] == b"DICM" else 0)
    # PS3.10, section 7.1: the file meta information is explicit and little-endian, always.
    meta = {
        int(element.tag): element
        for element in data_element_generator(
            stream,
            False,
            True,
            stop_when=lambda tag, *_: tag >> 16 != 2,
            specific_tags=[_SYNTAX],
        )
    }
    syntax = next(iter(_texts(_content(meta.get(_SYNTAX)))), "")
    if syntax == DeflatedExplicitVRLittleEndian:
        stream = _Bounded(_inflated(content[stream.tell() :]))
    start = stream.tell()
    first = stream.read(6)
    stream.seek(start)
    little = syntax != ExplicitVRBigEndian if syntax else first[:1] != b"\0"
    # Some writers name the one and write the other; letters where the VR would be tell them apart.
    explicit = first[4:6].isalpha() and first[4:6].isupper()
    elements: dict[int, _Element] = {}
    try:
        for element in data_element_generator(
            stream, not explicit, little, specific_tags=list(_WANTED)
        ):
            elements[int(element.tag)] = element
            if element.tag == _PIXELS:
                break
    except EOFError:
        raise _cut_short() from None
    end = len(stream.getbuffer())
    if not elements.keys() & {_PIXELS, _FLOAT_PIXELS, _DOUBLE_PIXELS}:
        if stream.tell() > end:
            raise _cut_short()
        raise FilmError(
            "no_pixel_data",
            "Expected a film, but the DICOM file holds no picture (a report, a directory or a "
            "header alone); send the image itself.",
        )
    pixels = elements.get(_PIXELS)
    announced = getattr(pixels, "length", _UNDEFINED)
    if announced != _UNDEFINED and len(_content(pixels)) < announced:
        raise _cut_short()
    return _Data(elements, syntax, little)


def _inflated(content: bytes) -> bytes:
    """Inflate a deflated data set, up to a limit: PS3.5, A.5."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(content, MAX_INFLATED)
    except zlib.error:
        raise _damaged() from None
    if inflater.eof:
        return plain
    if inflater.unconsumed_tail:
        raise FilmError(
            "too_many_bytes",
            f"Expected at most {MAX_INFLATED} bytes, but the deflated file unfolds to more; export "
            "it uncompressed.",
        )
    raise _cut_short()


def _header(data: _Data, any_modality: bool) -> Header:
    """Return what the file says of its picture, in the standard's own words only.

    Raises:
        FilmError: ``wrong_modality``.
    """
    modality, part = data.text(_MODALITY), data.text(_BODY_PART)
    plain_part = part.replace(" ", "").replace("_", "").replace("-", "")
    if modality not in _RADIOGRAPHS and not any_modality:
        found = modality if modality in _OTHER_MODALITIES else "something else"
        raise _wrong_modality(f"the header calls it {found}")
    if plain_part in _OTHER_PARTS and not any_modality:
        raise _wrong_modality(f"the header says that it shows the {plain_part.lower()}")
    return Header(
        modality if modality in _RADIOGRAPHS + _OTHER_MODALITIES else "",
        _VIEWS.get(data.text(_VIEW_POSITION), ""),
        plain_part if plain_part in _CHEST + _OTHER_PARTS else "",
    )


def _wrong_modality(found: str) -> FilmError:
    return FilmError(
        "wrong_modality",
        f"Expected a chest radiograph, but {found}; where the header is wrong, the command line "
        "can be told to take any modality.",
    )


def _check_header(data: _Data) -> tuple[Shape, Bits]:
    """Check what decides over memory and meaning, before any pixel is touched.

    Raises:
        FilmError: ``multi_frame``, ``unsupported_format``, ``insufficient_depth``, and those of
            `check_size`.
    """
    if any(number > 1 for number in data.numbers(_FRAMES)):
        raise several_frames()
    rows, columns = data.integer(_ROWS, 0), data.integer(_COLUMNS, 0)
    if not rows or not columns:
        raise _damaged()
    check_size(columns, rows)
    allocated = data.integer(_ALLOCATED, 0)
    stored = data.integer(_STORED, allocated)
    high = data.integer(_HIGH, stored - 1)
    if allocated == 1 or stored == 1:
        raise FilmError(
            "insufficient_depth",
            "Expected grey values, but got black and white only (1 bit); export the film in grey.",
        )
    if _PIXELS not in data.elements or allocated not in (8, 16):
        raise FilmError(
            "unsupported_format",
            "Expected samples of 8 or 16 bits, but got others; export the film with 16 bits.",
        )
    if not 2 <= stored <= allocated or not stored - 1 <= high < allocated:
        raise _bad_scale(f"bits {stored}, high bit {high} do not fit into {allocated}")
    samples = data.integer(_SAMPLES, 1)
    if samples not in (1, 3):
        raise _bad_scale(f"{samples} samples per pixel have no meaning")
    if rows * columns * samples > MAX_PIXELS:
        raise FilmError(
            "too_many_pixels",
            f"Expected at most {MAX_PIXELS} samples, but got {columns} x {rows} in "
            "colour; export the film in grey.",
        )
    return Shape(rows, columns, samples, allocated), Bits(
        stored, high, data.integer(_SIGNED, 0) == 1
    )


def _samples(data: _Data, shape: Shape) -> Samples:
    """Return the samples as stored: (rows, columns), or (rows, columns, 3)."""
    pixels = data.elements[_PIXELS]
    if not isinstance(pixels, RawDataElement):
        raise wrong_length("a sequence")
    is_encapsulated = pixels.length == _UNDEFINED
    codec = _CODECS.get(data.syntax)
    if codec is None and data.syntax not in (*_PLAIN, ""):
        name = UID(data.syntax).name
        name = "an unknown one" if name == data.syntax else name
        raise FilmError(
            "unsupported_syntax",
            f"Expected a transfer syntax of still images, but got {name}; export the film "
            "uncompressed.",
        )
    if is_encapsulated != (codec is not None):
        raise wrong_length("data of another transfer syntax")
    if codec is None:
        return _plain_samples(data, pixels, shape)
    frame = next(generate_frames(_content(pixels), number_of_frames=1))
    return decode_frame(codec, frame, shape, data.syntax)


def _plain_samples(data: _Data, pixels: RawDataElement, shape: Shape) -> Samples:
    content = _content(pixels)
    count = shape.rows * shape.columns * shape.samples
    expected = count * shape.bits_allocated // 8
    # A film with some bytes behind it is whole; one with rows behind it has another width.
    if not expected <= len(content) <= expected + 2 * shape.columns:
        raise wrong_length(f"{len(content)} bytes instead of {expected}")
    order = "<" if data.little else ">"
    if shape.bits_allocated == 16:
        samples = np.frombuffer(content, f"{order}u2", count)
    elif not data.little and pixels.VR == "OW":
        # PS3.5, A.3 and 8.2: bytes in big-endian words
        words = np.frombuffer(content[: len(content) // 2 * 2], "<u2").byteswap()
        samples = words.view(np.uint8)[:count]
    else:
        samples = np.frombuffer(content, np.uint8, count)
    if shape.samples == 1:
        return samples.reshape(shape.rows, shape.columns)
    if data.integer(_PLANAR, 0) == 1:
        return samples.reshape(3, shape.rows, shape.columns).transpose(1, 2, 0)
    return samples.reshape(shape.rows, shape.columns, 3)


def _without_colour(data: _Data, samples: Samples, shape: Shape) -> tuple[Samples, Table | None]:
    """Return grey samples, and the palette where they are indices into one that is grey.

    Raises:
        FilmError: ``colour_dicom`` where red, green and blue are not the same everywhere.
    """
    photometric = data.text(_PHOTOMETRIC)
    if photometric == "PALETTE COLOR" and shape.samples == 1:  # PS3.3, C.7.6.3.1.5
        tables = [
            data.table_of(data.content(descriptor), data.content(palette), False)
            for descriptor, palette in zip(_PALETTE_DESCRIPTORS, _PALETTES, strict=True)
        ]
        red, green, blue = (table.entries for table in tables)
        if not (np.array_equal(red, green) and np.array_equal(red, blue)):
            raise _colour()
        return samples, tables[0]
    if shape.samples == 1:
        if not photometric.startswith("MONOCHROME"):
            raise _bad_scale("its photometric interpretation is not that of a grey film")
        return samples, None
    first, second, third = (samples[..., channel] for channel in range(3))
    is_plain = data.syntax in (*_PLAIN, "", RLELossless)
    if is_plain and photometric.startswith("YBR_FULL"):  # PS3.3, C.7.6.3.1.2
        neutral = 1 << (data.integer(_STORED, 8) - 1)
        if photometric != "YBR_FULL" or (second != neutral).any() or (third != neutral).any():
            raise _colour()
    elif (first != second).any() or (first != third).any():
        raise _colour()
    return np.ascontiguousarray(first), None


def _bits_of(samples: Samples, bits: Bits) -> Bits:
    """Return where the bits lie in ``samples``: a decoder gives no more than were compressed."""
    width = 8 * samples.dtype.itemsize
    high = min(bits.high, width - 1)
    return Bits(min(bits.stored, high + 1), high, bits.signed)


def _grey_scale(data: _Data, bits: Bits, palette: Table | None, warnings: list[str]) -> GreyScale:
    """Return how stored values become grey: PS3.3, C.11; VOI first, then inversion."""
    photometric, shape = data.text(_PHOTOMETRIC), data.text(_SHAPE)
    if palette is not None or data.integer(_SAMPLES, 1) == 3:
        return GreyScale(Bits(bits.stored, bits.high, signed=False), voi=palette)
    inverted = photometric == "MONOCHROME1"  # C.7.6.3.1.2: the lowest value is white
    if shape == "INVERSE" and not inverted:  # C.8.11.3.1.2
        warnings.append("inverted as its presentation LUT shape says")
        inverted = True
    elif shape == "IDENTITY" and inverted:
        warnings.append("inverted as MONOCHROME1 says, against its presentation LUT shape")
    modality: Rescale | Table | None = data.table(_MODALITY_LUT, bits.signed)
    if modality is None:
        modality = _rescale(data)
    negative = isinstance(modality, Rescale) and bool((modality(bits.values()) < 0).any())
    voi: Window | Table | None = data.table(_VOI_LUT, bits.signed or negative)
    if voi is None:
        voi = _window(data, warnings)
    return GreyScale(bits, modality, voi, inverted, _padding(data, bits))


def _rescale(data: _Data) -> Rescale:
    slopes, intercepts = data.numbers(_SLOPE), data.numbers(_INTERCEPT)
    rescale = Rescale(*(slopes[:1] or [1.0]), *(intercepts[:1] or [0.0]))
    if rescale.slope == 0 or not math.isfinite(rescale.slope + rescale.intercept):
        raise _bad_scale("its rescale slope or intercept leaves no grey values")
    return rescale


def _window(data: _Data, warnings: list[str]) -> Window | None:
    """Return the first window, PS3.3, C.11.2.1.2; None without one that has a meaning."""
    centres, widths = data.numbers(_CENTRE), data.numbers(_WIDTH)
    if not centres or not widths:
        return None
    function = data.text(_FUNCTION) or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise _bad_scale("its VOI LUT function is none of the standard's")
    window = Window(centres[0], widths[0], function)
    if window.is_possible:
        return window
    warnings.append("its window has no width, and was left out")
    return None


def _padding(data: _Data, bits: Bits) -> tuple[int, int] | None:
    """Return the lowest and highest stored value that is no picture: PS3.3, C.7.5.1.1.2."""
    value = data.integers(_PADDING, signed=bits.signed)[:1]
    limit = data.integers(_PADDING_LIMIT, signed=bits.signed)[:1] or value
    return (min(value + limit), max(value + limit)) if value else None


def _upright(data: _Data, film: Grey, header: Header, warnings: list[str]) -> tuple[Grey, Header]:
    """Return the film with the patient's left on the right and the head on top.

    The patient orientation names where the rows and the columns lead: PS3.3, C.7.6.1.1.1.
    """
    rows, columns = ([value[:1] for value in data.texts(_PATIENT_ORIENTATION)] + ["", ""])[:2]
    if {rows, columns} & {"A", "P"} and {rows, columns} & {"H", "F"}:
        return film, header if header.view else Header(header.modality, "lateral", header.body_part)
    is_turned = rows in ("H", "F") and columns in ("L", "R")
    if not is_turned and not (rows in ("L", "R") and columns in ("H", "F")):
        return film, header
    if is_turned:
        film, rows, columns = film.T, columns, rows
    if rows == "R":
        film = film[:, ::-1]
    if columns == "H":
        film = film[::-1]
    if is_turned or (rows, columns) != ("L", "F"):
        warnings.append(_MIRRORED)
    return film.copy(order="C"), header


def _damaged() -> FilmError:
    return FilmError(
        "corrupt_image", "Expected a whole DICOM file, but it is damaged; export it anew."
    )


def _cut_short() -> FilmError:
    return FilmError(
        "truncated_image", "Expected a whole DICOM file, but it ends early; copy it anew."
    )


def _colour() -> FilmError:
    return FilmError(
        "colour_dicom",
        "Expected a grey film, but its red, green and blue differ; export it as MONOCHROME2.",
    )


def _bad_scale(found: str) -> FilmError:
    return FilmError(
        "bad_grey_scale",
        f"Expected a header that says how stored values become grey, but {found}; export the film "
        "anew.",
    )
