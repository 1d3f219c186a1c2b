"""A process that reads images for the server: what strangers send is decoded here, and only here.

Started by `process_pool`, with a connection and a bound on its memory. Message in, message out, one
after the other, until the connection ends. Does not know a file's name, nor who asks.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import importlib
import io
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxr_transfer.errors import CxrError, ImageError
from cxr_transfer.inference.prepare import Prepared, prepare, prepare_for_each
from cxr_transfer.radiograph import Preprocessing, Radiograph, decode
from cxr_transfer.radiograph.lung_segmentation import lung_box, lung_mask
from cxr_transfer.radiograph.reorientation import Reorientation
from cxr_transfer.serving.ipc import Header, Pieces, receive, send

if TYPE_CHECKING:
    from cxr_transfer.inference.explain import Explainer
    from cxr_transfer.radiograph.full_depth import FullDepth

LARGEST_SIDE = 2048
"""Of an image that is sent to be looked at, pixels."""

NOT_OF_THE_IMAGE = (
    "Expected to work on the image, but something else failed; tell who runs the server."
)


Work = Callable[[Header, Pieces], tuple[Header, Pieces]]
"""Function that does a piece of work: message in, message out."""


def main() -> None:
    """Answer messages on the connection that the first argument names, until it ends."""
    serve(WORK, _warm)


def serve(works: Mapping[str, Work], warm: Callable[[], None]) -> None:
    """Do pieces of work that come on the connection of the first argument, until it ends.

    Args:
        works: Functions, by the names that messages give them.
        warm: Function that loads what the first piece of work needs.
    """
    connection = socket.socket(fileno=int(sys.argv[1]))
    may_write, bound = sys.argv[2] == "writes", int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold images
    # Ctrl-C and a service's stop reach the whole group; the server says when it is time to leave.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(1)  # who asks whether the server lives is not to wait for a decoder
    warm()
    if not may_write:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    send(connection, {"ready": True})
    while True:
        try:
            header, pieces = receive(connection)
        except EOFError:
            return
        send(connection, *_answered(header, pieces, works))


def _warm() -> None:
    """Read a first image, so that everything a request needs is loaded."""
    importlib.import_module("cxr_transfer.radiograph.dicom")  # the first one waits for it otherwise
    with contextlib.suppress(ImportError):  # beside the DICOM node alone there is no web framework
        importlib.import_module("cxr_transfer.serving.image_facts")
    content = io.BytesIO()
    grey = np.arange(160 * 160, dtype=np.uint32).astype(np.uint8).reshape(160, 160)
    Image.fromarray(grey).save(content, "JPEG")
    prepare(content.getvalue(), Preprocessing())
    lung_box(grey)  # by itself: quality control refuses this image before anything is cropped


def _answered(
    header: Header, pieces: Pieces, works: Mapping[str, Work] | None = None
) -> tuple[Header, Pieces]:
    try:
        return (works or WORK)[header.pop("work")](header, pieces)
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
    """Read an image once for all networks that are asked, and for whoever looks at it."""
    prepared_images = prepare_for_each(
        pieces[0],
        [Preprocessing.model_validate(preprocessing) for preprocessing in header["preprocessings"]],
        named=header.get("named", ""),
        quality_control=header["quality_control"],
        keep_radiograph=True,
        change=Reorientation(**header.get("change", {})),
    )
    descriptions = [
        {
            "status": prepared.status,
            "code": prepared.code,
            "message": prepared.message,
            "warnings": prepared.warnings,
            "ms": prepared.ms,
            "box": prepared.box,
            "issues": prepared.issues,
        }
        for prepared in prepared_images
    ]
    images = [
        prepared.image.tobytes() for prepared in prepared_images if prepared.image is not None
    ]
    radiograph = prepared_images[0].radiograph
    if radiograph is None:
        return {"prepared": descriptions, "height": 0, "width": 0}, images
    picture = [_png(radiograph, header["picture"])] if header["picture"] else []
    size = {"height": radiograph.height, "width": radiograph.width}
    return {"prepared": descriptions, **size}, [*images, *picture]


def _image(header: Header, pieces: Pieces) -> tuple[Header, Pieces]:
    radiograph = decode(pieces[0], named=header.get("named", ""))
    facts = {
        "warnings": radiograph.warnings,
        "format": radiograph.format,
        "height": radiograph.height,
        "width": radiograph.width,
    }
    return facts, [_png(radiograph)]


def _samples(header: Header, pieces: Pieces) -> tuple[Header, Pieces]:
    """Decode an image at full depth, and say what a viewer needs to know of it."""
    from cxr_transfer.serving.image_facts import described

    radiograph = decode(pieces[0], named=header.get("named", ""), full_depth=True)
    samples = cast("FullDepth", radiograph.full_depth).samples
    kind = samples.dtype.newbyteorder("<").str
    return {"facts": described(radiograph), "kind": kind}, [
        samples.astype(kind, copy=False).tobytes()
    ]


def _png(radiograph: Radiograph, side: int = LARGEST_SIDE) -> bytes:
    """Return the image in 8 bits, no side above ``side`` pixels."""
    stored = radiograph.stored
    picture = Image.fromarray(stored)
    if max(stored.shape) > side:
        scale = side / max(stored.shape)
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


def _explain(header: Header, pieces: Pieces) -> tuple[Header, Pieces]:
    """Explain what was prepared, and return its lung mask for the next network of the same form."""
    from cxr_transfer.inference.explain import heat_map_png

    shape = tuple(header["shape"])
    image = np.frombuffer(pieces[0], np.uint8).reshape(shape).copy()  # torch wants to write to it
    if len(pieces) > 1:
        lungs = np.frombuffer(pieces[1], np.bool_).reshape(shape)
    else:
        lungs = lung_mask(image)
    prepared = Prepared("", image, box=tuple(header["box"]), lungs=lungs)
    explanation = _explainer(header["model"]).explain(prepared, label=header["label"])
    overlay = heat_map_png(explanation, header["height"], header["width"])
    fields = explanation.as_dict()
    shown = {name: fields[name] for name in ("lung_share", "lung_area", "neighbours")}
    return shown, [overlay, lungs.tobytes()]


def _report(header: Header, pieces: Pieces) -> tuple[Header, Pieces]:
    """Lay out a report of pictures that were made of images: a summary, and a page for each."""
    from cxr_transfer.figures.report import ReportImage, report_pdf

    images = []
    for answers, picture in zip(header["answers"], pieces, strict=True):
        overlays = [
            _pixels(base64.b64decode(answer["heat_map"].partition(",")[2]))
            if answer["heat_map"]
            else None
            for answer in answers
        ]
        images.append(ReportImage(answers, _pixels(picture) if picture else None, overlays))
    facts = {"time": header["time"], "request_id": header["request_id"]}
    return {}, [report_pdf(images, header["models"], **facts)]


def _pixels(png: bytes) -> npt.NDArray[np.uint8]:
    with io.BytesIO(png) as content, Image.open(content) as picture:
        return np.asarray(picture)


def _identity(_header: Header, pieces: Pieces) -> tuple[Header, Pieces]:
    """Read of a DICOM header what the node's rules and answers need."""
    from cxr_transfer.radiograph.dicom_identity import read_identity

    return {}, [read_identity(pieces[0])]


WORK: dict[str, Work] = {
    "prepare": _prepare,
    "image": _image,
    "samples": _samples,
    "explain": _explain,
    "identity": _identity,
    "report": _report,
}

if __name__ == "__main__":
    main()
