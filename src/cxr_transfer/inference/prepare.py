"""A file becomes a model input, or the reason why it cannot be judged: all that needs no network.

Decoding, quality control and preprocessing are the same for a path on the command line, for bytes
that came over a wire and for an array of a program, in this process or in another. What it returns
is small (not the full-size pixels, unless they are asked for) and can be sent between processes.
Knows no model.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxr_transfer.errors import CxrError, ImageError
from cxr_transfer.radiograph import Preprocessing, Radiograph
from cxr_transfer.radiograph.in_memory import (
    ImageLike,
    ValueRange,
    check_image,
    read_image,
)
from cxr_transfer.radiograph.preprocessing import WHOLE, Box
from cxr_transfer.radiograph.quality_control import quality_issues
from cxr_transfer.radiograph.reorientation import AS_STORED, Reorientation

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
        message: Line for a person; "" without a refusal or an error.
        warnings: Lines that a reader should know of the image.
        ms: Milliseconds that all this took.
        box: Part of the image that the model input shows.
        radiograph: Radiograph that was decoded, where it was asked for.
        lungs: Lung mask of the model input, (height, width); None where nobody looked for it yet.
        issues: Codes of what quality control remarked without refusing the image.
    """

    file: str
    image: npt.NDArray[np.uint8] | None
    status: str = "ok"
    code: str = ""
    message: str = ""
    warnings: tuple[str, ...] = ()
    ms: float = 0.0
    box: Box = WHOLE
    radiograph: Radiograph | None = None
    lungs: npt.NDArray[np.bool_] | None = None
    issues: tuple[str, ...] = ()


def prepare(
    image: ImageLike,
    preprocessing: Preprocessing,
    *,
    file: str | None = None,
    named: str = "",
    value_range: ValueRange | None = None,
    any_modality: bool = False,
    quality_control: bool = True,
    keep_radiograph: bool = False,
) -> Prepared:
    """Read, judge and resize one image. Raises nothing of what a file can be.

    Args:
        image: Image as `read_image` takes it: a path, the content of a file, an array and so on.
        preprocessing: Preprocessing of the network that will see it.
        file: Name of the image in the answer; None is the path, or "".
        named: Format that the name of a file promises, where its content is given.
        value_range: Values that are black and white in an array, as in `read_image`.
        any_modality: Whether a DICOM header may name another modality or body part.
        quality_control: Whether quality control may refuse it; its issues are listed either way.
        keep_radiograph: Whether the radiograph itself is kept, which is large.

    Raises:
        TypeError: It is nothing that stands for an image, or a range is missing.
        UsageError: ``bad_value_range``.
        MachineError: ``forked``.
    """
    (prepared,) = prepare_for_each(
        image,
        [preprocessing],
        file=file,
        named=named,
        value_range=value_range,
        any_modality=any_modality,
        quality_control=quality_control,
        keep_radiograph=keep_radiograph,
    )
    return prepared


def prepare_for_each(
    image: ImageLike,
    preprocessings: Sequence[Preprocessing],
    *,
    file: str | None = None,
    named: str = "",
    value_range: ValueRange | None = None,
    any_modality: bool = False,
    quality_control: bool = True,
    keep_radiograph: bool = False,
    change: Reorientation = AS_STORED,
) -> list[Prepared]:
    """Read and judge one image once, and resize it for each of several networks.

    Args:
        image: Image, as `prepare` takes it.
        preprocessings: Preprocessing of each network that will see it.
        file: Name of the image in the answer; None is the path, or "".
        named: Format that the name of a file promises, where its content is given.
        value_range: Values that are black and white in an array, as in `read_image`.
        any_modality: Whether a DICOM header may name another modality or body part.
        quality_control: Whether quality control may refuse it; its issues are listed either way.
        keep_radiograph: Whether the radiograph itself is kept, which is large.
        change: Change of the image once it is decoded.

    Returns:
        Prepared image for each network; where the image cannot be judged, the same for all.

    Raises:
        TypeError: It is nothing that stands for an image, or a range is missing.
        UsageError: ``bad_value_range``.
        MachineError: ``forked``.
    """
    check_image(image, value_range)
    started = time.perf_counter()
    name = file
    if name is None:
        name = str(image) if isinstance(image, str | os.PathLike) else ""

    def took() -> float:
        return 1000 * (time.perf_counter() - started)

    def refused(
        status: str,
        code: str,
        message: str,
        warnings: tuple[str, ...] = (),
        radiograph: Radiograph | None = None,
        issues: tuple[str, ...] = (),
    ) -> list[Prepared]:
        prepared = Prepared(
            *(name, None, status, code, message, warnings, took()),
            radiograph=radiograph,
            issues=issues,
        )
        return [prepared] * len(preprocessings)

    try:
        radiograph = read_image(
            image, value_range=value_range, named=named, any_modality=any_modality
        )
        radiograph = change.apply(radiograph)
        issues = quality_issues(radiograph)
    except ImageError as error:
        return refused("error", error.code, error.message)
    except (CxrError, MemoryError):
        raise
    except Exception:
        # Nobody's image may stop the others, whatever a decoder thinks of it.
        return refused("error", "unreadable", UNREADABLE)
    kept = radiograph if keep_radiograph else None
    refusal = next((issue for issue in issues if issue.refuses), None) if quality_control else None
    remarks = [issue for issue in issues if issue is not refusal]
    notices = (*radiograph.warnings, *(issue.message for issue in remarks))
    codes = tuple(issue.code for issue in remarks)
    if refusal:
        return refused("cannot_assess", refusal.code, refusal.message, notices, kept, codes)
    prepared_for: dict[Preprocessing, Prepared] = {}
    for preprocessing in dict.fromkeys(preprocessings):
        box = preprocessing.box(radiograph)
        model_input = preprocessing.apply(radiograph, box)
        prepared_for[preprocessing] = Prepared(
            *(name, model_input),
            warnings=notices,
            ms=took(),
            box=box,
            radiograph=kept,
            issues=codes,
        )
    return [prepared_for[preprocessing] for preprocessing in preprocessings]
