"""The readings of a study as DICOM files: a report for each reader and each DICOM image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from cxr_transfer.errors import ImageError
from cxr_transfer.files import write_bytes
from cxr_transfer.inference.explain import safe_stem
from cxr_transfer.pacs.answer_files import dicom_file, source_header
from cxr_transfer.pacs.reading_report import ImageReading, reading_report
from cxr_transfer.radiograph.reading import read_content


def write_reading_files(
    folder: Path,
    files: Iterable[Path],
    readings: Mapping[tuple[str, str], Sequence[ImageReading]],
    *,
    now: datetime,
    on_image: Callable[[], None] = lambda: None,
) -> tuple[list[Path], set[str]]:
    """Write the readings of images as structured reports of the images' own studies.

    Args:
        folder: Folder of the reports.
        files: Images that may have been read.
        readings: Readings by the SHA-256 of the image, and the name or code of the reader.
        now: Time at which the reports are made, with its time zone.
        on_image: Function that is called after every image.

    Returns:
        Paths of the reports, and the SHA-256 of the DICOM images among the files that were read.

    Raises:
        MachineError: ``disk_full``, ``not_writable``.
    """
    of_image: dict[str, list[str]] = {}
    for sha256, reader in readings:
        of_image.setdefault(sha256, []).append(reader)
    written, found = [], set()
    for path in files:
        try:
            content = read_content(path)
            sha256 = hashlib.sha256(content).hexdigest()
            if sha256 in of_image and sha256 not in found:
                source = source_header(content)
                for reader in of_image[sha256]:
                    report = reading_report(source, sha256, reader, readings[sha256, reader], now)
                    # Two readers' names may look the same in the name of a file.
                    end = str(report.SOPInstanceUID)[-6:]
                    name = f"{safe_stem(path.stem)}.{sha256[:8]}.{safe_stem(reader)}-{end}.dcm"
                    written.append(folder / name)
                    write_bytes(written[-1], dicom_file(report))
                found.add(sha256)
        except ImageError:
            pass  # no DICOM file, or one that nothing can refer to
        on_image()
    return written, found
