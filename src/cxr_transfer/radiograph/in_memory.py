"""An image in whatever form a program has it in, radiograph out: for every entry point of Python.

Paths and the bytes of files go to `reading` as they are. A PIL image and a pydicom data set become
the bytes of a file again, without loss, so that one decoder judges them all. An array has no
format to decode: its values are grey already, between two that are stated.
"""

from __future__ import annotations

import io
import math
import os
import sys
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, TypeGuard, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxr_transfer.errors import ImageError, UsageError, check_list, kind_of
from cxr_transfer.radiograph.grey_range import looked_up, notice_of_8_bits
from cxr_transfer.radiograph.pillow_images import GREY_MODES, encoded, grey_values
from cxr_transfer.radiograph.radiograph import MAX_BYTES, Grey, Radiograph, check_size
from cxr_transfer.radiograph.reading import decode, read_radiograph
from cxr_transfer.radiograph.silence import silence
from cxr_transfer.storage import location
from cxr_transfer.text import human_size

if TYPE_CHECKING:
    from cxr_transfer.radiograph.dicom_dataset import Dataset

ValueRange: TypeAlias = tuple[float, float]
"""Values that are black and white."""

InMemory: TypeAlias = "npt.NDArray[Any] | Image.Image | Dataset | BinaryIO"
ImageLike: TypeAlias = "str | os.PathLike[str] | bytes | Radiograph | InMemory"
"""Every form in which one image can be given."""

EXPECTED = (
    "an image (a path, the bytes of a file, a file opened in binary mode, a 2-D numpy array, a PIL "
    "image, a pydicom data set, or a Radiograph)"
)
_KINDS = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))
_ROUNDING = 1e-6  # of a floating-point range: who computed 1.0000001 meant 1
_LITTLE = 0.25  # of a stated range: as little of it as 14 bits are of 16


def read_image(
    image: ImageLike,
    *,
    value_range: ValueRange | None = None,
    named: str = "",
    any_modality: bool = False,
) -> Radiograph:
    """Read one image, wherever it is.

    Args:
        image: Path of a file, address of an object (``s3://``, ``gs://``), its bytes, or a file
            object opened in binary mode, read from where it stands. Or a 2-D array of uint8, uint16
            or float32 in which larger values are brighter, a PIL image, a pydicom data set, or a
            radiograph, which comes back as it is.
        value_range: Values that are black and white in arrays and in grey PIL images. None is
            (0, 255) of an array of uint8, and what a file of the image would be of a PIL image;
            uint16 and floating point need it: 12 bits of 16 look as 16 do.
        named: Format that the name of these bytes promises; "" where it promises none.
        any_modality: Whether a DICOM header may name another modality or body part.

    Raises:
        TypeError: The object is none of these, or a range is missing, or has no meaning for it.
        UsageError: ``bad_value_range``; ``bad_storage_address``.
        MachineError: What `read_content` raises of an object store.
        ImageError: ``not_finite``, ``outside_value_range``, ``unreadable``, ``too_many_bytes``, and
            all that `read_radiograph` raises.
    """
    check_image(image, value_range)
    if isinstance(image, Radiograph):
        return image
    if isinstance(image, str | os.PathLike):
        return read_radiograph(location(image), any_modality=any_modality)
    if isinstance(image, np.ndarray):
        return _of_array(image, value_range)
    if isinstance(image, Image.Image):
        with silence():
            if value_range is not None:
                return _of_array(grey_values(image), value_range)
            content = encoded(image)
        return decode(content)
    if isinstance(image, bytes | bytearray | memoryview):
        return decode(bytes(image), named=named, any_modality=any_modality)
    if _is_dataset(image):
        from cxr_transfer.radiograph.dicom_dataset import written

        with silence():
            content = written(image)
        return decode(content, any_modality=any_modality)
    return decode(_content(cast(BinaryIO, image)), named=named, any_modality=any_modality)


def check_image(image: object, value_range: ValueRange | None = None) -> None:
    """Refuse what is no image at all: that is a fault of the program, and not of an image.

    Args:
        image: Object that is to be an image.
        value_range: Values that are to be black and white, as in `read_image`.

    Raises:
        TypeError: With what is expected.
        UsageError: ``bad_value_range``.
    """
    check_range(value_range)
    if isinstance(image, np.ndarray):
        _check_array(image)
    if value_range is None and (kind := _without_range(image)):
        raise TypeError(
            f"Expected value_range, the values that are black and white, for {kind}, but got none; "
            "give value_range=(0, 4095) for 12 bits, (0, 1) for shares."
        )
    if isinstance(image, np.ndarray):
        return
    _check_kind(image)
    if value_range is not None and not _has_plain_values(image):
        raise TypeError(
            "Expected value_range only for arrays and grey PIL images, but got it for "
            f"{_kind_of(image)}, which itself says what its values mean; leave it out there."
        )


def _check_kind(image: object) -> None:
    """Refuse what is none of the kinds of images, arrays put aside."""
    kinds = (str, os.PathLike, bytes, bytearray, memoryview, Radiograph, Image.Image)
    if isinstance(image, kinds) or _is_dataset(image):
        return
    if callable(getattr(image, "read", None)):
        if _gives_text(image):
            raise TypeError(
                f"Expected {EXPECTED}, but got a file opened in text mode; open it with 'rb'."
            )
        return
    remedy = ""
    if isinstance(image, list | tuple | set | dict):
        remedy = "; give several images to predict_files, and one without a list around it"
    raise TypeError(f"Expected {EXPECTED}, but got {_kind_of(image)}{remedy}.")


def check_images(images: object, value_range: ValueRange | None = None) -> None:
    """Refuse what is no list of images, as one path is, which would be taken letter by letter.

    Args:
        images: Object that is to be a list, or another iterable; each item of a list is checked.
        value_range: Values that are to be black and white, as in `read_image`.

    Raises:
        TypeError: With what is expected.
        UsageError: ``bad_value_range``.
    """
    check_range(value_range)
    is_one = isinstance(images, Radiograph | Image.Image) or _is_dataset(images)
    is_one |= isinstance(images, np.ndarray) and images.ndim < 3
    if is_one or hasattr(images, "read"):
        raise TypeError(
            f"Expected a list of images, but got one, {_kind_of(images)}; put it into a list."
        )
    check_list(images, "images")
    if isinstance(images, list | tuple):
        for image in images:
            check_image(image, value_range)


def check_range(value_range: object) -> None:
    """Refuse a range that is none.

    Raises:
        UsageError: ``bad_value_range``.
    """
    if value_range is None:
        return
    try:
        low, high = (float(value) for value in value_range)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        low = high = math.nan
    if not (low < high and math.isfinite(high - low)):
        raise UsageError(
            "bad_value_range",
            "Expected the values that are black and white, the lower one first, such as "
            f"value_range=(0, 4095), but got {value_range!r}.",
        )


def is_in_memory(image: object) -> bool:
    """Tell an image that may change, or be read only once, from a path or bytes, which stay."""
    return not isinstance(image, str | os.PathLike | bytes | Radiograph)


def _kind_of(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"a {value.ndim}-D array of {value.dtype}"
    if isinstance(value, Image.Image):
        return f"a PIL image of mode {value.mode!r}"
    return kind_of(value)


def _gives_text(file: Any) -> bool:  # noqa: ANN401 - anything that can be read
    try:
        return isinstance(file.read(0), str)
    except Exception:  # closed, perhaps; reading it says so
        return isinstance(file, io.TextIOBase)


def _is_dataset(value: object) -> TypeGuard[Dataset]:
    # Where pydicom was never imported, nothing is of it.
    if "pydicom" not in sys.modules:
        return False
    from cxr_transfer.radiograph.dicom_dataset import is_dataset

    return is_dataset(value)


def _check_array(array: npt.NDArray[Any]) -> None:
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            "Expected a plain numpy array, but got a masked one; fill what is masked first."
        )
    if array.ndim != 2 or array.dtype.newbyteorder("=") not in _KINDS:
        raise TypeError(
            "Expected an array of one grey image, (height, width) of uint8, uint16 or float32, but "
            f"got {array.shape} of {array.dtype}; make it grey, or give a PIL image."
        )


def _without_range(image: object) -> str:
    """Name an image of which nothing says what its values mean; "" for all others."""
    if isinstance(image, np.ndarray) and image.dtype != np.uint8:
        return f"an array of {image.dtype}"
    is_float = isinstance(image, Image.Image) and image.mode == "F"
    return "a PIL image of mode 'F'" if is_float else ""


def _has_plain_values(image: object) -> bool:
    """Tell whether an image, which is no array, is as one: numbers, and nothing that says more."""
    return isinstance(image, Image.Image) and image.mode in GREY_MODES


def _of_array(array: npt.NDArray[Any], value_range: ValueRange | None) -> Radiograph:
    """Return an array as a radiograph, its range from black to white.

    Raises:
        ImageError: ``not_finite``, ``outside_value_range``, those of `check_size`.
    """
    height, width = array.shape
    check_size(width, height)
    low, high = map(float, value_range or (0, 255))
    least, most = float(array.min()), float(array.max())
    if not math.isfinite(most - least):
        raise ImageError(
            "not_finite",
            "Expected finite grey values, but got NaN or infinite ones; fill them first.",
        )
    rounding = 0.0
    if array.dtype.kind == "f":
        largest = max(abs(low), abs(high))
        rounding = _ROUNDING * (high - low) + float(np.finfo(np.float32).eps) * largest
    if least < low - rounding or most > high + rounding:
        raise ImageError(
            "outside_value_range",
            f"Expected grey values from {low:g} to {high:g}, as value_range states, but got "
            f"{least:g} to {most:g}; state the range that they have, or clip them.",
        )
    stored: Grey
    notice = ""
    if array.dtype == np.uint8 and (low, high) == (0, 255):
        stored = np.array(array, np.uint8, order="C")
        notice = notice_of_8_bits(stored)
    elif array.dtype.kind == "f":
        shares: npt.NDArray[np.float32] = np.subtract(array, np.float32(low), order="C")
        shares /= np.float32(high - low)
        stored = np.clip(shares, 0, 1, out=shares)
    else:
        levels = np.arange(1 << 8 * array.dtype.itemsize, dtype=np.float64)
        stored = looked_up(((levels - low) / (high - low)).astype(np.float32), array)
    warnings = [notice] if notice else []
    if value_range is not None and most - least <= _LITTLE * (high - low):
        warnings.append(
            f"value_range states {low:g} to {high:g}, but the values are {least:g} to {most:g}: "
            "look whether that is their range"
        )
    return Radiograph(stored, "array", tuple(warnings))


def _content(file: BinaryIO) -> bytes:
    """Read what is left of a file, and no more than an image may have.

    Raises:
        ImageError: ``unreadable``, ``too_many_bytes``.
    """
    content = bytearray()
    try:
        while len(content) <= MAX_BYTES:
            part = file.read(MAX_BYTES + 1 - len(content))
            if not part:
                break
            content += part
    except (OSError, ValueError, TypeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ImageError(
            "unreadable", f"Expected a file that can be read, but got: {reason}; open it anew."
        ) from None
    if len(content) > MAX_BYTES:
        raise ImageError(
            "too_many_bytes",
            f"Expected at most {human_size(MAX_BYTES)}, but got more; export a smaller copy of the "
            "image.",
        )
    return bytes(content)
