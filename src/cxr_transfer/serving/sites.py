"""Web sites that may ask: the page's own, and those of an allow-list (CORS); no others.

Comes in: a request's headers. Goes out: a refusal, or headers for the browser. Knows no routes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from cxr_transfer.errors import UsageError
from cxr_transfer.serving.schemas import ApiError
from cxr_transfer.text import for_terminal

_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")
_METHODS = "GET, POST, DELETE"
_HEADERS = "Authorization, Content-Type, Idempotency-Key, X-Request-ID"
_EXPOSED = (
    "Retry-After, Location, WWW-Authenticate, X-Request-ID, X-Intended-Use, X-Cxr-Format, "
    "X-Cxr-Height, X-Cxr-Width, X-Cxr-Warnings, X-Cxr-Heat-Map-Of, X-Cxr-Model, "
    "X-Cxr-Rows, X-Cxr-Columns"
)
_PREFLIGHT_S = 600  # for which a browser may remember the answer


class Sites:
    """Sites elsewhere whose pages may ask.

    Args:
        origins: Origins as browsers send them, in small letters.
    """

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origins)

    def refuse_others(self, headers: Headers) -> None:
        """Refuse what a browser sends on behalf of a web site that is not allowed.

        Raises:
            ApiError: 403 ``other_site``.
        """
        origin, host = headers.get("origin"), headers.get("host", "")
        if origin in self._origins:
            return
        other = origin is not None and _netloc(origin) != host.lower()
        # A link is followed without an origin, and what it leads to is not told to where it stands.
        followed = headers.get("sec-fetch-mode") == "navigate"
        if other or (headers.get("sec-fetch-site") == "cross-site" and not followed):
            raise ApiError(
                403,
                "other_site",
                "Expected a request of this page's own, but another site sent it; allow the site "
                "with --cors-origin.",
            )

    def preflight(self, method: str, headers: Headers) -> Response | None:
        """Return the answer to a browser that asks whether a page may ask; None for all else."""
        is_asked = method == "OPTIONS" and "access-control-request-method" in headers
        if not is_asked or headers.get("origin") not in self._origins:
            return None
        allowed = {
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": _HEADERS,
            "Access-Control-Max-Age": str(_PREFLIGHT_S),
        }
        return Response(status_code=204, headers=allowed)

    def tell(self, sent: Headers, headers: MutableHeaders) -> None:
        """Add to an answer's headers that the page which asked may read it."""
        if not self._origins:
            return
        headers.add_vary_header("Origin")
        origin = sent.get("origin")
        if origin in self._origins:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = _EXPOSED


def check_origin(origin: str) -> None:
    """Refuse what no browser sends as an origin.

    Raises:
        UsageError: ``bad_origin``.
    """
    if not _ORIGIN.fullmatch(origin):
        raise UsageError(
            "bad_origin",
            "Expected an origin such as https://viewer.example.org, in small letters and without a "
            f"path, but got {for_terminal(origin)!r}; name each site.",
        )


def _netloc(url: str) -> str | None:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return None
