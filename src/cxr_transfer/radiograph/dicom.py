"""The bytes of a DICOM file in, radiograph out: CR, DX, secondary capture and the like.

Reads what the data set says (``dicom_elements.py``), checks every element that decides how much
memory is needed, decodes the pixels, and shows them as the file says (``dicom_grey.py``). What it
says of patients is skipped as bytes. Clauses are those of the DICOM standard, edition 2024.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DigitalIntraOralXRayImageStorageForProcessing,
    DigitalMammographyXRayImageStorageForProcessing,
    DigitalXRayImageStorageForProcessing,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
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
from cxr_transfer.radiograph import dicom_tags as tags
from cxr_transfer.radiograph.codestream import Codec, Samples, Shape, decode_frame, wrong_length
from cxr_transfer.radiograph.dicom_bits import bits_in, bits_of
from cxr_transfer.radiograph.dicom_elements import (
    PLAIN,
    Elements,
    damaged,
    name_of,
    read_elements,
)
from cxr_transfer.radiograph.dicom_grey import bad_grey_scale, grey_scale, palette
from cxr_transfer.radiograph.dicom_shutter import hidden_pixels
from cxr_transfer.radiograph.film import (
    MAX_PIXELS,
    Grey,
    Header,
    Radiograph,
    check_size,
    several_frames,
)
from cxr_transfer.radiograph.grey_scale import Bits, GreyScale, Table

Mask = npt.NDArray[np.bool_]

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
_FOR_PROCESSING = {
    DigitalXRayImageStorageForProcessing.upper(),
    DigitalMammographyXRayImageStorageForProcessing.upper(),
    DigitalIntraOralXRayImageStorageForProcessing.upper(),
}  # PS3.4, annex B

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
_SIMILAR = 3.0  # times the usual difference of two rows


def decode(content: bytes, *, any_modality: bool = False) -> Radiograph:
    """Decode the bytes of one DICOM file.

    Args:
        content: The file; preamble and file meta information may be missing.
        any_modality: Take it whatever it calls its modality and body part, and where it says that
            it is for processing and not to be shown.

    Returns:
        The film as its VOI LUT or first window shows it, bright = dense, upright where the patient
        orientation says how it lies; what was done to it is in its warnings.

    Raises:
        FilmError: ``no_pixel_data``, ``wrong_modality``, ``for_processing``, ``multi_frame``,
            ``too_many_pixels``, ``too_small``, ``bad_aspect``, ``insufficient_depth``,
            ``unsupported_format``, ``unsupported_syntax``, ``missing_decoder``,
            ``pixel_length_mismatch``, ``truncated_image``, ``corrupt_image``, ``colour_dicom``,
            ``bad_grey_scale``, ``too_many_bytes``, ``too_complex``.
    """
    try:
        elements = read_elements(content)
        header = _header(elements, any_modality)
        is_for_processing = _is_for_processing(elements, any_modality)
        shape = _check_header(elements)
        samples = _samples(elements, shape)
        grey_samples, colours = _without_colour(elements, samples, shape)
        stated = bits_of(elements, shape.bits_allocated)
        bits, strays = bits_in(elements, grey_samples, stated)
        if colours or shape.samples == 3:
            scale = GreyScale(Bits(bits.stored, bits.high, signed=False), voi=colours)
        else:
            scale = grey_scale(elements, bits, is_for_processing=is_for_processing)
        hidden = hidden_pixels(elements, grey_samples, scale)
        if strays is not None:
            hidden = strays if hidden is None else hidden | strays
        film, notices = scale.apply(grey_samples, hidden)
        for notice in notices:
            elements.warn(notice)
        ratio = elements.numbers(tags.ASPECT)
        if len(ratio) == 2 and ratio[0] != ratio[1]:
            elements.warn("its pixels are not square, and were taken as if they were")
        film, header = _upright(elements, film, header)
    except (FilmError, MemoryError):
        raise
    except Exception:
        # Damaged bytes lead to every kind of exception; they all say the same.
        raise damaged() from None
    return Radiograph(film, "DICOM", tuple(elements.warnings), header)


def _header(elements: Elements, any_modality: bool) -> Header:
    """Return what the file says of its picture, in the standard's own words only.

    Raises:
        FilmError: ``wrong_modality``.
    """
    modality, part = elements.text(tags.MODALITY), elements.text(tags.BODY_PART)
    plain_part = part.replace(" ", "").replace("_", "").replace("-", "")
    if modality not in _RADIOGRAPHS and not any_modality:
        found = modality if modality in _OTHER_MODALITIES else "something else"
        raise _wrong_modality(f"the header calls it {found}")
    if plain_part in _OTHER_PARTS and not any_modality:
        raise _wrong_modality(f"the header says that it shows the {plain_part.lower()}")
    return Header(
        modality if modality in _RADIOGRAPHS + _OTHER_MODALITIES else "",
        _VIEWS.get(elements.text(tags.VIEW_POSITION), ""),
        plain_part if plain_part in _CHEST + _OTHER_PARTS else "",
    )


def _wrong_modality(found: str) -> FilmError:
    return FilmError(
        "wrong_modality",
        f"Expected a chest radiograph, but {found}; where the header is wrong, the command line "
        "can be told to take any modality.",
    )


def _is_for_processing(elements: Elements, any_modality: bool) -> bool:
    """Tell whether the values are a detector's own: PS3.3, C.8.11.1.

    Raises:
        FilmError: ``for_processing`` unless that was asked for.
    """
    found = elements.text(tags.INTENT) == "FOR PROCESSING"
    found |= not elements.text(tags.INTENT) and elements.text(tags.CLASS) in _FOR_PROCESSING
    if found and not any_modality:
        raise FilmError(
            "for_processing",
            "Expected an image that is to be shown, but the header says FOR PROCESSING: its values "
            "are a detector's own; export it FOR PRESENTATION, or tell the command line to take "
            "any modality.",
        )
    if found:
        elements.warn("the image is FOR PROCESSING: not the picture that a reader is shown")
    return found


def _check_header(elements: Elements) -> Shape:
    """Check what decides over memory, before any pixel is touched.

    Raises:
        FilmError: ``multi_frame``, ``unsupported_format``, ``insufficient_depth``, and those of
            `check_size`.
    """
    if any(number > 1 for number in elements.numbers(tags.FRAMES)):
        raise several_frames()
    rows, columns = elements.integer(tags.ROWS, 0), elements.integer(tags.COLUMNS, 0)
    if not rows or not columns:
        missing = name_of(tags.COLUMNS if rows else tags.ROWS)
        raise FilmError(
            "corrupt_image", f"Expected a picture's size, but {missing} is missing; export it anew."
        )
    check_size(columns, rows)
    allocated = elements.integer(tags.ALLOCATED, 0)
    if allocated == 1 or elements.integer(tags.STORED, allocated) == 1:
        raise FilmError(
            "insufficient_depth",
            "Expected grey values, but got black and white only (1 bit); export the film in grey.",
        )
    if elements.pixels is None or allocated not in (8, 16):
        raise FilmError(
            "unsupported_format",
            "Expected samples of 8 or 16 bits, but got others; export the film with 16 bits.",
        )
    samples = elements.integer(tags.SAMPLES, 1)
    if samples not in (1, 3):
        raise bad_grey_scale(f"{samples} samples per pixel have no meaning")
    if rows * columns * samples > MAX_PIXELS:
        raise FilmError(
            "too_many_pixels",
            f"Expected at most {MAX_PIXELS} samples, but got {columns} x {rows} in "
            "colour; export the film in grey.",
        )
    return Shape(rows, columns, samples, allocated)


def _samples(elements: Elements, shape: Shape) -> Samples:
    """Return the samples as stored: (rows, columns), or (rows, columns, 3)."""
    codec = _CODECS.get(elements.syntax)
    if codec is None and elements.syntax not in PLAIN:
        name = UID(elements.syntax).name
        name = "an unknown one" if name == elements.syntax else name
        raise FilmError(
            "unsupported_syntax",
            f"Expected a transfer syntax of still images, but got {name}; export the film "
            "uncompressed.",
        )
    if elements.is_encapsulated != (codec is not None):
        raise wrong_length("data of another transfer syntax")
    content = elements.pixels or b""
    if codec is None:
        return _plain_samples(elements, content, shape)
    if not content:
        raise wrong_length("no frame")
    samples, is_ended = decode_frame(codec, content, shape)
    if not is_ended:
        elements.warn(f"the end marker of its {codec.name} is missing; its pixels are whole")
    return samples


def _plain_samples(elements: Elements, content: bytes, shape: Shape) -> Samples:
    is_halved = shape.samples == 3 and elements.text(tags.PHOTOMETRIC) == "YBR_FULL_422"
    count = shape.rows * shape.columns * (2 if is_halved else shape.samples)
    expected = count * shape.bits_allocated // 8
    if len(content) < expected:
        raise wrong_length(f"{len(content)} bytes instead of {expected}")
    order = "<" if elements.little else ">"
    if shape.bits_allocated == 16:
        samples = np.frombuffer(content, f"{order}u2", len(content) // 2)
    elif not elements.little and elements.pixels_vr == "OW":
        # PS3.5, A.3 and 8.2: bytes in big-endian words
        words = np.frombuffer(content[: len(content) // 2 * 2], "<u2").byteswap()
        samples = words.view(np.uint8)
    else:
        samples = np.frombuffer(content, np.uint8)
    if len(samples) > count + 1:  # one byte more makes the length even
        _check_surplus(samples, count, shape)
        surplus = len(content) - expected
        elements.warn(f"{name_of(tags.PIXELS)} has {surplus} bytes more than the picture needs")
    samples = samples[:count]
    if is_halved:  # PS3.3, C.7.6.3.1.2: two luminances, then both colours of the two
        pairs = samples.reshape(shape.rows, -1, 4) if shape.columns % 2 == 0 else None
        if pairs is None:
            raise wrong_length("an odd number of columns for two pixels at a time")
        colours = np.repeat(pairs[..., 2:], 2, axis=1)
        luminance = pairs[..., :2].reshape(shape.rows, shape.columns, 1)
        return np.concatenate([luminance, colours], axis=2)
    if shape.samples == 1:
        return samples.reshape(shape.rows, shape.columns)
    if elements.integer(tags.PLANAR, 0) == 1:
        return samples.reshape(3, shape.rows, shape.columns).transpose(1, 2, 0)
    return samples.reshape(shape.rows, shape.columns, 3)


def _check_surplus(samples: Samples, count: int, shape: Shape) -> None:
    """Refuse surplus samples that belong to the picture: rows of another width, or more rows.

    A picture whose rows are wider than its header says comes out slanted: then neighbours from row
    to row resemble each other less than at the width that the number of samples suggests. More
    rows resemble the last one as its neighbours do.
    """
    surplus = samples[count:]
    if len(surplus) >= count:
        raise wrong_length("samples for more than one frame")
    if shape.samples != 1 or not np.ptp(surplus):
        return

    def difference(columns: int) -> float:
        rows = samples[: columns * shape.rows].reshape(shape.rows, columns).astype(np.float32)
        return float(np.abs(np.diff(rows, axis=0)).mean())

    usual, width = difference(shape.columns), len(samples) // shape.rows
    if width != shape.columns and difference(width) < usual:
        raise wrong_length(f"rows of {width} samples instead of {shape.columns}")
    if len(surplus) >= shape.columns:
        last = samples[count - shape.columns : count].astype(np.float32)
        if np.abs(surplus[: shape.columns] - last).mean() < _SIMILAR * usual:
            raise wrong_length(f"more than {shape.rows} rows")


def _without_colour(
    elements: Elements, samples: Samples, shape: Shape
) -> tuple[Samples, Table | None]:
    """Return grey samples, and the palette where they are indices into one that is grey.

    Raises:
        FilmError: ``colour_dicom`` where red, green and blue are not the same everywhere.
    """
    photometric = elements.text(tags.PHOTOMETRIC)
    if photometric == "PALETTE COLOR" and shape.samples == 1:
        tables = palette(elements)
        red, green, blue = (table.entries for table in tables)
        if not (np.array_equal(red, green) and np.array_equal(red, blue)):
            raise _colour()
        return samples, tables[0]
    if shape.samples == 1:
        if not photometric.startswith("MONOCHROME"):
            raise bad_grey_scale(f"{name_of(tags.PHOTOMETRIC)} is not that of a grey film")
        return samples, None
    first, second, third = (samples[..., channel] for channel in range(3))
    is_plain = elements.syntax in (*PLAIN, RLELossless)
    if is_plain and photometric.startswith("YBR_FULL"):  # PS3.3, C.7.6.3.1.2
        neutral = 1 << (elements.integer(tags.STORED, 8) - 1)
        if (second != neutral).any() or (third != neutral).any():
            raise _colour()
    elif (first != second).any() or (first != third).any():
        raise _colour()
    return np.ascontiguousarray(first), None


def _upright(elements: Elements, film: Grey, header: Header) -> tuple[Grey, Header]:
    """Return the film with the patient's left on the right and the head on top.

    The patient orientation names where the rows and the columns lead: PS3.3, C.7.6.1.1.1.
    """
    rows, columns = ([value[:1] for value in elements.texts(tags.PATIENT_ORIENTATION)] + ["", ""])[
        :2
    ]
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
        elements.warn(_MIRRORED)
    return film.copy(order="C"), header


def _colour() -> FilmError:
    return FilmError(
        "colour_dicom",
        "Expected a grey film, but its red, green and blue differ; export it as MONOCHROME2.",
    )
