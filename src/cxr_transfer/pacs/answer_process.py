"""A process that makes the answers of the DICOM node: heat map, report, picture, ready to be sent.

Started by `serving.process_pool` as its decoding processes are, one for each core: while some make
answers, the network and the decoders have the next images. Message in, files out. Writes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cxr_transfer.inference.explain import heat_map_colours
from cxr_transfer.inference.prediction import explained_label
from cxr_transfer.inference.prepare import Prepared
from cxr_transfer.pacs.answer_files import dicom_file
from cxr_transfer.pacs.answer_objects import Kind, answer_objects
from cxr_transfer.pacs.answered_image import AnsweringModel
from cxr_transfer.radiograph.dicom_identity import opened_identity
from cxr_transfer.radiograph.silence import silence
from cxr_transfer.serving.ipc import Header, Pieces
from cxr_transfer.serving.worker_process import explained, pixels_of, serve

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
        "explain": None,
        "size": size,
    }
    if not explainer or prepared.image is None:
        return header, [identity, picture]
    explain = {"model": explainer, "label": explained_label(answer), "box": prepared.box}
    header["explain"] = explain | {"shape": prepared.image.shape}
    return header, [identity, picture, prepared.image.tobytes()]


def main() -> None:
    """Answer messages on the connection that the first argument names, until it ends."""
    serve({"answers": _answers}, lambda: None)


def _answers(header: Header, pieces: Pieces) -> tuple[Header, Pieces]:
    """Make the objects of an answer, with a heat map where one is asked for."""
    identity, picture, *prepared = pieces
    answer, heat_map = dict(header["answer"]), None
    if header["explain"]:
        explanation, _ = explained(header["explain"], prepared)
        answer |= explanation.facts()
        heat_map = heat_map_colours(explanation, *header["size"])
    model = header["model"]
    facts = AnsweringModel(**model | {key: tuple(model[key]) for key in ("labels", "notes")})
    with silence():
        made = answer_objects(
            opened_identity(identity),
            answer,
            model=facts,
            source_sha256=header["source_sha256"],
            now=datetime.fromisoformat(header["now"]),
            picture=pixels_of(picture) if picture else None,
            heat_map=heat_map,
            box=tuple(header["box"]),
            kinds=header["kinds"],
        )
    return {}, [dicom_file(dataset) for dataset in made]


if __name__ == "__main__":
    main()
