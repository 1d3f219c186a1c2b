"""Heat maps, added to the answers for an image by the process that draws them.

Comes in: an image as it was read, and answers. Goes out: the same answers, with what can be told of
their scores, or why it cannot. Knows no requests.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from cxr_transfer.errors import ImageError
from cxr_transfer.inference.prediction import explained_label
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.serving.image_reading import LOST, Read
from cxr_transfer.serving.ipc import Header
from cxr_transfer.serving.model_registry import ServedModel
from cxr_transfer.serving.process_pool import WorkerLost

NO_MAP = "this model is a converted network: it draws no heat maps"

Draw = Callable[[Header, Sequence[bytes]], Awaitable[tuple[Header, list[bytes]]]]
"""Function that has a piece of work done by the process that draws."""


async def explain(
    draw: Draw, asked_models: Sequence[ServedModel], read: Read, answers: Sequence[dict[str, Any]]
) -> None:
    """Add to the answers for one image what can be told of their scores.

    Args:
        draw: Function that has a piece of work done by the process that draws.
        asked_models: Models that answered, one for each answer.
        read: Image as it was read.
        answers: Answers, which are changed.
    """
    lungs: dict[Preprocessing, bytes] = {}  # Networks that see one image see the same lungs.
    for served, prepared, answer in zip(asked_models, read.prepared, answers, strict=True):
        if answer["status"] != "ok" or prepared.image is None:
            continue
        if not served.explains:
            answer["warnings"] = [*answer["warnings"], NO_MAP]
            continue
        preprocessing = served.predictor.card.preprocessing
        work = {
            "work": "explain",
            "model": served.origin,
            "label": explained_label(answer),
            "shape": prepared.image.shape,
            "box": prepared.box,
            "height": read.height,
            "width": read.width,
        }
        pieces = [prepared.image.tobytes()]
        if preprocessing in lungs:
            pieces.append(lungs[preprocessing])
        try:
            facts, (overlay, lungs[preprocessing]) = await draw(work, pieces)
        except (ImageError, WorkerLost) as error:
            reason = error.message if isinstance(error, ImageError) else LOST
            answer["warnings"] = [*answer["warnings"], f"no heat map: {reason}"]
            continue
        if "findings" in answer:
            answer["heat_map_of"] = explained_label(answer)
        drawn = base64.b64encode(overlay).decode()
        answer |= facts | {"heat_map": f"data:image/png;base64,{drawn}"}


def unexplained() -> dict[str, Any]:
    """Return what an answer tells of its score where nothing was asked."""
    return {"heat_map": None, "lung_share": None, "lung_area": None, "neighbours": []}
