"""A body that names uploaded images by their hashes, in the place of a form with images.

JSON: ``{"sha256": [...], "names": [...], "model": ..., "heat_map": true}``. The names of images in
the answers may be missing; the other entries are the fields of the form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from cxr_transfer.serving.multipart import HASHES, UploadForm, hold_hashes, read_form
from cxr_transfer.serving.parameters import check_names, with_query
from cxr_transfer.serving.schemas import ApiError, shown_name
from cxr_transfer.serving.settings import Settings
from cxr_transfer.serving.shared_images import UploadedImages

_MOST_BYTES = 256 * 1024
_HASH = re.compile("[0-9a-fA-F]{64}")


async def read_images(
    request: Request, settings: Settings, images: UploadedImages, *, fields: Sequence[str]
) -> UploadForm:
    """Read a request's images: a form, one image as it is, or hashes of uploaded ones.

    Args:
        request: Request whose body is read; its query was checked.
        settings: Settings with the largest number of images.
        images: Images that were uploaded.
        fields: Names of the fields that may stand in the body or in the query.

    Raises:
        ApiError: 404 ``unknown_image``, 422 ``bad_json``, ``bad_field``, ``repeated_field``, and
            what `read_form` raises.
    """
    if not request.headers.get("content-type", "").lower().startswith(HASHES):
        return await read_form(request, settings, files="files", fields=fields)
    body = await _read_json(request)
    hashes, names = body.pop("sha256", None), body.pop("names", None)
    check_names(body, fields, "body")
    is_list = isinstance(hashes, list) and all(
        isinstance(one, str) and _HASH.fullmatch(one) for one in hashes
    )
    if not is_list or not 1 <= len(hashes) <= settings.files:
        raise ApiError(
            422,
            "bad_field",
            f"Expected a list of 1 to {settings.files} hashes of 64 hexadecimal digits as sha256, "
            "but got something else; take those that /v1/images returned.",
        )
    if names is not None and not _is_of_texts(names, len(hashes)):
        raise ApiError(
            422,
            "bad_field",
            f"Expected a list of {len(hashes)} texts as names, one for each hash, but got "
            "something else; mend it, or leave it out.",
        )
    values: dict[str, str] = {}
    for name, value in body.items():
        if not isinstance(value, str | bool):
            raise ApiError(
                422, "bad_field", f"Expected a text, true or false in {name}, but got another."
            )
        values[name] = value if isinstance(value, str) else str(value).lower()
    values = with_query(request, values, "body")
    uploads = [await images.upload(one.lower()) for one in hashes]
    for place, name in enumerate(names or ()):
        uploads[place] = uploads[place]._replace(name=shown_name(name, place + 1))
    hold_hashes(request, uploads)
    return UploadForm(uploads, values)


def _is_of_texts(value: object, number: int) -> bool:
    if not isinstance(value, list) or len(value) != number:
        return False
    return all(isinstance(one, str) for one in value)


async def _read_json(request: Request) -> dict[str, Any]:
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > _MOST_BYTES:
            break
    try:
        is_small = len(content) <= _MOST_BYTES
        body = json.loads(content, object_pairs_hook=_once) if is_small else None
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise ApiError(
            422,
            "bad_json",
            "Expected an object of JSON with a list of hashes as sha256, but got something else; "
            "send less, or mend it.",
        )
    return body


def _once(entries: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON whose names come once each: Python takes the last one otherwise."""
    if len({name for name, _ in entries}) < len(entries):
        raise ApiError(
            422,
            "repeated_field",
            "Expected each name once in the body, but got one again; send one value.",
        )
    return dict(entries)
