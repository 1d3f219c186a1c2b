"""What a decoding process found in an image: prepared for networks, its size, and a picture.

Comes in: the process's reply. Goes out: a `Read`. Knows no request and no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from cxr_transfer.inference.prepare import Prepared
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.serving.ipc import Header

LOST = "Expected an answer, but the process that read the image was taken away; send it again."


@dataclass(frozen=True, eq=False)
class Read:
    """Result of a decoding process for one image.

    Attributes:
        prepared: Prepared image for each model that was asked, in their order.
        height: Height of the image in pixels; 0 where it was not read.
        width: Width of the image in pixels; 0 where it was not read.
        picture: PNG of the image to be looked at; empty where it was not wanted or read.
    """

    prepared: tuple[Prepared, ...]
    height: int = 0
    width: int = 0
    picture: bytes = b""

    @classmethod
    def of(
        cls,
        name: str,
        preprocessings: Sequence[Preprocessing],
        reply: Header,
        pieces: Sequence[bytes],
    ) -> Self:
        """Return what a decoding process says of an image.

        Args:
            name: Name of the image in its answers.
            preprocessings: Preprocessing of each model that was asked.
            reply: What the process says.
            pieces: Prepared images of those that may be judged, and then the picture.
        """
        left, prepared = iter(pieces), []
        for preprocessing, description in zip(preprocessings, reply["prepared"], strict=True):
            image = None
            if description["status"] == "ok":
                image = np.frombuffer(next(left), np.uint8).reshape(preprocessing.size)
            description |= {key: tuple(description[key]) for key in ("warnings", "box", "issues")}
            prepared.append(Prepared(name, image, **description))
        return cls(tuple(prepared), reply["height"], reply["width"], next(left, b""))

    @classmethod
    def failed(cls, name: str, models: int, code: str, message: str) -> Self:
        """Return why an image could not be read, for each model that was asked."""
        return cls((Prepared(name, None, "error", code, message),) * models)

    def crop(self, place: int) -> list[int] | None:
        """Return which part of the image a model sees: left, top, right, bottom in its pixels.

        Args:
            place: Place of the model among those that were asked.
        """
        prepared = self.prepared[place]
        if prepared.image is None:
            return None
        sides = (self.width, self.height) * 2
        return [round(edge * side) for edge, side in zip(prepared.box, sides, strict=True)]
