"""A filled checklist as a Word document, the same content as its JSON. Needs the extra report."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cxr_transfer.text import for_terminal

if TYPE_CHECKING:
    from docx.document import Document

_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""Time in the archive: the same content gives the same bytes."""


def word_document(content: Mapping[str, Any]) -> bytes:
    """Return the .docx of what `checklist.fill` returned.

    Raises:
        ModuleNotFoundError: The extra is not installed.
    """
    import docx

    document = docx.Document()
    document.add_heading(for_terminal(f"{content['title']}: {content['model']}"), 0)
    document.add_paragraph().add_run(content["intended_use"]).bold = True
    document.add_paragraph(f"Form: {content['publication']}. {content['note']}")
    document.add_paragraph(
        f"Model: {content['model']}, weights SHA-256 {content['weights_sha256']}"
    )
    rows = [*content["counts"].items(), ("all", len(content["items"]))]
    table = document.add_table(rows=0, cols=2, style="Light Grid Accent 1")
    for status, number in (("status", "items"), *rows):
        cells = table.add_row().cells
        cells[0].text, cells[1].text = status, str(number)
    software = content["software"]
    document.add_paragraph(
        f"Of {software['items']} items that software can know wholly, {software['filled']} are "
        "filled."
    )
    document.add_paragraph("Read from:")
    for source in content["sources"]:
        words = f"{source['file']}, SHA-256 {source['sha256']}, {source['commit_words']}"
        document.add_paragraph(for_terminal(words), "List Bullet")
    section = ""
    for item in content["items"]:
        if item["section"] != section:
            section = item["section"]
            document.add_heading(section, 1)
        _add_item(document, item)
    buffer = io.BytesIO()
    document.save(buffer)
    return _without_time(buffer)


def _add_item(document: Document, item: Mapping[str, Any]) -> None:
    document.add_heading(f"{item['number']} {item['topic']}: {item['status']}", 2)
    if item["why_not_applicable"]:
        document.add_paragraph(item["why_not_applicable"])
    lines = [
        f"{fact['words']} ({fact['fact']}: {fact['file']}, {fact['path']}, {fact['commit_words']})"
        for fact in item["facts"]
    ]
    lines += [f"Absent: {fact['fact']}. To fill it: {fact['how']}." for fact in item["absent"]]
    if item["author_adds"]:
        lines.append(f"The author must write: {item['author_adds']}.")
    if item["author_wrote"]:
        lines.append(f"The author's words: {item['author_wrote']}")
    for line in lines:
        document.add_paragraph(for_terminal(line, lines=True), "List Bullet")


def _without_time(written: io.BytesIO) -> bytes:
    """Return the same archive with one time for all its files."""
    again = io.BytesIO()
    with zipfile.ZipFile(written) as old, zipfile.ZipFile(again, "w") as new:
        for name in old.namelist():
            entry = zipfile.ZipInfo(name, _EARLIEST)
            new.writestr(entry, old.read(name), zipfile.ZIP_DEFLATED)
    return again.getvalue()
