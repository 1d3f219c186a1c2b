"""Feed the command line damaged images, manifests, recipes and model folders.

    python benchmarks/fuzz_commands.py --inputs 20000 --out docs/results/fuzz_commands.json
    python benchmarks/fuzz_commands.py --inputs 500 --only manifests,models --failures /tmp/failed

Images (six of ten inputs) lie by hundreds in folders, damaged by ``fuzz_mutations.py`` and under
odd names; `cxr predict` answers for each folder, as JSON, CSV, lines or a table, or
`cxr data check` looks at it. Every file must get one row or be said to be no image, and the exit
code must be 1 where one of them got no class, or is damaged.
Manifests, recipes and model folders (``fuzz_given.py``) are given one by one to `cxr data check`,
`cxr evaluate`, `cxr train` (whose images are missing: it ends before it decodes), `cxr predict` and
`cxr card`: each in a fork of this process, which has imported the package and computed nothing. A
failure is: a traceback; an exit code that is not documented, or that calls the input a fault of the
machine; a death by a signal; more than 60 seconds of the processor for one input, or 5 for each
image; 1 GB of memory more than undamaged inputs take; an error that is not one line; a control
character on the terminal; JSON or CSV that is none; a class that is called "nan" or the like.
Failures of one kind are counted, and the first of each are kept where --failures says. Uses one
core.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

# Everything that a command imports is to be there before the first fork.
import cxr_transfer.datasets.loading
import cxr_transfer.evaluation.evaluate
import cxr_transfer.evaluation.model_card
import cxr_transfer.export.openvino
import cxr_transfer.inference.predictor
import cxr_transfer.training.run  # noqa: F401
from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.datasets.image_files import Why
from cxr_transfer.files import write_json
from fuzz_ended import (
    MEMORY,
    SECONDS,
    Ended,
    faults,
    forked,
    program,
    said,
    strict_json,
    unprintable,
)
from fuzz_given import STATUSES, Given, Manifests, Models, Recipes, checkpoint_in
from fuzz_mutations import mutated
from fuzz_seeds import NAMES, encoded, seeds
from made import chest, write_image

SECONDS_PER_IMAGE = 5.0
FOLDER = 300  # images in one folder
SHARES = {"images": 0.6, "manifests": 0.2, "recipes": 0.1, "models": 0.1}
KEPT = 3  # inputs of each kind of failure
MODELS = ("multi_source", "model_2", "model_3")


@dataclass
class Tally:
    """What became of inputs of one sort.

    Attributes:
        answers: Exit codes with their error codes, or statuses of images.
        failures: Number of each kind.
        examples: First inputs of each kind of failure: number and command.
        inputs: Number of inputs.
        slowest: Longest processor time of one command, seconds.
        memory: Most bytes that one command held beyond what an undamaged one did.
    """

    answers: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    inputs: int = 0
    slowest: float = 0.0
    memory: int = 0


# Images


NAMES_OF_FILES = (
    *(
        "image",
        "Röntgen 胸",
        "two\nlines",
        "=cmd()",
        "-rf",
        "a b",
        ".hidden",
        "tab\there",
        "ab,c",
        'quo"te',
    ),
    *("\x1b[31mred", "x" * 200, "CON", "Doe^Jane^1970", "zero\u200bwidth", "rtl\u202egnp"),
    *("image.jpg.exe", "'single'", "<b>bold</b>", "@sum", "\udcff\udcfe"),
)
PLACES = ("", "", "sub/", "sub/Ünter \n/")
CLASSES = ("normal/", "covid19/", "covid19/sub/")
ENDINGS = (".png", ".jpg", ".tif", ".dcm", "", ".PNG", ".txt", ".jpeg")


def left_out(notices: str) -> int:
    """Return how many files are said to be no images, or to be left out otherwise."""
    reasons = "|".join(re.escape(form) for why in Why for form in why.value)
    # Names follow in brackets, but for those of hidden files.
    found = re.findall(
        rf"(?:left out: |, )(\d+) (?:{reasons})(?= \(|, \d|$)", notices, re.MULTILINE
    )
    return sum(map(int, found))


def odd_lines(ended: Ended, usual: Ended) -> Iterator[str]:
    """Yield lines on standard error that nobody expects beside those of whole images."""
    known = (*usual.err.decode().splitlines(), "table.", "left out: ", "predicting: ")
    for line in ended.err.decode(errors="surrogateescape").split("\n"):
        if line and not line.startswith(known) and not line.startswith("cxr: "):
            yield f"an unexpected line on standard error: {line[:60]}"


class Images:
    """Folders of damaged images, and what `cxr predict` and `cxr data check` say of them."""

    def __init__(self, seed: int, kept: Path | None) -> None:
        self._seed = seed
        self._kept = kept
        made, real = seeds()
        images = {f"chest {number}": encoded(chest(number), "PNG") for number in range(6)}
        images |= {f"JPEG chest {number}": encoded(chest(number), "JPEG") for number in range(6)}
        self._made = made | images
        self._real = real
        self._usual: dict[str, Ended] = {}

    def _image(self, number: int) -> bytes:
        rng = np.random.default_rng([self._seed, 1, number])
        pool = self._real if self._real and rng.random() < 0.01 else self._made
        names = list(pool)
        content = pool[names[int(rng.integers(len(names)))]]
        if rng.random() < 0.1:
            return content
        others = list(self._made.values())
        return mutated(content, others[int(rng.integers(len(others)))], rng)

    def _write(self, folder: Path, first: int, number: int, places: Sequence[str]) -> list[str]:
        """Write images into folders below one; return their names in that."""
        rng = np.random.default_rng([self._seed, 2, first])
        names = []
        for index in range(first, first + number):
            below = places[int(rng.integers(len(places)))]
            stem = NAMES_OF_FILES[int(rng.integers(len(NAMES_OF_FILES)))]
            name = f"{below}{stem}{index}{ENDINGS[int(rng.integers(len(ENDINGS)))]}"
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._image(index))
            names.append(name)
        return names

    def run(self, inputs: int, tally: Tally) -> None:
        """Answer for ``inputs`` images, a folder at a time."""
        for turn, first in enumerate(range(0, inputs, FOLDER)):
            number = min(FOLDER, inputs - first)
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place)
                how = ("json", "csv", "lines", "check", "table", "parquet")[turn % 6]
                model = MODELS[turn // 6 % len(MODELS)]
                places = CLASSES if how == "check" else PLACES
                names = self._write(folder / "in", first, number, places)
                usual = self._undamaged(model)
                if how == "check":
                    words = ["data", "check", "in", "--json"]
                    ended = program(words, folder, SECONDS + SECONDS_PER_IMAGE * number)
                    found = [*faults(ended, usual.memory), *self._checked(ended, names, tally)]
                else:
                    words = ["predict", "in", "--model", model, *self._words(how, turn)]
                    ended = program(words, folder, SECONDS + SECONDS_PER_IMAGE * number)
                    found = list(faults(ended, usual.memory))
                    found += self._judged(how, ended, folder, names, tally)
                    found += odd_lines(ended, usual)
                tally.slowest = max(tally.slowest, ended.seconds / number)
                tally.memory = max(tally.memory, ended.memory - usual.memory)
                tally.inputs += number
                for what in found:
                    tally.failures[what] += 1
                    tally.examples[what].append(f"images {first} + {number}: cxr {' '.join(words)}")
                    print(f"images {first} + {number}: {what}", flush=True)
                if found and self._kept:
                    kept = self._kept / f"images_{first}"
                    shutil.rmtree(kept, ignore_errors=True)
                    shutil.copytree(folder, kept)
                    (kept / "stderr").write_bytes(ended.err)
                    (kept / "stdout").write_bytes(ended.out)

    def _undamaged(self, model: str) -> Ended:
        """Return how the command ends for a folder of whole images: what is usual for a model."""
        if model not in self._usual:
            with tempfile.TemporaryDirectory() as place:
                for number in range(12):
                    write_image(Path(place, "in", f"{number}.png"), number)
                words = ["predict", "in", "--model", model, "--json"]
                ended = program(words, Path(place), SECONDS * 10)
            if ended.code not in (0, 1):
                raise SystemExit(f"Expected answers, but got: {ended.err.decode()}")
            self._usual[model] = ended
        return self._usual[model]

    @staticmethod
    def _words(how: str, turn: int) -> list[str]:
        words = {
            "json": ["--json"],
            "csv": ["--csv"],
            "lines": [],
            "table": ["--out", "table.csv"],
            "parquet": ["--out", "table.parquet"],
        }[how]
        words = [*words, "--workers", str(1 + turn % 3)]
        return [*words, "--any-modality"] if turn % 4 == 1 else words

    def _judged(
        self, how: str, ended: Ended, folder: Path, names: Sequence[str], tally: Tally
    ) -> Iterator[str]:
        """Yield what is wrong with the answers for a folder."""
        if ended.code not in (0, 1):
            yield f"no answers: {said(ended)}"
            return
        text = ended.out.decode("utf-8", "surrogateescape")
        # A pipe is for a program: CSV holds the very names, JSON escapes them.
        if how == "lines" and unprintable(text):
            yield f"a control character on standard output ({how})"
        # Hidden files are passed over, and counted.
        expected = {"in/" + name for name in names if not Path(name).name.startswith(".")}
        try:
            rows = list(self._rows(how, text, folder))
        except (ValueError, KeyError, csv.Error, UnicodeError) as error:
            yield f"{how} that is none: {type(error).__name__}"
            return
        notices = ended.err.decode(errors="surrogateescape")
        if len(rows) + left_out(notices) != len(names):
            yield f"{how}: a file without a row, or with two, and not said to be left out"
        if how == "lines":
            return
        files = Counter(row["file"] for row in rows)
        known = {name.encode("utf-8", "surrogateescape") for name in expected}
        given = {str(name).encode("utf-8", "surrogateescape") for name in files}
        if how == "parquet":
            known = {name.decode(errors="backslashreplace").encode() for name in known}
        if given - known or max(files.values()) > 1:
            yield f"{how}: a row of no file, or two of one"
        for row in rows:
            tally.answers[row["status"] if row["status"] != "error" else row["code"]] += 1
        failed = sum(row["status"] != "ok" for row in rows)
        if ended.code != bool(failed):
            yield f"exit code {ended.code} where {failed} failed"
        yield from {wrong for row in rows for wrong in self._of_row(row)}

    @staticmethod
    def _checked(ended: Ended, names: Sequence[str], tally: Tally) -> Iterator[str]:
        """Yield what is wrong with what `cxr data check` says of a folder per class."""
        if ended.code not in (0, 1):
            yield f"no check: {said(ended)}"
            return
        try:
            found = strict_json(ended.out.decode())
            rows, archives = found["images"], found["archives"]
            files = Counter(row["file"] for row in rows)
            ignored = sum(archive["ignored"] for archive in archives)
        except (ValueError, KeyError, TypeError) as error:
            yield f"a check that is none: {type(error).__name__}: {error}"[:80]
            return
        hidden = sum(Path(name).name.startswith(".") for name in names)
        if len(rows) + ignored not in (len(names), len(names) - hidden):
            yield "check: a file that is neither an image nor left out"
        if set(files) - set(names) or max(files.values()) > 1:
            yield "check: an image of no file, or two of one"
        if ended.code != bool(found["damaged"]):
            yield f"check: exit code {ended.code} with {len(found['damaged'])} damaged"
        for row in rows:
            tally.answers[f"data check: {row['status']}"] += 1
            lines = [str(row[name]) for name in ("patient", "view", "sex", "warnings", "status")]
            if any(name in line.lower() for line in lines for name in NAMES):
                yield "check: a patient's name"

    @staticmethod
    def _rows(how: str, text: str, folder: Path) -> Iterator[dict[str, object]]:
        if how == "json":
            for line in text.splitlines():
                yield strict_json(line)
        elif how == "lines":
            for line in text.splitlines():
                yield {"line": line}
        elif how == "parquet":
            import pyarrow.parquet

            for row in pyarrow.parquet.read_table(folder / "table.parquet").to_pylist():
                scores = {name: row[name] for name in row if name.startswith("score_")}
                yield row | {"scores": scores}
        else:
            if how == "table":
                text = (folder / "table.csv").read_text("utf-8", "surrogateescape")
            for row in csv.DictReader(io.StringIO(text, newline=""), strict=True):
                scores = {
                    name: float(row[name]) if row[name] else None
                    for name in row
                    if name.startswith("score_")
                }
                # A name that a spreadsheet would take for a formula is written behind a mark.
                file = (
                    row["file"].removeprefix("'") if row["file"][1:2] in "=+-@\t" else row["file"]
                )
                yield row | {"scores": scores, "file": file}

    @staticmethod
    def _of_row(row: dict[str, object]) -> Iterator[str]:
        if row["status"] not in STATUSES:
            yield "an unknown status"
        if (row["status"] == "ok") != bool(row["label"]):
            yield "a class without being ok, or none"
        scores = row.get("probabilities", row.get("scores")) or {}
        values = [value for value in scores.values() if value is not None]
        if row["status"] == "ok" and not math.isclose(sum(values), 1, abs_tol=1e-4):
            yield "scores that do not sum to 1"
        if any(not 0 <= value <= 1 for value in values):
            yield "a score outside of [0, 1]"
        lines = [str(row["message"]), str(row["warnings"]), str(row["code"])]
        if any(name in line.lower() for line in lines for name in NAMES):
            yield "a patient's name in a message"


def one_by_one(given: Given, inputs: int, tally: Tally, kept: Path | None) -> None:
    """Give damaged inputs to commands one by one."""
    whole = forked(given.undamaged(), given.folder)
    usual = whole.memory
    if whole.wrong or b"Traceback" in whole.err:
        raise SystemExit(f"Expected a whole input to be taken, but got: {whole.err.decode()}")
    for number in range(inputs):
        rng = np.random.default_rng([given.seed, 3, len(given.sort), number])
        words = given.place(number, rng)
        ended = forked(words, given.folder)
        found = list(faults(ended, usual))
        if not ended.wrong and not found:
            try:
                found += given.judged(words, ended)
            except (ValueError, KeyError, TypeError, UnicodeError) as error:
                found.append(f"an answer that is none: {type(error).__name__}: {error}"[:100])
        tally.inputs += 1
        tally.slowest = max(tally.slowest, ended.seconds)
        tally.memory = max(tally.memory, ended.memory - usual)
        command = words[0] if words[0] != "data" else "data check"
        tally.answers[f"{command}: {said(ended)}"] += 1
        for what in found:
            tally.failures[what] += 1
            if len(tally.examples[what]) < KEPT:
                tally.examples[what].append(f"{given.sort} {number}: cxr {' '.join(words)}")
                print(f"{given.sort} {number}: {what}", flush=True)
                if kept:
                    _keep(kept / f"{given.sort}_{number}", given.folder, words, ended)
        _clean(given.folder, number)
        if number % 500 == 499:
            print(
                f"{given.sort}: {number + 1}, {sum(tally.failures.values())} failures", flush=True
            )


def _keep(place: Path, folder: Path, words: Sequence[str], ended: Ended) -> None:
    """Keep an input, and what was said of it."""
    place.mkdir(parents=True, exist_ok=True)
    for word in words:
        if Path(word).is_absolute():
            continue  # the checkpoint that all share
        if (folder / word).is_dir():
            shutil.copytree(folder / word, place / word, symlinks=True, dirs_exist_ok=True)
        elif (folder / word).is_file():
            shutil.copy(folder / word, place)
    (place / "stderr").write_bytes(ended.err)
    (place / "stdout").write_bytes(ended.out)
    (place / "command").write_text("cxr " + " ".join(words))


def _clean(folder: Path, number: int) -> None:
    """Take an input and what came of it away."""
    for path in folder.iterdir():
        if path.stem in (
            f"{name}{number}" for name in ("manifest", "recipe", "model", "out", "run")
        ):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(SHARES), help="sorts of inputs, with commas")
    parser.add_argument("--out", type=Path, default=Path("docs/results/fuzz_commands.json"))
    parser.add_argument("--failures", type=Path, help="a folder to keep failing inputs in")
    options = parser.parse_args()
    wanted = options.only.split(",")
    if unknown := set(wanted) - SHARES.keys():
        parser.error(f"unknown sorts: {', '.join(sorted(unknown))}")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    commit, started, begun = provenance.commit(), provenance.now(), time.monotonic()
    whole = sum(SHARES[name] for name in wanted)
    numbers = {name: round(options.inputs * SHARES[name] / whole) for name in wanted}
    tallies = {name: Tally() for name in wanted}
    with tempfile.TemporaryDirectory() as place:
        os.environ["CXR_CACHE"] = str(Path(place, "cache"))
        checkpoint = Path(place, "checkpoint")
        # In another process: this one is to have computed nothing when it forks.
        maker = multiprocessing.get_context("spawn").Process(
            target=checkpoint_in, args=(checkpoint,)
        )
        maker.start()
        maker.join()
        sorts: dict[str, Callable[[Path], Given]] = {
            "manifests": lambda folder: Manifests(options.seed, folder, checkpoint),
            "recipes": lambda folder: Recipes(options.seed, folder),
            "models": lambda folder: Models(options.seed, folder, checkpoint),
        }
        for name in wanted:
            folder = Path(place, name)
            folder.mkdir()
            if name == "images":
                Images(options.seed, options.failures).run(numbers[name], tallies[name])
            else:
                one_by_one(sorts[name](folder), numbers[name], tallies[name], options.failures)
    failures = sum(sum(tally.failures.values()) for tally in tallies.values())
    write_json(
        options.out,
        {
            "intended_use": INTENDED_USE,
            "command": f"python benchmarks/fuzz_commands.py --inputs {options.inputs} "
            f"--seed {options.seed} --only {options.only} --out {options.out}",
            "date": started,
            "commit": commit,
            "machine": provenance.machine(),
            "versions": provenance.versions(),
            "seed": options.seed,
            "limits": {
                "memory_bytes": MEMORY,
                "processor_seconds": SECONDS,
                "processor_seconds_per_image": SECONDS_PER_IMAGE,
            },
            "inputs": sum(tally.inputs for tally in tallies.values()),
            "minutes": round((time.monotonic() - begun) / 60, 1),
            "failures": failures,
            "sorts": {
                name: {
                    "inputs": tally.inputs,
                    "slowest_seconds": round(tally.slowest, 2),
                    "memory_beyond_megabytes": round(tally.memory / 1e6),
                    "answers": dict(tally.answers.most_common()),
                    "failures": dict(tally.failures.most_common()),
                    "examples": {what: some[:KEPT] for what, some in tally.examples.items()},
                }
                for name, tally in tallies.items()
            },
        },
    )
    print(f"{failures} failures")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
