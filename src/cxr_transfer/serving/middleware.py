"""The request guard: every request passes it before it is read, and every answer on its way out.

In order: an identifier, the server's name (DNS rebinding), the origin (other web sites), the token,
whether there is room. Then the body is counted while it comes. On the way out: headers for
browsers, one line of log, counts. Never logs a path, a name or a header that a client chose: an
identifier of its own a client gets back, but it is not logged, for it may be a patient's.
"""

from __future__ import annotations

import asyncio
import re
import time
import traceback
import uuid
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.serving.admission import Admission, BodyMemory
from cxr_transfer.serving.audit_trail import AuditTrail
from cxr_transfer.serving.event_log import log
from cxr_transfer.serving.metrics import Metrics
from cxr_transfer.serving.problems import ProblemResponse
from cxr_transfer.serving.schemas import ApiError, busy, stopping
from cxr_transfer.serving.settings import Settings
from cxr_transfer.serving.sites import Sites
from cxr_transfer.serving.tokens import Tokens
from cxr_transfer.text import human_size

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
BROWSERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Intended-Use": INTENDED_USE,
}
RETRY_AFTER_S = 5
"""When a body for which there is no memory is worth sending again."""

LEFT = 499
"""Status in log and audit trail where the client left before there was an answer."""

_OWN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
API = "/v1/"
PROTECTED = (API, "/metrics", "/openapi.json")
"""Beginnings of the paths that need the token, where one is set."""


class RequestGuard:
    """ASGI application around another one.

    Args:
        app: Application that answers what was let in.
        settings: Settings of who may come in, and with how much.
        load: Admission, which knows whether there is room.
        metrics: Metrics, which count every answer.

    Attributes:
        inside: Number of requests for images that came in and have no answer yet.
        closing: Whether no more are let in, since the server is about to stop.
    """

    def __init__(self, app: ASGIApp, settings: Settings, load: Admission, metrics: Metrics) -> None:
        self.inside = 0
        self.closing = False
        self._app = app
        self._settings = settings
        self._load = load
        self._metrics = metrics
        self._tokens = Tokens(settings.tokens)
        self._sites = Sites(settings.cors_origins)
        trail = settings.audit_trail
        self._trail = AuditTrail(trail, list(settings.tokens), metrics) if trail else None
        self._held_by_all = BodyMemory(settings.held_bytes)
        metrics.watch("cxr_held_bytes", "Bytes of bodies.", lambda: self._held_by_all.size)
        self._patience: set[asyncio.Timeout] = set()

    def hurry(self, seconds: float) -> None:
        """Let nobody inside wait longer than that: who has no answer by then is told why."""
        end = asyncio.get_running_loop().time() + seconds
        for patience in self._patience:
            patience.reschedule(end)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or say why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = Headers(scope=scope)
        logged_id = uuid.uuid4().hex
        sent_id = headers.get("x-request-id", "")
        request_id = sent_id if _OWN_ID.fullmatch(sent_id) else logged_id
        scope.setdefault("state", {})["request_id"] = request_id
        status = LEFT

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                response_headers = MutableHeaders(scope=message)
                response_headers["X-Request-ID"] = request_id
                for name, value in BROWSERS.items():
                    response_headers.setdefault(name, value)
                self._sites.tell(headers, response_headers)
                # Who waits for 100 (Continue) and is refused may send the body or not: on the same
                # connection, the next request could not be told from it.
                if self.closing or ("expect" in headers and not body.is_asked_for):
                    response_headers["Connection"] = "close"
            await send(message)

        is_post = scope["method"] == "POST"
        entered = False
        body = _Body(receive, self._settings.body_bytes, self._held_by_all)
        try:
            self._check(scope, headers)
            self.inside += is_post
            entered = is_post
            if preflight := self._sites.preflight(scope["method"], headers):
                await preflight(scope, receive, answer)
            elif is_post:
                await self._answered(scope, body.receive, answer)
            else:
                await self._app(scope, receive, answer)
        except ApiError as refusal:
            await _tell(refusal, request_id, scope, receive, answer)
        except (ClientDisconnect, asyncio.CancelledError):
            if status != LEFT:
                raise
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            log("failed", request_id=logged_id, type=type(error).__name__, line=where.lineno)
            if status == LEFT:
                failed = ApiError(500, "internal", "Expected to answer, but failed; ask again.")
                await _tell(failed, request_id, scope, receive, answer)
        finally:
            self.inside -= entered
            self._held_by_all.release(body.held)
            # What the connection said by itself, of a body that cannot be read, is what was heard.
            status = scope["state"].get("cut_off", status)
            self._write_down(scope, logged_id, status, time.perf_counter() - started)

    def _write_down(self, scope: Scope, logged_id: str, status: int, seconds: float) -> None:
        """Count and log a request that is over, and add it to the audit trail."""
        route = getattr(scope.get("route"), "path", None) or "other"
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        entry = {"request_id": logged_id, "route": route, "status": status}
        state, by = scope["state"], scope["state"].get("by")
        facts = ({"by": by} if by else {}) | state.get("facts", {})
        log("request", **entry, ms=round(1000 * seconds, 1), **facts)
        if self._trail is not None and scope["path"].startswith(API):
            asked = f"{scope['method']} {route}"
            lost = self._trail.add(logged_id, by, asked, state.get("images", ()), status)
            if lost is not None:
                log("audit_line_not_written", request_id=logged_id, code=lost.code)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a request for images answered.

        Raises:
            ApiError: 503 ``stopping`` when the server stops before its body came or its answer was
                found.
        """
        patience = asyncio.timeout(None)
        try:
            async with patience:
                self._patience.add(patience)
                await self._app(scope, receive, send)
        except TimeoutError:
            if patience.expired():
                raise stopping() from None
            raise
        finally:
            self._patience.discard(patience)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Refuse what may not come in, or for which there is no room.

        Raises:
            ApiError: 400, 401, 403, 413 or 503.
        """
        hosts = self._settings.allowed_hosts
        if hosts and _name(f"//{headers.get('host', '')}") not in hosts:
            raise ApiError(
                400,
                "unknown_host",
                "Expected the name of this server as the host, but got another; use localhost or "
                "allow the name with --allowed-host.",
            )
        self._sites.refuse_others(headers)
        method = scope["method"]
        if self._sites.preflight(method, headers):
            return  # A browser asks without a token whether a page may ask with one.
        if self._tokens and scope["path"].startswith(PROTECTED):
            scope["state"]["by"] = self._tokens.name(headers.get("authorization", ""))
            if scope["state"]["by"] is None:
                raise ApiError(
                    401,
                    "no_token",
                    "Expected this server's token, but got none or another; send it as "
                    "'Authorization: Bearer TOKEN'.",
                    {"WWW-Authenticate": "Bearer"},
                )
        if method != "POST":
            return
        if self.closing:
            raise stopping()
        length = headers.get("content-length", "0")
        if int(length) > self._settings.body_bytes:
            raise too_large(self._settings.body_bytes)
        if self._load.is_full() or not self._held_by_all.has_room(0, int(length)):
            raise busy(self._load.retry_after_s)


class _Body:
    """A request's body, counted while it comes.

    Attributes:
        held: Bytes so far.
        is_asked_for: Whether anything of it was asked for; then 100 (Continue) was sent.
    """

    def __init__(self, receive: Receive, most: int, held_by_all: BodyMemory) -> None:
        self.held = 0
        self.is_asked_for = False
        self._receive = receive
        self._most = most
        self._held_by_all = held_by_all

    async def receive(self) -> Message:
        self.is_asked_for = True
        message = await self._receive()
        size = len(message.get("body", b""))
        if self.held + size > self._most:
            raise too_large(self._most)
        if not self._held_by_all.has_room(self.held, size):
            raise busy(RETRY_AFTER_S)
        self._held_by_all.take(size)
        self.held += size
        return message


def too_large(most: int) -> ApiError:
    """Return the refusal of a body that is too large."""
    return ApiError(
        413,
        "too_many_bytes",
        f"Expected at most {human_size(most)} in one request, but got more; send fewer images.",
    )


def _name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


async def _tell(
    refusal: ApiError, request_id: str, scope: Scope, receive: Receive, send: Send
) -> None:
    await ProblemResponse(refusal, request_id)(scope, receive, send)
