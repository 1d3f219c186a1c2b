"""The room without HTTP: what its self-test finds, and what its processes may do."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import lung_network
from cxr_transfer.serving import decoder_process
from cxr_transfer.serving import service as room_module
from cxr_transfer.serving.metrics import Metrics
from cxr_transfer.serving.process_pool import WorkerLost, Workers
from cxr_transfer.serving.service import Service
from cxr_transfer.serving.settings import Settings
from cxr_transfer.serving.tokens import TOKEN_VARIABLE
from serving.asking import as_bytes, children, phantom, stopped

MEMORY = Settings().worker_bytes


async def until(true):
    async with asyncio.timeout(60):
        while not await true():
            await asyncio.sleep(0.05)


def test_a_room_whose_network_breaks_is_not_ready(checkpoint, predictor, monkeypatch):
    def broken(_images):
        raise RuntimeError

    async def run_self_test():
        service = Service(Settings(workers=1), Metrics())
        try:
            await service.open([checkpoint])
            assert await service.works()
            monkeypatch.setattr(room_module, "TRY_AGAIN_S", -1.0)

            async def fails():
                return not await service.works()

            with monkeypatch.context() as patch:
                (served,) = service.models.values()
                patch.setattr(served.predictor, "answers", broken)
                await until(fails)
            await until(service.works)
        finally:
            await service.close()

    asyncio.run(run_self_test())


def test_a_room_whose_network_scores_otherwise_than_stored_is_not_ready(checkpoint, monkeypatch):
    async def run_self_test():
        service = Service(Settings(workers=1), Metrics())
        monkeypatch.setattr(room_module, "TRY_AGAIN_S", -1.0)
        try:
            await service.open([checkpoint])
            assert await service.works()
            (served,) = service.models.values()
            engine = served.predictor._engine

            async def fails():
                return not await service.works()

            with monkeypatch.context() as patch:
                # Only a little, and also where an answer would not show it.
                patch.setattr(
                    engine, "scores", lambda images: 0.999 * type(engine).scores(engine, images)
                )
                await until(fails)
            await until(service.works)
        finally:
            await service.close()

    asyncio.run(run_self_test())


def decoding(check, memory=MEMORY, **options):
    async def run_self_test():
        others = set(children(os.getpid()))
        workers = Workers(1, memory, **options)
        await workers.start()
        try:
            (pid,) = set(children(os.getpid())) - others
            await check(workers, pid)
        finally:
            await workers.close()

    asyncio.run(run_self_test())


def test_a_decoder_has_looked_for_lungs_before_its_first_image(monkeypatch):
    monkeypatch.setattr(lung_network, "_network", None)
    decoder_process._warm()
    assert lung_network._network is not None


def test_a_decoder_knows_no_token_and_writes_no_file(monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "a-token-of-some-length")

    async def check(_workers, pid):
        assert TOKEN_VARIABLE.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        (size,) = [line for line in limits if line.startswith("Max file size")]
        assert size.split()[3:5] == ["0", "0"]

    decoding(check)


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGKILL, WorkerLost), (signal.SIGXCPU, ImageError)]
)
def test_a_decoder_that_ends_by_itself_is_the_images_affair(number, expected):
    async def check(workers, pid):
        radiograph = [as_bytes(phantom())]
        with stopped([pid]):
            asked = asyncio.create_task(workers.ask({"work": "image"}, radiograph, seconds=60))
            await asyncio.sleep(0)
            os.kill(pid, number)
        with pytest.raises(expected) as caught:
            await asked
        assert expected is WorkerLost or caught.value.code == "decoder_crashed"
        assert await workers.ask({"work": "image"}, radiograph, seconds=60)

    decoding(check)


def test_a_process_that_never_becomes_free_is_not_waited_for():
    async def check(workers, pid):
        radiograph = [as_bytes(phantom())]
        with stopped([pid]):
            first = asyncio.create_task(workers.ask({"work": "image"}, radiograph, seconds=60))
            await asyncio.sleep(0)
            with pytest.raises(WorkerLost):
                await workers.ask({"work": "image"}, radiograph, seconds=0.1)
        known, _ = await first
        assert known["format"] == "PNG"

    decoding(check)


def test_an_error_of_the_model_tells_no_path(tmp_path):
    async def check(workers, _pid):
        work = {"work": "explain", "model": str(tmp_path / "secret"), "label": "normal"}
        image = phantom()
        work |= {"shape": image.shape, "box": (0, 0, 1, 1), "height": 300, "width": 300}
        with pytest.raises(ImageError) as caught:
            await workers.ask(work, [image.tobytes()], seconds=60)
        assert caught.value.code == "no_checkpoint"
        assert "secret" not in caught.value.message

    decoding(check, Settings().explainer_bytes, writes=True)
