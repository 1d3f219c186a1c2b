"""A report of images: answered, explained and laid out, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from cxr_transfer import provenance
from cxr_transfer.serving.image_store import Upload
from cxr_transfer.serving.model_registry import ServedModel
from cxr_transfer.serving.service import Read, Service

AT_ONCE = 2
"""Images of a report that are worked on at once."""

SIDE = 1280
"""Longest side of a report's pictures, in pixels: more than paper shows."""

LOOK_AGAIN_S = 0.1
"""Time after which a report looks again whether there is room for its next image."""


async def report(
    service: Service,
    asked_models: Sequence[ServedModel],
    uploads: Sequence[Upload],
    request_id: str,
    on_image: Callable[[], None] = lambda: None,
) -> bytes:
    """Return a PDF of images and what each model that is asked answers for them.

    A summary comes first, then a page for each image. Others are answered in between.

    Args:
        service: Service that answers.
        asked_models: Models that are asked.
        uploads: Images.
        request_id: Number of the request.
        on_image: Function that is called after each image.
    """
    few = asyncio.Semaphore(AT_ONCE)

    async def one(upload: Upload) -> tuple[list[dict[str, Any]], Read]:
        async with few:
            while service.load.is_full() or service.slow_load.is_full(AT_ONCE):
                await asyncio.sleep(LOOK_AGAIN_S)
            answers, read = await service.answered(
                asked_models, [upload], heat_map=True, picture=SIDE
            )
        on_image()
        return answers[0], read[0]

    try:
        async with asyncio.TaskGroup() as group:  # One that fails ends the others.
            tasks = [group.create_task(one(upload)) for upload in uploads]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    answers, read = zip(*(task.result() for task in tasks), strict=True)
    header = {
        "work": "report",
        "answers": answers,
        "models": [served.described() for served in asked_models],
        "time": provenance.now(),
        "request_id": request_id,
    }
    while service.slow_load.is_full():
        await asyncio.sleep(LOOK_AGAIN_S)
    _, (pdf,) = await service.slowly(header, [image.picture for image in read])
    return pdf
