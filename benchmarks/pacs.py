"""The DICOM node beside a real Orthanc: how long one image takes, a burst, kills, fuzz.

    python benchmarks/pacs.py --out docs/results/pacs.json        # everything, one to two hours
    python benchmarks/pacs.py --only one,burst --images 50 --out /tmp/pacs.json
    python benchmarks/pacs.py --only kills --kills 5 --images 100 --out /tmp/pacs.json
    python benchmarks/pacs.py --only fuzz --fuzz 1000 --out /tmp/pacs.json

Images are generated, and differ. Every part has a node and an Orthanc of its own (Debian's, with
its DICOMweb plugin). Rows that are not asked for are kept from the last time. Each row says how
many images it was measured on, and whether what it must hold held.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydicom import dcmread

# In the place of this folder, whose pacs.py would stand before the tests' pacs/.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.files import write_json, write_text
from cxr_transfer.inference.predictor import Predictor
from pacs.orthanc import IS_THERE, Orthanc
from pacs.program import CXR, Program
from pacs.sending import echo, image, opened, send

DX, PLAIN = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.1.2.1"
WARM = 5
MODALITY = {"sr": "SR", "sc": "OT"}
"""Modality of the answer of each kind."""
BOTH = ("sr", "sc")
AWAY_IMAGES = 20
SHARE = 0.8
"""Least part of the speed of a folder that a burst is to reach."""


class Place:
    """A node, its Orthanc, and a folder that both are in."""

    def __init__(self, folder: Path, kinds: tuple[str, ...] = BOTH, **limits: Any) -> None:
        self._kinds = kinds
        self.orthanc = Orthanc(folder / "orthanc")
        archive = {"name": "o", "ae": "ORTHANC", "address": "127.0.0.1"}
        self._settings = {
            "destinations": [archive | {"port": self.orthanc.dicom}],
            "rules": [{"name": "all", "send": list(kinds)}],
            "limits": {"workers": 2, "associations": 32} | limits,
        }
        self.node = Program(folder / "node", **self._settings)

    def __enter__(self) -> Place:
        self.orthanc.start()
        self.node.start()
        # After a kill it has to come back at the same port.
        self.node.write(**self._settings, port=self.node.port)
        return self

    def __exit__(self, *_: object) -> None:
        self.node.stop()
        self.orthanc.stop()

    def memory(self) -> int:
        """Resident bytes of the node's main process."""
        status = Path(f"/proc/{self.node._process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def wait_sent(self, number: int, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (states := self.node.status()["states"])["sent"] < number:
            if time.monotonic() > end:
                raise SystemExit(f"expected {number} sent, but got {states}")
            time.sleep(0.2)

    def answered(self) -> dict[str, int]:
        """Number of studies with exactly one answer of each kind, and of all others."""
        kinds: dict[str, list[str]] = {}
        for tags in self.orthanc.objects():
            kinds.setdefault(tags["StudyInstanceUID"], []).append(tags["Modality"])
        wanted = sorted(MODALITY[kind] for kind in self._kinds)
        once = sum(sorted(found) == wanted for found in kinds.values())
        return {"once": once, "otherwise": len(kinds) - once}


def one(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One image after the other: from the first byte sent to both answers in the archive."""
    seconds = []
    with Place(folder) as place:
        for seed in range(arguments.singles + WARM):
            file = image(seed)
            started = time.perf_counter()
            assert send(place.node.port, file) == [0]
            while place.orthanc.get("/statistics")["CountInstances"] < 2 * (seed + 1):
                time.sleep(0.005)
            seconds.append(time.perf_counter() - started)
        told = place.answered()
    seconds = sorted(seconds[WARM:])
    p50 = statistics.median(seconds)
    return {
        "images": len(seconds),
        "p50_s": p50,
        "p95_s": seconds[int(0.95 * (len(seconds) - 1))],
        "answered": told,
        "holds": p50 <= 1 and not told["otherwise"],
    }


def _associations(port: Callable[[], int], files: list[bytes], number: int) -> list[Any]:
    """Send files over several associations at once, each file until it is taken."""
    left, lock, taken = list(files), threading.Lock(), []

    def work() -> None:
        while True:
            with lock:
                batch = [left.pop() for _ in range(min(8, len(left)))]
            if not batch:
                return
            while batch:
                association = opened(port(), [(DX, PLAIN)], calling="BURST")
                while association.is_established and batch:
                    try:
                        status = association.send_c_store(dcmread(io.BytesIO(batch[-1])))
                    except (RuntimeError, ValueError):
                        break
                    if not status or status.Status != 0:
                        break
                    with lock:
                        taken.append(batch.pop())
                if association.is_established:
                    association.release()
                elif batch:
                    time.sleep(0.1)

    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    return [threads, taken]


def burst(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Many studies at once, answered by report and heat map; beside `cxr predict --dicom-out`."""
    return _burst(arguments, folder, BOTH, _objects_of_a_folder)


def burst_reports(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Many studies at once, answered by a report alone; beside the predictor."""
    return _burst(arguments, folder, ("sr",), _scores_of_a_folder)


def _objects_of_a_folder(folder: Path) -> float:
    """Return the seconds in which a folder gets the same objects without a network between."""
    words = ["predict", str(folder), "--dicom-out", str(folder.with_name("objects"))]
    started = time.perf_counter()
    subprocess.run([CXR, *words], check=False, capture_output=True)
    return time.perf_counter() - started


def _scores_of_a_folder(folder: Path) -> float:
    """Return the seconds in which a folder gets its scores."""
    files = [path.read_bytes() for path in sorted(folder.iterdir())]
    predictor = Predictor.released("multi_source")
    list(predictor.predict_files(files[:16], workers=2))
    started = time.perf_counter()
    list(predictor.predict_files(files, workers=2))
    return time.perf_counter() - started


def _burst(
    arguments: argparse.Namespace,
    folder: Path,
    kinds: tuple[str, ...],
    by_folder: Callable[[Path], float],
) -> dict[str, Any]:
    """Send all over 8 associations, and time it until the last answer is in the archive."""
    files = [image(seed) for seed in range(arguments.images)]
    (folder / "files").mkdir()
    for number, file in enumerate(files):
        (folder / f"files/{number:04}.dcm").write_bytes(file)
    folder_s = by_folder(folder / "files")
    with Place(folder, kinds) as place:
        before = place.memory()
        started = time.perf_counter()
        threads, _ = _associations(lambda: place.node.port, files, 8)
        memory = []
        while any(thread.is_alive() for thread in threads):
            memory.append(place.memory())
            time.sleep(0.2)
        received_s = time.perf_counter() - started
        while place.node.status()["states"]["sent"] < len(files):
            memory.append(place.memory())
            time.sleep(0.2)
        all_s = time.perf_counter() - started
        told = place.answered()
    return {
        "images": len(files),
        "kinds": list(kinds),
        "received_s": received_s,
        "all_sent_s": all_s,
        "folder_s": folder_s,
        "share_of_the_folders_speed": folder_s / all_s,
        "memory_before_mb": before / 2**20,
        "memory_middle_mb": memory[len(memory) // 2] / 2**20,
        "memory_peak_mb": max(memory) / 2**20,
        "answered": told,
        "holds": told == {"once": len(files), "otherwise": 0} and folder_s / all_s >= SHARE,
    }


def kills(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The same burst, with the node killed at random moments of it."""
    generator = random.Random(arguments.seed)
    files = [image(seed) for seed in range(arguments.images)]
    with Place(folder) as place:
        threads, taken = _associations(lambda: place.node.port, files, 8)
        for _ in range(arguments.kills):
            time.sleep(generator.uniform(0.2, 4))
            place.node.kill()
            place.node.start(ready=generator.random() < 0.7)
        for thread in threads:
            thread.join()
        place.wait_sent(len(taken), 1800)
        states, told = place.node.status()["states"], place.answered()
    return {
        "images": len(files),
        "kills": arguments.kills,
        "taken": len(taken),
        "states": states,
        "answered": told,
        "holds": told == {"once": len(files), "otherwise": 0},
    }


def away(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The archive goes away, images come meanwhile, and it comes back."""
    files = [image(seed) for seed in range(AWAY_IMAGES)]
    with Place(folder) as place:
        place.orthanc.stop()
        assert [send(place.node.port, file) for file in files] == [[0]] * len(files)
        time.sleep(arguments.away_s)
        waited = place.node.status()["states"]
        place.orthanc.start()
        started = time.perf_counter()
        place.wait_sent(len(files), 1800)
        back_s = time.perf_counter() - started
        told = place.answered()
    return {
        "images": len(files),
        "away_s": arguments.away_s,
        "states_while_away": waited,
        "all_sent_s_after_it_came_back": back_s,
        "answered": told,
        "holds": told == {"once": len(files), "otherwise": 0},
    }


def fuzz(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Malformed PDUs and objects, with C-ECHO all the while."""
    generator = random.Random(arguments.seed)
    file = image(1)
    asks = [sys.executable, str(Path(__file__).with_name("echoes.py"))]
    with Place(folder, idle_s=5, handshake_s=2, associations=64) as place:
        asking = subprocess.Popen(
            [*asks, str(place.node.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for number in range(arguments.fuzz):
            if number % 2:
                _wrong_object(place.node.port, file, generator)
            else:
                _wrong_pdu(place.node.port, generator)
        asked = json.loads(asking.communicate()[0])
        lives = echo(place.node.port)
        states = place.node.status()["states"]
    seconds, failed = asked["seconds"], asked["failed"]
    seconds.sort()
    p99 = seconds[int(0.99 * (len(seconds) - 1))]
    return {
        "sent": arguments.fuzz,
        "echoes": len(seconds),
        "echoes_failed": failed,
        "echo_p50_ms": 1000 * statistics.median(seconds),
        "echo_p99_ms": 1000 * p99,
        "states": states,
        "holds": lives and not failed and p99 <= 0.1,
    }


def _wrong_pdu(port: int, generator: random.Random) -> None:
    body = generator.randbytes(generator.randrange(0, 400))
    kind, length = generator.randrange(0, 9), len(body) + generator.choice((0, 0, 1, 2**31))
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(struct.pack(">BBI", kind, 0, length % 2**32) + body)
    except OSError:
        pass  # it was closed: that is an answer


def _wrong_object(port: int, file: bytes, generator: random.Random) -> None:
    """Send an object of which bytes are others, or which is cut off, under its own UIDs."""
    data = dcmread(io.BytesIO(file))
    association = opened(port, [(data.SOPClassUID, PLAIN)], calling="FUZZ")
    if not association.is_established:
        return
    content = bytearray(data.PixelData)
    data.PixelData = bytes(content[: 2 * generator.randrange(0, len(content) // 2)])
    data.Rows = generator.choice((0, 1, 65535, data.Rows))
    data.BitsStored = generator.choice((0, 8, 16, 255))
    data.SOPInstanceUID = f"2.25.{generator.getrandbits(100)}"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    with contextlib.suppress(RuntimeError, ValueError, AttributeError):
        association.send_c_store(data)
    if association.is_established:
        association.release()


PARTS: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {
    "one": one,
    "burst": burst,
    "burst_reports": burst_reports,
    "kills": kills,
    "away": away,
    "fuzz": fuzz,
}


TESTS = {
    "one": ("one image, from its first byte to report and picture in the archive", "p50 <= 1 s"),
    "burst": ("a burst over 8 associations, answered by report and heat map",
              "none lost, none twice, memory flat, >= 80 % of a folder's speed"),
    "burst_reports": ("the same, answered by a report alone",
                      "none lost, none twice, memory flat, >= 80 % of the predictor's speed"),
    "kills": ("kill -9 at random moments of a burst", "none lost, none answered twice"),
    "away": ("the archive goes away and comes back", "none lost, none answered twice"),
    "fuzz": ("malformed PDUs and objects", "no crash, no hang, C-ECHO p99 <= 100 ms"),
}  # fmt: skip
"""What each part tries, and what it has to hold."""


def measured(name: str, row: dict[str, Any]) -> str:
    """Return in words what a part found."""
    if name == "fuzz":
        return (
            f"{row['sent']} sent; {row['echoes']} C-ECHO, {row['echoes_failed']} failed, p50 "
            f"{row['echo_p50_ms']:.0f} ms, p99 {row['echo_p99_ms']:.0f} ms"
        )
    once, otherwise = row["answered"]["once"], row["answered"]["otherwise"]
    told = f"{once} of {once + otherwise} answered once, {otherwise} otherwise"
    if name == "one":
        return f"p50 {row['p50_s']:.2f} s, p95 {row['p95_s']:.2f} s; {told}"
    if name == "kills":
        return f"{row['kills']} kills; {told}"
    if name == "away":
        back = row["all_sent_s_after_it_came_back"]
        return f"away for {row['away_s']:.0f} s; {told}, {back:.0f} s after it came back"
    return (
        f"{told}; received in {row['received_s']:.0f} s, all answers in the archive after "
        f"{row['all_sent_s']:.0f} s; the folder took {row['folder_s']:.0f} s: "
        f"{100 * row['share_of_the_folders_speed']:.0f} % of its speed; memory of the main process "
        f"{row['memory_before_mb']:.0f} MiB before, {row['memory_middle_mb']:.0f} in the middle, "
        f"{row['memory_peak_mb']:.0f} at most"
    )


def page_of(rows: dict[str, dict[str, Any]], out: Path) -> str:
    """Return the table of all parts as Markdown."""
    machine = provenance.machine()
    lines = [
        "# The DICOM node beside an archive\n",
        f"Written by `benchmarks/pacs.py`; numbers in [{out.name}]({out.name}). Generated images, "
        f"Debian's Orthanc, node and sender on the same {machine['cores']} cores "
        f"({machine['processor']}).\n",
        INTENDED_USE + "\n",
        "| test | goal | holds | measured | commit | time |",
        "|---|---|---|---|---|---|",
    ]
    for name, (test, goal) in TESTS.items():
        if name in rows:
            row, holds = rows[name], "yes" if rows[name]["holds"] else "no"
            facts = (test, goal, holds, measured(name, row), f"`{row['commit'][:12]}`", row["time"])
            lines.append(f"| {' | '.join(facts)} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    parser.add_argument("--singles", type=int, default=40, help="images one after the other")
    parser.add_argument("--images", type=int, default=500, help="images of a burst")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--fuzz", type=int, default=10_000, help="malformed PDUs and objects")
    parser.add_argument("--away-s", type=float, default=600, help="seconds without the archive")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if not IS_THERE:
        raise SystemExit("Expected Debian's orthanc and orthanc-dicomweb: make pacs-programs")
    rows = json.loads(arguments.out.read_text())["rows"] if arguments.out.is_file() else {}
    for name in arguments.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            row = PARTS[name](arguments, Path(folder))
        at = {"seed": arguments.seed, "time": provenance.now(), "commit": provenance.commit()}
        rows[name] = row | at
        print(name, json.dumps(rows[name], indent=1))
        facts = {"note": INTENDED_USE, "machine": provenance.machine(), "rows": rows}
        write_json(arguments.out, facts)
        write_text(arguments.out.with_suffix(".md"), page_of(rows, arguments.out))


if __name__ == "__main__":
    main()
