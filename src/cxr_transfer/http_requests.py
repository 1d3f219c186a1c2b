"""Requests that are sent again while a server is busy or away, and answers within bounds.

Comes in: a client of httpx, which sends, and a request. Goes out: the answer, or an error that says
why there is none. Whoever waits between two tries, a thread or a task, the rule is one. Knows
nothing of what is asked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cxr_transfer.errors import MachineError, ModelError, UsageError
from cxr_transfer.text import for_terminal, human_size

if TYPE_CHECKING:
    import httpx

TRIES = 6
LONGEST_WAIT = 30.0
"""Seconds that are waited at most before a request is sent again."""

TIMEOUT = 60.0
"""Seconds after which an answer is given up."""

ANSWERING = 120.0
"""Seconds after which an answer that still comes in is given up."""

LARGEST_ANSWER = 64 * 2**20
"""Bytes of an answer at most: thousands of numbers for each image."""

_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_READ = ("Content-Type", "Location", "Retry-After")
"""Headers of an answer that are looked at."""


class Refused(Exception):  # noqa: N818 - whoever asked makes an error of it
    """An answer that is the last word, and no answer to what was asked.

    Args:
        response: Response of httpx, read whole.
    """

    def __init__(self, response: httpx.Response) -> None:
        super().__init__()
        self.response = response


class Attempts:
    """Tries to send one request: which outcome is final, and how long to wait after another.

    Args:
        address: Address of the server, for messages.

    Attributes:
        failed: Number of tries that have to be made again.
    """

    def __init__(self, address: str) -> None:
        self.failed = 0
        self._address = address

    def after_error(self, error: Exception) -> float:
        """Return how many seconds to wait after a request without an answer.

        Raises:
            MachineError: ``server_away`` after the last try, or for a certificate.
            ModelError: ``bad_answer`` for an answer that cannot be unpacked.
        """
        import httpx

        if isinstance(error, httpx.DecodingError):
            why = f"an answer that cannot be unpacked ({error})"
            raise bad_answer(self._address, why) from None
        why = f"{type(error).__name__}: {error}"
        if "CERTIFICATE_VERIFY_FAILED" in why:
            raise MachineError(
                "server_away",
                f"Expected a server at {self._address} with a certificate that this system "
                f"trusts, but got {for_terminal(why)}; name its authority's file in the "
                "environment variable SSL_CERT_FILE.",
            ) from None
        return self._again(why, None)

    def after_answer(self, answer: httpx.Response) -> float | None:
        """Return how many seconds to wait after an answer; None where it is the last word.

        Raises:
            MachineError: ``server_away`` after the last try.
        """
        if answer.status_code not in _AGAIN:
            return None
        why = f"status {answer.status_code}: {answer.text[:200]}"
        return self._again(why, answer.headers.get("Retry-After"))

    def _again(self, why: str, retry_after: str | None) -> float:
        wait = _seconds(retry_after, 0.5 * 2**self.failed)
        self.failed += 1
        if self.failed < TRIES:
            return min(wait, LONGEST_WAIT)
        raise MachineError(
            "server_away",
            f"Expected an answer of {self._address}, but after {TRIES} tries got "
            f"{for_terminal(why)}; see whether it runs, and run the command again.",
        )


class _Incoming:
    """An answer while it comes in, within bounds of time and size."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._until = time.monotonic() + ANSWERING
        self._body = bytearray()

    def add(self, part: bytes) -> None:
        """Take the next part.

        Raises:
            ModelError: ``bad_answer`` for a body that is too large.
            httpx.ReadTimeout: The whole takes too long.
        """
        import httpx

        self._body += part
        if len(self._body) > LARGEST_ANSWER:
            most = human_size(LARGEST_ANSWER)
            raise bad_answer(self._address, f"more than {most}", "mend the address")
        if time.monotonic() > self._until:
            raise httpx.ReadTimeout(f"no whole answer in {ANSWERING:.0f} seconds")

    def response(self, answer: httpx.Response) -> httpx.Response:
        """Return the whole answer, with the headers that are looked at."""
        import httpx

        headers = {name: answer.headers[name] for name in _READ if name in answer.headers}
        return httpx.Response(answer.status_code, headers=headers, content=bytes(self._body))


def send(
    client: httpx.Client,
    attempts: Attempts,
    method: str,
    address: str,
    *,
    before: Callable[[], None] = lambda: None,
    **content: Any,  # noqa: ANN401
) -> httpx.Response:
    """Send a request, again where the server is busy, and return its answer.

    Args:
        client: Client that sends.
        attempts: Tries so far; none.
        method: Method of the request.
        address: Address of the request.
        before: Function that is called before each try.
        content: Arguments of httpx: the body and the query.

    Raises:
        MachineError: ``server_away``.
        ModelError: ``bad_answer`` for what is no answer.
    """
    import httpx

    while True:
        before()
        incoming = _Incoming(address)
        try:
            with client.stream(method, address, **content) as answer:
                for part in answer.iter_bytes():
                    incoming.add(part)
        except (httpx.TransportError, httpx.DecodingError) as error:
            wait: float | None = attempts.after_error(error)
        else:
            response = incoming.response(answer)
            wait = attempts.after_answer(response)
        if wait is None:
            return response
        time.sleep(wait)


async def send_async(
    client: httpx.AsyncClient,
    attempts: Attempts,
    method: str,
    address: str,
    **content: Any,  # noqa: ANN401
) -> httpx.Response:
    """Do what `send` does, while other tasks go on."""
    import httpx

    while True:
        incoming = _Incoming(address)
        try:
            async with client.stream(method, address, **content) as answer:
                async for part in answer.aiter_bytes():
                    incoming.add(part)
        except (httpx.TransportError, httpx.DecodingError) as error:
            wait: float | None = attempts.after_error(error)
        else:
            response = incoming.response(answer)
            wait = attempts.after_answer(response)
        if wait is None:
            return response
        await asyncio.sleep(wait)


def lines(
    client: httpx.Client,
    attempts: Attempts,
    method: str,
    address: str,
    **content: Any,  # noqa: ANN401
) -> Generator[str, None, None]:
    """Send a request as `send` does, and yield the lines of its answer when they come.

    It is sent again as long as no line came; then what fails is an error.

    Raises:
        MachineError: ``server_away``.
        ModelError: ``bad_answer`` where the answer is cut off.
        Refused: The server refuses.
    """
    import httpx

    while True:
        begun = False
        try:
            with client.stream(method, address, **content) as answer:
                if answer.status_code >= 300:
                    answer.read()
                    wait = attempts.after_answer(answer)
                    if wait is None:
                        raise Refused(answer)
                else:
                    for line in answer.iter_lines():
                        begun = True
                        yield line
                    return
        except (httpx.TransportError, httpx.DecodingError) as error:
            if begun:
                raise bad_answer(address, f"answers that were cut off ({error})") from None
            wait = attempts.after_error(error)
        time.sleep(wait)


async def lines_async(
    client: httpx.AsyncClient,
    attempts: Attempts,
    method: str,
    address: str,
    **content: Any,  # noqa: ANN401
) -> AsyncGenerator[str, None]:
    """Do what `lines` does, while other tasks go on."""
    import httpx

    while True:
        begun = False
        try:
            async with client.stream(method, address, **content) as answer:
                if answer.status_code >= 300:
                    await answer.aread()
                    wait = attempts.after_answer(answer)
                    if wait is None:
                        raise Refused(answer)
                else:
                    async for line in answer.aiter_lines():
                        begun = True
                        yield line
                    return
        except (httpx.TransportError, httpx.DecodingError) as error:
            if begun:
                raise bad_answer(address, f"answers that were cut off ({error})") from None
            wait = attempts.after_error(error)
        await asyncio.sleep(wait)


def connection(address: str, token: str | None, *, example: str, variable: str) -> dict[str, Any]:
    """Return the arguments of a client of httpx for a server's address.

    Args:
        address: Address of the server.
        token: Token that is sent; None sends none.
        example: Address that a message shows.
        variable: Environment variable that may hold the token.

    Raises:
        UsageError: ``bad_address``.
    """
    import httpx

    try:
        parts = urlsplit(address)
        _ = parts.port, httpx.URL(address), (parts.hostname or "").encode("idna")
    except (ValueError, httpx.InvalidURL) as error:
        raise UsageError(
            "bad_address",
            f"Expected an address such as {example}, but it cannot be read "
            f"({for_terminal(str(error))}); mend it.",
        ) from None
    if not parts.hostname or parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            "bad_address",
            f"Expected an address such as {example}, but got one without a host, "
            f"or with a user, a password or a query; mend it: a token stands in {variable}.",
        )
    if token and not (token.isascii() and token.isprintable()):
        raise UsageError(
            "bad_address",
            f"Expected a token of printable ASCII characters in {variable}, but got others; set it "
            "anew.",
        )
    # A hospital has an authority of its own: the system's and SSL_CERT_FILE count, too.
    trusted = httpx.create_ssl_context(trust_env=False)
    trusted.load_default_certs()
    # Proxies of the environment are not asked: images of patients go where they are told to.
    return {
        "headers": {"Authorization": f"Bearer {token}"} if token else {},
        "timeout": TIMEOUT,
        "follow_redirects": False,
        "trust_env": False,
        "verify": trusted,
    }


def bad_answer(address: str, why: str, remedy: str = "") -> ModelError:
    """Return the error of an answer that is none."""
    return ModelError(
        "bad_answer",
        f"Expected an answer of {address}, but got {for_terminal(why)}; "
        f"{for_terminal(remedy or 'see the log of the server')}.",
    )


def _seconds(text: str | None, otherwise: float) -> float:
    try:
        return max(0.0, float(text or ""))
    except ValueError:
        return otherwise
