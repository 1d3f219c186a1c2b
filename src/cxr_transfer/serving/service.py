"""The service behind the API: models, worker processes, and the way of an image between them.

Comes in: bytes and names of images, and a model's name. Goes out: answers as they stand in JSON,
pictures, reports. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from cxr_transfer.errors import ImageError
from cxr_transfer.export.self_test import self_test_image
from cxr_transfer.inference.prediction import Prediction, explained_label
from cxr_transfer.inference.prepare import Prepared
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.radiograph.reorientation import AS_STORED, Reorientation
from cxr_transfer.serving.admission import Admission
from cxr_transfer.serving.batching import Batches
from cxr_transfer.serving.image_store import ImageStore, Upload, check_bytes
from cxr_transfer.serving.ipc import Header
from cxr_transfer.serving.kept_answers import KeptAnswers, kept_facts
from cxr_transfer.serving.metrics import Metrics
from cxr_transfer.serving.model_registry import ServedModel, open_models
from cxr_transfer.serving.process_pool import WorkerLost, Workers
from cxr_transfer.serving.report_jobs import ReportJobs
from cxr_transfer.serving.sample_store import SampleStore
from cxr_transfer.serving.schemas import ApiError, busy
from cxr_transfer.serving.settings import Settings

NO_MAP = "this model is a converted network: it draws no heat maps"
LOST = "Expected an answer, but the process that read the image was taken away; send it again."
TRY_AGAIN_S = 30.0
"""How long the self-test's last outcome is believed."""

_SLOW_QUEUE = 16
_SLOW_WAIT_S = 20.0


@dataclass(frozen=True, eq=False)
class Read:
    """Result of a decoding process for one image.

    Attributes:
        prepared: Prepared image for each model that was asked, in their order.
        height: Height of the image in pixels; 0 where it was not read.
        width: Width of the image in pixels; 0 where it was not read.
        picture: PNG of the image to be looked at; empty where it was not wanted or read.
    """

    prepared: tuple[Prepared, ...]
    height: int = 0
    width: int = 0
    picture: bytes = b""

    def crop(self, place: int) -> list[int] | None:
        """Return which part of the image a model sees: left, top, right, bottom in its pixels.

        Args:
            place: Place of the model among those that were asked.
        """
        prepared = self.prepared[place]
        if prepared.image is None:
            return None
        sides = (self.width, self.height) * 2
        return [round(edge * side) for edge, side in zip(prepared.box, sides, strict=True)]


class Service:
    """Models and workers.

    Args:
        settings: Settings of how many there are, and how large.
        metrics: Metrics, which count images and batches.

    Attributes:
        load: Images that wait for class scores.
        slow_load: Heat maps and reports that wait.
        models: Models by name, the first one first; empty until they are opened.
        images: Images that were uploaded once, by their hash.
        samples: Those of them that are looked at, decoded at full depth.
        reports: Reports that are made in the background.
        decoders: Processes that read images.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.load = Admission(settings.queue, settings.longest_wait_s, always=settings.always)
        self.models: dict[str, ServedModel] = {}
        self.samples = SampleStore(settings.samples_bytes)
        self.images = ImageStore(settings.kept_bytes, settings.kept_s, self.samples.forget)
        self.reports = ReportJobs()
        self.decoders = Workers(settings.workers, settings.worker_bytes)
        self._settings = settings
        self._metrics = metrics
        keep = settings.keep_answers
        self._kept = KeptAnswers(keep, metrics) if keep is not None else None
        # Heat maps and reports take long: plain answers do not wait for them.
        self._slow = Workers(1, settings.explainer_bytes, writes=True)
        self.slow_load = Admission(_SLOW_QUEUE, _SLOW_WAIT_S)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._batches: dict[str, Batches] = {}
        self._self_test: asyncio.Task[bool] | None = None
        self._self_tested_at = -TRY_AGAIN_S
        self._works = False
        metrics.watch("cxr_images_waiting", "Images without an answer.", lambda: self.load.images)
        metrics.watch("cxr_kept_bytes", "Bytes of kept images.", lambda: self.images.size)
        metrics.watch("cxr_samples_bytes", "Bytes of samples.", lambda: self.samples.size)
        metrics.watch("cxr_workers", "Decoding processes.", lambda: self.decoders.alive)
        metrics.watch(
            "cxr_workers_replaced", "Processes that were lost.", lambda: self.decoders.replaced
        )

    async def open(self, models: Sequence[str | Path]) -> None:
        """Start the workers, open the models, and try the whole way on one generated image.

        Raises:
            ModelError, UsageError, MachineError: What `open_models` and `Workers.start` raise.
        """
        loop = asyncio.get_running_loop()
        # All to their end, also when one fails: a process half started cannot be ended.
        outcomes = await asyncio.gather(
            loop.run_in_executor(self._thread, open_models, models),
            self.decoders.start(),
            self._slow.start(),
            return_exceptions=True,
        )
        for error in outcomes:
            if isinstance(error, BaseException):
                raise error
        opened = cast("list[ServedModel]", outcomes[0])
        for served in opened:
            self._batches[served.name] = Batches(
                served.predictor,
                self._thread,
                self._settings.batch,
                self._metrics.batches.observe,
            )
            await loop.run_in_executor(self._thread, self._batches[served.name].warm)
        self.models = {served.name: served for served in opened}
        await self.works()

    async def close(self) -> None:
        """End the workers."""
        await self.reports.close()
        self._thread.shutdown(wait=False, cancel_futures=True)
        await asyncio.gather(self.decoders.close(), self._slow.close())

    async def works(self) -> bool:
        """Tell whether the self-test image still goes the whole way and scores as is kept of it."""
        if not self.models:
            return False
        if time.monotonic() - self._self_tested_at > TRY_AGAIN_S and (
            self._self_test is None or self._self_test.done()
        ):
            self._self_test = asyncio.create_task(self._try())
            if self._self_tested_at < 0:
                await self._self_test
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
        """Return the model of that name, or the first one.

        Raises:
            ApiError: 404 ``unknown_model``; 503 while models are opened.
        """
        if not self.models:
            raise busy(2, "starting")
        if not name:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise ApiError(
                404,
                "unknown_model",
                f"Expected a model out of {', '.join(self.models)}, but got another; see "
                "/v1/models.",
            )
        return self.models[name]

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
        if self.load.is_full():
            raise busy(self.load.retry_after_s)
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
        change: Reorientation = AS_STORED,
    ) -> tuple[list[list[dict[str, Any]]], list[Read]]:
        """Return for each image the answers of the models that are asked, and what was read of it.

        Each image is decoded once, whatever is made of it.

        Args:
            asked_models: Models that are asked.
            uploads: Images.
            heat_map: Whether each answer has a heat map.
            picture: Longest side of the image's picture, in pixels; 0 for none.
            change: Change of the images once they are decoded.

        Raises:
            ApiError: 503 ``busy`` where there is no room.
        """
        if self.load.is_full(len(uploads)):
            raise busy(self.load.retry_after_s)

        async def predicted(upload: Upload) -> tuple[Read, list[Prediction]]:
            read = await self._read(asked_models, upload, picture=picture, change=change)
            pairs = zip(asked_models, read.prepared, strict=True)
            return read, await asyncio.gather(*(self._predicted(*pair) for pair in pairs))

        with self.load.holding(len(uploads)):
            read_and_predicted = await asyncio.gather(*map(predicted, uploads))
        answered = [
            [
                prediction.as_dict() | _unexplained() | {"crop": read.crop(place)}
                for place, prediction in enumerate(predictions)
            ]
            for read, predictions in read_and_predicted
        ]
        if heat_map:
            for (read, _), answers in zip(read_and_predicted, answered, strict=True):
                await self._explained(asked_models, read, answers)
        for index, (upload, answers) in enumerate(zip(uploads, answered, strict=True)):
            for answer in answers:
                answer |= {"index": index, "sha256": upload.sha256}
                answer["changed"] = asdict(change) if change else None
        for answer in (answer for answers in answered for answer in answers):
            answer["warnings"] = list(answer["warnings"])
            self._metrics.images.labels(answer["status"], answer["code"]).inc()
        # What was changed by hand is no answer for the file, whose hash it would have.
        if self._kept is not None and not change:
            self._kept.keep(
                kept_facts(served.predictor.card.weights_sha256, prepared.issues, answer)
                for (read, _), answers in zip(read_and_predicted, answered, strict=True)
                for served, prepared, answer in zip(
                    asked_models, read.prepared, answers, strict=True
                )
            )
        return answered, [read for read, _ in read_and_predicted]

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
            return Read(
                (Prepared(upload.name, None, "error", error.code, error.message),)
                * len(asked_models)
            )
        except WorkerLost:
            return Read(
                (Prepared(upload.name, None, "error", "worker_lost", LOST),) * len(asked_models)
            )
        left = iter(pieces)
        prepared = []
        for preprocessing, description in zip(preprocessings, reply["prepared"], strict=True):
            image = None
            if description["status"] == "ok":
                image = np.frombuffer(next(left), np.uint8).reshape(preprocessing.size)
            description |= {
                "warnings": tuple(description["warnings"]),
                "box": tuple(description["box"]),
                "issues": tuple(description["issues"]),
            }
            prepared.append(Prepared(upload.name, image, **description))
        return Read(tuple(prepared), reply["height"], reply["width"], next(left, b""))

    async def _explained(
        self, asked_models: Sequence[ServedModel], read: Read, answers: Sequence[dict[str, Any]]
    ) -> None:
        """Add to the answers for one image what can be told of their scores."""
        lungs: dict[Preprocessing, bytes] = {}  # Networks that see one image see the same lungs.
        for served, prepared, answer in zip(asked_models, read.prepared, answers, strict=True):
            if answer["status"] != "ok" or prepared.image is None:
                continue
            if not served.explains:
                answer["warnings"] = [*answer["warnings"], NO_MAP]
                continue
            preprocessing = served.predictor.card.preprocessing
            work = {
                "work": "explain",
                "model": served.origin,
                "label": explained_label(answer),
                "shape": prepared.image.shape,
                "box": prepared.box,
                "height": read.height,
                "width": read.width,
            }
            pieces = [prepared.image.tobytes()]
            if preprocessing in lungs:
                pieces.append(lungs[preprocessing])
            try:
                facts, (overlay, lungs[preprocessing]) = await self.slowly(work, pieces)
            except (ImageError, WorkerLost) as error:
                reason = error.message if isinstance(error, ImageError) else LOST
                answer["warnings"] = [*answer["warnings"], f"no heat map: {reason}"]
                continue
            if "findings" in answer:
                answer["heat_map_of"] = explained_label(answer)
            drawn = base64.b64encode(overlay).decode()
            answer |= facts | {"heat_map": f"data:image/png;base64,{drawn}"}

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


def _unexplained() -> dict[str, Any]:
    return {"heat_map": None, "lung_share": None, "lung_area": None, "neighbours": []}
