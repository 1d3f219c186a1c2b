"""A process that reads images for the server: what strangers send is decoded here, and only here.

Started by `process_pool`; `worker_process` has its loop. Does not know a file's name, nor who asks.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import io
from typing import TYPE_CHECKING, cast

import numpy as np
from PIL import Image

from cxr_transfer.inference.prepare import prepare, prepare_for_each
from cxr_transfer.radiograph import Preprocessing, Radiograph, decode
from cxr_transfer.radiograph.lung_segmentation import lung_box
from cxr_transfer.radiograph.reorientation import Reorientation
from cxr_transfer.serving.ipc import Header, Pieces
from cxr_transfer.serving.worker_process import Work, explained, pixels_of, serve, told

if TYPE_CHECKING:
    from cxr_transfer.radiograph.full_depth import FullDepth

LARGEST_SIDE = 2048
"""Of an image that is sent to be looked at, pixels."""


def main() -> None:
    """Answer messages on the connection that the first argument names, until it ends."""
    serve(WORK, _warm)


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
            "message": told(prepared.code, prepared.message),
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


def _explain(header: Header, pieces: Pieces) -> tuple[Header, Pieces]:
    """Explain what was prepared, and return its lung mask for the next network of the same form."""
    from cxr_transfer.inference.explain import heat_map_png

    explanation, lungs = explained(header, pieces)
    overlay = heat_map_png(explanation, header["height"], header["width"])
    return explanation.facts(), [overlay, lungs.tobytes()]


def _report(header: Header, pieces: Pieces) -> tuple[Header, Pieces]:
    """Lay out a report of pictures that were made of images: a summary, and a page for each."""
    from cxr_transfer.figures.report import ReportImage, report_pdf

    images = []
    for answers, picture in zip(header["answers"], pieces, strict=True):
        overlays = [
            pixels_of(base64.b64decode(answer["heat_map"].partition(",")[2]))
            if answer["heat_map"]
            else None
            for answer in answers
        ]
        images.append(ReportImage(answers, pixels_of(picture) if picture else None, overlays))
    facts = {"time": header["time"], "request_id": header["request_id"]}
    return {}, [report_pdf(images, header["models"], **facts)]


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
