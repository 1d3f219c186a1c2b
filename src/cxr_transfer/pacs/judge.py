"""From a received object to its answers on the disk: header, rule, image, network, objects.

Strangers' bytes are read in the decoding processes of the server, never in this one: an object that
crashes its decoder is that object's error, and is answered as such. Objects go their way side by
side; the network takes as a batch whatever has come to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation

from cxr_transfer.errors import CxrError, ImageError, MachineError
from cxr_transfer.inference.prediction import Prediction
from cxr_transfer.inference.prepare import Prepared
from cxr_transfer.pacs import answer_process
from cxr_transfer.pacs.answer_process import question
from cxr_transfer.pacs.answered_image import text_of
from cxr_transfer.pacs.dicom_header import PROGRAM
from cxr_transfer.pacs.judging_models import JudgingModel, open_models
from cxr_transfer.pacs.node_metrics import NodeMetrics
from cxr_transfer.pacs.queue import Queue
from cxr_transfer.pacs.queue_tables import State, Waiting
from cxr_transfer.pacs.rules import ELEMENTS, Rule, chosen_rule
from cxr_transfer.pacs.settings import NodeSettings
from cxr_transfer.radiograph.dicom_identity import opened_identity, written
from cxr_transfer.radiograph.silence import silence
from cxr_transfer.serving.batching import Batches
from cxr_transfer.serving.event_log import log
from cxr_transfer.serving.image_reading import Read
from cxr_transfer.serving.ipc import Header, Pieces
from cxr_transfer.serving.process_pool import WorkerLost, Workers
from cxr_transfer.serving.settings import Settings

PICTURE = 1024
"""Longest side of the picture in a secondary capture, pixels."""

_BATCH = 8
_ATTEMPTS = 5
_DEFAULTS = Settings()


class Judge:
    """Models, decoding processes and the objects between them.

    Args:
        settings: Settings, with the rules.
        queue: Queue of the objects.
        answered: Function that is called when answers are on the disk.
        metrics: Counters of the node.
    """

    def __init__(
        self,
        settings: NodeSettings,
        queue: Queue,
        answered: Callable[[], None],
        metrics: NodeMetrics,
    ) -> None:
        self._metrics = metrics
        self._settings = settings
        self._queue = queue
        self._answered = answered
        limits = settings.limits
        workers = limits.workers or _DEFAULTS.workers
        self.decoders = Workers(workers, _DEFAULTS.worker_bytes)
        # As many as decode: a heat map and its objects take longer than anything else, and are
        # made while the network and the decoders have the next images.
        self._makers = Workers(
            workers, _DEFAULTS.explainer_bytes, writes=True, module=answer_process.MODULE
        )
        self._network = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._writers = ThreadPoolExecutor(2, thread_name_prefix="spool")
        self._models: dict[str, JudgingModel] = {}
        self._batches: dict[str, Batches] = {}
        self._inside: dict[str, asyncio.Task[None]] = {}
        self._workers = workers
        self._most = 2 * workers + _BATCH
        self._woken = asyncio.Event()
        self._warming: asyncio.Task[None] | None = None

    @property
    def inside(self) -> int:
        """Number of objects that are being judged."""
        return len(self._inside)

    async def open(self) -> None:
        """Start the processes and open the models of all rules.

        Raises:
            ModelError, UsageError, MachineError: What opening a model and starting a process raise.
        """
        loop = asyncio.get_running_loop()
        origins = [rule.model for rule in self._settings.rules]
        outcomes = await asyncio.gather(
            loop.run_in_executor(self._network, open_models, origins),
            self.decoders.start(),
            self._makers.start(),
            return_exceptions=True,
        )
        for error in outcomes:
            if isinstance(error, BaseException):
                raise error
        self._models = outcomes[0]  # type: ignore[assignment]
        for origin, model in self._models.items():
            batches = Batches(model.predictor, self._network, _BATCH, lambda _: None)
            for size in batches.sizes:
                await loop.run_in_executor(self._network, batches.warm, size)
            self._batches[origin] = batches
        self._warming = asyncio.create_task(self._warm())

    async def _warm(self) -> None:
        """Let the processes that make answers load what they need, before the first image waits."""
        for rule in self._settings.rules:
            model = self._models[rule.model]
            size = model.predictor.card.preprocessing.size
            labels = model.predictor.card.labels
            answer = Prediction("", "ok", label=labels[0], probabilities=dict.fromkeys(labels, 0.0))
            ask = partial(
                question,
                answer.as_dict(),
                Prepared("", np.zeros(size, np.uint8)),
                written(_nobody()),
                b"",
                model=model.facts,
                source_sha256="",
                now=datetime.now(UTC),
                kinds=rule.send,
            )
            # A blank image is no radiograph: its heat map may be refused, and its objects are
            # asked for alone.
            for explainer in (model.origin, "") if model.explains else ("",):
                every = (self._asked(*ask(explainer=explainer)) for _ in range(self._workers))
                await asyncio.gather(*every, return_exceptions=True)

    async def close(self) -> None:
        """End the processes; an object that is inside stays in the queue."""
        tasks = [*self._inside.values(), *([self._warming] if self._warming else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._network.shutdown(wait=True, cancel_futures=True)
        self._writers.shutdown(wait=True, cancel_futures=True)
        await asyncio.gather(self.decoders.close(), self._makers.close())

    def wake(self) -> None:
        """Look for objects now; for the thread in which the loop runs."""
        self._woken.set()

    async def run(self, is_over: Callable[[], bool]) -> None:
        """Judge what waits, and what comes.

        Args:
            is_over: Function that is asked whether to end; then nothing more is begun.
        """
        while not is_over():
            self._woken.clear()
            try:
                self._begin()
            except MachineError as error:
                log("failed", where="queue", code=error.code)
            try:
                async with asyncio.timeout(0.5):
                    await self._woken.wait()
            except TimeoutError:
                continue

    def _begin(self) -> None:
        room = self._most - len(self._inside)
        if room <= 0:
            return
        for waiting in self._queue.waiting(room + len(self._inside)):
            if waiting.uid not in self._inside and len(self._inside) < self._most:
                self._inside[waiting.uid] = asyncio.create_task(self._judged(waiting))

    async def _judged(self, waiting: Waiting) -> None:
        """Judge one object; whatever happens to it happens to no other."""
        try:
            try:
                await self._judge(waiting)
            except WorkerLost:
                self._again(waiting, "worker_lost")
            except MachineError as error:
                # Nothing is wrong with the object: it waits for the disk, however long.
                if error.code == "spool_damaged":
                    self._dead(waiting, error.code)
                else:
                    self._again(waiting, error.code, for_ever=True)
            except CxrError as error:
                self._dead(waiting, error.code)
            except Exception as error:  # its words may be of the object
                self._again(waiting, f"failed: {type(error).__name__}")
        except MachineError as error:
            log("failed", where="queue", code=error.code)  # it is still received, and comes again
            await asyncio.sleep(1)
        finally:
            self._inside.pop(waiting.uid, None)
            self._woken.set()

    def _again(self, waiting: Waiting, reason: str, *, for_ever: bool = False) -> None:
        limits = self._settings.limits
        if waiting.attempts + 1 >= _ATTEMPTS and not for_ever:
            self._dead(waiting, reason)
            return
        wait = min(limits.first_wait_s * 2 ** min(waiting.attempts, 20), limits.longest_wait_s)
        log("judge_again", object=waiting.uid, reason=reason)
        self._queue.judge_again(waiting.uid, reason, wait)

    def _dead(self, waiting: Waiting, reason: str) -> None:
        log("dead_letter", object=waiting.uid, reason=reason)
        self._queue.close_object(waiting.uid, State.DEAD, reason)
        self._metrics.dead.inc()

    async def _judge(self, waiting: Waiting) -> None:
        loop = asyncio.get_running_loop()
        content = await loop.run_in_executor(self._writers, self._queue.spool.read, waiting.file)
        decode_s = self._settings.limits.decode_s
        _, (header,) = await self.decoders.ask({"work": "identity"}, [content], seconds=decode_s)
        identity = opened_identity(header)
        rule, reason = chosen_rule(self._settings.rules, _texts(identity))
        # An archive that passes on all its images would let it judge its own pictures for ever.
        is_own = text_of(identity, "Manufacturer") == PROGRAM
        if rule is None or is_own:
            reason = "an answer of this program" if is_own else reason
            log("not_for_us", object=waiting.uid)
            self._queue.close_object(waiting.uid, State.NOT_FOR_US, reason)
            return
        model = self._models[rule.model]
        with self._metrics.step("read"):
            read = await self._read(model, rule, content)
        (prepared,) = read.prepared
        if prepared.image is None:
            prediction = model.predictor.answers([prepared])[0]
        else:
            with self._metrics.step("network"):
                prediction = await self._batches[rule.model].answer(prepared)
        with self._metrics.step("answer"):
            files = await self._answers(waiting, rule, model, read, prediction, header)
        with self._metrics.step("write"):
            await loop.run_in_executor(self._writers, self._note, waiting, rule, prediction, files)
        self._metrics.judged.labels(prediction.status, prediction.code).inc()
        self._answered()

    async def _read(self, model: JudgingModel, rule: Rule, content: bytes) -> Read:
        """Return what the network sees of an object, and a picture of it where one is sent."""
        preprocessing = model.predictor.card.preprocessing
        work = {
            "work": "prepare",
            "preprocessings": [preprocessing.model_dump()],
            "quality_control": True,
            "picture": PICTURE if set(rule.send) - {"sr"} else 0,
        }
        try:
            reply, pieces = await self.decoders.ask(
                work, [content], seconds=self._settings.limits.decode_s
            )
        except ImageError as error:
            return Read.failed("", 1, error.code, error.message)
        return Read.of("", [preprocessing], reply, pieces)

    async def _answers(
        self,
        waiting: Waiting,
        rule: Rule,
        model: JudgingModel,
        read: Read,
        prediction: Prediction,
        identity: bytes,
    ) -> list[bytes]:
        """Return the answers of an object as DICOM files, in the order of the rule's kinds."""
        (prepared,) = read.prepared
        scale = min(1.0, PICTURE / max(read.height, read.width, 1))
        ask = partial(
            question,
            prediction.as_dict(),
            prepared,
            identity,
            read.picture,
            model=model.facts,
            source_sha256=waiting.sha256,
            now=datetime.now(UTC),
            kinds=rule.send,
            size=(max(1, round(scale * read.height)), max(1, round(scale * read.width))),
        )
        if read.picture and prediction.status == "ok" and model.explains:
            try:
                return await self._asked(*ask(explainer=model.origin))
            except ImageError as error:
                log("no_heat_map", object=waiting.uid, code=error.code)
        return await self._asked(*ask())

    async def _asked(self, header: Header, pieces: Pieces) -> list[bytes]:
        _, files = await self._makers.ask(header, pieces, seconds=_DEFAULTS.explain_s)
        return list(files)

    def _note(
        self, waiting: Waiting, rule: Rule, prediction: Prediction, contents: list[bytes]
    ) -> None:
        """Write the answers, and note them."""
        files = []
        for kind, content in zip(rule.send, contents, strict=True):
            files.append(f"answers/{waiting.uid[:2]}/{waiting.uid}.{kind}.dcm")
            self._queue.spool.write(files[-1], content)
        destinations = self._settings.destinations_of(rule)
        self._queue.judged(waiting.uid, rule.name, files, destinations)
        log(
            "judged",
            object=waiting.uid,
            rule=rule.name,
            status=prediction.status,
            code=prediction.code,
            model=prediction.model,
        )


def _texts(source: Dataset) -> dict[str, str]:
    """Return the elements that rules look at, as texts."""
    keywords = [keyword for keywords in ELEMENTS.values() for keyword in keywords]
    with silence():
        return {keyword: str(source.get(keyword) or "") for keyword in keywords}


def _nobody() -> Dataset:
    """Return the header of an image that nobody made, to be answered before the first one."""
    header = Dataset()
    header.SOPClassUID = DigitalXRayImageStorageForPresentation
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        setattr(header, keyword, "2.25.1")
    return header
