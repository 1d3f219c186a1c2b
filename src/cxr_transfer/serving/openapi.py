"""How requests and answers are described in OpenAPI: forms, statuses, headers, limits, tokens."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from cxr_transfer.about import INTENDED_USE, __version__
from cxr_transfer.radiograph.reorientation import ROTATIONS
from cxr_transfer.serving.middleware import PROTECTED
from cxr_transfer.serving.problems import PROBLEM
from cxr_transfer.serving.schemas import Readiness, Refused, RefusedAnswers, StreamEnd
from cxr_transfer.serving.settings import Settings
from cxr_transfer.text import human_size

Responses = dict[int | str, dict[str, Any]]

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
            "crop": [0, 0, 1024, 1024],
            "heat_map": None,
            "lung_share": None,
            "lung_area": None,
            "neighbours": [],
            "changed": None,
        }
    ],
}

TAGS = [
    {"name": "images", "description": "Class scores, pictures and reports of images."},
    {"name": "jobs", "description": "Many images, answered in the background."},
    {"name": "models", "description": "The models that answer, their cards and audits."},
    {"name": "operations", "description": "For whoever runs the server."},
]
SERVERS = [{"url": "/", "description": "The server that this description comes from."}]

PICTURE_HEADERS = {
    "X-Cxr-Format": "Format of the file: JPEG, PNG, TIFF or DICOM.",
    "X-Cxr-Height": "Height of the image in pixels.",
    "X-Cxr-Width": "Width of the image in pixels.",
    "X-Cxr-Warnings": "What a reader should know of the image: JSON, an array of lines.",
}
HEAT_MAP_HEADERS = {
    "X-Cxr-Heat-Map-Of": "Class or finding that the heat map is of: JSON, a string.",
    "X-Cxr-Model": "Name and first digits of the hash of the weights: JSON, a string.",
}
REPORT_HEADERS = {"Content-Disposition": "The name to save it under."}
BEGUN_HEADERS = {"Location": "Where it says how far it is."}

REPORT_IMAGES = 100
"""Images of a job's report at most: its pages are laid out in one piece."""

SAMPLES = "application/octet-stream"
MOST_SAMPLES = 2048 * 2048
SAMPLE_HEADERS = {
    "X-Cxr-Rows": "Rows of samples; each sample has two bytes, the lower one first.",
    "X-Cxr-Columns": "Samples in a row.",
}

_EVERYWHERE = {
    "X-Request-ID": "Identifier of the request: the client's own X-Request-ID, or a new one.",
    "X-Intended-Use": "What the answers are for, and what not.",
}
_BY_STATUS = {
    401: {"WWW-Authenticate": "The scheme of the token: Bearer."},
    409: {"Retry-After": "Seconds after which it is worth asking again."},
    503: {"Retry-After": "Seconds after which it is worth asking again."},
    507: {"Retry-After": "Seconds after which it is worth asking again."},
}
_REFUSED = {
    400: "The host or the request is not what it should be.",
    401: "A token is needed.",
    403: "Another web site sent this.",
    404: "There is no such model, image, report, job or page.",
    408: "The body stopped short, or came too slowly.",
    409: "It is not done yet, or no longer as it was.",
    413: "Too much was sent; said before the body comes where its length is announced.",
    415: "Not a form, or not an image.",
    422: "A parameter, the form or the image is not what it should be.",
    500: "The server failed.",
    503: "No room now, or the server starts or stops; see Retry-After.",
    507: "No room on the disk for more jobs; what was accepted is kept.",
}
_BY_IMAGE = (413, 415, 422, 503)  # one image that cannot be read has its answer beside the problem


def _number(least: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": 999_999_999}


_FIELDS: dict[str, tuple[dict[str, Any], str]] = {
    "model": ({"type": "string"}, "Name of the model; the server's first without one."),
    "other": ({"type": "string"}, "Name of another model, for pages of its own."),
    "heat_map": (
        {"type": "boolean", "default": False},
        "Whether each answer has a heat map, as a data URL.",
    ),
    "kind": (
        {"type": "string", "enum": ["predictions", "report"], "default": "predictions"},
        f"What is made: answers, or answers and a report (PDF) of {REPORT_IMAGES} images at most.",
    ),
    "webhook": (
        {"type": "string"},
        "Address that is told of the job's end; the operator has to allow it.",
    ),
    "more": (
        {"type": "boolean", "default": False},
        "Whether more images will be added to the job.",
    ),
    "first": (
        {"type": "integer", "minimum": 0, "maximum": 999_999_999},
        "Place of the first image.",
    ),
    "most": (
        {"type": "integer", "minimum": 0, "maximum": 999_999_999, "default": 100},
        "Number of images at most; no more than 1000 in JSON.",
    ),
    "flip": (
        {"type": "boolean", "default": False},
        "Whether the image is mirrored left to right before it is assessed.",
    ),
    "rotate": (
        {"type": "integer", "enum": list(ROTATIONS), "default": 0},
        "Degrees by which the image is turned clockwise before it is assessed, once it is "
        "mirrored.",
    ),
    "invert": (
        {"type": "boolean", "default": False},
        "Whether bright becomes dark before the image is assessed.",
    ),
    "x": (_number(0), "First column of the part."),
    "y": (_number(0), "First row of the part."),
    "width": (_number(1), "Columns of the part; without it, all that follow."),
    "height": (_number(1), "Rows of the part; without it, all that follow."),
    "scale": (
        _number(1) | {"default": 1},
        "Side of the squares of samples whose means are returned. An answer has "
        f"{MOST_SAMPLES} samples at most.",
    ),
}


class DescribedApp(FastAPI):
    """An application whose description says what the request guard does, too.

    Args:
        settings: Settings with the limits.
        facts: Arguments of FastAPI.
    """

    def __init__(self, settings: Settings, **facts: Any) -> None:  # noqa: ANN401
        super().__init__(openapi_tags=TAGS, servers=SERVERS, **facts)
        self._settings = settings

    def openapi(self) -> dict[str, Any]:
        """Return the description, made once."""
        if self.openapi_schema is None:
            _complete(super().openapi(), self._settings)
        return super().openapi()


def form_body(
    files: str,
    settings: Settings,
    *,
    fields: tuple[str, ...],
    many: bool = True,
    hashes: bool = False,
) -> dict[str, Any]:
    """Return the description of a body with images, and of its fields in the query.

    Args:
        files: Name of the parts that are images.
        settings: Settings with the limits.
        fields: Names of the fields.
        many: Whether there may be several images.
        hashes: Whether images that were uploaded may be named by their hashes instead.
    """
    upload = {"type": "string", "format": "binary"}
    several = {"type": "array", "items": upload, "minItems": 1, "maxItems": settings.files}
    others = {name: _FIELDS[name][0] | {"description": _FIELDS[name][1]} for name in fields}
    most = f"{settings.files} images" if many else "one image"
    content: dict[str, Any] = {
        "multipart/form-data": {"schema": _object({files: several if many else upload} | others)}
    }
    content |= {kind: {"schema": upload} for kind in ("application/dicom", "image/*")}
    by_hash = ""
    if hashes:
        digest = {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"}
        named = several | {"items": digest, "description": "SHA-256 of uploaded images."}
        names = several | {
            "items": {"type": "string"},
            "description": "Names of these images in the answers; the hashes without them.",
        }
        entries = {"sha256": named, "names": names} | others
        content["application/json"] = {"schema": _object(entries)}
        by_hash = " Or JSON with the hashes of as many uploaded images."
    body = {
        "required": True,
        "description": f"A form of {most} at most, of {human_size(settings.upload_bytes)} each and "
        f"{human_size(settings.body_bytes)} together; or one image as it is.{by_hash}",
        "content": content,
    }
    return {"requestBody": body} | no_body(fields)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object whose first property is required."""
    return {
        "type": "object",
        "required": [next(iter(properties))],
        "properties": properties,
        "additionalProperties": False,
    }


def no_body(fields: tuple[str, ...]) -> dict[str, Any]:
    """Return the description of a query."""
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "schema": _FIELDS[name][0],
                "description": _FIELDS[name][1],
            }
            for name in fields
        ]
    }


def answer_responses(
    model: type[Any] | None,
    status: int = 200,
    *,
    example: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
    by_image: bool = False,
    body: bool = True,
) -> Responses:
    """Return the description of JSON that answers a request with images.

    Args:
        model: Schema of the answer; None of one without content.
        status: Status of the answer.
        example: Example of the answer.
        headers: Headers of the answer that it has beside those of all.
        by_image: Whether the request may be refused for its one image.
        body: Whether the request has a body.
    """
    responses = _refusals(400, 401, 403, 404, *((408,) if body else ()))
    responses |= _refusals(*((413,) if body or by_image else ()), 415, 422, 500, 503)
    for refused in _BY_IMAGE if by_image else ():
        responses[refused]["model"] = RefusedAnswers | Refused
    if model is None:
        responses.pop(415)
        return responses | {status: {"description": "Done."}}
    answered: dict[str, Any] = {"model": model, "headers": _headers(headers or {})}
    if example is not None:
        answered["content"] = {"application/json": {"example": example}}
    return responses | {status: answered}


def picture_responses(media: str, headers: dict[str, str], *, body: bool = True) -> Responses:
    """Return the description of a picture or a report that answers a request with images."""
    responses = answer_responses(None, body=body) | _refusals(413, 415)
    binary = {"content": {media: {"schema": {"type": "string", "format": "binary"}}}}
    return responses | {200: binary | {"headers": _headers(headers)}}


def with_no_room(responses: Responses, *others: int) -> Responses:
    """Return the description of answers where a disk may be full, and of ``others`` by status."""
    return responses | _refusals(507, *others)


def line_responses(responses: Responses) -> Responses:
    """Return the description of answers that come as lines where a client asks for them."""
    lines = {
        "type": "string",
        "description": "A line of JSON for each ImageAnswer; the last line is a StreamEnd, or a "
        "Refused where the rest is missing.",
    }
    content = responses[200].get("content", {}) | {"application/x-ndjson": {"schema": lines}}
    return responses | {200: responses[200] | {"content": content}}


def report_responses() -> Responses:
    """Return the description of a report that was made in the background."""
    responses = get_responses(None, "application/pdf", absent=True) | _refusals(409)
    binary = {"content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}}
    return responses | {200: binary | {"headers": _headers(REPORT_HEADERS)}}


def get_responses(
    model: type[Any] | None, media: str = "application/json", *, absent: bool = False
) -> Responses:
    """Return the description of answers to a GET.

    Args:
        model: Schema of the answer; None of text.
        media: Type of the text.
        absent: Whether what is asked for may not be there.
    """
    responses = _refusals(400, 401, 403, *((404,) if absent else ()), 422, 500, 503)
    if model is Readiness:
        responses[503] = {"description": "Not ready.", "model": Readiness}
    if model is not None:
        return responses | {200: {"model": model}}
    return responses | {200: {"content": {media: {"schema": {"type": "string"}}}}}


def _refusals(*statuses: int) -> Responses:
    return {status: {"description": _REFUSED[status], "model": Refused} for status in statuses}


def _headers(meanings: dict[str, str]) -> dict[str, Any]:
    return {
        name: {"description": meaning, "required": True, "schema": {"type": "string"}}
        for name, meaning in meanings.items()
    }


def _complete(described: dict[str, Any], settings: Settings) -> None:
    """Add what holds for every route: its tag, the token, headers, and problem details."""
    components = described["components"]
    components["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "Needed where the server was started with a token (CXR_TOKEN).",
        }
    }
    components["schemas"]["StreamEnd"] = StreamEnd.model_json_schema()
    components["schemas"].pop("HTTPValidationError", None)
    components["schemas"].pop("ValidationError", None)
    described["x-limits"] = {
        "file_bytes": settings.upload_bytes,
        "request_bytes": settings.body_bytes,
        "request_files": settings.files,
        "kept_bytes": settings.kept_bytes,
        "kept_s": settings.kept_s,
        "samples": MOST_SAMPLES,
        "queue_images": settings.queue,
        "jobs_bytes": settings.jobs_bytes,
        "body_s": settings.body_s,
    }
    for path, methods in described["paths"].items():
        for operation in methods.values():
            if path.startswith("/v1/"):
                part = path.split("/")[2]
                operation["tags"] = [part if part in ("models", "jobs") else "images"]
            else:
                operation["tags"] = ["operations"]
            responses = operation["responses"]
            if path.startswith(PROTECTED):
                # Without a token of the server's, anybody may ask.
                operation["security"] = [{"token": []}, *([] if settings.tokens else [{}])]
            else:
                responses.pop("401")
            for status, response in responses.items():
                headers = _EVERYWHERE | _BY_STATUS.get(int(status), {})
                response["headers"] = _headers(headers) | response.get("headers", {})
                content = response.get("content", {})
                if "Refused" in str(content.get("application/json", "")):
                    content[PROBLEM] = content.pop("application/json")
