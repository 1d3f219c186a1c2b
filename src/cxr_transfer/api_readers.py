"""Reader studies as a public function: what `cxr readers` does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxr_transfer.api import Log, PathLike, Report, path_of, reported
from cxr_transfer.errors import UsageError, check_seed


def readers(
    *readings: PathLike,
    truth: PathLike,
    out: PathLike | None = None,
    seed: int = 0,
    log: Log = lambda line: None,
) -> Report:
    """Judge the readers of a study, and the model that they read with.

    Args:
        readings: Files that the page of `cxr serve` exported (CSV or JSON), of all readers.
        truth: Manifest, or another table (.csv) with ``label`` and ``sha256``, ``path`` or
            ``file``; with ``patient`` where patients have several images.
        out: Report folder; None keeps no files.
        seed: Random seed of the bootstrap.
        log: Function that is told what is left out.

    Returns:
        The content of ``readers.json``; as a table, a row for each reader and condition.

    Raises:
        TypeError: An argument is of another type.
        UsageError: ``no_readings`` without a file.
        DataError: What `cxr readers` says; see its codes.
    """
    from cxr_transfer.studies.reader_study import study_readers

    check_seed(seed)
    paths = [path_of(reading, "readings") for reading in readings]
    if not paths:
        raise UsageError(
            "no_readings", "Expected a file with readings, but got none; give what was exported."
        )
    known = path_of(truth, "truth")

    def into(folder: Path) -> dict[str, Any]:
        return study_readers(paths, known, folder, seed=seed, log=log)

    return reported(into, out, {"readers_of": sorted(map(str, paths))}, "readers.md", _rows)


def _rows(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name, ways in content["readers"].items():
        for condition, figures in ways.items():
            if figures is None:
                continue
            row: dict[str, Any] = {"reader": name, "condition": condition}
            for key, value in figures.items():
                if isinstance(value, Mapping):
                    row |= {key: value["value"]}
                    row |= {f"{key}_{end}": value[end] for end in ("low", "high")}
                else:
                    row[key] = value
            rows.append(row)
    return rows
