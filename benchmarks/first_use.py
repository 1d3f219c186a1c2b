"""Start many fresh processes whose first work is done by several threads at once: all must end.

    python benchmarks/first_use.py --starts 300 --out docs/results/first_use.json

Each process makes its first use of OpenVINO, of the lungs' network, of the classifier and of the
decoders in four threads, in one of the ways below, on a machine that this script loads: as many
processes that do nothing but compute as --load says, and --beside starts at the same time. In every
other start Python's threads change a thousand times as often, which makes a race likelier. A
process that has not ended after --seconds is counted as hung, the stacks of its threads are
printed, and it is ended; one that ends with an error is counted as failed.

The ways `files` and `lungs` also run on older sources (PYTHONPATH=OLD/src).
"""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

THREADS = 4
IMAGES = 8


def files(images: list[Path]) -> None:
    """Four threads decode and crop while this one lets the classifier answer for the first time."""
    from cxr_transfer import Predictor

    answers = list(Predictor.released().predict_files(images, workers=THREADS))
    assert [answer.file for answer in answers] == [str(radiograph) for radiograph in images]
    assert all(answer.code != "unreadable" for answer in answers)


def lungs(images: list[Path]) -> None:
    """Four threads look for lungs while this one opens the classifier."""
    from cxr_transfer import Predictor
    from cxr_transfer.radiograph import Preprocessing, read_radiograph

    preprocessing = Preprocessing(crop="lungs")

    def cropped(radiograph: Path) -> None:
        preprocessing.apply(read_radiograph(radiograph))

    with ThreadPoolExecutor(THREADS) as pool:
        found = [pool.submit(cropped, radiograph) for radiograph in images]
        Predictor.released()
        for each in found:
            each.result()


def together(images: list[Path]) -> None:
    """Four threads ask one classifier at once."""
    from cxr_transfer import Predictor

    predictor = Predictor.released()
    at_once(predictor.predict, images)


def each_its_own(images: list[Path]) -> None:
    """Four threads open a classifier each, the lungs' network and all at once."""
    from cxr_transfer import Predictor

    at_once(lambda radiograph: Predictor.released().predict(radiograph), images)


def at_once(work: Callable[[Path], object], images: Iterable[Path]) -> None:
    start = threading.Barrier(THREADS)

    def begun(number: int) -> None:
        start.wait()
        for radiograph in itertools.islice(images, number, None, THREADS):
            work(radiograph)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(begun, range(THREADS)))


WAYS = {"files": files, "lungs": lungs, "together": together, "each_its_own": each_its_own}


def child(way: str, folder: Path, seconds: float, switched: bool) -> None:
    faulthandler.dump_traceback_later(seconds)
    if switched:
        sys.setswitchinterval(5e-6)
    WAYS[way](sorted(folder.iterdir()))
    faulthandler.cancel_dump_traceback_later()


def write_images(folder: Path) -> None:
    """Small ones, so that all threads are at their first crop at once; some need other decoders."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

    from made import chest, encoded
    from made_dicom import dicom

    for number in range(IMAGES):
        kind = ("PNG", "JPEG", "J2K", "JLS")[number % 4]
        radiograph = chest(number)
        syntax = {"J2K": JPEG2000Lossless, "JLS": JPEGLSLossless}.get(kind)
        content = dicom(radiograph, syntax) if syntax else encoded(radiograph, kind)
        (folder / f"{number}.{kind.lower()}").write_bytes(content)


def started(way: str, folder: Path, seconds: float, switched: bool) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, "--child", way, "--folder", str(folder)]
    command += ["--seconds", str(seconds), *(["--switched"] if switched else [])]
    return subprocess.Popen(command)


def ended(ways: list[str], given: argparse.Namespace, folder: Path) -> dict[str, dict[str, object]]:
    """Start all processes and wait for them; return how they ended, by way."""
    waiting = [
        (ways[number % len(ways)], number // len(ways) % 2 == 1) for number in range(given.starts)
    ]
    running: dict[subprocess.Popen[bytes], tuple[str, float]] = {}
    counts: dict[str, Counter[str]] = {way: Counter() for way in ways}
    slowest = dict.fromkeys(ways, 0.0)
    while waiting or running:
        while waiting and len(running) < given.beside:
            way, switched = waiting.pop()
            running[started(way, folder, given.seconds, switched)] = (way, time.monotonic())
        for process, (way, begun) in list(running.items()):
            took = time.monotonic() - begun
            if process.poll() is None and took <= given.seconds + 5:
                continue
            if process.returncode is None:
                counts[way]["hung"] += 1
                process.kill()
                process.wait()
            else:
                counts[way]["ended" if process.returncode == 0 else "failed"] += 1
                slowest[way] = max(slowest[way], took)
            del running[process]
            print(dict(counts), flush=True)
        time.sleep(0.02)
    return {
        way: {name: counts[way][name] for name in ("ended", "hung", "failed")}
        | {"slowest_s": round(slowest[way], 1)}
        for way in ways
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--starts", type=int, default=300)
    parser.add_argument("--beside", type=int, default=6, help="Starts at the same time.")
    parser.add_argument("--load", type=int, default=4, help="Processes that only compute.")
    parser.add_argument("--seconds", type=float, default=120.0, help="Time of each start.")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--out", type=Path, default=Path("docs/results/first_use.json"))
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--switched", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.folder, given.seconds, given.switched)
        return
    from cxr_transfer import INTENDED_USE, provenance
    from cxr_transfer.files import write_json

    ways = given.ways.split(",")
    load: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder))
        # The classifier is converted once, not in every start.
        started("files", Path(folder), given.seconds, switched=False).wait()
        try:
            busy = [sys.executable, "-c", "while True: pass"]
            load += [subprocess.Popen(busy) for _ in range(given.load)]
            found = ended(ways, given, Path(folder))
        finally:
            for each in load:
                each.kill()
    total = {name: sum(of[name] for of in found.values()) for name in ("ended", "hung", "failed")}
    write_json(
        given.out,
        {
            "intended_use": INTENDED_USE,
            "command": f"python benchmarks/first_use.py --starts {given.starts} --ways "
            f"{given.ways} --beside {given.beside} --load {given.load} --seconds {given.seconds:g}",
            "date": provenance.now(),
            "commit": provenance.commit(),
            "machine": provenance.machine(),
            "versions": provenance.versions(),
            "threads": THREADS,
            "starts": given.starts,
            **total,
            "ways": found,
        },
    )
    print(total)
    sys.exit(total["ended"] != given.starts)


if __name__ == "__main__":
    main()
