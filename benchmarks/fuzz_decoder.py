"""Feed the decoder damaged images, and count what it answers.

    python benchmarks/fuzz_decoder.py --inputs 550000 --out docs/results/fuzz_decoder.json

Seeds are those of ``fuzz_seeds.py``: a generated image in every format, depth and transfer syntax,
and a real one. Each input is one of them, damaged by ``fuzz_mutations.py``: in its bytes, or in
what its format is made of. It is decoded in a worker process, under any name, and sometimes with
``any_modality``. A radiograph in [0, 1], or a `ImageError` with a code that is documented and a
line that quotes nothing of the file, is an answer. A failure is anything else: another exception;
more than 5 seconds of the processor; 1 GB of memory beyond what the process had; a byte on standard
output or error, whoever wrote it; a warning of Python's; another state of the process afterwards
(warning filters, loggers, numpy's error state, open files, threads); for every sixteenth input
another answer when it is decoded again. Warnings are collected and not raised: the decoder would
take an exception for damage, and hide it. The structural bombs of ``tests/made_bombs.py`` and
images as large as may be are measured first, one process each. Failing inputs are kept where
--failures says; --only runs one again. Uses one core.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.metadata
import logging
import multiprocessing
import os
import resource
import sys
import threading
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom.config
from PIL import Image, ImageFile
from pydicom.uid import JPEG2000Lossless, JPEGExtended12Bit, JPEGLosslessSV1, JPEGLSLossless

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.errors import ImageError
from cxr_transfer.files import write_json
from cxr_transfer.radiograph import Radiograph, decode
from fuzz_mutations import mutated
from fuzz_seeds import NAMES, REFUSED, holding, seeds
from made import encoded
from made_bombs import BOMBS
from made_dicom import dicom

MEMORY = 1_000_000_000
ADDRESSES = 3 << 30  # beyond what it has: less would turn too much memory into a decoder's error
SECONDS = 5.0
STILL = 300.0  # seconds by the clock without an answer: it waits for something
RENEWED = 2000  # inputs after which a new worker starts
AGAIN = 16
PACKAGES = ("pillow", "pydicom", "imagecodecs", "numpy")
REAL_SHARE = 0.02  # they are a hundred times as large as the others
NAMED = ("", "", "JPEG", "PNG", "TIFF", "DICOM")
CODES = frozenset(
    (
        *("empty_file", "unsupported_format", "too_many_pixels", "too_small", "bad_aspect"),
        *("too_complex", "insufficient_depth", "multi_frame", "truncated_image", "corrupt_image"),
        *("blank_image", "no_pixel_data", "wrong_modality", "for_processing", "colour_dicom"),
        *("unsupported_syntax", "pixel_length_mismatch", "bad_grey_scale", "too_many_bytes"),
    )
)


@dataclass(frozen=True)
class Answer:
    """What became of one input.

    Attributes:
        code: "image", a code of the decoder's, or "FAILED: " and why.
        seconds: Processor time that it took.
        memory: Most bytes that the process held meanwhile, beyond what it had before.
    """

    code: str
    seconds: float
    memory: int


def judged(radiograph: Radiograph) -> str:
    """Return "image", or why this is none."""
    pixels = radiograph.stored
    if pixels.ndim != 2 or min(pixels.shape) < 128 or pixels.size > 60_000_000:
        return "FAILED: an image of another shape"
    if pixels.dtype not in (np.uint8, np.float32) or not pixels.flags.c_contiguous:
        return "FAILED: an image of another kind"
    if pixels.dtype == np.float32 and not (pixels.min() >= 0 and pixels.max() <= 1):
        return "FAILED: not in [0, 1]"
    known = radiograph.header
    for line in (
        *radiograph.warnings,
        radiograph.format,
        known.modality,
        known.view,
        known.body_part,
    ):
        if wrong := _wrong(line):
            return f"FAILED: {wrong} of an image"
    return "image"


def _wrong(line: str) -> str:
    """Say what is wrong with a line for people; "" where nothing is."""
    if not line.isprintable() or len(line) > 300:
        return "an odd line"
    return "a name in a line" if any(name in line.lower() for name in NAMES) else ""


def answered(content: bytes, named: str, any_modality: bool) -> tuple[str, str]:
    """Decode, and return the code and what else must be the same when it is decoded again."""
    try:
        radiograph = decode(content, named=named, any_modality=any_modality)
    except ImageError as error:
        if error.code not in CODES:
            return f"FAILED: the code {error.code}", ""
        if wrong := _wrong(error.message):
            return f"FAILED: {wrong} of {error.code}", ""
        is_whole = error.message.startswith("Expected ") and error.message.endswith(".")
        return (error.code if is_whole else "FAILED: half a message"), error.message
    except MemoryError:
        return "FAILED: MemoryError", ""
    except BaseException as error:
        return f"FAILED: {type(error).__name__}: {str(error)[:80]}", ""
    return judged(radiograph), f"{radiograph.digest()} {radiograph.warnings} {radiograph.header}"


def state() -> tuple[object, ...]:
    """Return what of this process decoding must leave as it is."""
    loggers = [logging.getLogger(name) for name in ("", "pydicom", "PIL", "PIL.Image")]
    config = pydicom.config
    return (
        list(warnings.filters),
        warnings.showwarning,
        [(one.level, list(one.handlers), list(one.filters), one.disabled) for one in loggers],
        np.geterr(),
        (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS),
        (config.settings.reading_validation_mode, config.settings.writing_validation_mode),
        (config.convert_wrong_length_to_UN, config.use_DS_decimal),
        len(os.listdir("/proc/self/fd")),
        threading.active_count(),
    )


def peak() -> int:
    """Return the most bytes that this process held since that was last forgotten."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("Expected a peak of memory, but the system tells none.")


class Silence:
    """Where standard output and error of a worker go: to one place that is looked at."""

    def __init__(self) -> None:
        self._place = os.memfd_create("said")
        self._flush: Callable[[None], int] = ctypes.CDLL(None).fflush
        for number in (1, 2):
            os.dup2(self._place, number)
        self.warned: list[str] = []
        warnings.simplefilter("always")
        warnings.showwarning = self._warn

    def _warn(self, message: Warning | str, category: type[Warning], *_: object) -> None:
        self.warned.append(f"{category.__name__}: {message}")

    def broken(self) -> str:
        """Return what was said since the last time; "" where nothing was."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._flush(None)
        size = os.fstat(self._place).st_size
        said = os.pread(self._place, 80, 0).decode("ascii", "replace") if size else ""
        if size:
            os.ftruncate(self._place, 0)
            os.lseek(self._place, 0, os.SEEK_SET)
        warned, self.warned = self.warned, []
        return f"wrote {said!r}" if size else f"warned {warned[0][:80]}" if warned else ""


def work(connection: Connection) -> None:
    """Decode what comes in until nothing more does."""
    silence = Silence()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    decode(next(iter(seeds_of_worker.values())))
    before = state()
    while True:
        named, any_modality, again = connection.recv()
        content = connection.recv_bytes()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        held, started = peak(), time.process_time()
        code, rest = answered(content, named, any_modality)
        seconds = time.process_time() - started
        memory = peak() - held
        if said := silence.broken():
            code = f"FAILED: {said}"
        elif state() != before:
            code = "FAILED: changed the process"
        elif seconds > SECONDS:
            code = f"FAILED: took {seconds:.1f} s"
        elif memory > MEMORY:
            code = f"FAILED: took {memory / 1e9:.2f} GB"
        elif again and (code, rest) != answered(content, named, any_modality):
            code = "FAILED: another answer the second time"
        connection.send(Answer(code, seconds, memory))


seeds_of_worker: dict[str, bytes] = {}


class Worker:
    """A process that decodes, and is followed by another where it dies or hangs."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def answer(
        self, content: bytes, named: str = "", any_modality: bool = False, again: bool = False
    ) -> Answer:
        """Have an input decoded."""
        before, started = self.seconds(), time.monotonic()
        try:
            self.connection.send((named, any_modality, again))
            self.connection.send_bytes(content)
            while not self.connection.poll(0.5):
                # Twice as long where it is decoded again.
                if self.seconds() - before > (2 if again else 1) * SECONDS + 1:
                    return Answer(f"FAILED: no answer in {SECONDS:g} s", SECONDS, 0)
                if time.monotonic() - started > STILL and self.seconds() - before < SECONDS:
                    return Answer("FAILED: stands still", 0, 0)
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join(5)
            return Answer(f"FAILED: ended with {self.process.exitcode}", 0, 0)

    def seconds(self) -> float:
        """Return the processor's time that it took so far; on a busy machine others have more."""
        with suppress(OSError):
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return 0.0

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def largest() -> Iterator[tuple[str, bytes]]:
    """Yield images as large as may be, in what takes much memory to read."""
    side = 7740
    radiograph = np.zeros((side, side), np.uint8)
    radiograph[::3] = 200
    deep = radiograph.astype(np.uint16) * 20
    deep[:, ::2] += 7
    half = np.full_like(radiograph, 128)
    yield (
        "PNG colour and alpha",
        encoded(np.dstack([radiograph, radiograph, radiograph, half]), compress_level=1),
    )
    yield "PNG grey and alpha", encoded(np.dstack([radiograph, half]), compress_level=1)
    yield "PNG 16", encoded(deep, compress_level=1)
    yield "PNG 16 colour", imagecodecs.png_encode(np.dstack([deep * 16] * 3), level=1)
    four = Image.merge("CMYK", [Image.fromarray(radiograph)] * 4)
    yield "JPEG CMYK", encoded(four, "JPEG", quality=50)
    yield "JPEG CMYK without end marker", encoded(four, "JPEG", quality=50)[:-2]
    yield "JPEG CMYK progressive", encoded(four, "JPEG", quality=50, progressive=True)
    yield "JPEG progressive", encoded(radiograph, "JPEG", progressive=True)
    yield "TIFF 16", encoded(deep, "TIFF", compression="tiff_lzw")
    colour = np.dstack([radiograph, radiograph + 1, radiograph])
    many = {"subsampling": 0, "progressive": True}
    yield "JPEG colour progressive", encoded(colour, "JPEG", quality=50, **many)
    yield "JPEG colour without end marker", encoded(colour, "JPEG", subsampling=0)[:-2]
    yield "TIFF CMYK", encoded(four, "TIFF", compression="tiff_lzw")
    yield "TIFF colour", encoded(colour, "TIFF", compression="tiff_lzw")
    yield "TIFF colour JPEG", encoded(colour, "TIFF", compression="jpeg", quality=50)
    facts = {
        "BitsStored": 12,
        "ShutterShape": "CIRCULAR",
        "CenterOfCircularShutter": [4000, 4000],
        "RadiusOfCircularShutter": 4000,
        "PatientOrientation": ["F", "R"],
        "PixelPaddingValue": 65_535,
    }
    yield "DICOM deflated", dicom(deep[:, :7700], "1.2.840.10008.1.2.1.99", **facts)
    frames = {
        JPEG2000Lossless: lambda: imagecodecs.jpeg2k_encode(
            deep, reversible=True, codecformat="j2k"
        ),
        JPEGLSLossless: lambda: imagecodecs.jpegls_encode(deep),
        JPEGLosslessSV1: lambda: imagecodecs.jpeg8_encode(
            deep, lossless=True, predictor=1, bitspersample=16
        ),
        JPEGExtended12Bit: lambda: imagecodecs.jpeg8_encode(deep >> 4, level=90, bitspersample=12),
    }
    for syntax, frame in frames.items():
        yield f"DICOM {syntax.name}", holding([frame()], syntax, size=side, **facts)


def alone(content: bytes) -> Answer:
    """Have one input decoded in a process of its own."""
    worker = Worker()
    found = worker.answer(content)
    worker.stop()
    return found


def measured(inputs: Iterator[tuple[str, bytes]]) -> dict[str, dict[str, object]]:
    """Return code, time and memory of inputs that are large or meant to be."""
    rows = {}
    for name, content in inputs:
        found = alone(content)
        rows[name] = {
            "bytes": len(content),
            "code": found.code,
            "processor_seconds": round(found.seconds, 2),
            "memory_megabytes": round(found.memory / 1e6),
        }
        print(f"{name}: {rows[name]}", flush=True)
    return rows


class Inputs:
    """The inputs of a run, each by its number alone."""

    def __init__(self, seed: int) -> None:
        self.made, self.real = seeds()
        self._seed = seed

    def __getitem__(self, index: int) -> tuple[str, bytes, dict[str, object]]:
        """Return the name of a seed, the damaged image, and how it is to be decoded."""
        rng = np.random.default_rng([self._seed, index])
        pool = self.real if self.real and rng.random() < REAL_SHARE else self.made
        names = list(pool)
        name = names[int(rng.integers(len(names)))]
        theirs = list(self.made)
        # Parts fit where they come from an image of a like format.
        like = [one for one in theirs if one[:4] == name[:4]] if rng.random() < 0.7 else theirs
        other = self.made[like[int(rng.integers(len(like)))]]
        how = {
            "named": NAMED[int(rng.integers(len(NAMED)))],
            "any_modality": "PROCESSING" in name or rng.random() < 0.3,
            "again": index % AGAIN == 0,
        }
        return name, mutated(pool[name], other, rng), how


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=550_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/fuzz_decoder.json"))
    parser.add_argument("--failures", type=Path, help="a folder to keep failing inputs in")
    parser.add_argument("--only", type=int, help="decode the input of this number, and say how")
    parser.add_argument("--without-large", action="store_true", help="skip bombs and large images")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    commit, started = provenance.commit(), provenance.now()

    inputs = Inputs(options.seed)
    everything = {**inputs.made, **inputs.real}
    seeds_of_worker.update(inputs.made)
    for name, content in everything.items():
        # And every module is loaded before the first fork.
        code, _ = answered(content, "", any_modality=True)
        if code.startswith("FAILED") or (code != "image") != (name in REFUSED):
            raise SystemExit(f"Expected whole seeds, but {name} is: {code}.")
    if options.only is not None:
        name, content, how = inputs[options.only]
        worker = Worker()
        print(name, len(content), how, worker.answer(content, **how))
        Path(f"/tmp/fuzz_{options.only}").write_bytes(content)
        return
    bombs = (
        {}
        if options.without_large
        else measured((name, make()) for name, (make, _) in BOMBS.items())
    )
    large = {} if options.without_large else measured(largest())
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    failures: list[dict[str, object]] = []
    for name, row in {**bombs, **large}.items():
        if row["code"].startswith("FAILED"):
            failures.append({"of": name, "what": row["code"].removeprefix("FAILED: ")})
    largest_memory, slowest, begun = 0, 0.0, time.monotonic()
    worker = Worker()
    for index in range(options.inputs):
        name, content, how = inputs[index]
        found = worker.answer(content, **how)
        slowest = max(slowest, found.seconds)
        largest_memory = max(largest_memory, found.memory)
        failed = found.code.startswith("FAILED")
        counts[name]["failed" if failed else found.code] += 1
        if failed:
            failures.append(
                {"input": index, "of": name, "what": found.code.removeprefix("FAILED: ")}
            )
            print(f"input {index} of {name}: {found.code}", flush=True)
            if options.failures:
                options.failures.mkdir(parents=True, exist_ok=True)
                (options.failures / str(index)).write_bytes(content)
        if failed or index % RENEWED == RENEWED - 1:
            worker.stop()
            worker = Worker()
        if index % (10 * RENEWED) == 0:
            rate = index / max(1.0, time.monotonic() - begun)
            print(f"{index} inputs, {len(failures)} failures, {rate:.0f} a second", flush=True)
    worker.stop()
    total: Counter[str] = sum(counts.values(), Counter())
    write_json(
        options.out,
        {
            "intended_use": INTENDED_USE,
            "command": f"python benchmarks/fuzz_decoder.py --inputs {options.inputs} "
            f"--seed {options.seed} --out {options.out}",
            "date": started,
            "commit": commit,
            "machine": provenance.machine(),
            "versions": provenance.versions()
            | {package: importlib.metadata.version(package) for package in PACKAGES},
            "seeds": len(everything),
            "seed": options.seed,
            "limits": {"memory_bytes": MEMORY, "processor_seconds": SECONDS},
            "inputs": options.inputs,
            "minutes": round((time.monotonic() - begun) / 60, 1),
            "failures": failures,
            "slowest_seconds": round(slowest, 2),
            "peak_memory_megabytes": round(largest_memory / 1e6),
            "answers": dict(total.most_common()),
            "bombs": bombs,
            "largest": large,
            "by_seed": {name: dict(counts[name].most_common()) for name in everything},
        },
    )
    print(f"{options.inputs} inputs, {len(failures)} failures: {dict(total.most_common())}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
