"""Answers for DICOM files, written beside each other: what a node would send, without a node."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset

from cxr_transfer.errors import ImageError
from cxr_transfer.files import write_bytes
from cxr_transfer.inference.explain import Explanation, heat_map_colours, safe_stem
from cxr_transfer.inference.prediction import Prediction
from cxr_transfer.inference.prepare import Prepared
from cxr_transfer.pacs.answer_objects import Kind, answer_objects
from cxr_transfer.pacs.answered_image import AnsweringModel
from cxr_transfer.radiograph import Radiograph
from cxr_transfer.radiograph.silence import silence


def write_answer(
    folder: Path,
    content: bytes,
    answered: tuple[Prediction, Prepared],
    explanation: Explanation | None,
    *,
    model: AnsweringModel,
    now: datetime,
    stem: str = "image",
    kinds: Sequence[Kind] = ("sr", "sc"),
) -> list[Path]:
    """Write the objects of an answer for a DICOM file.

    The same file and model write the same names again.

    Args:
        folder: Folder of the objects; it is made where there is none.
        content: The DICOM file that was answered.
        answered: Answer, and what it was made from, with its radiograph.
        explanation: Explanation of the answer; None without one.
        model: Facts of the model that answered.
        now: Time at which the objects are made, with its time zone.
        stem: Beginning of the files' names, such as the image's without its ending.
        kinds: Kinds of the objects.

    Returns:
        Paths of the files, in the order of the kinds.

    Raises:
        ImageError: ``no_identity`` where it is no DICOM file, or has no UIDs.
        MachineError: ``disk_full``, ``not_writable``, and what `answer_objects` raises.
    """
    prediction, prepared = answered
    sha256 = hashlib.sha256(content).hexdigest()
    answer, heat_map = prediction.as_dict(), None
    picture = shown(prepared.radiograph) if prepared.radiograph is not None else None
    if explanation is not None and picture is not None:
        heat_map = heat_map_colours(explanation, *picture.shape)
        answer |= explanation.facts()
    objects = answer_objects(
        source_header(content),
        answer,
        model=model,
        source_sha256=sha256,
        now=now,
        picture=picture,
        heat_map=heat_map,
        box=prepared.box,
        kinds=kinds,
    )
    paths = []
    for kind, made in zip(kinds, objects, strict=True):
        path = folder / f"{safe_stem(stem)}.{sha256[:8]}.{kind}.dcm"
        write_bytes(path, dicom_file(made))
        paths.append(path)
    return paths


def dicom_file(made: Dataset) -> bytes:
    """Return an object as a file."""
    content = io.BytesIO()
    with silence():
        made.save_as(content, enforce_file_format=True)
    return content.getvalue()


def source_header(content: bytes) -> Dataset:
    """Return the header of a DICOM file, without its pixels.

    Raises:
        ImageError: ``no_identity`` where it is none.
    """
    try:
        with silence():
            return dcmread(io.BytesIO(content), stop_before_pixels=True)
    except Exception:  # pydicom raises every kind, and may quote the file
        raise ImageError(
            "no_identity",
            "Expected a DICOM file, but got another kind: no object can refer to it; give the "
            "image as the archive keeps it.",
        ) from None


def shown(radiograph: Radiograph) -> npt.NDArray[np.uint8]:
    """Return a radiograph as a picture of 8 bits, (H, W)."""
    stored = radiograph.stored
    if stored.dtype == np.uint8:
        return stored.astype(np.uint8, copy=False)
    return np.rint(stored * 255).clip(0, 255).astype(np.uint8)
