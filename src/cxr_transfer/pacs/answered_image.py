"""What an answer as a DICOM object is made of: the image that was received, the answer, the model.

Comes in: the header of an image, its answer as it stands in JSON, what was drawn of it. Knows
nothing of the objects that are made of them.
"""

from __future__ import annotations

import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID

from cxr_transfer.about import __version__
from cxr_transfer.errors import CxrError, ImageError
from cxr_transfer.models.folder import LARGEST_PAGE, read_bytes, strict_json
from cxr_transfer.models.metadata import Sha256, checkpoint_files
from cxr_transfer.radiograph.preprocessing import WHOLE, Box
from cxr_transfer.radiograph.silence import silence

if TYPE_CHECKING:
    from cxr_transfer.inference.predictor import Predictor

NOT_DONE = "not done"
"""Verdict of an audit that nobody made, or that is not of these weights."""

SCHEME = uuid.UUID("3d6c44a8-9f1b-5e0f-9a51-8f7f3a4b2c10")
"""Name space of every UID that is made here. A change of what an object holds changes `CONTENT`."""

CONTENT = "1"
"""Version of the objects' contents: an object of another version is another object."""

_IDENTITY = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
_UID = re.compile(r"[0-9][0-9.]{0,63}")


@dataclass(frozen=True)
class AnsweringModel:
    """Facts of the model that answered, as they stand in objects.

    Attributes:
        name: Name of the model.
        title: Title of the model, for a person.
        weights_sha256: SHA-256 of its weights, in hexadecimal digits.
        labels: Classes or findings, in the network's order.
        exclusive: Whether an image has exactly one of the labels.
        score_scale: Scale of the class scores, in words.
        thresholds: Probability from which on each finding is named; None of a network of classes.
        audit: Verdict of its audit: "pass", "warn", "fail" or `NOT_DONE`.
        notes: Notes that hold for all its answers.
    """

    name: str
    title: str
    weights_sha256: Sha256
    labels: tuple[str, ...]
    exclusive: bool
    score_scale: str
    thresholds: Mapping[str, float] | None = None
    audit: str = NOT_DONE
    notes: tuple[str, ...] = ()

    @classmethod
    def opened(cls, predictor: Predictor, origin: str | Path) -> AnsweringModel:
        """Return the facts of an open model, with the verdict of the audit beside it.

        Args:
            predictor: Predictor that answers.
            origin: Name or path by which it was opened.
        """
        return cls.of(predictor, audit=_verdict(Path(origin), predictor.card.weights_sha256))

    @classmethod
    def of(cls, predictor: Predictor, *, audit: str = NOT_DONE) -> AnsweringModel:
        """Return the facts of an open model.

        Args:
            predictor: Predictor that answers.
            audit: Verdict of the audit of these very weights.
        """
        card = predictor.card
        return cls(
            name=card.name,
            title=str(card.recipe.get("title", card.name)),
            weights_sha256=card.weights_sha256,
            labels=card.labels,
            exclusive=card.label_set.exclusive,
            score_scale=predictor.score_scale,
            thresholds=predictor.thresholds,
            audit=audit,
            notes=predictor.notes,
        )


def _verdict(origin: Path, weights_sha256: str) -> str:
    """Return the verdict of the audit beside a model, if it is of these weights."""
    try:
        folder = origin.parent if origin.suffix == ".xml" else checkpoint_files(origin)[0].parent
        audit = strict_json(read_bytes(folder / "audit.json", most=LARGEST_PAGE))
        if audit["checkpoint"]["weights_sha256"] == weights_sha256:
            return str(audit["verdict"])
    except (CxrError, ValueError, LookupError, TypeError):
        pass  # nobody audited it
    return NOT_DONE


@dataclass(frozen=True, eq=False)
class SourceImage(ABC):
    """An image that an object says something of.

    Attributes:
        source: Header of the image; its pixels are not looked at.
        source_sha256: SHA-256 of the file or of the received data set, in hexadecimal digits.
        now: Time at which the objects are made, with its time zone.
    """

    source: Dataset
    source_sha256: str
    now: datetime

    @property
    @abstractmethod
    def maker(self) -> str:
        """What tells whoever says it from others; it is a part of every UID."""

    @property
    @abstractmethod
    def contribution(self) -> str:
        """What this program did with the image, in a sentence."""

    def named(self, keyword: str) -> str:
        """Return an element of the source as text; "" without one."""
        return text_of(self.source, keyword)

    def uid(self, *purpose: str) -> UID:
        """Return the UID of something that is made of this image by this maker.

        The same image, maker and version give the same UID on every machine and at every time.

        Args:
            purpose: Words that tell it from other things that are made of them.
        """
        return self._made(self.named("SOPInstanceUID"), self.source_sha256, *purpose)

    def series_uid(self, *purpose: str) -> UID:
        """Return the UID of the series in which answers for the source's series lie."""
        return self._made(self.named("SeriesInstanceUID"), *purpose)

    def _made(self, *facts: str) -> UID:
        # A separator that no fact can hold: ("ab", "c") is another thing than ("a", "bc").
        words = "\0".join((CONTENT, __version__, self.maker, *facts))
        return UID(f"2.25.{uuid.uuid5(SCHEME, words).int}")


@dataclass(frozen=True, eq=False)
class AnsweredImage(SourceImage):
    """An image that was answered, with all that stands in the objects.

    Attributes:
        answer: Answer as it stands in JSON (`Prediction.as_dict`).
        model: Facts of the model that answered.
        picture: Image (H, W) uint8, bright = dense, of any size; None where it cannot be read.
        heat_map: Colours (H, W, 4) uint8 to be laid over the whole image; None without a map.
        box: Part of the image that the model saw.
    """

    answer: Mapping[str, Any]
    model: AnsweringModel
    picture: npt.NDArray[np.uint8] | None = None
    heat_map: npt.NDArray[np.uint8] | None = None
    box: Box = WHOLE

    @property
    def maker(self) -> str:
        """SHA-256 of the weights that answered."""
        return self.model.weights_sha256

    @property
    def contribution(self) -> str:
        """What this program did with the image, in a sentence."""
        return f"Class scores by {self.model.name}, weights SHA-256 {self.model.weights_sha256}."

    @property
    def device_uid(self) -> UID:
        """UID of the model that answers, in this version, as a device."""
        return self._made("device")


def check_identity(source: Dataset) -> None:
    """Refuse an image that no answer can refer to.

    Args:
        source: Header of the image.

    Raises:
        ImageError: ``no_identity`` where one of its UIDs is missing, or is no UID.
    """
    for keyword in _IDENTITY:
        value = text_of(source, keyword)
        if not _UID.fullmatch(value):
            raise ImageError(
                "no_identity",
                f"Expected a {keyword} in the image, but got {'another value' if value else 'none'}"
                ": no answer can refer to it; send it from the archive that keeps it.",
            )


def text_of(source: Dataset, keyword: str) -> str:
    """Return an element as text, its several values joined as DICOM joins them; "" without one."""
    try:
        with silence():
            value: Any = source.get(keyword)
    except Exception:  # pydicom raises every kind for what cannot be read
        return ""
    if isinstance(value, MultiValue | list):
        value = "\\".join(map(str, value))
    # Halves of signs and what ends a line cannot be written, or would end the value.
    text = "" if value is None else str(value).encode("utf-8", "replace").decode()
    return "".join(sign for sign in text if sign.isprintable()).strip()
