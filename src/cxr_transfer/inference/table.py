"""Any number of files in, one table out, and nothing done twice after a kill.

Files are answered chunk by chunk. A chunk that is done is kept in ``OUT.partial/`` (a line of JSON
per file); when all are, the table is composed from them, put in its place whole, and the parts are
deleted. A folder of that name that is of somebody else's is neither used nor touched. The same call
goes on where it was stopped and ends on the same bytes: an answer's time is left out, being the
run's and not the image's. Knows nothing of how a file is answered.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from cxr_transfer.about import INTENDED_USE, __version__
from cxr_transfer.errors import (
    DataError,
    MachineError,
    UsageError,
    check_list,
    kind_of,
)
from cxr_transfer.files import csv_line
from cxr_transfer.inference.part_store import PartStore, part_store
from cxr_transfer.inference.prediction import cells, columns
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.storage import Location, is_address, location
from cxr_transfer.text import cell

CHUNK = 512
"""Files that are answered anew after a kill, at most; each chunk is batched by itself, so that
where a run was stopped, or on which machine a chunk was answered, changes no batch."""

ROW_GROUP = 16_384
"""Rows that are in memory at once while a Parquet file is composed."""

LIMITS = ("temperature", "far_distance", "ood_distance", "confidence_threshold", "coverage")
"""Of a `TrainingReference`: what of it decides answers."""

Each = Callable[[], object]


@dataclass(frozen=True)
class Summary:
    """Numbers of files by what became of them.

    Attributes:
        files: Number of files that were given.
        ok: Got a class.
        cannot_assess: Were read, and got none.
        error: Could not be read.
        resumed: Were answered by an earlier call that was stopped.
    """

    files: int
    ok: int
    cannot_assess: int
    error: int
    resumed: int


def predict_into(
    predictor: Predictor,
    files: Sequence[str | Path],
    out: Location,
    *,
    workers: int | None = None,
    settings: Mapping[str, object] | None = None,
    on_image: Each | None = None,
) -> Summary:
    """Write a row for each of ``files``, in their order, to ``out`` (.csv or .parquet).

    Args:
        predictor: Predictor that answers.
        files: Paths, and addresses of objects; one that cannot be read gets a row too.
        out: Path of the table, or its address in an object store; written once, at the end.
        workers: Number of decoding threads; None is one more than there are processors.
        settings: Further settings that decide an answer (precision, say); another value is another
            run.
        on_image: Function that is called once for every file that has been answered.

    Raises:
        TypeError: One path where a list is meant; an item that is no path.
        UsageError: ``unknown_format``, ``out_exists``, ``folder_in_use``; ``other_run`` when
            ``out`` was begun with other files or another model; ``foreign_folder`` when the
            folder of its parts is somebody else's; ``bad_storage_address``, ``no_bucket``.
        DataError: ``empty``, ``damaged_part``.
        MachineError: ``missing_package`` (pyarrow, for Parquet), ``disk_full``, ``not_writable``;
            ``storage_unreachable``, ``storage_refused``.
    """
    with resumable(predictor, files, out, settings=settings, on_image=on_image) as parts:
        for number in parts.missing():
            answers = []
            for answer in predictor.predict_files(parts.chunk(number), workers=workers):
                answers.append(answer.as_dict())
                if on_image:
                    on_image()
            parts.keep(number, answers)
        return parts.finish()


@dataclass(frozen=True)
class Parts:
    """The chunks of one table, some of them done.

    Attributes:
        files: All files, in order.
        store: Store of the finished chunks.
        is_csv: Whether the table is CSV; else it is Parquet.
        labels: Labels of the network.
        model: Model as it stands in the answers.
        resumed: Files that an earlier call answered.
    """

    files: Sequence[str | Path]
    store: PartStore
    is_csv: bool
    labels: tuple[str, ...]
    model: str
    resumed: int

    def missing(self) -> list[int]:
        """Return the numbers of the chunks that are not done."""
        done = self.store.names()
        return [number for number in self._numbers() if self._part(number) not in done]

    def chunk(self, number: int) -> Sequence[str | Path]:
        """Return the files of one chunk."""
        return self.files[number * CHUNK : (number + 1) * CHUNK]

    def keep(self, number: int, answers: Sequence[Mapping[str, Any]]) -> None:
        """Keep what was answered for a chunk.

        Raises:
            MachineError: ``disk_full``, ``not_writable``; what an object store raises.
        """
        lines = (json.dumps(answer) + "\n" for answer in answers)
        self.store.keep(self._part(number), "".join(lines))

    def finish(self) -> Summary:
        """Compose the table out of the chunks, which must all be done, and delete them.

        Raises:
            DataError: ``damaged_part``.
            MachineError: ``disk_full``, ``not_writable``; what an object store raises.
        """
        counts: Counter[str] = Counter()

        def rows() -> Iterator[dict[str, Any]]:
            for number in self._numbers():
                for answer in self._read(number):
                    counts[answer["status"]] += 1
                    yield _row(answer, self.labels)

        write = _write_csv if self.is_csv else _write_parquet
        names = [self._part(number) for number in self._numbers()]
        self.store.publish(lambda handle: write(handle, rows(), self.labels, self.model), names)
        self.store.clear(names)
        return Summary(
            len(self.files), counts["ok"], counts["cannot_assess"], counts["error"], self.resumed
        )

    def _numbers(self) -> range:
        return range(-(-len(self.files) // CHUNK))

    def _part(self, number: int) -> str:
        return f"{number:06}.jsonl"

    def _read(self, number: int) -> list[dict[str, Any]]:
        try:
            lines = self.store.read(self._part(number)).splitlines()
            answers = [json.loads(line) for line in lines]
            named = [answer["file"] for answer in answers]
        except (ValueError, KeyError, TypeError):
            named = []
        if named != [str(file) for file in self.chunk(number)]:
            raise DataError(
                "damaged_part",
                f"Expected the answers for {len(self.chunk(number))} files in "
                f"{self.store.place}/{self._part(number)}, but got something else; delete it and "
                "run the same command again.",
            )
        return answers


@contextmanager
def resumable(
    predictor: Predictor,
    files: Sequence[str | Path],
    out: Location,
    *,
    settings: Mapping[str, object] | None = None,
    on_image: Each | None = None,
) -> Iterator[Parts]:
    """Give the chunks of ``out``, held for this run; see `predict_into`."""
    check_list(files, "paths")
    for file in files:
        if not isinstance(file, str | os.PathLike):
            raise TypeError(f"Expected paths, but one is {kind_of(file)}; name the files.")
    # A path stays as it is given, which is how it stands in the row.
    places = [place if is_address(place := location(file)) else file for file in files]
    out = location(out)
    suffix = PurePath(out).suffix
    if suffix not in (".csv", ".parquet"):
        raise UsageError(
            "unknown_format", f"Expected a name that ends in .csv or .parquet, but got {out}."
        )
    if suffix == ".parquet":
        _pyarrow()  # now, and not when everything is answered
    if not files:
        raise DataError("empty", "Expected at least one file, but got none; name some.")
    store = part_store(out)
    # With a record, the table is this run's own, which was stopped before it could tidy up.
    begun = store.begun()
    if begun is None:
        store.check_new()
    run = _run(predictor, places, settings or {})
    _check_same(store.place, begun, run)
    with store.hold():
        begun = store.begun()  # another run may have come in between
        if begun is None:
            begun = store.begin(run)
        _check_same(store.place, begun, run)
        is_csv, labels = suffix == ".csv", tuple(predictor.card.labels)
        parts = Parts(places, store, is_csv, labels, predictor.model, 0)
        resumed = len(files) - sum(len(parts.chunk(number)) for number in parts.missing())
        if on_image:
            for _ in range(resumed):
                on_image()
        yield replace(parts, resumed=resumed)


def _run(
    predictor: Predictor, files: Sequence[str | Path], settings: Mapping[str, object]
) -> dict[str, Any]:
    """Return what must be the same for a run to go on."""
    names = hashlib.sha256()
    for file in files:
        # As it is given, for that is what stands in the row, and where it points to.
        for name in (str(file), file if is_address(file) else os.path.abspath(file)):
            names.update(os.fsencode(name) + b"\0")
    reference = predictor.reference
    return {
        "version": __version__,
        "model": predictor.model,
        "network": dict(predictor.converted.sha256),
        # A reference may be fitted anew beside the same weights: its limits decide answers, too.
        **{name: getattr(reference, name) if reference else None for name in LIMITS},
        "thresholds": list(reference.thresholds) if reference and reference.thresholds else None,
        "settings": dict(settings),
        "files": len(files),
        "files_sha256": names.hexdigest(),
        "chunk": CHUNK,
    }


def _check_same(place: Location, begun: Mapping[str, Any] | None, run: Mapping[str, Any]) -> None:
    """Refuse to go on with another run.

    Raises:
        UsageError: ``other_run``.
    """
    differing = [name for name in run if begun is not None and begun.get(name) != run[name]]
    if differing:
        raise UsageError(
            "other_run",
            f"Expected to go on with what was begun in {place}, but this run differs in "
            f"{', '.join(map(_in_words, differing))}; choose another --out, or delete that folder.",
        )


def _in_words(name: str) -> str:
    if name == "files_sha256":
        return f"{name} (other files, another order, or the same by other names or paths)"
    return name


def _columns(labels: Sequence[str]) -> list[str]:
    return [name for name in columns(labels) if name != "ms"]


def _row(answer: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """Return an answer by column; what it does not have is None."""
    values = cells(answer, labels)
    return {name: values[name] for name in _columns(labels)}


def _write_csv(
    handle: BinaryIO, rows: Iterator[dict[str, Any]], labels: Sequence[str], _model: str
) -> None:
    # Image names need not be UTF-8: such bytes go out as they came in.
    text = io.TextIOWrapper(handle, encoding="utf-8", errors="surrogateescape", newline="")
    names = _columns(labels)
    text.write(f"{csv_line(names)}\n")
    for row in rows:
        text.write(f"{csv_line([cell(row[name]) for name in names], quoted=True)}\n")
    text.detach()


def _write_parquet(
    handle: BinaryIO, rows: Iterator[dict[str, Any]], labels: Sequence[str], model: str
) -> None:
    arrow, parquet = _pyarrow()
    numbers = ("temperature", *(f"score_{label}" for label in labels))
    types = {"calibrated": arrow.bool_()} | dict.fromkeys(numbers, arrow.float64())
    schema = arrow.schema(
        [(name, types.get(name, arrow.string())) for name in _columns(labels)],
        metadata={"intended_use": INTENDED_USE, "model": model, "labels": json.dumps(labels)},
    )
    with parquet.ParquetWriter(handle, schema) as writer:
        while group := list(islice(rows, ROW_GROUP)):
            for row in group:  # Arrow's text is UTF-8, names of images need not be
                row["file"] = (
                    row["file"].encode(errors="surrogateescape").decode(errors="backslashreplace")
                )
            writer.write_table(arrow.Table.from_pylist(group, schema))


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MachineError(
            "missing_package",
            "Expected pyarrow for a Parquet file, but it is not installed: "
            'pip install "cxr-transfer[parquet]"; or give a name that ends in .csv.',
        ) from None
    return pyarrow, pyarrow.parquet
