"""What an operator sets of webhooks: addresses that may be told, and the secret that signs it.

Comes in: addresses, a file, the environment. Goes out: the secret, or what is wrong. It sends
nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from cxr_transfer.errors import UsageError
from cxr_transfer.text import for_terminal

SECRET_VARIABLE = "CXR_WEBHOOK_SECRET"
SHORTEST_SECRET = 24
_PREFIX = "whsec_"
_LARGEST = 4096


def read_secret(
    addresses: Sequence[str], path: Path | None, environment: Mapping[str, str]
) -> bytes:
    """Return the secret; empty where nobody is to be told.

    Args:
        addresses: Addresses that may be told.
        path: File with the secret in base64; None takes the environment's.
        environment: Environment with ``CXR_WEBHOOK_SECRET``.

    Raises:
        UsageError: ``bad_webhook``.
    """
    for address in addresses:
        _check(address)
    text = environment.get(SECRET_VARIABLE, "")
    if path is not None:
        try:
            text = path.read_text(encoding="ascii") if path.stat().st_size < _LARGEST else ""
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no ASCII text"
            raise _bad(f"{path} cannot be read: {reason}") from None
    if not text and not addresses:
        return b""
    try:
        secret = base64.b64decode(text.strip().removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) < SHORTEST_SECRET:
        raise _bad(f"there is none of {SHORTEST_SECRET} bytes or more in base64")
    return secret


def _check(address: str) -> None:
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    is_plain = address.isascii() and address.isprintable() and " " not in address
    if (
        not is_plain
        or parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.username is not None
        or parts.fragment
    ):
        raise UsageError(
            "bad_webhook",
            "Expected addresses such as https://his.example.org/cxr, without a user or a fragment, "
            f"but got {for_terminal(address)!r}; mend it.",
        )


def _bad(why: str) -> UsageError:
    return UsageError(
        "bad_webhook",
        f"Expected a secret in --webhook-secret-file or {SECRET_VARIABLE} that signs what webhooks "
        f"are told, but {why}; make one with openssl rand -base64 32.",
    )
