"""The server under load, beside the predictor that it puts behind HTTP, in turns on one machine.

    python benchmarks/serving.py                        # the released Model_3, everything
    python benchmarks/serving.py --only one_client,kill --model runs/seed0/model_3 --seconds 10
    python benchmarks/serving.py --data ../shared/data  # real images: none "cannot assess"
    python benchmarks/serving.py --only admission --before ../earlier/src

The server is `cxr serve` in a process of its own; this process sends the requests and, when the
server has nothing to do, runs the predictor directly. Requests go over plain sockets: a client
library would take more of the two cores than the server does. Images are about one megapixel, JPEG:
with ``--data`` real ones of Dataset_1, made as large as that, else generated ones, which a released
model mostly finds unfamiliar. Ratios are taken within a round. Rows that are not asked for are kept
from the last time. Writes ``docs/results/serving.json`` and ``docs/results/serving.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.paper import dataset_1
from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.files import write_json, write_text
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.models.metadata import checkpoint_files, read_card
from cxr_transfer.models.released import weights_at_hand

SERVE = [sys.executable, "-m", "cxr_transfer.cli", "serve"]
IMAGES = 20
SIDE = 970
HUNG_S = 30.0
STEADY = 1.5
TRIES = 8  # rounds at most, until three are steady
FULL_MIXED = 10_000  # requests; fewer say nothing of growth
GOALS = {
    "one_client": "p50 <= 1.5 times the direct predictor's, p99 <= 3 times",
    "sixteen": "throughput >= 85 % of the batch predictor's; every answer equal, none swapped",
    "eight_large": "8 clients with single large images get >= 95 % of capacity, none refused",
    "admission": "8 clients with single large images: >= 95 % of capacity, none refused; flooded, "
    "the excess is refused within 100 ms and memory grows by <= 10 %",
    "overload": "excess refused within 100 ms, accepted p99 <= 3 s, none hung, recovery <= 5 s",
    "mixed": "zero 5xx, memory growth <= 2 % after warm-up",
    "storm": "zero 5xx, good p99 <= 2 times",
    "slow": "closed in 15 s, /healthz p99 <= 100 ms throughout",
    "sigterm": "readiness off at once, zero accepted requests lost, exit 0 in 30 s",
    "kill": "only its requests fail (503), replaced <= 5 s",
    "starts": "one-line cause, exit code 4 / 5 / 2 within 5 s",
    "schemathesis": "no server error, no schema violation",
}


@dataclass
class Answer:
    """What came back for one request, and how long it took.

    ``status`` is 0 where nothing came back, -1 where there was no connection to begin with.
    """

    status: int
    seconds: float
    body: bytes = b""
    retry_after: int = 0


class Server:
    """`cxr serve` in a process of its own."""

    def __init__(self, model: str, source: Path | None = None) -> None:
        self.process = subprocess.Popen(
            [*SERVE, "--model", model, "--port", "0"],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | ({"PYTHONPATH": str(source)} if source else {}),
        )
        self.port = 0
        for line in self.process.stderr:
            if '"listening"' in line:
                self.port = json.loads(line)["port"]
                break
        threading.Thread(target=self._read, daemon=True).start()
        while self.get("/readyz").status != 200:
            if self.process.poll() is not None:
                raise SystemExit(f"Expected a server, but it ended with {self.process.returncode}.")
            time.sleep(0.1)

    def _read(self) -> None:
        for _ in self.process.stderr:
            pass

    def get(self, path: str) -> Answer:
        started = time.perf_counter()
        try:
            with socket.create_connection(("127.0.0.1", self.port), 10) as one:
                one.sendall(
                    f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
                )
                said = b"".join(iter(lambda: one.recv(65536), b""))
        except OSError:
            return Answer(-1, time.perf_counter() - started)
        head, _, body = said.partition(b"\r\n\r\n")
        status = int(head.split()[1]) if head else 0
        return Answer(status, time.perf_counter() - started, body)

    def metric(self, name: str) -> float:
        lines = self.get("/metrics").body.decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    def decoders(self) -> list[int]:
        """Decoding processes, which have less address space than the one for heat maps."""
        found = {}
        for child in children(self.process.pid):
            with contextlib.suppress(OSError, IndexError, ValueError):
                words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                found[child] = int(words[-2])
        least = min(found.values())
        return [child for child, bound in found.items() if bound == least]

    def memory(self) -> float:
        """MiB of the server and its processes, shared pages counted once."""
        return sum(map(pss, [self.process.pid, *children(self.process.pid)]))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


def pss(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


class Client:
    """One connection, opened again whenever the server closes it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, request: bytes) -> Answer:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(HUNG_S):
                if self._writer is None:
                    self._reader, self._writer = await asyncio.open_connection(
                        "127.0.0.1", self._port, limit=2**20
                    )
        except (OSError, TimeoutError):
            return Answer(-1, time.perf_counter() - started)
        try:
            async with asyncio.timeout(HUNG_S):
                # An answer may come before all is sent, and the rest then be of no use.
                self._writer.write(request)
                head = await self._reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head)
                body = await self._reader.readexactly(int(length[1]))
        except (OSError, EOFError, TimeoutError):
            self.close()
            return Answer(0, time.perf_counter() - started)
        if b"connection: close" in head.lower():
            self.close()
        retry = re.search(rb"retry-after: (\d+)", head)
        seconds = time.perf_counter() - started
        return Answer(int(head.split(None, 2)[1]), seconds, body, int(retry[1]) if retry else 0)

    def close(self) -> None:
        if self._writer:
            self._writer.close()
        self._writer = self._reader = None


def request_for(radiograph: bytes, name: str = "image.jpg") -> bytes:
    part = f'--b\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    body = part.encode() + radiograph + b"\r\n--b--\r\n"
    head = (
        "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def images(data: Path | None) -> list[bytes]:
    """Return images of about one megapixel: real ones where there are, else generated ones."""
    if data:
        cases = dataset_1(read_archives(data)).cases
        found = [Image.open(case.path).convert("L") for case in cases[:: len(cases) // IMAGES]]
        large = [radiograph.resize((SIDE, SIDE)) for radiograph in found[:IMAGES]]
    else:
        large = [
            Image.fromarray(draw_radiograph("normal", rng=np.random.default_rng(seed), pixels=SIDE))
            for seed in range(IMAGES)
        ]
    stored = []
    for radiograph in large:
        content = io.BytesIO()
        radiograph.save(content, "JPEG", quality=90)
        stored.append(content.getvalue())
    return stored


def damaged(radiograph: bytes) -> list[bytes]:
    """Return bad inputs of several kinds."""
    small = io.BytesIO()
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(small, "PNG")
    blank = io.BytesIO()
    Image.fromarray(np.zeros((500, 500), np.uint8)).save(blank, "PNG")
    return [
        *[b"", b"<html></html>", b"PK\x03\x04" + bytes(500), b"%PDF-1.7", bytes(100_000)],
        *[
            radiograph[: len(radiograph) // 2],
            radiograph[:3000],
            bytes(128) + b"DICM" + bytes(2000),
        ],
        *[small.getvalue(), blank.getvalue()],
    ]


def quantile(seconds: list[float], share: float) -> float:
    """In milliseconds."""
    return 1000 * float(np.quantile(seconds, share)) if seconds else float("nan")


def code(body: bytes) -> str:
    """Return why there was no answer."""
    said = json.loads(body)
    return said.get("code") or said["answers"][0]["code"]


class Bench:
    """All rows, on one model."""

    def __init__(
        self, model: str, seconds: float, data: Path | None, before: Path | None = None
    ) -> None:
        self.model = model
        self.before = before
        self.seconds = seconds
        self.images = images(data)
        self.requests = [
            request_for(radiograph, f"{number}.jpg")
            for number, radiograph in enumerate(self.images)
        ]
        self.predictor = Predictor.open(model)

    @contextlib.contextmanager
    def server(self, source: Path | None = None):
        one = Server(self.model, source)
        try:
            yield one
        finally:
            if one.process.poll() is None:
                one.stop()

    async def closed_loop(
        self,
        port: int,
        clients: int,
        goes_on: Callable[[], bool],
        requests: list[bytes] | None = None,
        pause_s: float = 0.1,
    ) -> list[tuple[int, Answer]]:
        """Let clients send one request after the other; return which it was, and its answer."""
        chosen, found, turn = requests or self.requests, [], iter(range(10**9))

        async def run() -> None:
            client = Client(port)
            while goes_on():
                number = next(turn)
                answer = await client.send(chosen[number % len(chosen)])
                found.append((number % len(chosen), answer))
                if answer.status == -1:
                    break
                if answer.status == 503:
                    await asyncio.sleep(pause_s)
            client.close()

        await asyncio.gather(*(run() for _ in range(clients)))
        return found

    def for_seconds(self, seconds: float) -> Callable[[], bool]:
        end = time.perf_counter() + seconds
        return lambda: time.perf_counter() < end

    def for_requests(self, number: int) -> Callable[[], bool]:
        left = iter(range(number))
        return lambda: next(left, None) is not None

    def one_client(self) -> dict:
        rounds = []
        with self.server() as server:
            asyncio.run(self.closed_loop(server.port, 1, self.for_requests(40)))
            for _ in range(5):
                direct = []
                for number in range(100):
                    started = time.perf_counter()
                    self.predictor.predict(self.images[number % IMAGES])
                    direct.append(time.perf_counter() - started)
                sent = asyncio.run(self.closed_loop(server.port, 1, self.for_requests(100)))
                served = [answer.seconds for _, answer in sent]
                rounds.append(
                    {
                        "direct_p50_ms": quantile(direct, 0.5),
                        "direct_p99_ms": quantile(direct, 0.99),
                        "served_p50_ms": quantile(served, 0.5),
                        "served_p99_ms": quantile(served, 0.99),
                    }
                )
        middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        p50 = statistics.median(one["served_p50_ms"] / one["direct_p50_ms"] for one in rounds)
        p99 = statistics.median(one["served_p99_ms"] / one["direct_p99_ms"] for one in rounds)
        worst = statistics.median(one["served_p99_ms"] / one["direct_p50_ms"] for one in rounds)
        return {
            **middle,
            "rounds": rounds,
            "p50_ratio": p50,
            "p99_ratio": p99,
            "p99_to_direct_p50": worst,
            "holds": p50 <= 1.5 and p99 <= 3,
            "reading": f"p50 {middle['served_p50_ms']:.1f} ms, {p50:.2f} times the direct "
            f"predictor's; p99 {middle['served_p99_ms']:.1f} ms, {p99:.2f} times its p99 "
            f"({worst:.2f} times its p50); 5 rounds of 100",
        }

    def sixteen(self) -> dict:
        expected = [self.predictor.predict(radiograph) for radiograph in self.images]
        assessed = sum(one.status == "ok" for one in expected)
        rounds, largest, wrong, refused = [], 0.0, 0, 0
        with self.server() as server:
            asyncio.run(self.closed_loop(server.port, 16, self.for_requests(100)))
            number = max(100, int(20 * self.seconds))
            for _ in range(3):
                started = time.perf_counter()
                list(self.predictor.predict_files(self.images[n % IMAGES] for n in range(number)))
                direct = number / (time.perf_counter() - started)
                started = time.perf_counter()
                found = asyncio.run(self.closed_loop(server.port, 16, self.for_requests(number)))
                served = number / (time.perf_counter() - started)
                rounds.append({"direct_images_per_s": direct, "served_images_per_s": served})
                for which, answer in found:
                    if answer.status != 200:
                        refused += 1
                        continue
                    (said,) = json.loads(answer.body)["answers"]
                    known = expected[which]
                    same = said["file"] == f"{which}.jpg" and said["status"] == known.status
                    if not same or said["label"] != known.label:
                        wrong += 1
                        continue
                    gaps = [
                        abs(p - known.probabilities[k]) for k, p in said["probabilities"].items()
                    ]
                    largest = max([largest, *gaps])
        ratio = statistics.median(
            one["served_images_per_s"] / one["direct_images_per_s"] for one in rounds
        )
        middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        return {
            **middle,
            "rounds": rounds,
            "ratio": ratio,
            "swapped_or_wrong": wrong,
            "not_answered": refused,
            "images_assessed": assessed,
            "largest_difference": largest,
            "holds": ratio >= 0.85 and not wrong and not refused and largest <= 1e-5,
            "reading": f"{middle['served_images_per_s']:.1f} images a second beside "
            f"{middle['direct_images_per_s']:.1f}: {100 * ratio:.0f} %; {wrong} of "
            f"{3 * number} answers of another image or class, {refused} refused; {assessed} of "
            f"{IMAGES} images have scores, their largest difference from the serial ones "
            f"{largest:.1g}; 3 rounds",
        }

    def eight_large(self) -> dict:
        """Eight people with large images, each of whom waits for an answer before the next."""
        rounds, refused = [], 0
        requests = [self.large_request("TIFF")]
        with self.server() as server:
            asyncio.run(self.closed_loop(server.port, 1, self.for_requests(4), requests))
            for _ in range(3):
                row = {}
                for clients, number in ((2, 16), (8, 64)):
                    started = time.perf_counter()
                    goes_on = self.for_requests(number)
                    found = asyncio.run(self.closed_loop(server.port, clients, goes_on, requests))
                    answered = sum(answer.status == 200 for _, answer in found)
                    refused += len(found) - answered
                    row[f"{clients}_clients_images_per_s"] = answered / (
                        time.perf_counter() - started
                    )
                rounds.append(row)
        middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        ratio = statistics.median(
            one["8_clients_images_per_s"] / one["2_clients_images_per_s"] for one in rounds
        )
        return {
            **middle,
            "rounds": rounds,
            "ratio": ratio,
            "refused": refused,
            "holds": not refused and ratio >= 0.95,
            "reading": f"8 clients get {middle['8_clients_images_per_s']:.1f} images of 13 "
            f"megapixels a second, {100 * ratio:.0f} % of what 2 get; {refused} of 240 refused; 3 "
            "rounds",
        }

    def large_request(self, kind: str) -> bytes:
        """Return a request with the first image, enlarged to 13 megapixels."""
        with Image.open(io.BytesIO(self.images[0])) as picture:
            large = io.BytesIO()
            picture.convert("L").resize((3600, 3600)).save(large, kind, quality=90)
        return request_for(large.getvalue(), f"large.{kind.lower()}")

    def admission(self) -> dict:
        """The admission of another version and of this one, in turns, and flooded.

        A client that is refused sends its next image at once.
        """
        if self.before is None:
            raise SystemExit("Expected --before SRC for the row admission, but got none; give one.")
        requests = [self.large_request("JPEG")]
        sides = {"before": self.before, "after": None}
        rounds: list[dict] = []
        unsteady: list[dict] = []
        with contextlib.ExitStack() as stack:
            servers = {
                side: stack.enter_context(self.server(source)) for side, source in sides.items()
            }
            for server in servers.values():
                asyncio.run(self.closed_loop(server.port, 2, self.for_requests(8), requests))
            for _ in range(TRIES):
                row: dict = {}
                for side, server in servers.items():
                    for clients, number in ((2, 16), (8, 64)):
                        started = time.perf_counter()
                        loop = self.closed_loop(
                            server.port, clients, self.for_requests(number), requests, 0
                        )
                        statuses = Counter(answer.status for _, answer in asyncio.run(loop))
                        seconds = time.perf_counter() - started
                        row[f"{side}_{clients}_clients_images_per_s"] = statuses[200] / seconds
                        row[f"{side}_{clients}_clients_refused"] = sum(
                            count for status, count in statuses.items() if status != 200
                        )
                # Where others took the machine meanwhile, the round says nothing.
                speeds = [row[f"{side}_2_clients_images_per_s"] for side in sides]
                (rounds if max(speeds) <= STEADY * min(speeds) else unsteady).append(row)
                if len(rounds) == 3:
                    break
            # The fastest of all: others may take the machine meanwhile.
            rate = 6 * max(
                value
                for row in [*rounds, *unsteady]
                for key, value in row.items()
                if key.endswith("_per_s")
            )
            floods: dict[str, list[dict]] = {side: [] for side in sides}
            for _ in range(3):
                for side, server in servers.items():
                    floods[side].append(asyncio.run(self.flood(server, requests[0], rate)))
        flooded = {
            side: {key: statistics.median(one[key] for one in every) for key in every[0]}
            for side, every in floods.items()
        }
        every, left_out = [*rounds, *unsteady], len(unsteady)
        sent = 64 * len(every)
        refused = {side: sum(row[f"{side}_8_clients_refused"] for row in every) for side in sides}
        rounds = rounds or unsteady
        shares = [
            row["after_8_clients_images_per_s"] / row["after_2_clients_images_per_s"]
            for row in rounds
        ]
        gains = [
            row["after_8_clients_images_per_s"] / row["before_8_clients_images_per_s"]
            for row in rounds
        ]
        share, gain, flood = statistics.median(shares), statistics.median(gains), flooded["after"]
        return {
            "rounds": rounds,
            "rounds_left_out": unsteady,
            "of_capacity": share,
            "refused": refused,
            "flooded": flooded,
            "floods": floods,
            "holds": not refused["after"]
            and share >= 0.95
            and flood["refused_p99_ms"] <= 100
            and flood["memory_growth"] <= 0.1
            and not flood["hung"],
            "reading": f"8 clients: {refused['before']} of {sent} refused before, "
            f"{refused['after']} after; {100 * share:.0f} % of what 2 clients get, {gain:.2f} "
            f"times the answers a second of before; {len(rounds)} rounds, without {left_out} in "
            f"which the speed of 2 clients changed by more than a factor of {STEADY}. Flooded with "
            f"{rate:.0f} a second, 6 times its capacity (medians of 3 floods, in turns): "
            f"refused after {flood['refused_p50_ms']:.0f} ms (p99 {flood['refused_p99_ms']:.0f} "
            f"ms; before {flooded['before']['refused_p99_ms']:.0f} ms), Retry-After "
            f"{flood['retry_after_s']:.0f} s where who is let in waits "
            f"{flood['accepted_p50_ms'] / 1000:.1f} s (before "
            f"{flooded['before']['accepted_p50_ms'] / 1000:.1f} s); memory "
            f"{100 * flood['memory_growth']:+.1f} %, {flood['hung']} without an answer",
        }

    async def flood(self, server: Server, request: bytes, rate: float) -> dict:
        """Send ``rate`` requests a second, whatever becomes of them."""
        seconds = min(8, self.seconds)

        async def once() -> Answer:
            client = Client(server.port)
            try:
                return await client.send(request)
            finally:
                client.close()

        async def stream(length: float) -> list[Answer]:
            tasks, started = [], time.perf_counter()
            for number in range(int(rate * length)):
                await asyncio.sleep(max(0, started + number / rate - time.perf_counter()))
                tasks.append(asyncio.create_task(once()))
            return await asyncio.gather(*tasks)

        await stream(seconds / 4)
        memory = server.memory()
        answers = await stream(seconds)
        growth = server.memory() / memory - 1
        refused = [answer for answer in answers if answer.status == 503]
        accepted = [answer.seconds for answer in answers if answer.status == 200]
        return {
            "sent": len(answers),
            "accepted": len(accepted),
            "accepted_p50_ms": quantile(accepted, 0.5),
            "accepted_p99_ms": quantile(accepted, 0.99),
            "refused": len(refused),
            "refused_p50_ms": quantile([answer.seconds for answer in refused], 0.5),
            "refused_p99_ms": quantile([answer.seconds for answer in refused], 0.99),
            "retry_after_s": statistics.median(answer.retry_after for answer in refused or answers),
            "hung": len(answers) - len(accepted) - len(refused),
            "memory_mib": memory,
            "memory_growth": growth,
        }

    def overload(self) -> dict:
        async def run(server: Server) -> tuple[float, list[Answer], float]:
            found = await self.closed_loop(server.port, 16, self.for_seconds(5))
            served = [answer for _, answer in found if answer.status == 200]
            capacity, calm = len(served) / 5, quantile([one.seconds for one in served], 0.5)
            tasks, started = [], time.perf_counter()
            for number in range(int(4 * capacity * self.seconds)):
                due = started + number / (4 * capacity)
                await asyncio.sleep(max(0, due - time.perf_counter()))
                tasks.append(asyncio.create_task(once(self.requests[number % IMAGES])))
            ended = time.perf_counter()
            answers = await asyncio.gather(*tasks)
            recovered = 0.0
            while time.perf_counter() - ended < 60:
                answer = await once(self.requests[0])
                if answer.status == 200 and 1000 * answer.seconds <= calm:
                    recovered = time.perf_counter() - ended
                    break
                await asyncio.sleep(0.05)
            return capacity, answers, recovered

        async def once(request: bytes) -> Answer:
            client = Client(server.port)
            try:
                return await client.send(request)
            finally:
                client.close()

        with self.server() as server:
            capacity, answers, recovered = asyncio.run(run(server))
        accepted = [one.seconds for one in answers if one.status == 200]
        refused = [one.seconds for one in answers if one.status in (429, 503)]
        statuses = Counter(one.status for one in answers)
        hung = sum(one.status <= 0 for one in answers)
        others = len(answers) - len(accepted) - len(refused) - hung
        refused_p99, accepted_p99 = quantile(refused, 0.99), quantile(accepted, 0.99)
        late = sum(seconds > 0.1 for seconds in refused)
        return {
            "capacity_images_per_s": capacity,
            "sent": len(answers),
            "statuses": dict(statuses),
            "accepted_images_per_s": len(accepted) / self.seconds,
            "accepted_p50_ms": quantile(accepted, 0.5),
            "accepted_p99_ms": accepted_p99,
            "refused_p50_ms": quantile(refused, 0.5),
            "refused_p99_ms": refused_p99,
            "refused_later_than_100_ms": late,
            "hung": hung,
            "recovery_s": recovered,
            "holds": not late
            and accepted_p99 <= 3000
            and not hung
            and not others
            and 0 < recovered <= 5,
            "reading": f"{len(answers)} requests in {self.seconds:.0f} s, {len(accepted)} accepted "
            f"(p99 {accepted_p99:.0f} ms; {len(accepted) / self.seconds:.1f} a second, capacity "
            f"{capacity:.1f}), {len(refused)} refused (p50 {quantile(refused, 0.5):.0f} ms, p99 "
            f"{refused_p99:.0f} ms, {late} later than 100 ms), {hung} without an answer; back to "
            f"calm after {recovered:.1f} s",
        }

    def mixed(self) -> dict:
        number = int(FULL_MIXED * min(1, self.seconds / 60))
        bad = [request_for(one) for one in damaged(self.images[0])]
        # One good image in five keeps this within minutes; every kind of bad one comes as often.
        requests = [
            self.requests[n % IMAGES] if n % 5 == 0 else bad[n % len(bad)] for n in range(100)
        ]
        statuses: Counter[int] = Counter()
        memory = []
        with self.server() as server:
            for _ in range(10):
                loop = self.closed_loop(server.port, 8, self.for_requests(number // 10), requests)
                statuses.update(answer.status for _, answer in asyncio.run(loop))
                memory.append(server.memory())
        growth = memory[-1] / memory[1] - 1
        errors = sum(count for status, count in statuses.items() if status >= 500 or status <= 0)
        return {
            "sent": sum(statuses.values()),
            "statuses": dict(statuses),
            "memory_mib": memory,
            "growth": growth,
            "holds": not errors and growth <= 0.02 and sum(statuses.values()) >= FULL_MIXED,
            "reading": f"{sum(statuses.values())} requests, one good image in five, {errors} "
            f"answered 5xx or not at all; memory of all processes {memory[1]:.0f} MiB after a "
            f"fifth of them, {memory[-1]:.0f} MiB at the end ({100 * growth:+.1f} %)",
        }

    def storm(self) -> dict:
        bad = [request_for(one) for one in damaged(self.images[0])]

        async def run(port: int, *, stormy: bool) -> tuple[list[Answer], list[Answer]]:
            turns: asyncio.Queue[int] = asyncio.Queue()
            good: list[Answer] = []
            worse: list[Answer] = []
            goes_on = self.for_seconds(self.seconds / 2)

            async def send_good() -> None:
                client = Client(port)
                while goes_on():
                    good.append(await client.send(self.requests[len(good) % IMAGES]))
                    turns.put_nowait(len(good))
                client.close()

            async def send_bad() -> None:
                client = Client(port)
                while True:
                    turn = await turns.get()
                    worse.append(await client.send(bad[turn % len(bad)]))

            senders = [asyncio.create_task(send_bad()) for _ in range(4 * stormy)]
            await asyncio.gather(*(send_good() for _ in range(4)))
            for sender in senders:
                sender.cancel()
            return good, worse

        rounds, errors, sent = [], 0, 0
        with self.server() as server:
            asyncio.run(run(server.port, stormy=True))
            for _ in range(3):
                calm, _ = asyncio.run(run(server.port, stormy=False))
                good, worse = asyncio.run(run(server.port, stormy=True))
                errors += sum(one.status >= 500 or one.status <= 0 for one in [*good, *worse])
                sent += len(worse)
                rounds.append(
                    {
                        "calm_p99_ms": quantile([one.seconds for one in calm], 0.99),
                        "storm_p99_ms": quantile([one.seconds for one in good], 0.99),
                    }
                )
        ratio = statistics.median(one["storm_p99_ms"] / one["calm_p99_ms"] for one in rounds)
        middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
        return {
            **middle,
            "rounds": rounds,
            "bad_sent": sent,
            "errors": errors,
            "ratio": ratio,
            "holds": not errors and ratio <= 2,
            "reading": f"4 clients with good images, 4 that send a bad one for each of them "
            f"({sent} in all): {errors} answered 5xx; p99 of the good ones "
            f"{middle['storm_p99_ms']:.0f} ms beside {middle['calm_p99_ms']:.0f} ms without: "
            f"{ratio:.2f} times; 3 rounds",
        }

    def slow(self) -> dict:
        head = "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"
        form = f"{head}Content-Type: multipart/form-data; boundary=b\r\n"
        part = '--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nx\r\n'
        many = part.encode() * 10_000 + b"--b--\r\n"
        opened = (
            *[("nothing", "", b"")] * 20,
            *[("header, a byte a second", head, b"X")] * 20,
            *[("body, a byte a second", f"{form}Content-Length: 90000\r\n\r\n", b"-")] * 20,
            *[
                (
                    "chunks of a byte, one a second",
                    f"{form}Transfer-Encoding: chunked\r\n\r\n",
                    b"1\r\n-\r\n",
                )
            ]
            * 20,
            *[("a length that lies", f"{form}Content-Length: 90000\r\n\r\n{part}", b"")] * 20,
        )
        closed: dict[str, list[float]] = {}
        health: list[float] = []
        parts: Counter[int] = Counter()
        crumbs: list[float] = []

        async def trickle(port: int, kind: str, first: str, drop: bytes) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            started = time.perf_counter()
            writer.write(first.encode())
            with contextlib.suppress(OSError):
                while time.perf_counter() - started < 60:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(1):
                            if not await reader.read(65536):
                                break
                    writer.write(drop)
            closed.setdefault(kind, []).append(time.perf_counter() - started)
            writer.close()

        async def crumble(port: int, goes_on: Callable[[], bool]) -> None:
            """Send chunks of one byte as fast as they are taken."""
            while goes_on():
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                started = time.perf_counter()
                writer.write(f"{form}Transfer-Encoding: chunked\r\n\r\n".encode())
                with contextlib.suppress(OSError):
                    while not reader.at_eof():
                        writer.write(b"1\r\n-\r\n" * 500)
                        await writer.drain()
                        await asyncio.sleep(0.01)
                crumbs.append(time.perf_counter() - started)
                writer.close()
                await asyncio.sleep(0.2)

        async def flood(port: int, goes_on: Callable[[], bool]) -> None:
            whole = f"{form}Content-Length: {len(many)}\r\n\r\n".encode() + many
            client = Client(port)
            while goes_on():
                parts[(await client.send(whole)).status] += 1
                await asyncio.sleep(0.2)
            client.close()

        async def look(port: int, goes_on: Callable[[], bool]) -> None:
            client = Client(port)
            asked = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
            while goes_on():
                answer = await client.send(asked)
                health.append(answer.seconds if answer.status == 200 else HUNG_S)
                await asyncio.sleep(0.05)
            client.close()

        async def run(port: int) -> None:
            goes_on = self.for_seconds(max(20, self.seconds / 2))
            await asyncio.gather(
                look(port, goes_on),
                *(trickle(port, *one) for one in opened),
                *(crumble(port, goes_on) for _ in range(4)),
                *(flood(port, goes_on) for _ in range(4)),
            )

        with self.server() as server:
            asyncio.run(run(server.port))
        last = {kind: max(seconds) for kind, seconds in closed.items()}
        p99 = quantile(health, 0.99)
        wrong = sum(count for status, count in parts.items() if status != 422)
        longest = max(*last.values(), *crumbs)
        return {
            "closed_after_s": last,
            "crumbs_closed_after_s": max(crumbs),
            "tiny_parts_statuses": dict(parts),
            "healthz_asked": len(health),
            "healthz_p50_ms": quantile(health, 0.5),
            "healthz_p99_ms": p99,
            "healthz_max_ms": 1000 * max(health),
            "holds": longest <= 15 and p99 <= 100 and not wrong,
            "reading": f"{len(opened)} slow clients of {len(last)} kinds, all closed within "
            f"{max(last.values()):.1f} s; one-byte chunks at full speed ended within "
            f"{max(crumbs):.1f} s; 10,000 tiny parts answered {dict(parts)}; /healthz p99 "
            f"{p99:.0f} ms, longest {1000 * max(health):.0f} ms of {len(health)}",
        }

    def sigterm(self) -> dict:
        told: dict[str, float] = {}

        def end(server: Server) -> None:
            time.sleep(5)
            told["sent"] = time.perf_counter()
            server.process.send_signal(signal.SIGTERM)
            while server.get("/readyz").status == 200:
                time.sleep(0.005)
            told["not_ready_s"] = time.perf_counter() - told["sent"]
            server.process.wait(60)
            told["exit_s"] = time.perf_counter() - told["sent"]

        async def run(server: Server) -> list[tuple[int, Answer]]:
            goes_on = self.for_seconds(60)
            return await self.closed_loop(server.port, 16, goes_on)

        with self.server() as server:
            ending = threading.Thread(target=end, args=(server,))
            ending.start()
            found = asyncio.run(run(server))
            ending.join()
            code = server.process.returncode
        statuses = Counter(answer.status for _, answer in found)
        lost = statuses[0]
        failed = sum(count for status, count in statuses.items() if status >= 500 and status != 503)
        return {
            "statuses": dict(statuses),
            "lost": lost,
            "not_ready_after_ms": 1000 * told["not_ready_s"],
            "exit_code": code,
            "exit_after_s": told["exit_s"],
            "holds": not lost
            and not failed
            and code == 0
            and told["exit_s"] <= 30
            and told["not_ready_s"] < 1,
            "reading": f"16 clients; /readyz off {1000 * told['not_ready_s']:.0f} ms after the "
            f"signal, {statuses[200]} answered, {statuses[503]} told that the server stops, {lost} "
            f"without an answer; exit {code} after {told['exit_s']:.1f} s",
        }

    def kill(self) -> dict:
        found: list[tuple[int, Answer]] = []
        replaced: list[float] = []
        alive = 0

        def strike(server: Server) -> None:
            nonlocal alive
            before = server.decoders()
            alive = len(before)
            for _ in range(3):
                time.sleep(3)
                started = time.perf_counter()
                count = server.metric("cxr_workers_replaced")
                os.kill(server.decoders()[0], signal.SIGKILL)
                while server.metric("cxr_workers_replaced") == count:
                    time.sleep(0.02)
                replaced.append(time.perf_counter() - started)

        with self.server() as server:
            striking = threading.Thread(target=strike, args=(server,))
            striking.start()
            goes_on = striking.is_alive
            found = asyncio.run(self.closed_loop(server.port, 16, goes_on))
            striking.join()
        statuses = Counter(answer.status for _, answer in found)
        codes = Counter(
            code(answer.body) for _, answer in found if answer.status not in (200, 0, -1)
        )
        failed = codes["worker_lost"]
        # One image each time, or none where the decoder had none at that moment; were it none in
        # all, the kills were not felt, and nothing is known.
        fair = set(codes) <= {"worker_lost", "busy"} and 1 <= failed <= 3
        fair &= not statuses[0] and not statuses[-1]
        return {
            "decoders": alive,
            "statuses": dict(statuses),
            "codes": dict(codes),
            "replaced_after_s": replaced,
            "holds": fair and max(replaced) <= 5,
            "reading": f"16 clients, a decoder killed 3 times: {failed} requests failed (503), "
            f"{statuses[200]} did not, {codes['busy']} found the queue full; "
            f"replaced after {max(replaced):.1f} s at most",
        }

    def starts(self) -> dict:
        def run_self_test(*words: str, **settings: str) -> dict:
            started = time.perf_counter()
            done = subprocess.run(
                [*SERVE, *words],
                capture_output=True,
                text=True,
                check=False,
                env=os.environ | settings,
            )
            lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
            return {
                "exit_code": done.returncode,
                "seconds": time.perf_counter() - started,
                "lines": len(lines),
                "last": re.sub(r"/\S+/", "", lines[-1]) if lines else "",
            }

        found = {}
        with tempfile.TemporaryDirectory() as folder:
            card, weights = checkpoint_files(Path(self.model))
            shutil.copy(card, folder)
            whole = weights_at_hand(read_card(card), weights)
            Path(folder, weights.name).write_bytes(whole.read_bytes()[:-1000])
            found["corrupt model"] = run_self_test("--model", folder, "--port", "0")
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = str(other.getsockname()[1])
            found["busy port"] = run_self_test("--model", self.model, "--port", port)
        found["no token"] = run_self_test("--model", self.model, "--host", "0.0.0.0", "--port", "0")
        expected = {"corrupt model": 4, "busy port": 5, "no token": 2}
        right = all(
            found[name]["exit_code"] == code and found[name]["seconds"] <= 5
            for name, code in expected.items()
        )
        # INTENDED_USE and the cause: no more.
        right &= all(
            one["lines"] <= 2 and one["last"].startswith("cxr: ") for one in found.values()
        )
        said = "; ".join(
            f"{name}: exit {one['exit_code']} after {one['seconds']:.1f} s"
            for name, one in found.items()
        )
        return {"cases": found, "holds": right, "reading": said}

    def schemathesis(self) -> dict:
        with self.server() as server:
            done = subprocess.run(
                [
                    str(Path(sys.executable).with_name("schemathesis")),
                    "run",
                    f"http://127.0.0.1:{server.port}/openapi.json",
                    "--checks=all",
                    # No schema can say which bytes are an image.
                    "--exclude-checks=positive_data_acceptance",
                    f"--max-examples={max(10, int(self.seconds))}",
                    "--seed=1",
                    "--generation-database=none",
                    "--no-color",
                ],
                capture_output=True,
                text=True,
                check=False,
            )
            alive = server.get("/healthz").status == 200
        summary = re.search(r"Test cases:\s*\n(.*?)\n\n", done.stdout, re.DOTALL)
        said = " ".join(summary[1].split()) if summary else done.stdout.strip().splitlines()[-1]
        return {
            "exit_code": done.returncode,
            "summary": said,
            "output_when_failed": done.stdout[-6000:] if done.returncode else "",
            "holds": done.returncode == 0 and alive,
            "reading": f"all checks but that schema-valid bytes are an image: {said}",
        }


def page(content: dict) -> str:
    """Return the results for people."""
    rows = content["rows"]
    lines = [
        "# The server under load",
        "",
        "Written by `benchmarks/serving.py`; numbers in [serving.json](serving.json). Loopback, "
        "JPEG images of about one megapixel, the client on the same two cores as the "
        "server; times of the predictor that stands behind the server are taken in turns with it.",
        "",
        INTENDED_USE,
        "",
        "| test | goal | holds | measured |",
        "|---|---|---|---|",
    ]
    for name, goal in GOALS.items():
        row = rows.get(name)
        said = (
            f"{'yes' if row['holds'] else '**no**'} | {row['reading']}" if row else "| not measured"
        )
        lines.append(f"| {name.replace('_', ' ')} | {goal} | {said} |")
    lines += [
        "",
        "| test | model | images | machine | commit | time |",
        "|---|---|---|---|---|---|",
    ]
    for name in GOALS:
        if name in rows:
            at = rows[name]["measured"]
            machine = f"{at['machine']['processor']}, {at['machine']['cores']} cores"
            short = provenance.short(at["commit"])
            images = at.get("images", "generated")
            where = f"{at['model']} | {images} | {machine} | `{short}` | {at['time']}"
            lines.append(f"| {name} | {where} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="model_3")
    parser.add_argument("--data", type=Path, help="Archives, for real images; else generated ones.")
    parser.add_argument("--only", help="Rows, with commas; else all that can be measured.")
    parser.add_argument(
        "--before", type=Path, help="Sources (src) of an earlier version, for the row admission."
    )
    parser.add_argument("--seconds", type=float, default=60, help="Length of a load test.")
    parser.add_argument("--out", type=Path, default=Path("docs/results/serving"))
    given = parser.parse_args()
    measured = [name for name in GOALS if given.before or name != "admission"]
    wanted = given.only.split(",") if given.only else measured
    if unknown := set(wanted) - GOALS.keys():
        parser.error(f"unknown rows: {', '.join(sorted(unknown))}")
    results = given.out.with_suffix(".json")
    rows = json.loads(results.read_text(encoding="utf-8"))["rows"] if results.exists() else {}
    bench = Bench(given.model, given.seconds, given.data, given.before)
    for name in wanted:
        row = getattr(bench, name)()
        row["measured"] = {
            "model": bench.predictor.model,
            "images": "Dataset_1, enlarged" if given.data else "generated",
            "seconds": given.seconds,
            "time": provenance.now(),
            "commit": provenance.commit(),
            "machine": provenance.machine(),
            "versions": provenance.versions(),
        }
        rows[name] = row
        print(f"{name}: {'holds' if row['holds'] else 'FALLS SHORT'}: {row['reading']}", flush=True)
        content = {
            "intended_use": INTENDED_USE,
            "command": "python benchmarks/serving.py",
            "goals": GOALS,
            "rows": {one: rows[one] for one in GOALS if one in rows},
        }
        write_json(results, content)
        write_text(given.out.with_suffix(".md"), page(content))


if __name__ == "__main__":
    main()
