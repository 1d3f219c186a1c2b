"""A client of `cxr serve`, for programs: images go there, typed answers come back.

`Client` waits in its thread, `AsyncClient` lets other tasks go on; what they ask and how they read
it is one code.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing, closing
from types import TracebackType

from cxr_transfer.client_jobs import AsyncJobsClient, JobsClient
from cxr_transfer.client_requests import (
    FILES_AT_ONCE,
    Answer,
    Batch,
    FileLike,
    LineReader,
    Request,
    ServerAnswer,
    ServerModel,
    batches,
    heat_map_asked,
    models_asked,
    uploaded_asked,
)
from cxr_transfer.errors import kind_of
from cxr_transfer.extras import require
from cxr_transfer.http_requests import (
    Attempts,
    Refused,
    connection,
    lines,
    lines_async,
    send,
    send_async,
)
from cxr_transfer.radiograph.reorientation import AS_STORED, Reorientation

ADDRESS = "http://127.0.0.1:8000"
TOKEN = "CXR_TOKEN"
"""Environment variable: the server's token."""


class _Shared:
    """What both clients are: an address, and the requests that can be made of what is asked."""

    def __init__(self, address: str, token: str | None) -> None:
        require("httpx", "the client of a server")
        if not isinstance(address, str):
            raise TypeError(f"Expected a text as address, but got {kind_of(address)}.")
        self.address = address.rstrip("/")
        token = os.environ.get(TOKEN) if token is None else token
        self._options = connection(self.address, token, example=ADDRESS, variable=TOKEN)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r})"


class Client(_Shared, JobsClient):
    """A client that waits for each answer.

    A request is sent again where the server is busy, when it says (``Retry-After``), six times at
    most. One image that cannot be read is an answer with the status "error"; it stops no other.

    Args:
        address: Address of the server.
        token: Token of the server; None takes the environment's ``CXR_TOKEN``, where there is one.

    Raises:
        TypeError: The address is no text.
        UsageError: ``bad_address``.
        MachineError: ``missing_package`` without httpx.
    """

    def __init__(self, address: str = ADDRESS, *, token: str | None = None) -> None:
        super().__init__(address, token)
        import httpx

        self._client = httpx.Client(**self._options)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def models(self) -> list[ServerModel]:
        """Return the models that answer, the first one first.

        Raises:
            CxrError: What the server refuses; ``server_away``, ``bad_answer``.
        """
        return self._asked(models_asked())

    def predict(
        self,
        files: Iterable[FileLike],
        *,
        model: str | None = None,
        heat_map: bool = False,
        change: Reorientation = AS_STORED,
    ) -> list[ServerAnswer]:
        """Return an answer for each file, in order.

        Args:
            files: Paths, or bytes of files.
            model: Name of the model; None takes the server's first.
            heat_map: Whether each answer has a heat map.
            change: Change of each image before it is assessed, where it lies wrongly.

        Raises:
            TypeError: One file where a list is meant.
            CxrError: What the server refuses; ``server_away``, ``bad_answer``.
        """
        parts = batches(files, 1 if heat_map else FILES_AT_ONCE)
        return [
            answer
            for batch in parts
            for answer in batch.merged(
                self._asked(batch.predictions(model, heat_map, change)) if batch.sent else []
            )
        ]

    def predict_each(
        self, files: Iterable[FileLike], *, model: str | None = None, heat_map: bool = False
    ) -> Iterator[ServerAnswer]:
        """Yield an answer for each file, in order, each as soon as it is there.

        To leave the loop ends the work on files of that request.

        Args:
            files: Paths, or bytes of files, read when it is their turn.
            model: Name of the model; None takes the server's first.
            heat_map: Whether each answer has a heat map.

        Raises:
            TypeError: One file where a list is meant.
            CxrError: What the server refuses; ``server_away``, ``bad_answer``.
        """
        for batch in batches(files, FILES_AT_ONCE):
            for unread in batch.unread():
                yield unread
            if batch.sent:
                for answer in self._lines(batch.streamed(model, heat_map)):
                    yield batch.told(answer)
                    for unread in batch.unread():
                        yield unread

    def upload(self, files: Iterable[FileLike]) -> list[str]:
        """Upload files once, and return the SHA-256 of each, by which it can be asked for.

        The server keeps them in memory for ten minutes, less where it needs the room.

        Raises:
            TypeError: One file where a list is meant.
            CxrError: What reading a file raises; what the server refuses.
        """
        parts = batches(files, FILES_AT_ONCE)
        return [digest for batch in parts for digest in self._asked(batch.upload())]

    def predict_uploaded(
        self,
        sha256: str,
        *,
        model: str | None = None,
        heat_map: bool = False,
        change: Reorientation = AS_STORED,
    ) -> ServerAnswer:
        """Return the answer for an image that was uploaded.

        Raises:
            CxrError: What the server refuses: ``unknown_image`` where it is kept no more.
        """
        return self._asked(uploaded_asked(sha256, model, heat_map, change))

    def heat_map(
        self, sha256: str, *, model: str | None = None, change: Reorientation = AS_STORED
    ) -> bytes:
        """Return the heat map of an image that was uploaded, as PNG to lay over the image.

        Raises:
            CxrError: What the server refuses: ``unknown_image``, ``no_heat_map``.
        """
        return self._asked(heat_map_asked(sha256, model, change))

    def _lines(self, request: Request[LineReader]) -> Iterator[ServerAnswer]:
        """Yield the answers that a server streams."""
        reader = LineReader()
        place = self.address + request.path
        came = lines(self._client, Attempts(self.address), request.method, place, **request.content)
        try:
            with closing(came):
                for line in came:
                    answer = reader.read(self.address, line)
                    if answer is not None:
                        yield answer
        except Refused as refused:
            request.answer(self.address, refused.response)
        reader.check(self.address)

    def _asked(self, request: Request[Answer]) -> Answer:
        place = self.address + request.path
        attempts = Attempts(self.address)
        response = send(self._client, attempts, request.method, place, **request.content)
        return request.answer(self.address, response)


class AsyncClient(_Shared, AsyncJobsClient):
    """`Client` for asynchronous programs: every method is awaited, and does the same."""

    def __init__(self, address: str = ADDRESS, *, token: str | None = None) -> None:
        super().__init__(address, token)
        import httpx

        self._client = httpx.AsyncClient(**self._options)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def models(self) -> list[ServerModel]:
        """Return what `Client.models` returns."""
        return await self._asked(models_asked())

    async def predict(
        self,
        files: Iterable[FileLike],
        *,
        model: str | None = None,
        heat_map: bool = False,
        change: Reorientation = AS_STORED,
    ) -> list[ServerAnswer]:
        """Return what `Client.predict` returns."""
        answers: list[ServerAnswer] = []
        async for batch in _in_thread(batches(files, 1 if heat_map else FILES_AT_ONCE)):
            sent = batch.sent
            answered = await self._asked(batch.predictions(model, heat_map, change)) if sent else []
            answers += batch.merged(answered)
        return answers

    async def predict_each(
        self, files: Iterable[FileLike], *, model: str | None = None, heat_map: bool = False
    ) -> AsyncIterator[ServerAnswer]:
        """Yield what `Client.predict_each` yields."""
        async for batch in _in_thread(batches(files, FILES_AT_ONCE)):
            for unread in batch.unread():
                yield unread
            if batch.sent:
                async for answer in self._lines(batch.streamed(model, heat_map)):
                    yield batch.told(answer)
                    for unread in batch.unread():
                        yield unread

    async def upload(self, files: Iterable[FileLike]) -> list[str]:
        """Return what `Client.upload` returns."""
        digests: list[str] = []
        async for batch in _in_thread(batches(files, FILES_AT_ONCE)):
            uploaded = await self._asked(batch.upload())
            digests += uploaded
        return digests

    async def predict_uploaded(
        self,
        sha256: str,
        *,
        model: str | None = None,
        heat_map: bool = False,
        change: Reorientation = AS_STORED,
    ) -> ServerAnswer:
        """Return what `Client.predict_uploaded` returns."""
        return await self._asked(uploaded_asked(sha256, model, heat_map, change))

    async def heat_map(
        self, sha256: str, *, model: str | None = None, change: Reorientation = AS_STORED
    ) -> bytes:
        """Return what `Client.heat_map` returns."""
        return await self._asked(heat_map_asked(sha256, model, change))

    async def _lines(self, request: Request[LineReader]) -> AsyncIterator[ServerAnswer]:
        reader = LineReader()
        place = self.address + request.path
        came = lines_async(
            self._client, Attempts(self.address), request.method, place, **request.content
        )
        try:
            async with aclosing(came):
                async for line in came:
                    answer = reader.read(self.address, line)
                    if answer is not None:
                        yield answer
        except Refused as refused:
            request.answer(self.address, refused.response)
        reader.check(self.address)

    async def _asked(self, request: Request[Answer]) -> Answer:
        place = self.address + request.path
        attempts = Attempts(self.address)
        response = await send_async(
            self._client, attempts, request.method, place, **request.content
        )
        return request.answer(self.address, response)


async def _in_thread(parts: Iterator[Batch]) -> AsyncIterator[Batch]:
    """Yield batches whose files are read while other tasks go on."""
    while (batch := await asyncio.to_thread(next, parts, None)) is not None:
        yield batch
