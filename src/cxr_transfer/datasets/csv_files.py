"""A CSV file as people and their programs write it: its text, and its first row.

UTF-8 with or without a byte-order mark, UTF-16 as spreadsheets save "Unicode text", Windows' own
encoding; comma, semicolon or tab. Knows nothing of what the columns mean.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Collection
from pathlib import Path

from cxr_transfer.datasets.cells import clean

_HEADER = 1 << 16
"""Bytes in which a first row must end."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decoded(content: bytes) -> tuple[str, str]:
    """Return the text of a CSV file, and its encoding.

    Raises:
        ValueError: The content is no text.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            text = content.removeprefix(mark).decode(encoding)
            break
    else:
        text, encoding = _unmarked(content.removeprefix(codecs.BOM_UTF8))
    if "\0" in text:
        raise ValueError("binary content")
    return text.removeprefix("\ufeff"), encoding


def _unmarked(content: bytes) -> tuple[str, str]:
    if b"\0" in content[:_HEADER]:
        # UTF-16 without a mark: of a header's letters one byte of each pair is 0.
        start = content[:200]
        for encoding, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[0::2])):
            if 2 * zeros.count(0) > len(zeros):
                return content.decode(encoding), encoding
        raise ValueError("binary content")
    for encoding in ("utf-8", "cp1252", "latin-1"):
        try:
            return content.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise AssertionError("Latin-1 has a sign for every byte")


def separator_of(header: str) -> str:
    """Return what separates the cells of a first row: the most frequent of ``,`` ``;`` and tab."""
    return max(",;\t", key=header.count)


def columns_of(path: Path) -> list[str]:
    """Return the names in the first row of a table; none where there is no such table."""
    try:
        with path.open("rb") as handle:
            content = handle.read(_HEADER)
        # Half a sign may stand at the end of what was read.
        header = decoded(content if len(content) < _HEADER else content[: content.rfind(b"\n") + 1])
        first = next(iter(header[0].splitlines()), "")
        cells = next(csv.reader(io.StringIO(first), delimiter=separator_of(first)), [])
    except (OSError, ValueError, csv.Error):
        return []
    return [clean(cell) for cell in cells]


def has_columns(path: Path, needed: Collection[str]) -> bool:
    """Tell whether a table is there and has the needed columns, beside any others."""
    return set(needed) <= set(columns_of(path))
