"""The pages of an acceptance test to print and to sign: the verdict, why, and on what it rests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cxr_transfer.figures.colours import GREY, INK
from cxr_transfer.figures.page import Bar, Page, Picture, Words, wrapped
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.text import for_terminal

_WIDTH, _HEIGHT, _EDGE = 595.0, 842.0, 48.0  # A4
_ACROSS = _WIDTH - 2 * _EDGE


class _Sheets:
    """Pages that are filled from above, a new one where the last is full."""

    def __init__(self) -> None:
        self.pages: list[Page] = []
        self._y = _HEIGHT

    def room(self, height: float) -> float:
        """Take room on a page; return its upper edge."""
        if self._y + height > _HEIGHT - _EDGE:
            self.pages.append(Page(_WIDTH, _HEIGHT))
            self._y = _EDGE
        top, self._y = self._y, self._y + height
        return top

    def text(self, text: str, size: float = 9.5, *, bold: bool = False, colour: str = INK) -> None:
        """Write a paragraph."""
        for line in wrapped(for_terminal(text), _ACROSS, size, bold=bold):
            top = self.room(1.4 * size)
            self.pages[-1].parts.append(Words(_EDGE, top + size, line, size, bold, colour))
        self._y += 0.4 * size

    def picture(self, path: Path, alt: str) -> None:
        """Place a picture over the width of the page; `alt` is read aloud instead."""
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        height = _ACROSS * pixels.shape[0] / pixels.shape[1]
        top = self.room(height + 8)
        self.pages[-1].parts.append(Picture(_EDGE, top, _ACROSS, height, pixels, alt))

    def line(self) -> None:
        """Draw a line to write on."""
        top = self.room(34)
        self.pages[-1].parts.append(Bar(_EDGE, top + 30, _ACROSS, 0.7, GREY))


def acceptance_pages(facts: Mapping[str, Any], pictures: Mapping[str, Path]) -> Sequence[Page]:
    """Return the pages of a test.

    Args:
        facts: What the template of the page has, too.
        pictures: PNG files by name.
    """
    content, sheets = facts["content"], _Sheets()
    subject, data = content["subject"], content["data"]
    sheets.text("Acceptance test", 20, bold=True)
    sheets.text(facts["intended_use"], 8, colour=GREY)
    sheets.text(f"Verdict: {content['verdict']}", 15, bold=True)
    for reason in content["reasons"]:
        sheets.text(reason)
    sheets.text("What was tested", 12, bold=True)
    hashes = ", ".join(subject["sha256"])
    sheets.text(f"{subject['kind'].capitalize()} {subject['name']}, SHA-256 {hashes}", 8)
    sheets.text(
        f"{data['images']} images of {data['patients']} patients ({data['name']}), "
        f"{data['positives']} of them positives; SHA-256 {data['data_hash'] or data['sha256']}",
        8,
    )
    sheets.text(f"Criteria: SHA-256 {content['criteria_sha256']}", 8)
    sheets.text(content["declared"], 8)
    threshold = content["threshold"]
    sheets.text(f"Threshold {threshold['value']:.6f}, from {threshold['from']}.")
    for when, name, figure in facts["shares"]:
        if figure["value"] is not None:
            estimate = Estimate.from_dict(figure).percent()
            sheets.text(
                f"{name.capitalize()} {when}: {estimate} % ({figure['hits']} of "
                f"{figure['images']}); interval: {figure['method']}."
            )
    for name, path in pictures.items():
        sheets.picture(path, f"Figure: {name.replace('_', ' ')}")
    sheets.text(f"SHA-256 of the results: {facts['results_sha256']}", 8)
    sheets.text(f"{content['time']}, commit {facts['commit'] or 'not known'}", 8, colour=GREY)
    for name in ("Decided by, and when", "Signature"):
        sheets.line()
        sheets.text(name, 8, colour=GREY)
    return sheets.pages
