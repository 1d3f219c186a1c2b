"""What a run left beside its checkpoint: its parts, its validation scores, how often it was tested.

In comes whatever names a checkpoint; out goes what stands in its folder, or None: a checkpoint may
be a pair of files that was handed on alone. Images are not opened, and need not be there any more.
"""

from __future__ import annotations

import contextlib
import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr_transfer import provenance
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.index import data_hash
from cxr_transfer.datasets.manifest import PARTS_FILE
from cxr_transfer.errors import MachineError
from cxr_transfer.files import append_line, read_csv
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.folder import read_text
from cxr_transfer.models.metadata import Checkpoint, checkpoint_files, fingerprint
from cxr_transfer.runs.validation_scores import read_validation
from cxr_transfer.statistics.findings import FindingScores
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.text import markdown

TEST_SET_ACCESS_FILE = "test_set_accesses.csv"
_ACCESS = ("time", "command", "images", "data_hash", "weights_sha256")


@dataclass(frozen=True)
class PartRow:
    """One image of the run, as ``split.csv`` has it; unknown is ""."""

    label: str
    patient: str
    source: str
    split: str
    sha256: str
    pixels: str
    licence: str
    view: str
    age: str
    sex: str


def run_folder(checkpoint_path: Path) -> Path:
    """Return the folder in which the checkpoint's two files lie.

    Raises:
        ModelError: What `checkpoint_files` raises.
    """
    return checkpoint_files(checkpoint_path)[0].parent


def parts(folder: Path) -> tuple[PartRow, ...]:
    """Return the images of the run and their parts; none where ``split.csv`` is absent.

    Unlike `read_manifest` this asks for no image: they may have moved since.
    """
    path = folder / PARTS_FILE
    if not path.is_file():
        return ()
    return tuple(
        PartRow(**{name: row.get(name, "") for name in PartRow.__dataclass_fields__})
        for row in read_csv(read_text(path))
    )


def own_parts(card: Checkpoint, folder: Path) -> tuple[PartRow, ...]:
    """Return the images of ``split.csv``, if they are those of which the card tells; else none."""
    rows = parts(folder)
    counts = Counter(row.split for row in rows)
    images = card.data.get("images", {})
    return rows if {part: counts[part] for part in images} == images else ()


def validation_scores(folder: Path, labels: LabelSet) -> Scores | None:
    """Return the scores of the validation images; None where the run kept none.

    Raises:
        ModelError: ``bad_validation``.
    """
    kept = read_validation(folder, labels)
    if kept is None:
        return None
    targets, scored, patients, files = kept
    return Scores(labels, targets, scored, patients, files)


def validation_findings(folder: Path, labels: LabelSet) -> FindingScores | None:
    """Return the probabilities of findings of the validation images; None where none are kept.

    Raises:
        ModelError: ``bad_validation``.
    """
    kept = read_validation(folder, labels)
    return None if kept is None else FindingScores(labels, *kept)


def own_overlap(checkpoint: Checkpoint, rows: Iterable[PartRow]) -> int:
    """Return how many of the run's own test images training saw, by image or by patient."""
    images = set(checkpoint.seen.get("images", ()))
    patients = set(checkpoint.seen.get("patients", ()))
    return sum(
        fingerprint(row.pixels) in images or fingerprint(row.patient) in patients
        for row in rows
        if row.split == "test"
    )


def patients_in_several_parts(rows: Iterable[PartRow]) -> int:
    """Return how many patients have images in more than one part."""
    where: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        where[row.patient].add(row.split)
    return sum(len(patient_parts) > 1 for patient_parts in where.values())


def record_test_set_access(
    folder: Path, command: str, cases: Sequence[Case], weights_sha256: str
) -> dict[str, Any] | None:
    """Record that ``command`` scored images of the run's own test part.

    Every time is a line of ``test_set_accesses.csv``: what is tried until the test part likes it
    shows. A line is written in one piece, and one that was cut off by a full disk spoils no other.

    Args:
        folder: Run folder.
        command: "study", "evaluate", "audit".
        cases: Indexed images that were scored, of the test part or not.
        weights_sha256: SHA-256 of the checkpoint that scored them.

    Returns:
        What `recorded_accesses` returns afterwards: None where the run has no parts.
    """
    tested = {row.sha256 for row in parts(folder) if row.split == "test"}
    opened = [case for case in cases if case.sha256 in tested]
    if opened:
        values = (
            provenance.now(),
            command,
            str(len(opened)),
            data_hash(opened),
            weights_sha256,
        )
        # A folder that cannot be written to keeps no record; the evaluation itself is none the
        # worse.
        path = folder / TEST_SET_ACCESS_FILE
        with contextlib.suppress(MachineError):
            if not path.exists():
                append_line(path, ",".join(_ACCESS))
            append_line(path, ",".join(values))
    return recorded_accesses(folder)


def recorded_accesses(folder: Path) -> dict[str, Any] | None:
    """Return how often the run's test part was opened, and by what; None without parts."""
    if not (folder / PARTS_FILE).is_file():
        return None
    path = folder / TEST_SET_ACCESS_FILE
    lines: list[list[str]] = []
    if path.is_file():
        lines = list(csv.reader(read_text(path).splitlines()))
    # By their place, not by the header: that may be the line that was cut off.
    commands = [line[1] for line in lines if len(line) == len(_ACCESS) and line[0] != _ACCESS[0]]
    return {"times": len(commands), "by": dict(Counter(commands))}


def access_sentence(accesses: dict[str, Any] | None) -> str:
    """Return `recorded_accesses` as a sentence.

    >>> access_sentence({"times": 3, "by": {"study": 1, "audit": 2}})
    'The test part has been opened 3 times (study 1, audit 2).'
    """
    if not accesses:
        return "Not done: there is no run folder, so nothing counts how often it was tested."
    if not accesses["times"]:
        return "No opening of the test part is on record."
    by = ", ".join(f"{markdown(command)} {times}" for command, times in accesses["by"].items())
    once = "once" if accesses["times"] == 1 else f"{accesses['times']} times"
    return f"The test part has been opened {once} ({by})."
