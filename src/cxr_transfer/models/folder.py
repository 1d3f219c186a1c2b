"""Files of a model folder, which somebody else may have made: read within bounds, or refused.

What a model folder may do is to hold files. It may not lead out of itself: a link in it that points
elsewhere, a pipe or a device in a file's place, a file without end are refused by name. The folder
itself may be reached by a link, and links within it may point to each other. Knows nothing of what
stands in the files.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cxr_transfer.errors import ModelError
from cxr_transfer.text import for_terminal

MIB = 1024 * 1024
LARGEST_TEXT = 64 * MIB
"""Bytes of a card or a table. A card with the hashes of a million images has 20 MB."""

LARGEST_PAGE = 4 * MIB
"""Bytes of what is handed on over HTTP: a model card, an audit."""

LARGEST_WEIGHTS = 2048 * MIB
"""Bytes of weights; those of the largest network here are 94 MB."""

LONGEST_HEADER = MIB
"""Bytes of the header of a safetensors file; 30 kB are used by 321 tensors."""

MOST_TENSORS = 10_000
_DEEPEST = 16
_LONGEST_WORD = 4096
_MOST_VALUES = 10_000


@contextmanager
def opened(path: Path, *, most: int) -> Iterator[io.BufferedReader]:
    """Open a file of a model folder.

    Args:
        path: Path of the file; its parent is the folder, however that is reached.
        most: Bytes that the file may have.

    Raises:
        ModelError: ``outside_link`` for a link that leads out of the folder; ``not_a_file`` for a
            pipe, a device or a folder; ``too_large``; ``unreadable`` for what cannot be opened.
    """
    try:
        folder, target = path.parent.resolve(strict=True), path.resolve(strict=True)
        if not _is_packaged(path.parent) and not target.is_relative_to(folder):
            raise ModelError(
                "outside_link",
                f"Expected a file in the model folder, but {path} is a link that leads out of it, "
                f"to {target}; copy the file to its place, or give the folder that it is in.",
            )
        # Not blocking: a pipe has no end. Not through a link: `target` is what was looked at.
        handle = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        if getattr(error, "errno", None) in (errno.ENXIO, errno.ENODEV):
            raise _not_a_file(path) from None
        reason = getattr(error, "strerror", None) or "links in a circle"
        raise ModelError("unreadable", f"Expected to read {path}, but got: {reason}.") from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise _not_a_file(path)
        if status.st_size > most:
            raise ModelError(
                "too_large",
                f"Expected at most {most} bytes in {path}, but got {status.st_size}; it is no file "
                "of a model.",
            )
        with open(handle, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(handle)


def read_bytes(path: Path, *, most: int) -> bytes:
    """Return the bytes of a file of a model folder; see `opened`."""
    with opened(path, most=most) as file:
        return file.read(most)


def read_text(path: Path, *, most: int = LARGEST_TEXT) -> str:
    """Return the text of a file of a model folder, bytes that are no UTF-8 as surrogates.

    Raises:
        ModelError: What `opened` raises.
    """
    return read_bytes(path, most=most).decode("utf-8", "surrogateescape")


def read_json(path: Path, *, most: int = LARGEST_TEXT) -> Any:  # noqa: ANN401 - it is JSON
    """Return the JSON of a file of a model folder.

    Raises:
        ModelError: What `opened` raises.
        ValueError: It is no JSON, or not one that all readers understand alike; see `strict_json`.
    """
    return strict_json(read_bytes(path, most=most))


def strict_json(content: bytes | str) -> Any:  # noqa: ANN401 - it is JSON
    """Return the value of a JSON text that every reader understands alike.

    Raises:
        ValueError: It is no JSON in UTF-8, nests too deep, names a key twice, or holds NaN or
            infinity, which JSON has not.
    """
    text = content.decode("utf-8") if isinstance(content, bytes) else content
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except RecursionError:
        raise ValueError("values that nest too deep") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key that stands twice")
    return table


def _constant(name: str) -> None:
    raise ValueError(f"{name}, which is no number")


def sha256(path: Path, *, most: int = LARGEST_WEIGHTS) -> str:
    """Return the SHA-256 of a file of a model folder, in hexadecimal digits.

    Raises:
        ModelError: What `opened` raises.
    """
    with opened(path, most=most) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checked_words(value: object) -> object:
    """Return a value of JSON's kinds as it is, where a page or a terminal may show all of it.

    Raises:
        ValueError: A text is too long or not printable, a number is not finite, or there are too
            many values, or they nest too deep.
    """
    remaining = _MOST_VALUES

    def check(item: object, deep: int) -> None:
        nonlocal remaining
        remaining -= 1
        if remaining < 0 or deep > _DEEPEST:
            raise ValueError(f"more than {_MOST_VALUES} values, or deeper than {_DEEPEST}")
        if isinstance(item, str):
            if len(item) > _LONGEST_WORD:
                raise ValueError(f"a text longer than {_LONGEST_WORD} characters")
            if not item.isprintable():
                shown = for_terminal(item)[:60]
                raise ValueError(f"characters that are not printable in '{shown}'")
        elif isinstance(item, float) and not abs(item) < float("inf"):
            raise ValueError("NaN or infinity")
        elif isinstance(item, Mapping):
            for key, inner in item.items():
                check(key, deep)
                check(inner, deep + 1)
        elif isinstance(item, list | tuple):
            for inner in item:
                check(inner, deep + 1)

    check(value, 0)
    return value


def safetensors_header(
    content: bytes,
) -> tuple[dict[str, tuple[str, tuple[int, ...]]], dict[str, str]]:
    """Return what a safetensors file says of its tensors, before any of them is made.

    Args:
        content: Content of the file.

    Returns:
        Type ("F32") and shape of each tensor by its name, and the file's own metadata.

    Raises:
        ValueError: It is no such file, or one with another structure than this package writes.
    """
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(len(content) - 8, LONGEST_HEADER):
        raise ValueError("a header that ends early or is too long")
    header = strict_json(content[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("a header that is no table")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(x, str) for x in metadata.values()):
        raise ValueError("metadata that are no texts")
    if len(header) > MOST_TENSORS:
        raise ValueError(f"more than {MOST_TENSORS} tensors")
    tensors = {}
    for name, entry in header.items():
        try:
            kind, shape = entry["dtype"], tuple(entry["shape"])
        except (KeyError, TypeError):
            raise ValueError(f"no type or no shape of {for_terminal(name)}") from None
        if not isinstance(kind, str) or not all(type(side) is int and side >= 0 for side in shape):
            raise ValueError(f"no type or no shape of {for_terminal(name)}")
        tensors[name] = (kind, shape)
    return tensors, metadata


def other_types(
    tensors: Mapping[str, tuple[str, tuple[int, ...]]], expected: Callable[[str], tuple[str, ...]]
) -> list[str]:
    """Return a line for each tensor whose type is another than ``expected`` gives for its name.

    >>> other_types({"a": ("F8_E4M3", (3,)), "b": ("F32", (2,))}, lambda name: ("F32", "F16"))
    ['a is F8_E4M3, not F32 or F16']
    """
    return [
        f"{for_terminal(name)} is {for_terminal(kind)[:20]}, not {' or '.join(expected(name))}"
        for name, (kind, _) in tensors.items()
        if kind not in expected(name)
    ]


def _not_a_file(path: Path) -> ModelError:
    return ModelError(
        "not_a_file",
        f"Expected a file at {path}, but it is a folder, a pipe or a device; copy the model anew.",
    )


def _is_packaged(folder: Path) -> bool:
    """Tell a model that came with this package: some installers put links into its folders."""
    return folder.parent == Path(__file__).parent.parent / "released"
