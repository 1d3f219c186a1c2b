"""Tokens of clients, each with a name: the name is what is logged, the token never is.

Comes in: an option, environment variables, a file. Goes out: names by token, and who asks.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from pathlib import Path

from cxr_transfer.errors import UsageError

TOKEN_VARIABLE = "CXR_TOKEN"
TOKENS_VARIABLE = "CXR_TOKENS"
SHORTEST_TOKEN = 16

ONLY = "token"
"""Name of a token that has none: of ``--token`` and ``CXR_TOKEN``."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LARGEST = 2**20


class Tokens:
    """Tokens that may ask.

    Args:
        tokens: Token by name; empty lets everybody ask.
    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._digests = {name: _digest(token) for name, token in tokens.items()}

    def __bool__(self) -> bool:
        return bool(self._digests)

    def name(self, authorization: str) -> str | None:
        """Return whose token stands in the header ``Authorization``; None where it is nobody's."""
        scheme, _, token = authorization.partition(" ")
        digest, found = _digest(token.strip()), None
        for name, known in self._digests.items():  # all of them: the time tells nothing
            if hmac.compare_digest(digest, known):
                found = name
        return found if scheme.lower() == "bearer" else None


def read_tokens(
    token: str | None, path: Path | None, environment: Mapping[str, str]
) -> dict[str, str]:
    """Return tokens by name: the one without a name, those of the environment, those of a file.

    Args:
        token: Token without a name; None takes the environment's ``CXR_TOKEN``.
        path: File of tokens, ``NAME=TOKEN`` on each line; None for none.
        environment: Environment, whose ``CXR_TOKENS`` has the same form, with spaces between.

    Raises:
        UsageError: ``bad_token``, ``bad_tokens``.
    """
    if token is None:
        token = environment.get(TOKEN_VARIABLE)
    pairs = [] if token is None else [(ONLY, token)]
    pairs += _pairs(environment.get(TOKENS_VARIABLE, "").split(), TOKENS_VARIABLE)
    if path is not None:
        pairs += _pairs(_lines(path), str(path))
    tokens: dict[str, str] = {}
    for name, value in pairs:
        _check_token(value, name)
        if name in tokens or value in tokens.values():
            raise _bad(f"{name} has a name or a token of another one", "give each once")
        tokens[name] = value
    return tokens


def _lines(path: Path) -> list[str]:
    try:
        is_large = path.stat().st_size > _LARGEST
        text = "" if is_large else path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise _bad(f"{path} cannot be read: {reason}", "name another file") from None
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise _bad(f"{path} has none, or is too large", "write NAME=TOKEN on each line")
    return lines


def _pairs(lines: list[str], place: str) -> list[tuple[str, str]]:
    """Return names and tokens; no message quotes a line, which may be a token alone."""
    pairs = []
    for number, line in enumerate(lines, start=1):
        name, equals, token = line.partition("=")
        if not equals or not _NAME.fullmatch(name.strip()):
            raise _bad(
                f"entry {number} of {place} is not NAME=TOKEN",
                "name each with letters, digits, '.', '_' and '-'",
            )
        pairs.append((name.strip(), token.strip()))
    return pairs


def _check_token(token: str, name: str) -> None:
    whose = "" if name == ONLY else f" for {name}"
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise UsageError(
            "bad_token",
            f"Expected a token of at least {SHORTEST_TOKEN} printable ASCII characters{whose}, but "
            f"got {len(token)} that may not all be such; make one with: openssl rand -hex 32.",
        )
    if " " in token:
        raise UsageError(
            "bad_token", f"Expected a token without spaces{whose}, but got some; leave them out."
        )


def _bad(why: str, remedy: str) -> UsageError:
    return UsageError("bad_tokens", f"Expected tokens with names, but {why}; {remedy}.")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
