"""Scores that an audit asked for, kept in its folder: one that was stopped does not ask again.

A file for each set of images, named by a hash of the model, the precision and every pixel: other
weights, another change or another image is another file. Only of models that a hash identifies; a
function or a server may have changed since, and is asked again.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer import provenance
from cxr_transfer.audits.scorers import ImageScorer
from cxr_transfer.evaluation.scoring import Scorer
from cxr_transfer.files import write_bytes, write_json
from cxr_transfer.models.forward import OnImages
from cxr_transfer.subjects.subject import Subject

Floats = npt.NDArray[np.float64]
Images = npt.NDArray[np.uint8]

FOLDER = "scores"
"""Folder of the files, in that of the audit."""


class CachedScorer:
    """A model whose scores are kept.

    Args:
        asked: Model as it is asked.
        subject: Model as it is identified, by a hash.
        device: Device on which it is asked.
        folder: Folder of the files.
    """

    def __init__(self, asked: ImageScorer, subject: Subject, device: str, folder: Path) -> None:
        self._asked, self._folder = asked, folder
        described = subject.description and subject.description.model_dump(mode="json")
        self._identity = json.dumps(
            [
                subject.kind,
                list(subject.sha256),
                list(subject.labels),
                subject.temperature,
                described,
                *([asdict(subject.finding)] if subject.finding else []),
                device,
                provenance.versions(),
            ],
            sort_keys=True,
        )
        self._classes = len(subject.labels)
        self._precision = "float32"

    @property
    def on_image(self) -> OnImages:
        """Function that is called with the number of images after every batch."""
        return self._asked.on_image

    @on_image.setter
    def on_image(self, function: OnImages) -> None:
        self._asked.on_image = function

    def exact(self, images: Images) -> Floats:
        """Return class scores (N, C) of images (N, 1, H, W)."""
        return self._scored("exact", images)

    def quick(self, images: Images) -> Floats:
        """Return class scores (N, C) in the precision that was settled."""
        return self._scored(f"quick {self._precision}", images)

    def settle(self, images: Images, exact: Floats, precision: str = "auto") -> dict[str, Any]:
        """Choose the precision of `quick`, and return what the report says of it."""
        path = self._path(f"settle {precision}", images, "json")
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            self._precision = str(record["changed_images"])
            self.on_image(len(images))
        except (OSError, ValueError, LookupError, TypeError):
            record = self._asked.settle(images, exact, precision)
            self._precision = record["changed_images"]
            write_json(path, record)
        if isinstance(self._asked, Scorer):
            self._asked.precision = self._precision
        return record

    def _scored(self, how: str, images: Images) -> Floats:
        path = self._path(how, images, "npy")
        try:
            kept = np.load(path, allow_pickle=False)
            if kept.shape == (len(images), self._classes) and kept.dtype == np.float64:
                self.on_image(len(images))
                return np.asarray(kept)
        except (OSError, ValueError, EOFError):
            pass  # There is none, or it was damaged: asked for below.
        asked = self._asked.exact if how == "exact" else self._asked.quick
        scores = asked(images)
        content = io.BytesIO()
        np.save(content, scores, allow_pickle=False)
        write_bytes(path, content.getvalue())
        return scores

    def _path(self, how: str, images: Images, ending: str) -> Path:
        digest = hashlib.sha256(f"{self._identity} {how} {images.shape}".encode())
        for image in images:  # Image by image: they may lie on disk.
            digest.update(np.ascontiguousarray(image).data)
        return self._folder / f"{digest.hexdigest()}.{ending}"


def cached(asked: ImageScorer, subject: Subject, device: str, out: Path) -> ImageScorer:
    """Return a model whose scores are kept in ``out``; as it is where no hash identifies it."""
    if not subject.sha256:
        return asked
    return CachedScorer(asked, subject, device, out / FOLDER)
