"""A process that reads images for the server: what strangers send is decoded here, and only here.

Started by `process_pool`, with a connection and a bound on its memory. Message in, message out, one
after the other, until the connection ends. Does not know a file's name, nor who asks.
"""

from __future__ import annotations

import base64
import functools
import io
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from cxr_transfer.errors import CxrError, ImageError
from cxr_transfer.inference.prepare import prepare
from cxr_transfer.radiograph import Preprocessing, Radiograph, decode
from cxr_transfer.radiograph.lung_segmentation import lung_box
from cxr_transfer.serving.ipc import Header, Pieces, receive, send

if TYPE_CHECKING:
    from cxr_transfer.inference.explain import Explainer, Explanation

LARGEST_SIDE = 2048
"""Of an image that is sent to be looked at, pixels."""

NOT_OF_THE_IMAGE = (
    "Expected to work on the image, but something else failed; tell who runs the server."
)


def main() -> None:
    """Answer messages on the connection that the first argument names, until it ends."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    may_write, bound = sys.argv[2] == "writes", int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold images
    # Ctrl-C and a service's stop reach the whole group; the server says when it is time to leave.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(1)  # who asks whether the server lives is not to wait for a decoder
    _warm()
    if not may_write:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    send(connection, {"ready": True})
    while True:
        try:
            header, pieces = receive(connection)
        except EOFError:
            return
        send(connection, *_answered(header, pieces))


def _warm() -> None:
    """Read a first image, so that everything a request needs is loaded."""
    content = io.BytesIO()
    grey = np.arange(160 * 160, dtype=np.uint32).astype(np.uint8).reshape(160, 160)
    Image.fromarray(grey).save(content, "JPEG")
    prepare(content.getvalue(), Preprocessing())
    lung_box(grey)  # by itself: quality control refuses this image before anything is cropped


def _answered(header: Header, pieces: Pieces) -> tuple[Header, Pieces]:
    try:
        return WORK[header.pop("work")](header, pieces)
    except ImageError as error:
        return {"error": error.code, "message": error.message}, []
    except CxrError as error:
        # Its message is for who runs the server: it may name paths.
        return {"error": error.code, "message": NOT_OF_THE_IMAGE}, []
    except MemoryError:
        return {
            "error": "too_large_to_decode",
            "message": "Expected an image that fits into the memory for decoding, but it does not; "
            "export a smaller copy.",
        }, []
    except Exception as error:
        # An image that a decoder stumbles over is that image's error. The type may be logged; what
        # the exception says may be of the image.
        return {
            "error": "unreadable",
            "message": "Expected a readable image, but its decoder failed; export it anew.",
            "type": type(error).__name__,
        }, []


def _prepare(header: Header, pieces: Pieces) -> tuple[Header, Pieces]:
    preprocessing = Preprocessing.model_validate(header["preprocessing"])
    prepared = prepare(
        pieces[0],
        preprocessing,
        named=header.get("named", ""),
        quality_control=header["quality_control"],
    )
    image = [] if prepared.image is None else [prepared.image.tobytes()]
    return {
        "status": prepared.status,
        "code": prepared.code,
        "message": prepared.message,
        "warnings": prepared.warnings,
        "ms": prepared.ms,
    }, image


def _image(header: Header, pieces: Pieces) -> tuple[Header, Pieces]:
    radiograph = decode(pieces[0], named=header.get("named", ""))
    known = {
        "warnings": radiograph.warnings,
        "format": radiograph.format,
        "height": radiograph.height,
        "width": radiograph.width,
    }
    return known, [_png(radiograph)]


def _png(radiograph: Radiograph) -> bytes:
    """Return the image in 8 bits, no side above `LARGEST_SIDE`."""
    stored = radiograph.stored
    picture = Image.fromarray(stored)
    if max(stored.shape) > LARGEST_SIDE:
        scale = LARGEST_SIDE / max(stored.shape)
        size = max(1, round(scale * radiograph.width)), max(1, round(scale * radiograph.height))
        picture = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    if stored.dtype != np.uint8:
        grey = np.rint(np.asarray(picture) * 255).clip(0, 255)
        picture = Image.fromarray(grey.astype(np.uint8))
    content = io.BytesIO()
    picture.save(content, "PNG", compress_level=1)
    return content.getvalue()


@functools.cache
def _explainer(model: str) -> Explainer:
    from cxr_transfer.inference.explain import Explainer

    return Explainer.open(model)


def _explained(model: str, radiograph: Radiograph, label: str) -> tuple[Explanation, bytes]:
    from cxr_transfer.inference.explain import heat_map_png

    explanation = _explainer(model).explain(radiograph, label=label)
    return explanation, heat_map_png(explanation, radiograph)


def _explain(header: Header, pieces: Pieces) -> tuple[Header, Pieces]:
    explanation, overlay = _explained(header["model"], decode(pieces[0]), header["label"])
    known = explanation.as_dict()
    return {name: known[name] for name in ("lung_share", "lung_area", "neighbours")}, [overlay]


def _report(header: Header, pieces: Pieces) -> tuple[Header, Pieces]:
    from cxr_transfer.figures.explanation import report_pdf

    pages: list[dict[str, Any]] = []
    for answer, content in zip(header["answers"], pieces, strict=True):
        page: dict[str, Any] = {"answer": answer, "image": None, "overlay": None}
        if answer["status"] != "error":
            with io.BytesIO(_png(decode(content))) as png, Image.open(png) as radiograph:
                page["image"] = np.asarray(radiograph)
        if answer["heat_map"]:
            overlay = base64.b64decode(answer["heat_map"].partition(",")[2])
            with Image.open(io.BytesIO(overlay)) as drawn:
                page["overlay"] = np.asarray(drawn)
        pages.append(page)
    return {}, [report_pdf(pages, request_id=header["request_id"])]


WORK: dict[str, Callable[[Header, Pieces], tuple[Header, Pieces]]] = {
    "prepare": _prepare,
    "image": _image,
    "explain": _explain,
    "report": _report,
}

if __name__ == "__main__":
    main()
