"""Kill trainings and predictions at random moments, go on, and compare with what nobody killed.

    python benchmarks/kills.py --kills 20 --seed 0 --out docs/results/kills.json

Two tasks: `cxr train` of a recipe of two stages (a folder of its own for each kill), and `cxr
predict --out` with the network that it made, over more files than one chunk holds. Each is run
whole once. Then, for each kill, it is started anew, stopped by a signal (-9, TERM and INT in turn)
at a moment drawn evenly from the time that the whole run took, and given again until it ends; one
time in three it is killed a second time on the way. What is left is compared byte for byte, but for
times, and nothing else may stand in the folder. The images are generated.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.datasets.phantom import PhantomSize, write_phantom
from cxr_transfer.files import write_json

CXR = Path(sys.executable).with_name("cxr")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
PATIENCE = 600
"""Seconds after which a run is taken for hanging."""

FILES = 1300
"""More than two chunks of a table."""

RECIPE = """
name = "killed"
title = "two stages, the second of which may go back"
network = "simple_cnn"
dataset = "dataset_1"

[preprocessing]
height = 96
width = 96

[[stages]]
name = "head"
train = ["head"]
max_epochs = 12

[[stages]]
name = "all"
train = ["*"]
learning_rate = 1e-4
max_epochs = 8
"""

TIMED = {"seconds", "time"}
"""What differs between two runs of one command: columns and keys."""


@dataclass(frozen=True)
class Task:
    """A command that writes into a place of its own.

    Attributes:
        name: In the result.
        words: The command, given the place.
        left: What stands there at the end, by name, digested.
    """

    name: str
    words: Callable[[Path], list[str]]
    left: Callable[[Path], dict[str, str]]


def started(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(CXR), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"NO_COLOR": "1"},
    )


def finished(words: list[str]) -> tuple[float, str]:
    """Run to the end; return seconds and what was said."""
    begun = time.monotonic()
    process = started(words)
    try:
        said = process.communicate(timeout=PATIENCE)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        raise SystemExit(f"hangs: cxr {' '.join(words)}") from None
    # 1: some images get no class; Python itself ends so after a traceback.
    if process.returncode not in (0, 1) or "Traceback" in said:
        raise SystemExit(f"cxr {' '.join(words)} ended with {process.returncode}: {said}")
    return time.monotonic() - begun, said


def killed(words: list[str], sent: signal.Signals, after: float) -> tuple[int, str] | None:
    """Start, signal after so many seconds; return exit code and last line, None if it was over."""
    process = started(words)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(sent)
    else:
        process.communicate()
        return None
    try:
        said = process.communicate(timeout=60)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        raise SystemExit(f"does not stop at {sent.name}: cxr {' '.join(words)}") from None
    if process.returncode in (0, 1):
        return None  # It was in its last breath.
    lines = [line for line in said.splitlines() if not line.startswith("cxr: Stopped")]
    return process.returncode, lines[-1] if lines else ""


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def untimed(path: Path) -> bytes:
    """The content of a file without the times in it."""
    if path.name == "history.csv":
        rows = list(csv.DictReader(io.StringIO(path.read_text())))
        kept = [{key: row[key] for key in row if key not in TIMED} for row in rows]
        return json.dumps(kept).encode()
    if path.name == "checkpoint.json":
        card = json.loads(path.read_text())
        card["provenance"] = {k: v for k, v in card["provenance"].items() if k not in TIMED}
        return json.dumps(card).encode()
    return path.read_bytes()


def left_by_training(folder: Path) -> dict[str, str]:
    # The log has a line for every call; TensorBoard's files are for looking at, and timed.
    passed = ("log.txt", ".lock", "tensorboard")
    return {
        path.relative_to(folder).as_posix(): digest(untimed(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in passed
    }


def left_by_prediction(folder: Path) -> dict[str, str]:
    return {
        path.name: digest(path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def tasks(root: Path) -> list[Task]:
    write_phantom(root / "archives", seed=1, size=PhantomSize(48, 48, 24, 24))
    (root / "killed.toml").write_text(RECIPE)
    images = sorted((root / "archives").rglob("*.jp*g"))
    (root / "images").mkdir()
    for number in range(FILES):
        os.link(images[number % len(images)], root / "images" / f"{number:04}.jpg")
    training = ["train", str(root / "killed.toml"), "--data", str(root / "archives"), "--device"]
    training += ["cpu", "--precision", "float32"]
    model = root / "train" / "whole"
    predicting = ["predict", str(root / "images"), "--model", str(model)]
    return [
        Task("train", lambda place: [*training, "--out", str(place)], left_by_training),
        Task(
            "predict",
            lambda place: [*predicting, "--out", str(place / "answers.csv")],
            left_by_prediction,
        ),
    ]


def run_self_test(task: Task, root: Path, kills: int, drawn: random.Random) -> dict:
    place = root / task.name
    seconds, _ = finished(task.words(place / "whole"))
    expected = task.left(place / "whole")
    print(f"{task.name}: {seconds:.1f} s, {len(expected)} files", flush=True)
    rows: list[dict] = []
    different: list[str] = []
    sent = 0
    while sent < kills:
        folder = place / f"kill_{len(rows)}"
        words, stops = task.words(folder), []
        for _ in range(1 + (drawn.random() < 1 / 3)):
            how = SIGNALS[sent % len(SIGNALS)]
            after = drawn.uniform(0, seconds)
            ended = killed(words, how, after)
            if ended is None:
                break  # Faster than the whole run: nothing was killed.
            sent += 1
            code, line = ended
            stops.append({"signal": how.name, "after_s": round(after, 2), "exit_code": code,
                          "last_line": line})  # fmt: skip
        if not stops:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        # A signal may come when all is written: a table that is there is not written again.
        if task.left(folder) != expected:
            finished(words)
        found = task.left(folder)
        equal = found == expected
        different += [
            f"{folder.name}: {name}"
            for name in sorted(found.keys() | expected.keys())
            if found.get(name) != expected.get(name)
        ]
        rows.append({"kills": stops, "bit_equal": equal})
        print(f"{task.name} {sent}/{kills}: {stops}, bit-equal {equal}", flush=True)
        shutil.rmtree(folder)
    return {
        "command": "cxr " + " ".join(word for word in task.words(Path("OUT")) if "/" not in word),
        "seconds_whole": round(seconds, 1),
        "compared_files": sorted(expected),
        "kills": sent,
        "by_signal": dict(Counter(stop["signal"] for row in rows for stop in row["kills"])),
        "runs": len(rows),
        "runs_bit_equal": sum(row["bit_equal"] for row in rows),
        "different": different,
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="Of each task.")
    parser.add_argument("--seed", type=int, default=0, help="Of the moments.")
    parser.add_argument("--out", type=Path, help="JSON file with the result.")
    options = parser.parse_args()
    # A shell that starts this in the background lets it, and so all that it starts, ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        drawn = random.Random(options.seed)
        found = {task.name: run_self_test(task, root, options.kills, drawn) for task in tasks(root)}
    content = {
        "intended_use": INTENDED_USE,
        "command": f"python benchmarks/kills.py --kills {options.kills} --seed {options.seed}"
        + (f" --out {options.out}" if options.out else ""),
        "date": provenance.now(),
        "commit": provenance.commit(),
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "seed": options.seed,
        **found,
    }
    if options.out:
        write_json(options.out, content)
    failed = [task for task in found if found[task]["runs_bit_equal"] < found[task]["runs"]]
    if failed:
        raise SystemExit(f"not bit-equal: {', '.join(failed)}")


if __name__ == "__main__":
    main()
