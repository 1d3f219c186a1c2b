"""How requests and answers are described in OpenAPI."""

from __future__ import annotations

from typing import Any

from cxr_transfer.about import INTENDED_USE, __version__
from cxr_transfer.serving.schemas import (
    Answers,
    Readiness,
    Refused,
)

EXAMPLE = {
    "intended_use": INTENDED_USE,
    "version": __version__,
    "request_id": "8a4c1f0d2b7e4c7d9a51f0c3b2d4e6f8",
    "model": "model_3 dbf3397cd158",
    "ms": 41.2,
    "answers": [
        {
            "file": "image.png",
            "index": 0,
            "sha256": "f2ca1bb6c7e907d06dafe4687e579fce76b37e4e93b7605022da52e6ccc26fd2",
            "status": "ok",
            "code": "",
            "message": "",
            "label": "normal",
            "probabilities": {"normal": 0.91, "bacterial": 0.08, "covid19": 0.01},
            "calibrated": True,
            "temperature": 1.37,
            "model": "model_3 dbf3397cd158",
            "warnings": [],
            "ms": 36.8,
            "heat_map": None,
            "lung_share": None,
            "lung_area": None,
            "neighbours": [],
        }
    ],
}

_REFUSED = {
    400: "The host or the body is not what it should be.",
    401: "A token is needed.",
    403: "Another web site sent this.",
    404: "There is no such model.",
    413: "Too much was sent.",
    415: "Not a form, or not an image.",
    422: "The form or the image cannot be read.",
    503: "No room now; see Retry-After.",
}

NO_SUCH: dict[int | str, dict[str, Any]] = {
    404: {
        "description": "There is no such model, or nothing of the kind beside it.",
        "model": Refused,
    }
}


def form_body(files: str, *, many: bool, fields: tuple[str, ...]) -> dict[str, Any]:
    """Return the description of a multipart body."""
    upload = {"type": "string", "format": "binary"}
    kinds: dict[str, dict[str, Any]] = {
        "model": {"type": "string", "description": "Its name; the server's first without one."},
        "other": {"type": "string", "description": "Another one, for pages of its own."},
        "heat_map": {"type": "boolean", "default": False},
    }
    properties: dict[str, Any] = {
        files: {"type": "array", "items": upload, "minItems": 1, "maxItems": 32} if many else upload
    }
    properties |= {name: kinds[name] for name in fields}
    schema = {"type": "object", "required": [files], "properties": properties}
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


def post_responses(
    model: type[Any] | None,
    example: dict[str, Any] | None = None,
    *,
    by_image: bool = False,
    media: str = "application/json",
) -> dict[int | str, dict[str, Any]]:
    """Return the description of answers to a POST."""
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": description, "model": Answers | Refused if by_image else Refused}
        for status, description in _REFUSED.items()
    }
    if model is None:
        responses[200] = {"content": {media: {"schema": {"type": "string", "format": "binary"}}}}
    else:
        responses[200] = {"model": model, "content": {media: {"example": example}}}
    return responses


def get_responses(
    model: type[Any] | None, media: str = "application/json"
) -> dict[int | str, dict[str, Any]]:
    """Return the description of answers to a GET."""
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": _REFUSED[status], "model": Refused} for status in (400, 401, 403)
    }
    responses[503] = {"description": _REFUSED[503], "model": Refused}
    if model is not None:
        responses[200] = {"model": model}
        if model is Readiness:
            responses[503] = {"description": "Not ready.", "model": Readiness}
    else:
        responses[200] = {"content": {media: {"schema": {"type": "string"}}}}
    return responses
