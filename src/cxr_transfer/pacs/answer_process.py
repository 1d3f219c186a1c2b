"""A process that makes the answers of the DICOM node: heat map, report, picture, ready to be sent.

Started by `serving.process_pool` as its decoding processes are, one for each core: while some make
answers, the network and the decoders have the next images. Message in, files out. Writes nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import io
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite

from cxr_transfer.inference.prediction import explained_label
from cxr_transfer.inference.prepare import Prepared
from cxr_transfer.pacs.answer_objects import Kind, answer_objects
from cxr_transfer.pacs.answered_image import AnsweringModel
from cxr_transfer.radiograph.dicom_identity import opened_identity
from cxr_transfer.radiograph.lung_segmentation import lung_mask
from cxr_transfer.radiograph.silence import silence
from cxr_transfer.serving.decoder_process import serve
from cxr_transfer.serving.ipc import Header, Pieces

if TYPE_CHECKING:
    from cxr_transfer.inference.explain import Explainer

MODULE = "cxr_transfer.pacs.answer_process"
"""Name of the program that `serving.process_pool` starts."""


def question(
    answer: dict[str, Any],
    prepared: Prepared,
    identity: bytes,
    picture: bytes,
    *,
    model: AnsweringModel,
    source_sha256: str,
    now: datetime,
    kinds: Sequence[Kind],
    explainer: str = "",
    size: tuple[int, int] = (1, 1),
) -> tuple[Header, Pieces]:
    """Return the message that asks for the answers of an image.

    Args:
        answer: Answer as it stands in JSON.
        prepared: Image as the network saw it.
        identity: Header of the image, as `read_identity` gives it.
        picture: Picture of the image (PNG); empty where it cannot be read.
        model: Facts of the model that answered.
        source_sha256: SHA-256 of the received data set, in hexadecimal digits.
        now: Time at which the objects are made, with its time zone.
        kinds: Kinds of the objects, in their order.
        explainer: Name or path of the model that draws a heat map; empty draws none.
        size: Height and width of the heat map, pixels.
    """
    header = {
        "work": "answers",
        "answer": answer,
        "box": prepared.box,
        "model": dataclasses.asdict(model),
        "source_sha256": source_sha256,
        "now": now.isoformat(),
        "kinds": list(kinds),
        "explainer": explainer,
        "size": size,
    }
    image = prepared.image if explainer else None
    shape = image.shape if image is not None else (0, 0)
    pixels = image.tobytes() if image is not None else b""
    return header | {"shape": shape}, [identity, picture, pixels]


def main() -> None:
    """Answer messages on the connection that the first argument names, until it ends."""
    serve({"answers": _answers}, lambda: None)


def _answers(header: Header, pieces: Pieces) -> tuple[Header, Pieces]:
    """Make the objects of an answer, with a heat map where one is asked for."""
    identity, picture, pixels = pieces
    answer, heat_map = dict(header["answer"]), None
    if header["explainer"]:
        shown, heat_map = _explained(header, pixels)
        answer |= shown
    model = header["model"]
    facts = AnsweringModel(**model | {key: tuple(model[key]) for key in ("labels", "notes")})
    with silence():
        made = answer_objects(
            opened_identity(identity),
            answer,
            model=facts,
            source_sha256=header["source_sha256"],
            now=datetime.fromisoformat(header["now"]),
            picture=_picture(picture),
            heat_map=heat_map,
            box=tuple(header["box"]),
            kinds=header["kinds"],
        )
        return {}, [_file(dataset) for dataset in made]


@functools.cache
def _explainer(model: str) -> Explainer:
    from cxr_transfer.inference.explain import Explainer

    return Explainer.open(model)


def _explained(header: Header, pixels: bytes) -> tuple[dict[str, Any], npt.NDArray[np.uint8]]:
    """Return what is told of a heat map, and its colours."""
    from cxr_transfer.inference.explain import heat_map_colours

    image = np.frombuffer(pixels, np.uint8).reshape(header["shape"]).copy()
    prepared = Prepared("", image, box=tuple(header["box"]), lungs=lung_mask(image))
    label = explained_label(header["answer"])
    explanation = _explainer(header["explainer"]).explain(prepared, label=label)
    fields = explanation.as_dict()
    shown = {name: fields[name] for name in ("lung_share", "lung_area", "neighbours")}
    return shown, heat_map_colours(explanation, *header["size"])


def _picture(png: bytes) -> npt.NDArray[np.uint8] | None:
    if not png:
        return None
    with io.BytesIO(png) as content, Image.open(content) as picture:
        return np.asarray(picture)


def _file(dataset: Dataset) -> bytes:
    content = io.BytesIO()
    dcmwrite(content, dataset, enforce_file_format=True)
    return content.getvalue()


if __name__ == "__main__":
    main()
