"""An answer for a received image becomes DICOM objects of the same study.

The one way from an answer to what is sent: a structured report for programs and viewers that show
one, a secondary capture for all others, a PDF where it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from cxr_transfer.pacs.answered_image import AnsweredImage, AnsweringModel, check_identity
from cxr_transfer.pacs.pictures import encapsulated_pdf, secondary_capture
from cxr_transfer.pacs.structured_report import structured_report
from cxr_transfer.radiograph.preprocessing import WHOLE, Box
from cxr_transfer.radiograph.silence import silence

Kind = Literal["sr", "sc", "pdf"]
"""Structured report, secondary capture, encapsulated PDF."""

_MADE: dict[str, Callable[[AnsweredImage], Dataset]] = {
    "sr": structured_report,
    "sc": secondary_capture,
    "pdf": encapsulated_pdf,
}


def answer_objects(
    source: Dataset,
    answer: Mapping[str, Any],
    *,
    model: AnsweringModel,
    source_sha256: str,
    now: datetime,
    picture: npt.NDArray[np.uint8] | None = None,
    heat_map: npt.NDArray[np.uint8] | None = None,
    box: Box = WHOLE,
    kinds: Sequence[Kind] = ("sr", "sc"),
) -> list[Dataset]:
    """Return an answer as DICOM objects, one of each kind, ready to be written or sent.

    The same image, model and version give the same SOP Instance UIDs at any time, and the same
    bytes where ``now`` is the same too.

    Args:
        source: Header of the image; its pixels may be missing.
        answer: Answer as it stands in JSON: `Prediction.as_dict`, and where a heat map was drawn
            also what `Explanation.as_dict` tells of it.
        model: Facts of the model that answered.
        source_sha256: SHA-256 of the file or of the received data set, in hexadecimal digits.
        now: Time at which the objects are made, with its time zone.
        picture: Image (H, W) uint8, bright = dense, of any size; None where it cannot be read.
        heat_map: Colours (H, W, 4) uint8 to be laid over the whole image, of
            `explained_label`; None without a map. An answer without a class has none.
        box: Part of the image that the model saw, in shares of its width and height.
        kinds: Kinds of the objects, in their order.

    Raises:
        ImageError: ``no_identity`` where the image has no UIDs that an answer can refer to.
        MachineError: ``missing_package`` without reportlab, for a PDF.
    """
    check_identity(source)
    if answer["status"] != "ok":
        heat_map = None  # of no class
    image = AnsweredImage(source, source_sha256, now, answer, model, picture, heat_map, box)
    with silence():  # a library's warning may quote what a header says of a patient
        return [_MADE[kind](image) for kind in kinds]
