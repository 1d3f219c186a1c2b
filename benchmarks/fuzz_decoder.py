"""Feed the decoder mutated films, and count what it answers.

    python benchmarks/fuzz_decoder.py --minutes 30 --seed 0 --out docs/results/fuzz_decoder.json

Seeds are encodings of a generated film in every format that the reader takes, and, where
pydicom-data is installed, its real chest film in four encodings. Each input is one of them with
bytes changed, cut out, doubled, taken from another or cut off; a PNG mostly gets its checksums
mended, else they would say it all. Each is decoded in a worker process that may have 1 GB more than
it needs to start, and 20 seconds of the processor. A film or a `FilmError` is an answer; anything
else is a failure, and its input is kept where --failures says. Uses one core.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import multiprocessing
import os
import resource
import struct
import sys
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.uid import UID, JPEGBaseline8Bit, JPEGExtended12Bit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import made_dicom
from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.errors import FilmError
from cxr_transfer.files import write_json
from cxr_transfer.radiograph import decode
from made import encoded, grey

MEMORY = 1 << 30
SECONDS = 20
RENEWED = 2000  # inputs after which a new worker starts
PACKAGES = ("pillow", "pydicom", "imagecodecs", "numpy")
REAL = ("RG1_UNCR", "RG1_UNCI", "RG1_J2KR", "RG1_J2KI")
REAL_SHARE = 0.04  # they are a hundred times as large as the others
WORDS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def rasters(film: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """Yield the film in what Pillow writes."""
    image = Image.fromarray(film)
    deep = film * np.uint16(257)
    yield "JPEG grey", encoded(film, "JPEG", quality=90)
    yield "JPEG colour", encoded(image.convert("RGB"), "JPEG", quality=90)
    yield "JPEG CMYK", encoded(image.convert("CMYK"), "JPEG", quality=90)
    yield "JPEG progressive", encoded(film, "JPEG", quality=90, progressive=True)
    yield "JPEG restarts", encoded(film, "JPEG", quality=90, restart_marker_rows=1)
    yield "PNG 8", encoded(film)
    yield "PNG 16", encoded(deep)
    yield "PNG palette", encoded(image.convert("P"))
    yield "PNG alpha", encoded(image.convert("RGBA"))
    yield "TIFF 8", encoded(film, "TIFF")
    yield "TIFF 16", encoded(deep, "TIFF")
    for how in ("tiff_lzw", "tiff_deflate", "jpeg"):
        yield f"TIFF {how}", encoded(film, "TIFF", compression=how)


def dicoms(film: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """Yield the film in every transfer syntax that can be written, 8 and 12 bits."""
    deep = np.rint(film * (4095 / 255)).astype(np.uint16)
    for syntax in (*made_dicom.PLAIN, *made_dicom.LOSSLESS, JPEGBaseline8Bit):
        yield f"DICOM {UID(syntax).name} 8", made_dicom.dicom(film, syntax)
    window = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 4000}
    for syntax in (*made_dicom.PLAIN, *made_dicom.LOSSLESS, JPEGExtended12Bit):
        yield f"DICOM {UID(syntax).name} 12", made_dicom.dicom(deep, syntax, **window)
    tables = {
        "ModalityLUTSequence": [made_dicom.table(0, np.arange(4096)[::-1])],
        "VOILUTSequence": [made_dicom.table(0, np.arange(4096) * 16)],
        "PixelPaddingValue": 0,
        "PatientOrientation": ["R", "F"],
    }
    yield "DICOM tables", made_dicom.dicom(deep, BitsStored=12, **tables)
    yield "DICOM colour", made_dicom.dicom(np.dstack([film] * 3))
    yield "DICOM without preamble", made_dicom.dicom(film, preamble=False)


def seeds() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return the generated encodings and the real ones, by name."""
    film = grey()
    real = {}
    for name in REAL:
        path = get_testdata_file(f"{name}.dcm", download=False)
        if path:
            real[f"DICOM real {name}"] = Path(path).read_bytes()
    return {**dict(rasters(film)), **dict(dicoms(film))}, real


def mutated(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Return ``content`` with one to eight changes."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        if not changed:
            break
        # Headers are short beside pixels, and hold more to get wrong.
        reach = min(len(changed), 1500) if rng.random() < 0.6 else len(changed)
        at, length = int(rng.integers(reach)), int(2 ** rng.uniform(0, 10))
        match rng.integers(8):
            case 0:
                changed[at] ^= 1 << int(rng.integers(8))
            case 1:
                changed[at] = int(rng.integers(256))
            case 2:
                kind = str(rng.choice(["<H", ">H", "<L", ">L"]))
                word = int(rng.choice(WORDS)) & (0xFFFF if "H" in kind else 0xFFFFFFFF)
                changed[at : at + struct.calcsize(kind)] = struct.pack(kind, word)
            case 3:
                del changed[at : at + length]
            case 4:
                changed[at:at] = changed[at : at + length]
            case 5:
                start = int(rng.integers(len(other)))
                changed[at : at + length] = other[start : start + length]
            case 6:
                changed[at : at + length] = rng.bytes(length)
            case 7 if rng.random() < 0.3:
                del changed[at:]
    if changed[:4] == b"\x89PNG" and rng.random() < 0.8:
        mend(changed)
    return bytes(changed)


def mend(content: bytearray) -> None:
    """Give every chunk of a PNG the checksum that its content has."""
    start = 8
    while start + 12 <= len(content):
        end = start + 8 + int.from_bytes(content[start : start + 4])
        if end + 4 > len(content):
            return
        content[end : end + 4] = struct.pack(">L", zlib.crc32(content[start + 4 : end]))
        start = end + 4


def work(connection: Connection) -> None:
    """Decode what comes in until nothing more does; answer with a code and a peak of memory."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # C libraries speak there
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    while True:
        content = connection.recv_bytes()
        try:
            film = decode(content)
            pixels = film.pixels
            whole = pixels.ndim == 2 and float(pixels.min()) >= 0 and float(pixels.max()) <= 1
            code = "film" if whole else "FAILED: not in [0, 1]"
        except FilmError as error:
            code = error.code
        except MemoryError:
            code = "FAILED: memory"
        except BaseException as error:
            code = f"FAILED: {type(error).__name__}"
        connection.send((code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))


class Worker:
    """A process that decodes, and is followed by another where it dies or hangs."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def answer(self, content: bytes) -> tuple[str, int]:
        """Return the code, and the peak of memory so far in bytes."""
        try:
            self.connection.send_bytes(content)
            end = self.seconds() + SECONDS
            while not self.connection.poll(1):
                if self.seconds() > end:
                    return f"FAILED: no answer in {SECONDS} s", 0
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join(5)
            return f"FAILED: the process ended with {self.process.exitcode}", 0

    def seconds(self) -> float:
        """Return the processor's time that it took so far; on a busy machine others have more."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()
        self.connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/fuzz_decoder.json"))
    parser.add_argument("--failures", type=Path, help="a folder to keep failing inputs in")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    commit, started = provenance.commit(), provenance.now()

    made, real = seeds()
    everything = {**made, **real}
    for name, content in everything.items():
        assert decode(content), name  # and every module is loaded before the first fork
    names = list(made)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    failures, peak, slowest, index = [], 0, 0.0, 0
    worker, end = Worker(), time.monotonic() + 60 * options.minutes
    while time.monotonic() < end:
        rng = np.random.default_rng([options.seed, index])
        pool = list(real) if real and rng.random() < REAL_SHARE else names
        name = pool[int(rng.integers(len(pool)))]
        other = made[names[int(rng.integers(len(names)))]]
        content = mutated(everything[name], other, rng)
        before = worker.seconds()
        code, memory = worker.answer(content)
        slowest, peak = max(slowest, worker.seconds() - before), max(peak, memory)
        failed = code.startswith("FAILED")
        counts[name][code] += 1
        if failed:
            failures.append({"input": index, "of": name, "what": code.removeprefix("FAILED: ")})
            print(f"input {index} of {name}: {code}", flush=True)
            if options.failures:
                options.failures.mkdir(parents=True, exist_ok=True)
                (options.failures / str(index)).write_bytes(content)
        index += 1
        if failed or index % RENEWED == 0:
            worker.stop()
            worker = Worker()
            if index % (10 * RENEWED) == 0:
                print(f"{index} inputs, {len(failures)} failures", flush=True)
    worker.stop()
    total: Counter[str] = sum(counts.values(), Counter())
    write_json(
        options.out,
        {
            "intended_use": INTENDED_USE,
            "command": f"python benchmarks/fuzz_decoder.py --minutes {options.minutes:g} "
            f"--seed {options.seed} --out {options.out}",
            "date": started,
            "commit": commit,
            "machine": provenance.machine(),
            "versions": provenance.versions()
            | {package: importlib.metadata.version(package) for package in PACKAGES},
            "seeds": len(everything),
            "minutes": options.minutes,
            "seed": options.seed,
            "limits": {"memory_bytes": MEMORY, "processor_seconds": SECONDS},
            "inputs": index,
            "processor_minutes": round((sum(os.times()[:4])) / 60, 1),
            "failures": failures,
            "slowest_processor_seconds": round(slowest, 2),
            "peak_memory_bytes": peak,
            "answers": dict(total.most_common()),
            "answers_by_seed": {name: dict(counts[name].most_common()) for name in everything},
        },
    )
    print(
        f"{index} inputs, {len(failures)} failures, slowest {slowest:.2f} s, peak {peak >> 20} MB"
    )


if __name__ == "__main__":
    main()
