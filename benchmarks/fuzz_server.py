"""Send a real `cxr serve` damaged images, forms and HTTP, and check all that comes back.

    python benchmarks/fuzz_server.py --inputs 20000 --out docs/results/fuzz_server.json

Several clients at once, over plain sockets. Half of the requests are whole forms of images damaged
by ``fuzz_mutations.py``, for `/v1/predict`, `/v1/image` and now and then a heat map or a report;
the others are forms damaged in their bytes, bodies that are shorter, longer or otherwise chunked
than their head says, clients that leave, odd methods, paths, queries, content types, hosts and
headers, and heads damaged in their bytes. A failure is: a status that the description does not have
(500 above all); a body that does not fit its schema, or another number of answers than images were
sent; no answer to a request that was whole; an image that a worker crashed, hung or ran out of
memory on; a worker that was replaced; the server, once it is ready, or a process of its with 1 GB
or more; a patient's name in a message or in the log, or a line of log that is no JSON or tells of a
fault of our own; a server that at the end is not healthy, or does not leave in order. Uses one
core, for the server and its workers, too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ValidationError

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.files import write_json
from cxr_transfer.serving.schemas import (
    Answers,
    Audit,
    Health,
    Kept,
    Models,
    Readiness,
    Refused,
    RefusedAnswers,
)
from fuzz_ended import strict_json
from fuzz_mutations import by_bytes, mutated
from fuzz_seeds import NAMES, encoded, seeds
from made import chest

MEMORY = 1_000_000_000
CLIENTS = 6
WAITED_S = 60.0
LEFT_S = 15.0
"""How long a client that sent half a request still listens."""
BUSY = 8  # times that a whole request is sent again while the server has no room
MODELS = ("multi_source", "model_3")
JSON = ("application/json", "application/problem+json")
STATUSES = (200, 201, 204, 307, 400, 403, 404, 405, 413, 415, 422, 503)
CRASHES = ("decode_timeout", "decoder_crashed", "worker_lost", "too_large_to_decode", "unreadable")
METHODS = (
    "GET",
    "HEAD",
    "PUT",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PATCH",
    "jane",
    "P\x01ST",
)
PATHS = (
    *("/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/models", "/v1/predict"),
    *("/v1/images", "/v1/images/jane/heatmap", f"/v1/images/{'0' * 64}/predictions"),
    *("/v1/image", "/v1/report", "/v1/models/multi_source/card", "/v1/models/multi_source/audit"),
    *("/v1/models/jane/card", "/v1/models/../../etc/passwd/card", "/../../etc/passwd"),
    *("/%2e%2e/%2e%2e/etc/passwd", "/%00", "/index.html", "/healthz/", "//evil.example/jane"),
    *("/v1/models/%ff%fe/card", "/" + "jane" * 500, "/jane%0d%0aX-Injected:%201", "*", "jane"),
    *("http://evil.example/v1/models", "/v1/models/%E2%80%AE/audit", "/docs", "/redoc", "/a b"),
)
QUERIES = (
    *("", "", "?model=multi_source", "?model=jane", "?heat_map=jane", "?model=%ff&model=%00"),
    *("?model[]=x", "?" + "a=b&" * 500, "?heat_map=true", "?\xff", "?model=../../x", "??=&&="),
)
TYPES = (
    *("multipart/form-data; boundary=b", "multipart/form-data", "multipart/form-data; boundary="),
    *("multipart/form-data; boundary=" + "b" * 300, "multipart/mixed; boundary=b", "text/plain"),
    *("application/json", "image/png", "MULTIPART/FORM-DATA; BOUNDARY=b", "multipart/form-data;b"),
    *('multipart/form-data; boundary="b"', "multipart/form-data; charset=utf-16; boundary=b"),
    *("multipart/form-data; boundary=\xff\xfe", "application/x-www-form-urlencoded", ""),
)
HEADERS = (
    *("Host: evil.example", "Host: localhost:99999", "Host:", "Origin: http://evil.example"),
    *("Origin: null", "Sec-Fetch-Site: cross-site", "X-Request-ID: Doe^Jane^1970", "Expect: jane"),
    *("X-Request-ID: " + "a" * 200, "Transfer-Encoding: gzip", "Content-Length: -1"),
    *("Content-Length: 99999999999999999999", "Content-Length: 5, 6", "Content-Length: jane"),
    *("Upgrade: websocket", "Upgrade: h2c", "Connection: upgrade", "Range: bytes=0-5"),
    *("X-Forwarded-For: jane", "Authorization: Bearer jane", "Cookie: name=jane", "Jane: doe"),
    *("Bad Header: x", "X-Long: " + "x" * 20_000, "Accept-Encoding: gzip, br", " folded: jane"),
    *("Content-Encoding: gzip", "Expect: 100-continue", "X\x00: y", "Host: localhost\r\nHost: b"),
)
FILE_NAMES = (
    *(
        "image.png",
        "Doe^Jane^1970.dcm",
        "../../etc/passwd",
        "C:\\jane.jpg",
        "",
        "a\x00b",
        "x" * 5000,
    ),
    *("\u202egnp.jane", "Jürgen.tif", "\xff\xfe", 'a"b', "a\r\nX: y", "=cmd()", "\x1b[31mjane"),
)


@dataclass
class Sent:
    """One request, and what may be expected of its answer.

    Attributes:
        content: All bytes of it.
        is_whole: Whether it must be answered: nobody has damaged its head or its length.
        images: Number of images in it; None where nobody can know.
        route: Route that it is for; "" where that may be any.
        closes: Whether the client is gone at once when it has sent.
    """

    content: bytes
    is_whole: bool = False
    images: int | None = None
    route: str = ""
    closes: bool = False


class Requests:
    """The requests of a run, each by its number alone."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        made, real = seeds()
        self._images = list(made.values())
        self._images += [encoded(chest(number)) for number in range(6)]
        self._images += [encoded(chest(number), "JPEG") for number in range(6)]
        self._large = list(real.values())

    def __getitem__(self, number: int) -> Sent:
        rng = np.random.default_rng([self._seed, number])
        kind = rng.random()
        if kind < 0.5:
            return self._form_of_images(rng)
        if kind < 0.65:
            return self._damaged_form(rng)
        if kind < 0.75:
            return self._lying(rng)
        if kind < 0.9:
            return self._odd(rng)
        whole = self._form_of_images(rng).content
        head, _, body = whole.partition(b"\r\n\r\n")
        return Sent(by_bytes(head, whole, rng) + b"\r\n\r\n" + body)

    def _image(self, rng: np.random.Generator) -> bytes:
        if self._large and rng.random() < 0.005:
            return self._large[int(rng.integers(len(self._large)))]
        content = self._images[int(rng.integers(len(self._images)))]
        if rng.random() < 0.15:
            return content
        return mutated(content, self._images[int(rng.integers(len(self._images)))], rng)

    def _form(
        self, rng: np.random.Generator, *, field: str = "files", most: int = 3, odd: bool = False
    ) -> tuple[bytes, int]:
        """Return a form, and how many images are in it."""
        parts, images = [], int(rng.integers(1, most + 1))
        for number in range(images):
            name = f"image{number}.png"
            if rng.random() < 0.3:
                name = FILE_NAMES[int(rng.integers(len(FILE_NAMES)))]
                if not odd:
                    name = name.translate({ord(sign): "_" for sign in '"\r\n\0'}) or "x"
            head = f'Content-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
            content = self._image(rng).replace(b"\r\n--b", b"\r\n--c")
            parts.append(head.encode("utf-8", "replace") + b"\r\n" + content)
        if rng.random() < 0.2:
            value = ("model_3", "multi_source")[int(rng.integers(2))].encode()
            parts.append(b'Content-Disposition: form-data; name="model"\r\n\r\n' + value)
        body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"
        return body, images

    def _form_of_images(self, rng: np.random.Generator) -> Sent:
        kind = rng.random()
        route = "/v1/image" if kind < 0.25 else "/v1/report" if kind < 0.26 else "/v1/predict"
        most = {"/v1/image": 1, "/v1/report": 2}.get(route, 3)
        field = "file" if route == "/v1/image" else "files"
        body, images = self._form(rng, field=field, most=most)
        query = "?heat_map=true" if route == "/v1/predict" and rng.random() < 0.02 else ""
        return Sent(posted(route + query, body), True, images, route)

    def _damaged_form(self, rng: np.random.Generator) -> Sent:
        body, _ = self._form(rng, odd=True)
        # Mostly what stands between the images: bytes of images are damaged elsewhere.
        places = [at for at in range(len(body)) if body.startswith(b"--b", at)]
        at = places[int(rng.integers(len(places)))]
        reach = by_bytes(body[at : at + 150], body, rng)
        return Sent(posted("/v1/predict", body[:at] + reach + body[at + 150 :]), True)

    def _lying(self, rng: np.random.Generator) -> Sent:
        """Return a body that is not what its head says."""
        body, images = self._form(rng)
        match rng.integers(7):
            case 0:  # longer than it is said to be
                less = int(rng.integers(0, len(body)))
                return Sent(posted("/v1/predict", body, length=less))
            case 1:  # shorter, and the client has gone
                more = len(body) + int(rng.integers(1, 100_000))
                return Sent(posted("/v1/predict", body, length=more), closes=bool(rng.integers(2)))
            case 2:  # far more than may come
                return Sent(posted("/v1/predict", body[:100], length=10**10), True)
            case 3:  # cut off anywhere
                whole = posted("/v1/predict", body)
                cut = whole[: int(rng.integers(1, len(whole)))]
                return Sent(cut, closes=bool(rng.integers(2)))
            case 4:  # in chunks, as it may be
                return Sent(posted("/v1/predict", chunked(body, rng), length=None), True, images)
            case 5:  # in chunks that are damaged
                pieces = by_bytes(chunked(body, rng), b"0\r\n\r\nffffffffffffffff\r\n;x=y", rng)
                return Sent(posted("/v1/predict", pieces, length=None))
            case _:  # two requests behind one another, or something else behind the first
                second = posted("/v1/predict", self._form(rng)[0])
                behind = second if rng.random() < 0.5 else rng.bytes(50)
                return Sent(posted("/v1/predict", body, more="Connection: keep-alive") + behind)

    def _odd(self, rng: np.random.Generator) -> Sent:
        """Return a head that nobody would send."""
        path = PATHS[int(rng.integers(len(PATHS)))] + QUERIES[int(rng.integers(len(QUERIES)))]
        kind = rng.random()
        if kind < 0.4:
            method = METHODS[int(rng.integers(len(METHODS)))] if kind < 0.2 else "GET"
            head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            return Sent(head.encode("latin-1", "replace"))
        body, _ = self._form(rng)
        if kind < 0.7:
            of_type = TYPES[int(rng.integers(len(TYPES)))]
            route = ("/v1/predict", "/v1/image", "/v1/report")[int(rng.integers(10)) % 10 // 5]
            return Sent(posted(route, body, of_type=of_type))
        more = HEADERS[int(rng.integers(len(HEADERS)))]
        route = path if rng.random() < 0.3 else "/v1/predict"
        return Sent(posted(route, body, more=more))


def posted(
    route: str,
    body: bytes,
    *,
    length: int | None = -1,
    of_type: str = "multipart/form-data; boundary=b",
    more: str = "Connection: close",
) -> bytes:
    """Return a POST; a length of None is told in chunks, -1 is the body's own."""
    said = (
        "Transfer-Encoding: chunked"
        if length is None
        else f"Content-Length: {len(body) if length < 0 else length}"
    )
    lines = [f"POST {route} HTTP/1.1", "Host: localhost", f"Content-Type: {of_type}", said, more]
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body


def chunked(body: bytes, rng: np.random.Generator) -> bytes:
    """Return a body in chunks."""
    pieces, at = [], 0
    while at < len(body):
        size = int(2 ** rng.uniform(8, 16))
        piece = body[at : at + size]
        pieces.append(b"%x\r\n%s\r\n" % (len(piece), piece))
        at += size
    return b"".join(pieces) + b"0\r\n\r\n"


@dataclass
class Response:
    """One answer as it came.

    Attributes:
        status: Status.
        headers: By name in small letters.
        body: Body.
    """

    status: int
    headers: dict[str, str]
    body: bytes


async def asked(port: int, sent: Sent) -> list[Response]:
    """Send one request, and return the answers that come until the server closes.

    Raises:
        TimeoutError: It does not.
        ValueError: What comes is no HTTP.
    """
    loop, came = asyncio.get_running_loop(), b""
    # A plain socket: what came before the other side hung up is still read.
    with socket.socket() as one:
        one.setblocking(False)
        async with asyncio.timeout(WAITED_S if sent.is_whole else LEFT_S):
            await loop.sock_connect(one, ("127.0.0.1", port))
            with contextlib.suppress(OSError):
                await loop.sock_sendall(one, sent.content)
                if sent.closes:
                    return []
                if not sent.is_whole:
                    one.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                while piece := await loop.sock_recv(one, 1 << 16):
                    came += piece
    return list(responses(came))


def responses(came: bytes) -> list[Response]:
    """Return the answers in what a connection brought."""
    found = []
    while came:
        head, end, came = came.partition(b"\r\n\r\n")
        if not end or not head.startswith(b"HTTP/1.1 "):
            raise ValueError(f"no HTTP: {head[:40]!r}")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        status = int(first.split()[1])
        if status == 100:
            continue
        length = headers.get("content-length")
        size = int(length) if length is not None else len(came)
        body, came = came[:size], came[size:]
        found.append(Response(status, headers, body))
    return found


def wrong_with(sent: Sent, answers: list[Response]) -> list[str]:
    """Return what is wrong with the answers to a request."""
    if not answers:
        return ["no answer to a whole request"] if sent.is_whole else []
    found = []
    for answer in answers:
        if answer.status not in STATUSES:
            found.append(f"status {answer.status}")
        if answer.status == 503 and "retry-after" not in answer.headers:
            found.append("503 without Retry-After")
        found += _wrong_with_body(sent, answer)
    return found


def _wrong_with_body(sent: Sent, answer: Response) -> list[str]:
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if sent.content.startswith(b"HEAD ") or kind not in JSON:
        if b"Traceback" in answer.body:
            return ["a traceback in an answer"]
        is_png = kind == "image/png" and answer.status == 200 and sent.route == "/v1/image"
        if is_png and not answer.body.startswith(b"\x89PNG"):
            return ["a picture that is none"]
        return []
    try:
        content = strict_json(answer.body.decode("utf-8"))
    except ValueError as error:
        return [f"JSON that is none: {error}"[:80]]
    if "openapi" in content:
        return []
    kinds: tuple[type[BaseModel], ...] = (RefusedAnswers, Refused)
    if answer.status == 201:
        kinds = (Kept,)
    elif answer.status == 200 and not sent.route:
        kinds = (Answers, Models, Audit, Health, Readiness)
    elif answer.status == 200:
        kinds = (Answers,)
    elif answer.status == 503 and not sent.route:
        kinds = (RefusedAnswers, Refused, Readiness)
    for model in kinds:
        with contextlib.suppress(ValidationError):
            model.model_validate(content, strict=True)
            break
    else:
        return ["JSON of another form"]
    return list(_wrong_with_answers(sent, content))


def _wrong_with_answers(sent: Sent, content: dict[str, object]) -> list[str]:
    found = []
    lines = [str(content.get("code", "")), str(content.get("message", ""))]
    rows = content.get("answers", [])
    if rows and sent.images is not None and len(rows) != sent.images:
        found.append(f"{len(rows)} answers for {sent.images} images")
    for row in rows:
        lines += [row["code"], row["message"], *row["warnings"]]
        if row["code"] in CRASHES:
            found.append(f"an image was too much: {row['code']}")
        if row["status"] == "ok" and abs(sum(row["probabilities"].values()) - 1) > 1e-4:
            found.append("scores that do not sum to 1")
    if content.get("code") in CRASHES:
        found.append(f"an image was too much: {content['code']}")
    if any(name in line.lower() for line in lines for name in NAMES):
        found.append("a name in a message")
    if any(not line.isprintable() for line in lines):
        found.append("an odd message")
    return found


# The server


class Server:
    """`cxr serve` in a process of its own, its log in a file."""

    def __init__(self, log: Path) -> None:
        self.log = log
        words = [word for model in MODELS for word in ("--model", model)]
        with log.open("wb") as handle:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cxr_transfer.cli", "serve", "--port", "0", *words],
                stderr=handle,
                stdout=handle,
            )
        self.port = 0
        self.peaks: dict[str, int] = {}
        self.opening = 0
        while not self.port:
            time.sleep(0.2)
            for line in log.read_text().splitlines():
                if '"listening"' in line:
                    self.port = json.loads(line)["port"]
            if self.process.poll() is not None:
                raise SystemExit(f"Expected a server, but got: {log.read_text()}")

    async def get(self, path: str) -> Response:
        """Return the answer to a GET."""
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        (answer,) = await asked(self.port, Sent(head.encode(), True))
        return answer

    def forget(self) -> None:
        """Let the peak of the server's memory begin anew: to open models takes more."""
        self.look()
        self.opening = self.peaks.pop("server")
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def look(self) -> None:
        """Note the most memory that each process had so far."""
        pids = {self.process.pid: "server"}
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                for child in (task / "children").read_text().split():
                    words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                    pids[int(child)] = "explainer" if b"writes" in words else "worker"
        for pid, name in pids.items():
            with contextlib.suppress(OSError, StopIteration):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                held = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
                self.peaks[name] = max(self.peaks.get(name, 0), held * 1024)

    async def metric(self, name: str) -> float:
        """Return one of the server's own counts."""
        lines = (await self.get("/metrics")).body.decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))

    def stop(self) -> int:
        """Tell it to stop, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def wrong_with_log(text: str) -> Counter[str]:
    """Return what is wrong with the log."""
    found: Counter[str] = Counter()
    for line in text.splitlines():
        if line == INTENDED_USE:
            continue
        if any(name in line.lower() for name in NAMES):
            found["a name in the log"] += 1
        try:
            known = strict_json(line)
        except ValueError:
            found["a line of log that is no JSON"] += 1
            continue
        if known["event"] in ("failed", "decoder_failed", "library"):
            found[f"the log tells of: {known['event']} {known.get('type', '')}".strip()] += 1
    return found


async def run(server: Server, requests: Requests, inputs: int, kept: Path | None) -> dict:
    """Send all requests, and return what came of them."""
    statuses: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    examples: dict[str, list[int]] = {}
    numbers = iter(range(inputs))
    slowest = 0.0

    def note(what: str, number: int, sent: Sent) -> None:
        failures[what] += 1
        examples.setdefault(what, [])
        if len(examples[what]) < 3:
            examples[what].append(number)
            print(f"request {number}: {what}", flush=True)
            if kept:
                kept.mkdir(parents=True, exist_ok=True)
                (kept / str(number)).write_bytes(sent.content)

    async def client() -> None:
        nonlocal slowest
        for number in numbers:
            sent = requests[number]
            started = time.monotonic()
            try:
                for _ in range(BUSY):
                    answers = await asked(server.port, sent)
                    if not (sent.is_whole and answers and answers[0].status == 503):
                        break
                    statuses["503, sent again"] += 1
                    await asyncio.sleep(0.3)
                found = wrong_with(sent, answers)
                for answer in answers:
                    statuses[str(answer.status)] += 1
                if not answers:
                    statuses["none"] += 1
            except TimeoutError:
                found = ["no end"]
            except (ValueError, OSError) as error:
                found = [f"{type(error).__name__}: {error}"[:80]]
            slowest = max(slowest, time.monotonic() - started)
            for what in found:
                note(what, number, sent)
            if number % 200 == 0:
                server.look()
            if number % 1000 == 0:
                print(f"{number} requests, {sum(failures.values())} failures", flush=True)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    server.look()
    health = (await server.get("/healthz")).status, (await server.get("/readyz")).status
    if health != (200, 200):
        failures[f"at the end /healthz and /readyz answer {health}"] += 1
    replaced = int(await server.metric("cxr_workers_replaced"))
    if replaced:
        failures["workers were replaced"] += replaced
    for name, held in server.peaks.items():
        if held > MEMORY:
            failures[f"{name} with more than 1 GB"] += 1
    return {
        "statuses": dict(statuses.most_common()),
        "failures": failures,
        "examples": examples,
        "slowest_seconds_by_the_clock": round(slowest, 1),
        "peak_memory_megabytes": {name: round(held / 1e6) for name, held in server.peaks.items()}
        | {"server while it opens models": round(server.opening / 1e6)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/fuzz_server.json"))
    parser.add_argument("--failures", type=Path, help="a folder to keep failing requests in")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    commit, started, begun = provenance.commit(), provenance.now(), time.monotonic()
    for model in MODELS:
        # A server that converts a network itself keeps torch, half a gigabyte that no request took.
        opening = f"from cxr_transfer.inference.predictor import Predictor as P; P.open({model!r})"
        subprocess.run([sys.executable, "-c", opening], check=True)
    with tempfile.TemporaryDirectory() as place:
        server = Server(Path(place, "log"))
        try:

            async def all_of_it() -> dict:
                while (await server.get("/readyz")).status != 200:
                    await asyncio.sleep(0.5)
                server.forget()
                requests = Requests(options.seed)
                return await run(server, requests, options.inputs, options.failures)

            found = asyncio.run(all_of_it())
            code = server.stop()
        finally:
            server.process.kill()
            server.process.wait()
        text = server.log.read_text(errors="replace")
        if options.failures:
            options.failures.mkdir(parents=True, exist_ok=True)
            (options.failures / "log").write_text(text)
    failures = found.pop("failures") + wrong_with_log(text)
    if code or '"stopped"' not in text.splitlines()[-1]:
        failures[f"ended with {code}"] += 1
    write_json(
        options.out,
        {
            "intended_use": INTENDED_USE,
            "command": f"python benchmarks/fuzz_server.py --inputs {options.inputs} "
            f"--seed {options.seed} --out {options.out}",
            "date": started,
            "commit": commit,
            "machine": provenance.machine(),
            "versions": provenance.versions(),
            "seed": options.seed,
            "limits": {"memory_bytes": MEMORY, "clients": CLIENTS},
            "inputs": options.inputs,
            "minutes": round((time.monotonic() - begun) / 60, 1),
            "failures": dict(failures.most_common()),
            **found,
        },
    )
    print(f"{options.inputs} requests, {dict(failures)}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
