"""The author's words: a TOML file with a table for each checklist, and a key for each item.

``write_author`` writes one that has everything as comments; ``read_author`` reads what a person
made of it, strictly: a word under a number that does not exist would be lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.errors import UsageError, listing
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.files import check_new, read_toml, write_text
from cxr_transfer.reports.checklists import CHECKLISTS
from cxr_transfer.text import for_terminal

LARGEST = 1_048_576
"""Bytes of a file of the author's words; the commented one of all checklists has 20,000."""

HUGGING_FACE = "hf"
HUGGING_FACE_KEYS = {
    "license": "Licence of the weights, as Hugging Face names it, such as apache-2.0",
    "license_name": "Name of the licence, where license is other",
    "license_link": "Address of the licence, where license is other",
    "language": "Language of the card, such as en",
}
"""What only the author knows of a model card on Hugging Face."""


def asked_of_author(kind: str) -> dict[str, tuple[str, str]]:
    """Return what is asked of the author: topic and missing part, by the key of the TOML table."""
    if kind == HUGGING_FACE:
        return {key: (topic, "") for key, topic in HUGGING_FACE_KEYS.items()}
    return {
        item.number: (item.topic, item.author) for item in CHECKLISTS[kind].items if item.author
    }


def write_author(path: Path, kind: str) -> None:
    """Write a commented file for the author to fill in.

    Args:
        path: Path of the new file (.toml).
        kind: Name of a checklist, or "hf".

    Raises:
        UsageError: ``out_exists``; ``no_author_items`` for a report that asks nothing.
    """
    if kind != HUGGING_FACE and kind not in CHECKLISTS:
        raise UsageError(
            "no_author_items",
            f"Expected a report that asks the author something, but {kind} does not; choose "
            f"{', '.join((*CHECKLISTS, HUGGING_FACE))}.",
        )
    check_new(path, "--new-author-file")
    asked = asked_of_author(kind)
    write_text(path, render("author.toml.j2", kind=kind, asked=asked, intended=INTENDED_USE))


def read_author(path: Path | None, kind: str) -> Mapping[str, str]:
    """Return the author's words of one report, by the number of the item.

    Args:
        path: Path of the file (.toml); None for none.
        kind: Name of a checklist, or "hf".

    Raises:
        UsageError: ``bad_author`` for what is no TOML, or has a table, a number or a value that it
            cannot have.
    """
    if path is None:
        return {}
    tables = _opened(path)
    problems = []
    for name, table in tables.items():
        if name not in CHECKLISTS and name != HUGGING_FACE:
            problems.append(f"there is no checklist {for_terminal(name)}")
        elif not isinstance(table, dict):
            problems.append(f"{name} is no table")
        else:
            problems += _problems(name, table)
    if problems:
        raise UsageError(
            "bad_author",
            f"Expected the author's words by the numbers of the items in {path}, but "
            f"{listing(problems)}; 'cxr report --new-author-file' writes a file to fill in.",
        )
    words: Mapping[str, str] = tables.get(kind, {})
    return {number: text.strip() for number, text in words.items() if text.strip()}


def _problems(name: str, table: Mapping[str, Any]) -> list[str]:
    keys = (
        set(HUGGING_FACE_KEYS)
        if name == HUGGING_FACE
        else {item.number for item in CHECKLISTS[name].items}
    )
    unknown = [f"{name} has no item {for_terminal(key)}" for key in table if key not in keys]
    return unknown + [
        f"{name}, {for_terminal(key)}: no text"
        for key, text in table.items()
        if key in keys and not isinstance(text, str)
    ]


def _opened(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path, LARGEST)[0]
    except (OSError, ValueError) as error:
        raise UsageError(
            "bad_author",
            f"Expected the author's words as TOML in {path}, but got: {for_terminal(str(error))}; "
            "'cxr report --new-author-file' writes a file to fill in.",
        ) from None
