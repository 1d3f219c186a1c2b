"""The bytes of a DICOM file in, radiograph out: CR, DX, secondary capture and the like.

Reads the data set (``dicom_reading.py``), and checks every element that decides how much memory is
needed. Decodes the pixels (``dicom_samples.py``), and shows them as the file says
(``dicom_grey.py``). What it says of patients is skipped as bytes. Clauses are those of the DICOM
standard, edition 2024.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydicom.uid import (
    DigitalIntraOralXRayImageStorageForProcessing,
    DigitalMammographyXRayImageStorageForProcessing,
    DigitalXRayImageStorageForProcessing,
)

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import dicom_tags as tags
from cxr_transfer.radiograph.codestream import Samples, Shape
from cxr_transfer.radiograph.dicom_bits import bits_in, bits_of
from cxr_transfer.radiograph.dicom_elements import Elements, damaged, name_of
from cxr_transfer.radiograph.dicom_facts import facts_of, presets_of
from cxr_transfer.radiograph.dicom_grey import bad_grey_scale, grey_scale
from cxr_transfer.radiograph.dicom_reading import read_elements
from cxr_transfer.radiograph.dicom_samples import read_samples, without_colour
from cxr_transfer.radiograph.dicom_shutter import hidden_pixels
from cxr_transfer.radiograph.full_depth import FullDepth, of_grey_scale
from cxr_transfer.radiograph.grey_scale import Bits, GreyScale, Shown
from cxr_transfer.radiograph.radiograph import (
    MAX_PIXELS,
    Header,
    Radiograph,
    check_size,
    several_frames,
    too_complex,
)

Turn: TypeAlias = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
"""A picture, (height, width), turned and mirrored: a view of it."""

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
_LEVELS = 100  # that a data set may have: Python has room for some more
_ANY_MODALITY = "--any-modality on the command line, any_modality=True in Python"
_MIRRORED = "turned as its patient orientation says"


def decode(content: bytes, *, any_modality: bool = False, full_depth: bool = False) -> Radiograph:
    """Decode the bytes of one DICOM file.

    Args:
        content: Bytes of the file; preamble and file meta information may be missing.
        any_modality: Whether a file is taken whatever it calls its modality and body part, and
            where it says FOR PROCESSING.
        full_depth: Whether all that the file holds of the picture is kept beside it.

    Returns:
        The image as its VOI LUT or first window shows it, bright = dense, upright where the patient
        orientation says how it lies; what was done to it is in its warnings.

    Raises:
        ImageError: ``no_pixel_data``, ``wrong_modality``, ``for_processing``, ``multi_frame``,
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
        samples, is_rgb = read_samples(elements, shape)
        grey_samples, colours = without_colour(elements, samples, shape, is_rgb=is_rgb)
        stated = bits_of(elements, shape.bits_allocated)
        bits, strays = bits_in(elements, grey_samples, stated)
        if colours or shape.samples == 3:
            scale = GreyScale(Bits(bits.stored, bits.high, signed=False), voi=colours)
        else:
            scale = grey_scale(elements, bits, is_for_processing=is_for_processing)
        hidden = hidden_pixels(elements, grey_samples, scale)
        if strays is not None:
            hidden = strays if hidden is None else hidden | strays
        turn, header = _upright(elements, header)
        upright = turn(grey_samples)
        hidden = None if hidden is None else turn(hidden)
        shown = scale.apply(upright, hidden)
        for notice in shown.notices:
            elements.warn(notice)
        ratio = elements.numbers(tags.ASPECT)
        if len(ratio) == 2 and ratio[0] != ratio[1]:
            elements.warn("its pixels are not square, and were taken as if they were")
        if turn is not _as_it_is:
            elements.warn(_MIRRORED)
        deep = _full_depth(elements, upright, hidden, scale, shown, turn) if full_depth else None
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        # pydicom tells some of them as an error of its own.
        if isinstance(error, RecursionError) or isinstance(error.__context__, RecursionError):
            raise too_complex(f"{_LEVELS} levels of sequences in a DICOM file") from None
        # Damaged bytes lead to every kind of exception; they all say the same.
        raise damaged() from None
    return Radiograph(shown.pixels, "DICOM", tuple(elements.warnings), header, full_depth=deep)


def _full_depth(
    elements: Elements,
    samples: Samples,
    hidden: npt.NDArray[np.bool_] | None,
    scale: GreyScale,
    shown: Shown,
    turn: Turn,
) -> FullDepth:
    """Return all that the file holds of its picture."""
    is_negative = scale.bits.signed or bool((scale.modality(scale.bits.values()) < 0).any())
    # What looks at two pixels beside each other tells whether rows became columns.
    is_transposed = turn(np.zeros((1, 2))).shape == (2, 1)
    return of_grey_scale(
        samples,
        hidden,
        scale,
        shown.voi,
        presets_of(elements, signed=is_negative),
        facts_of(elements, is_transposed=is_transposed),
    )


def _header(elements: Elements, any_modality: bool) -> Header:
    """Return what the file says of its picture, in the standard's own words only.

    Raises:
        ImageError: ``wrong_modality``.
    """
    modality, part = elements.text(tags.MODALITY), elements.text(tags.BODY_PART)
    plain_part = part.replace(" ", "").replace("_", "").replace("-", "")
    if modality not in _RADIOGRAPHS and not any_modality:
        name = modality if modality in _OTHER_MODALITIES else "something else"
        raise _wrong_modality(f"the header calls it {name}")
    if plain_part in _OTHER_PARTS and not any_modality:
        raise _wrong_modality(f"the header says that it shows the {plain_part.lower()}")
    return Header(
        modality if modality in _RADIOGRAPHS + _OTHER_MODALITIES else "",
        _VIEWS.get(elements.text(tags.VIEW_POSITION), ""),
        plain_part if plain_part in _CHEST + _OTHER_PARTS else "",
    )


def _wrong_modality(reason: str) -> ImageError:
    return ImageError(
        "wrong_modality",
        f"Expected a chest radiograph, but {reason}; where the header is wrong, ask for "
        f"the image all the same ({_ANY_MODALITY}).",
    )


def _is_for_processing(elements: Elements, any_modality: bool) -> bool:
    """Tell whether the values are a detector's own: PS3.3, C.8.11.1.

    Raises:
        ImageError: ``for_processing`` unless that was asked for.
    """
    for_processing = elements.text(tags.INTENT) == "FOR PROCESSING"
    for_processing |= (
        not elements.text(tags.INTENT) and elements.text(tags.CLASS) in _FOR_PROCESSING
    )
    if for_processing and not any_modality:
        raise ImageError(
            "for_processing",
            "Expected an image that is to be shown, but the header says FOR PROCESSING: its values "
            "are a detector's own; export it FOR PRESENTATION, or ask for it all the same "
            f"({_ANY_MODALITY}).",
        )
    if for_processing:
        elements.warn("the image is FOR PROCESSING: not the picture that a reader is shown")
    return for_processing


def _check_header(elements: Elements) -> Shape:
    """Check what decides over memory, before any pixel is touched.

    Raises:
        ImageError: ``multi_frame``, ``unsupported_format``, ``insufficient_depth``, and those of
            `check_size`.
    """
    if any(number > 1 for number in elements.numbers(tags.FRAMES)):
        raise several_frames()
    rows, columns = elements.integer(tags.ROWS, 0), elements.integer(tags.COLUMNS, 0)
    if not rows or not columns:
        missing = name_of(tags.COLUMNS if rows else tags.ROWS)
        raise ImageError(
            "corrupt_image", f"Expected a picture's size, but {missing} is missing; export it anew."
        )
    check_size(columns, rows)
    allocated = _allocated(elements)
    if allocated == 1 or elements.integer(tags.STORED, allocated) == 1:
        raise ImageError(
            "insufficient_depth",
            "Expected grey values, but got black and white only (1 bit); export the image in grey.",
        )
    if elements.pixels is None or allocated not in (8, 16):
        raise ImageError(
            "unsupported_format",
            "Expected samples of 8 or 16 bits, but got others; export the image with 16 bits.",
        )
    samples = elements.integer(tags.SAMPLES, 1)
    if samples not in (1, 3):
        raise bad_grey_scale(f"{samples} samples per pixel have no meaning")
    if rows * columns * samples > MAX_PIXELS:
        raise ImageError(
            "too_many_pixels",
            f"Expected at most {MAX_PIXELS} samples, but got {columns} x {rows} in "
            "colour; export the image in grey.",
        )
    return Shape(rows, columns, samples, allocated)


def _allocated(elements: Elements) -> int:
    """Return the bits that a sample takes; where nothing says it, as many as it needs."""
    allocated = elements.integer(tags.ALLOCATED, 0)
    if allocated:
        return allocated
    stored = elements.integer(tags.STORED, 0)
    if not 1 <= stored <= 16:
        raise ImageError(
            "corrupt_image",
            f"Expected the bits of a sample, but {name_of(tags.ALLOCATED)} is missing; export it "
            "anew.",
        )
    allocated = 8 if stored <= 8 else 16
    elements.warn(f"{name_of(tags.ALLOCATED)} is missing, and was taken as {allocated}")
    return allocated


def _upright(elements: Elements, header: Header) -> tuple[Turn, Header]:
    """Return what puts the patient's left on the right and the head on top.

    The patient orientation names where the rows and the columns lead: PS3.3, C.7.6.1.1.1.
    """
    rows, columns = ([value[:1] for value in elements.texts(tags.PATIENT_ORIENTATION)] + ["", ""])[
        :2
    ]
    if {rows, columns} & {"A", "P"} and {rows, columns} & {"H", "F"}:
        lateral = Header(header.modality, "lateral", header.body_part)
        return _as_it_is, header if header.view else lateral
    is_turned = rows in ("H", "F") and columns in ("L", "R")
    if not is_turned and not (rows in ("L", "R") and columns in ("H", "F")):
        return _as_it_is, header
    if is_turned:
        rows, columns = columns, rows
    elif (rows, columns) == ("L", "F"):
        return _as_it_is, header
    across, down = (-1 if rows == "R" else 1), (-1 if columns == "H" else 1)
    return lambda picture: (picture.T if is_turned else picture)[::down, ::across], header


def _as_it_is(picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return picture
