"""Reader studies as a public function: what `cxr readers` does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cxr_transfer.api import Log, PathLike, Report, path_of, reported
from cxr_transfer.errors import DataError, UsageError, check_seed
from cxr_transfer.progress import Tell, counting, of_images, tell_nobody


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
    paths = _paths(readings)
    known = path_of(truth, "truth")

    def into(folder: Path) -> dict[str, Any]:
        return study_readers(paths, known, folder, seed=seed, log=log)

    return reported(into, out, {"readers_of": sorted(map(str, paths))}, "readers.md", _rows)


def readings_as_dicom(
    *readings: PathLike,
    images: Sequence[PathLike],
    out: PathLike,
    log: Log = lambda line: None,
    progress: Tell = tell_nobody,
) -> list[Path]:
    """Write readings as DICOM structured reports, for an archive that keeps them with the images.

    Each report holds what one reader said of one image, without and with a model's answer in sight,
    and lies in the study of the image.

    Args:
        readings: Files that the page of `cxr serve` exported (CSV or JSON), of all readers.
        images: DICOM files that were read, and folders of them; they are known by their bytes.
        out: Folder of the reports.
        log: Function that is told what is left out.
        progress: Function that is called with the phase and the share of it that is done.

    Returns:
        Paths of the reports.

    Raises:
        TypeError: An argument is of another type.
        UsageError: ``no_readings`` without a file.
        DataError: ``bad_readings``, also without the images' hashes; ``repeated_readings``; and
            what opening the images raises.
        MachineError: ``missing_package`` without highdicom; ``disk_full``, ``not_writable``.
    """
    from cxr_transfer.datasets.image_files import images_in
    from cxr_transfer.extras import require
    from cxr_transfer.studies.reader_tables import (
        CANNOT_SAY,
        HIGHEST,
        read_readings,
        refuse_repeated,
    )

    require("highdicom", "writing readings as DICOM")
    from cxr_transfer.pacs.reading_files import write_reading_files
    from cxr_transfer.pacs.reading_report import ImageReading

    read = [each for path in _paths(readings) for each in read_readings(path)]
    if not all(each.sha256 for each in read):
        raise DataError(
            "bad_readings",
            "Expected the SHA-256 of each image that was read, but got readings without; export "
            "them from the page again.",
        )
    refuse_repeated(read, "sha256")
    of_image: dict[tuple[str, str], list[ImageReading]] = defaultdict(list)
    for each in read:
        of_image[each.sha256, each.reader].append(
            ImageReading(
                condition=each.condition,
                label="" if each.label == CANNOT_SAY else each.label,
                confidence=each.confidence / HIGHEST,
                target=each.target,
                notes=each.notes,
                seen_before=each.seen_before,
                model=each.model,
            )
        )
    folder = path_of(out, "out")
    files = list(images_in([path_of(image, "images") for image in images], leave_out=[folder]))
    now = datetime.now(UTC).astimezone()
    step = counting(progress, of_images("reading", len(files)), len(files))
    written, found = write_reading_files(folder, files, of_image, now=now, on_image=step)
    if missing := len({sha256 for sha256, _ in of_image} - found):
        log(f"{missing} images that were read are not among the DICOM images: no report of them")
    return written


def _paths(readings: Sequence[PathLike]) -> list[Path]:
    """Return the paths of files of readings.

    Raises:
        UsageError: ``no_readings`` without one.
    """
    if not readings:
        raise UsageError(
            "no_readings", "Expected a file with readings, but got none; give what was exported."
        )
    return [path_of(reading, "readings") for reading in readings]


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
