"""The service behind the API: models, worker processes, and the way of an image between them.

Comes in: bytes and names of images, and a model's name. Goes out: answers as they stand in JSON,
pictures, reports. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, aclosing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cxr_transfer.errors import ImageError
from cxr_transfer.export.self_test import self_test_image
from cxr_transfer.inference.prediction import Prediction
from cxr_transfer.inference.prepare import Prepared
from cxr_transfer.radiograph.reorientation import AS_STORED, Reorientation
from cxr_transfer.serving.admission import Admission
from cxr_transfer.serving.batching import Batches
from cxr_transfer.serving.heat_maps import explain, unexplained
from cxr_transfer.serving.image_reading import LOST, Read
from cxr_transfer.serving.image_store import Upload, check_bytes
from cxr_transfer.serving.ipc import Header
from cxr_transfer.serving.kept_answers import KeptAnswers, kept_facts
from cxr_transfer.serving.metrics import Metrics
from cxr_transfer.serving.model_registry import ServedModel, named_models, open_model
from cxr_transfer.serving.process_pool import WorkerLost, Workers
from cxr_transfer.serving.sample_store import SampleStore
from cxr_transfer.serving.schemas import ApiError, busy, starting
from cxr_transfer.serving.settings import Settings
from cxr_transfer.serving.shared_images import UploadedImages

TRY_AGAIN_S = 30.0
"""How long the self-test's last outcome is believed."""

_SLOW_QUEUE = 16
_SLOW_WAIT_S = 20.0


class Service:
    """Models and workers.

    Args:
        settings: Settings of how many there are, and how large.
        metrics: Metrics, which count images and batches.

    Attributes:
        load: Images that wait for class scores.
        slow_load: Heat maps and reports that wait.
        behind: Images that are answered in the background; they keep nobody out.
        wanted: How each model was given, by its name, the first one first; empty until their cards
            were read.
        models: Models that are open, by name, in the order in which they were opened.
        images: Images that were uploaded once, by their hash.
        samples: Those of them that are looked at, decoded at full depth.
        decoders: Processes that read images.
        has_workers: Whether these, and the one that draws, have all started.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.load = Admission(settings.queue, settings.longest_wait_s, always=settings.always)
        self.behind = Admission(sys.maxsize, math.inf)
        self.wanted: dict[str, str] = {}
        self.models: dict[str, ServedModel] = {}
        self.samples = SampleStore(settings.samples_bytes)
        self.images = UploadedImages(settings, self.samples.forget)
        self.decoders = Workers(settings.workers, settings.worker_bytes)
        self._settings = settings
        self._metrics = metrics
        keep = settings.keep_answers
        self._kept = KeptAnswers(keep, metrics) if keep is not None else None
        # Heat maps and reports take long: plain answers do not wait for them.
        self._slow = Workers(1, settings.explainer_bytes, writes=True)
        self.slow_load = Admission(_SLOW_QUEUE, _SLOW_WAIT_S)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._opener = ThreadPoolExecutor(1, thread_name_prefix="models")
        self._batches: dict[str, Batches] = {}
        self._self_test: asyncio.Task[bool] | None = None
        self._self_tested_at = -TRY_AGAIN_S
        self._works = self.has_workers = False
        metrics.watch("cxr_images_waiting", "Images without an answer.", lambda: self.load.images)
        metrics.watch("cxr_kept_bytes", "Bytes of kept images.", lambda: self.images.size)
        metrics.watch("cxr_samples_bytes", "Bytes of samples.", lambda: self.samples.size)
        metrics.watch("cxr_workers", "Decoding processes.", lambda: self.decoders.alive)
        metrics.watch(
            "cxr_workers_replaced", "Processes that were lost.", lambda: self.decoders.replaced
        )

    async def open(self, models: Sequence[str | Path]) -> None:
        """Start the workers, open the models, and try the whole way on one generated image.

        A model answers as soon as it is open, while others are being opened.

        Raises:
            ModelError, UsageError, MachineError: What `named_models`, `open_model` and
                `Workers.start` raise.
        """
        self.images.start()
        # All to their end, also when one fails: a process half started cannot be ended.
        outcomes = await asyncio.gather(
            self._open_models(models),
            self.decoders.start(),
            self._slow.start(),
            return_exceptions=True,
        )
        for error in outcomes:
            if isinstance(error, BaseException):
                raise error
        self.has_workers = True
        await self.works()
        for batches in self._batches.values():
            for size in batches.sizes[1:]:  # One at a time: images are answered in between.
                await self._in_network_thread(batches.warm, size)

    async def _open_models(self, models: Sequence[str | Path]) -> None:
        loop, opener = asyncio.get_running_loop(), self._opener
        self.wanted = await loop.run_in_executor(opener, named_models, models)
        image = await loop.run_in_executor(opener, self_test_image)
        for name, origin in self.wanted.items():
            served = await loop.run_in_executor(opener, open_model, name, origin, image)
            batches = Batches(
                served.predictor,
                self._thread,
                self._settings.batch,
                self._metrics.batches.observe,
            )
            await self._in_network_thread(batches.warm, batches.sizes[0])
            self._batches[name], self.models[name] = batches, served

    async def _in_network_thread(self, function: Callable[[int], None], size: int) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, function, size)

    async def close(self) -> None:
        """End the workers."""
        await self.images.close()
        for executor in (self._opener, self._thread):
            executor.shutdown(wait=False, cancel_futures=True)
        await asyncio.gather(self.decoders.close(), self._slow.close())

    @property
    def opening(self) -> list[str]:
        """Names of the models that are not open yet, in order."""
        return [name for name in self.wanted if name not in self.models]

    async def works(self) -> bool:
        """Tell whether the self-test image still goes the whole way and scores as is kept of it."""
        if not self.models or self.opening or not self.has_workers:
            return False
        if time.monotonic() - self._self_tested_at > TRY_AGAIN_S and (
            self._self_test is None or self._self_test.done()
        ):
            self._self_test = asyncio.create_task(self._try())
        if self._self_tested_at < 0 and self._self_test is not None:
            await asyncio.shield(self._self_test)
        return self._works and self.decoders.alive > 0

    async def _try(self) -> bool:
        works, loop = False, asyncio.get_running_loop()
        with suppress(Exception):  # whatever it is: a service that fails does not work
            upload = Upload("", self_test_image())
            for served in self.models.values():
                prepared = (await self._read([served], upload, quality_control=False)).prepared[0]
                if prepared.code == "worker_lost":
                    return self._works  # says nothing of the way; to be tried again
                # As every image goes. A model may find this one strange, and then tells no scores:
                # those are looked at by themselves.
                await self._batches[served.name].answer(prepared)
                await loop.run_in_executor(self._thread, served.predictor.check, prepared)
            works = True
        self._works, self._self_tested_at = works, time.monotonic()
        return works

    def model(self, name: str | None) -> ServedModel:
        """Return the model of that name, or the first one of those that are wanted.

        Raises:
            ApiError: 404 ``unknown_model``; 503 ``starting`` while it is being opened.
        """
        name = next(iter(self.wanted), "") if name is None else name
        if name in self.models:
            return self.models[name]
        if not self.wanted or name in self.wanted:
            raise starting()
        raise ApiError(
            404,
            "unknown_model",
            f"Expected a model out of {', '.join(self.wanted)}, but got another; see /v1/models.",
        )

    async def answers(
        self,
        served: ServedModel,
        uploads: Sequence[Upload],
        *,
        heat_map: bool,
        change: Reorientation = AS_STORED,
    ) -> list[dict[str, Any]]:
        """Return an answer for each image, in order; none stops the others.

        Raises:
            ApiError: 503 ``busy`` where there is no room.
        """
        answered, _ = await self.answered([served], uploads, heat_map=heat_map, change=change)
        return [answers[0] for answers in answered]

    async def decoded(self, upload: Upload, work: str = "image") -> tuple[Header, bytes]:
        """Return facts of an image, and its picture: as PNG ("image"), or its "samples".

        Raises:
            ImageError: The code of the decoder, where the image cannot be read.
            ApiError: 503 ``busy`` where there is no room.
        """
        check_bytes(upload.content, self._settings.upload_bytes)
        self.check_room(1)
        with self.load.holding(1):
            facts, (picture,) = await self.decoders.ask(
                {"work": work, "named": upload.named},
                [upload.content],
                seconds=self._settings.decode_s,
            )
        return facts, picture

    async def answered(
        self,
        asked_models: Sequence[ServedModel],
        uploads: Sequence[Upload],
        *,
        heat_map: bool,
        picture: int = 0,
        behind: bool = False,
        change: Reorientation = AS_STORED,
    ) -> tuple[list[list[dict[str, Any]]], list[Read]]:
        """Return for each image the answers of the models that are asked, and what was read of it.

        The arguments and errors are those of `one_by_one`.
        """
        one_by_one = self.one_by_one(
            *(asked_models, uploads),
            heat_map=heat_map,
            picture=picture,
            behind=behind,
            change=change,
        )
        async with aclosing(one_by_one) as answered:
            both = [one async for one in answered]
        return [answers for answers, _ in both], [read for _, read in both]

    async def one_by_one(
        self,
        asked_models: Sequence[ServedModel],
        uploads: Sequence[Upload],
        *,
        heat_map: bool,
        picture: int = 0,
        behind: bool = False,
        change: Reorientation = AS_STORED,
    ) -> AsyncGenerator[tuple[list[dict[str, Any]], Read], None]:
        """Yield for each image, in order, what the models answer and what was read of it.

        Each image is decoded once, whatever is made of it. To close the generator ends the work on
        images that were not yielded.

        Args:
            asked_models: Models that are asked.
            uploads: Images.
            heat_map: Whether each answer has a heat map.
            picture: Longest side of the image's picture, in pixels; 0 for none.
            behind: Whether it is work in the background, which does not count as waiting.
            change: Change of the images once they are decoded.

        Raises:
            ApiError: 503 ``busy`` where there is no room.
        """
        load = self.behind if behind else self.load
        if not behind:
            self.check_room(len(uploads))
        heat_maps = asyncio.Semaphore(1)

        async def one(number: int, held: ExitStack) -> tuple[list[dict[str, Any]], Read]:
            with held:
                read = await self._read(
                    asked_models, uploads[number], picture=picture, change=change
                )
                pairs = zip(asked_models, read.prepared, strict=True)
                predicted = await asyncio.gather(*(self._predicted(*pair) for pair in pairs))
            answers = [
                prediction.as_dict() | unexplained() | {"crop": read.crop(place)}
                for place, prediction in enumerate(predicted)
            ]
            if heat_map:
                async with heat_maps:
                    await explain(self.slowly, asked_models, read, answers)
            self._finish(asked_models, uploads[number], number, read, answers, change)
            return answers, read

        with ExitStack() as waiting:
            tasks = []
            for number in range(len(uploads)):
                held = waiting.enter_context(ExitStack())
                held.enter_context(load.holding(1))
                tasks.append(asyncio.create_task(one(number, held)))
            try:
                for task in tasks:
                    yield await task
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _finish(
        self,
        asked_models: Sequence[ServedModel],
        upload: Upload,
        index: int,
        read: Read,
        answers: Sequence[dict[str, Any]],
        change: Reorientation,
    ) -> None:
        """Complete the answers for one image, count them, and keep them for the watch."""
        for answer in answers:
            answer |= {"index": index, "sha256": upload.sha256}
            answer["changed"] = asdict(change) if change else None
            answer["warnings"] = list(answer["warnings"])
            self._metrics.images.labels(answer["status"], answer["code"]).inc()
        # What was changed by hand is no answer for the file, whose hash it would have.
        if self._kept is not None and not change:
            self._kept.keep(
                kept_facts(served.predictor.card.weights_sha256, prepared.issues, answer)
                for served, prepared, answer in zip(
                    asked_models, read.prepared, answers, strict=True
                )
            )

    async def _predicted(self, served: ServedModel, prepared: Prepared) -> Prediction:
        if prepared.image is None:
            return served.predictor.answers([prepared])[0]
        return await self._batches[served.name].answer(prepared)

    async def _read(
        self,
        asked_models: Sequence[ServedModel],
        upload: Upload,
        *,
        quality_control: bool = True,
        picture: int = 0,
        change: Reorientation = AS_STORED,
    ) -> Read:
        preprocessings = [served.predictor.card.preprocessing for served in asked_models]
        work = {
            "work": "prepare",
            "preprocessings": [preprocessing.model_dump() for preprocessing in preprocessings],
            "quality_control": quality_control,
            "picture": picture,
            "named": upload.named,
            "change": asdict(change),
        }
        try:
            check_bytes(upload.content, self._settings.upload_bytes)
            reply, pieces = await self.decoders.ask(
                work, [upload.content], seconds=self._settings.decode_s
            )
        except ImageError as error:
            return Read.failed(upload.name, len(asked_models), error.code, error.message)
        except WorkerLost:
            return Read.failed(upload.name, len(asked_models), "worker_lost", LOST)
        return Read.of(upload.name, preprocessings, reply, pieces)

    async def slowly(self, work: Header, pieces: Sequence[bytes]) -> tuple[Header, list[bytes]]:
        """Return what the process that draws heat maps and reports makes.

        Raises:
            ApiError: 503 ``busy`` where there is no room.
            ImageError, WorkerLost: What `Workers.ask` raises.
        """
        if self.slow_load.is_full():
            raise busy(self.slow_load.retry_after_s)
        with self.slow_load.holding(1):
            return await self._slow.ask(work, pieces, seconds=self._settings.explain_s)

    def check_room(self, images: int) -> None:
        """Refuse images that would wait for too long.

        Raises:
            ApiError: 503 ``busy``.
        """
        if self.load.is_full(images):
            raise busy(self.load.retry_after_s)
