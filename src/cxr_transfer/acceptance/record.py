"""The record of an acceptance test: JSON that tells whether it, and its files, are as they were.

The record carries the SHA-256 of its own content. That shows a change by accident, or by one who
does not compute it anew. It is no signature: write the hash down elsewhere, or sign the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from cxr_transfer.datasets.decode import sha256_of_file
from cxr_transfer.errors import DataError
from cxr_transfer.files import write_json
from cxr_transfer.models.folder import strict_json
from cxr_transfer.text import for_terminal

RECORD = "acceptance.json"
KIND, SCHEMA = "acceptance test", 1

_HASH, _FILES = "sha256", "files"
LARGEST = 64 * 1024 * 1024


def content_hash(record: Mapping[str, Any], *, without: tuple[str, ...] = (_HASH,)) -> str:
    """Return the SHA-256 of a record's content in canonical JSON.

    Canonical: keys sorted, no spaces, UTF-8, numbers as Python writes them.

    Args:
        record: Content of the record.
        without: Keys that are left out.

    >>> content_hash({"b": 1, "a": 2, "sha256": "x"}) == content_hash({"a": 2, "b": 1})
    True
    """
    kept = {name: value for name, value in record.items() if name not in without}
    text = json.dumps(
        kept, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def results_hash(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all but the list of files, which stands on the pages themselves."""
    return content_hash(record, without=(_HASH, _FILES))


def write_record(folder: Path, record: Mapping[str, Any], files: tuple[str, ...]) -> dict[str, Any]:
    """Write ``folder/acceptance.json`` with the hashes of files and of its own content.

    Args:
        folder: Folder of the test.
        record: Content of the record.
        files: Names of files in the folder that belong to it.

    Returns:
        The content as it was written.
    """
    full = {**record, _FILES: {name: sha256_of_file(folder / name) for name in files}}
    full[_HASH] = content_hash(full)
    write_json(folder / RECORD, full)
    return full


def read_record(path: Path) -> dict[str, Any]:
    """Read a record.

    Raises:
        DataError: ``bad_record`` for another file.
    """
    path = path / RECORD if path.is_dir() else path
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError("it is too large")
        record = strict_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise bad_record(path, error.strerror or str(error)) from None
    except (ValueError, RecursionError) as error:
        raise bad_record(path, for_terminal(str(error))) from None
    if not isinstance(record, dict) or record.get("kind") != KIND:
        raise bad_record(path, "it is another file")
    if record.get("schema") != SCHEMA:
        raise bad_record(path, f"it is of schema {for_terminal(str(record.get('schema')))}")
    return record


def verify(path: Path) -> dict[str, Any]:
    """Compare a record with its own hash, and the files beside it with theirs.

    Returns:
        ``unchanged``; ``sha256`` of the content as it is now; ``changed``, a line for each thing
        that is not as it was.

    Raises:
        DataError: ``bad_record``.
    """
    record = read_record(path)
    folder = path if path.is_dir() else path.parent
    digest = content_hash(record)
    changed = [] if digest == record.get(_HASH) else ["the record itself is changed"]
    files = record.get(_FILES)
    if not isinstance(files, dict):
        raise bad_record(path, "it lists no files")
    for name, expected in sorted(files.items()):
        shown = for_terminal(str(name))
        # The name is somebody else's: no file of another folder is opened.
        if PurePosixPath(name).name != name or not (folder / name).is_file():
            changed.append(f"{shown} is absent")
        elif sha256_of_file(folder / name) != expected:
            changed.append(f"{shown} is changed")
    return {"unchanged": not changed, "sha256": digest, "changed": changed}


def bad_record(path: Path, why: str) -> DataError:
    """Return the error for a file that is no record of an acceptance test."""
    return DataError(
        "bad_record",
        f"Expected the record of an acceptance test in {path}, but got: {why}; give the "
        f"{RECORD} that 'cxr accept run' wrote.",
    )
