"""Errors as they leave the server: problem details (RFC 9457), whoever refuses.

Comes in: an `ApiError` and the request's identifier. Goes out: a response. Knows nothing of what
was asked.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

from cxr_transfer.serving.schemas import ApiError, refused

PROBLEM = "application/problem+json"


class ProblemResponse(JSONResponse):
    """A refusal as JSON.

    Args:
        refusal: What is refused, and why.
        request_id: Identifier of the request.
        content: Entries beside those of the problem.
    """

    media_type = PROBLEM

    def __init__(
        self, refusal: ApiError, request_id: str, content: dict[str, Any] | None = None
    ) -> None:
        problem = refused(refusal, request_id)
        super().__init__((content or {}) | problem, refusal.status_code, refusal.headers)


def no_such_path() -> ApiError:
    """Return the refusal of a path that leads nowhere."""
    return ApiError(
        404,
        "not_found",
        "Expected a path of this server, but got another; /openapi.json lists them.",
    )


def wrong_method(headers: dict[str, str] | None) -> ApiError:
    """Return the refusal of a method that a path does not have; ``headers`` say which it has."""
    allowed = (headers or {}).get("Allow", "another")
    return ApiError(
        405,
        "wrong_method",
        f"Expected the method {allowed} at this path, but got another; /openapi.json lists them.",
        headers,
    )
