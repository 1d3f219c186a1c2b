"""Who is told that a job ended: a signed request to an address that the operator allowed.

Signed as https://www.standardwebhooks.com describes, so that libraries of receivers can check it.
The body says which job ended and how; nothing of its images. A redirect is not followed and no
proxy is asked: what is sent goes to that address or nowhere.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import Any

from cxr_transfer.about import __version__
from cxr_transfer.files import SOFTWARE
from cxr_transfer.serving.job_records import Job
from cxr_transfer.serving.schemas import ApiError
from cxr_transfer.serving.settings import Settings

DELIVERED, GIVEN_UP, WAITING = "delivered", "given up", "waiting"

AGAIN_S = (5.0, 30.0, 120.0, 600.0, 3600.0, 21600.0)
"""Seconds until the next try; after as many tries and one, it is given up."""

_TIMEOUT_S = 10.0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:  # noqa: ANN401
        """Follow none: the answer is then an error."""


class Webhooks:
    """Addresses that may be told.

    Args:
        settings: Settings with the addresses and the secret.
    """

    def __init__(self, settings: Settings) -> None:
        self._addresses = frozenset(settings.webhook_urls)
        self._secret = settings.webhook_secret
        self._opener = urllib.request.build_opener(_NoRedirects, urllib.request.ProxyHandler({}))

    def check(self, address: str | None) -> None:
        """Refuse an address that the operator did not allow.

        Raises:
            ApiError: 422 ``bad_webhook``.
        """
        if address is not None and address not in self._addresses:
            raise ApiError(
                422,
                "bad_webhook",
                "Expected an address that this server may tell, but got another; the operator "
                "allows it with --webhook-url, letter for letter.",
            )

    def tell(self, job: Job) -> tuple[str, float]:
        """Tell that a job ended; return what came of it, and seconds until the next try."""
        # The operator may have withdrawn it since.
        if job.webhook in self._addresses and self._sent(job.webhook, _body(job), job.id):
            return DELIVERED, 0.0
        if job.webhook not in self._addresses or job.webhook_tries >= len(AGAIN_S):
            return GIVEN_UP, 0.0
        return WAITING, AGAIN_S[job.webhook_tries]

    def _sent(self, address: str, body: bytes, number: str) -> bool:
        stamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"{SOFTWARE}/{__version__}",
            "webhook-id": number,
            "webhook-timestamp": stamp,
            "webhook-signature": signature(self._secret, number, stamp, body),
        }
        request = urllib.request.Request(address, body, headers, method="POST")
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as answer:
                return 200 <= int(answer.status) < 300
        except (OSError, http.client.HTTPException, ValueError):
            return False


def signature(secret: bytes, number: str, stamp: str, body: bytes) -> str:
    """Return the value of ``webhook-signature``.

    Args:
        secret: Secret that the receiver knows, too.
        number: Value of ``webhook-id``.
        stamp: Value of ``webhook-timestamp``, seconds since 1970.
        body: Body of the request.
    """
    signed = hmac.digest(secret, f"{number}.{stamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode()}"


def _body(job: Job) -> bytes:
    ended = datetime.fromtimestamp(job.touched, UTC).isoformat(timespec="seconds")
    data = {
        "id": job.id,
        "job_status": job.status,
        "images": job.images,
        "done": job.done,
        "failed": job.failed,
    }
    return json.dumps({"type": "job.ended", "timestamp": ended, "data": data}).encode()
