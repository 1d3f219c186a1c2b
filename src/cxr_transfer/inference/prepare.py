"""A file becomes a model input, or the reason why it cannot be judged: all that needs no network.

Decoding, quality control's look at header and picture, preprocessing: the same for a path on the
command line, for bytes that came over a wire and for an array of a program, in this process or in
another. What it returns is small (not the image's full-size pixels) and can be sent between
processes. Knows no model.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxr_transfer.errors import CxrError, ImageError
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.radiograph.in_memory import (
    ImageLike,
    ValueRange,
    check_image,
    read_image,
)
from cxr_transfer.radiograph.preprocessing import WHOLE, Box
from cxr_transfer.radiograph.quality_control import quality_issues

UNREADABLE = "Expected an image that can be decoded, but this one cannot; export it anew."


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image on its way to the network.

    Attributes:
        file: File as it was given.
        image: Model input, (height, width) uint8; None where there is none to judge.
        status: "ok", "cannot_assess" (quality control refused it) or "error" (it could not be
            read).
        code: Code of the refusal or the error; "" without one.
        message: One line for a person; "" without a refusal or an error.
        warnings: What a reader should know of the image.
        ms: What all this took, milliseconds.
        box: Which part of the image the model input shows.
    """

    file: str
    image: npt.NDArray[np.uint8] | None
    status: str = "ok"
    code: str = ""
    message: str = ""
    warnings: tuple[str, ...] = ()
    ms: float = 0.0
    box: Box = WHOLE


def prepare(
    given: ImageLike,
    preprocessing: Preprocessing,
    *,
    file: str | None = None,
    named: str = "",
    value_range: ValueRange | None = None,
    any_modality: bool = False,
    quality_control: bool = True,
) -> Prepared:
    """Read, judge and resize one image. Raises nothing of what a file can be.

    Args:
        given: What `read_image` takes: a path, the content of a file, an array and so on.
        preprocessing: Preprocessing of the network that will see it.
        file: Its name in the answer; None is the path, or "".
        named: For the content of a file: the format that the file's name promises.
        value_range: Values that are black and white in an array, as of `read_image`.
        any_modality: Whether a DICOM header may name another modality or body part.
        quality_control: Whether quality control may refuse it; what it finds is told either way.

    Raises:
        TypeError: It is nothing that stands for an image, or a range is missing.
        UsageError: ``bad_value_range``.
        MachineError: ``forked``.
    """
    check_image(given, value_range)
    started = time.perf_counter()
    name = file
    if name is None:
        name = str(given) if isinstance(given, str | os.PathLike) else ""

    def took() -> float:
        return 1000 * (time.perf_counter() - started)

    try:
        radiograph = read_image(
            given, value_range=value_range, named=named, any_modality=any_modality
        )
        found = quality_issues(radiograph)
    except ImageError as error:
        return Prepared(name, None, "error", error.code, error.message, ms=took())
    except (CxrError, MemoryError):
        raise
    except Exception:
        # Nobody's image may stop the others, whatever a decoder thinks of it.
        return Prepared(name, None, "error", "unreadable", UNREADABLE, ms=took())
    refusal = next((one for one in found if one.refuses), None) if quality_control else None
    said = (*radiograph.warnings, *(one.message for one in found if one is not refusal))
    if refusal:
        return Prepared(
            name, None, "cannot_assess", refusal.code, refusal.message, warnings=said, ms=took()
        )
    box = preprocessing.box(radiograph)
    image = preprocessing.apply(radiograph, box)
    return Prepared(name, image, warnings=said, ms=took(), box=box)
