"""The explanation of one answer: an image, its heat map, its scores, as a PNG sheet.

Drawn with Pillow, not with matplotlib: who only asks for answers does not need that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.figures.colours import BARS, GREY, PALETTE, coloured
from cxr_transfer.figures.page import (
    Bar,
    Page,
    Part,
    Picture,
    Words,
    page_png,
    pixel_box,
    width_of,
    wrapped,
)
from cxr_transfer.files import write_bytes
from cxr_transfer.statistics.temperature import written_score

_MARGIN = 10.0
_SHEET_WIDTH, _LEAST_HEIGHT = 972.0, 390.0
_COLUMNS = (10.0, 340.0, 706.0)
"""Left edges on a sheet: the image, the map, the scores and the text."""

_ACROSS, _BESIDE = 312.0, 256.0
_TOP, _FOOT = 62.0, 30.0
_MOST_DOWN = 560.0
"""Of a picture of a very high image."""


def explanation_sheet(
    path: Path,
    radiograph: npt.NDArray[np.uint8] | npt.NDArray[np.float32],
    heat_map: npt.NDArray[np.float32],
    lungs: npt.NDArray[np.bool_],
    scores: Mapping[str, float],
    label: str,
    *,
    lines: Sequence[str],
    title: str,
) -> None:
    """Draw an image, where the score of a class comes from, the class scores, and what is said.

    For the eyes of who owns the image.

    Args:
        path: The PNG file.
        radiograph: (H, W), bright = dense, uint8 or float32 in [0, 1].
        heat_map: Values in [0, 1], at any size; it is stretched over the image.
        lungs: The mask to outline, at any size; it is stretched likewise.
        scores: Scores in [0, 1], by class.
        label: Class that the map is of.
        lines: Text beside the map; the first line, and each after an empty one, is a heading.
        title: Title of the figure, one line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    page = sheet_page(radiograph, heat_map, lungs, scores, label, lines=lines, title=title)
    write_bytes(path, page_png(page))


def sheet_page(
    radiograph: npt.NDArray[np.uint8] | npt.NDArray[np.float32],
    heat_map: npt.NDArray[np.float32],
    lungs: npt.NDArray[np.bool_],
    scores: Mapping[str, float],
    label: str,
    *,
    lines: Sequence[str],
    title: str,
) -> Page:
    """Return the page that `explanation_sheet` draws of the same arguments."""
    first, second, third = _COLUMNS
    light = 1 if radiograph.dtype == np.uint8 else 255
    grey = np.rint(radiograph * light).clip(0, 255).astype(np.uint8)
    across, down = fitting(grey.shape, _ACROSS, _MOST_DOWN)
    outlined = bool(lungs.any() and not lungs.all())
    text_place = third, _TOP + 30 + 17 * len(scores) + 24
    words = _paragraphs(lines, *text_place, size=9.5, width=_BESIDE)
    lowest = max(_TOP + down + 24, *(word.y for word in words), text_place[1])
    page = Page(_SHEET_WIDTH, max(_LEAST_HEIGHT, lowest + _FOOT))
    whole = Picture(second, _TOP, across, down, grey)
    heat = Picture(second, _TOP, across, down, _over(whole, heat_map, lungs if outlined else None))
    page.parts += [
        Words(_MARGIN, 26, fitted(title, 13, _SHEET_WIDTH - 2 * _MARGIN), 13, bold=True),
        Words(first, _TOP - 8, "the image", 11),
        Picture(first, _TOP, across, down, grey),
        Words(second, _TOP - 8, fitted(f"where the score of {label} is from", 11, 350), 11),
        whole,
        heat,
        *colour_bar(second + across + 8, _TOP, down),
        *(_legend(second, _TOP + down + 16) if outlined else []),
        *score_bars(scores, [label], third, _TOP - 8, _BESIDE),
        *words,
        Words(_MARGIN, page.height - 10, INTENDED_USE, 6.5, colour=GREY),
    ]
    return page


def score_bars(
    scores: Mapping[str, float], dark: Sequence[str | None], x: float, y: float, width: float
) -> list[Part]:
    """Return the class scores as bars; the bars of what is named are dark.

    Args:
        scores: Scores in [0, 1], by class.
        dark: Class, or findings, whose bars are dark.
        x: Left edge.
        y: Baseline of the heading.
        width: Width of the bars with their names and numbers.
    """
    names = {name: fitted(name, 9, 0.4 * width) for name in scores}
    begin = x + max((width_of(name, 9) for name in names.values()), default=0) + 6
    reach = x + width - begin - 34
    parts: list[Part] = [Words(x, y, "class score, of 100", 11)]
    for row, (name, score) in enumerate(scores.items()):
        top = y + 10 + 17 * row
        colour = PALETTE[0] if name in dark else BARS[0]
        parts += [
            Words(begin - 6, top + 9, names[name], 9, right=True),
            Bar(begin, top, max(0.5, reach * score), 11, colour),
            Words(begin + reach * score + 4, top + 9, written_score(score), 9),
        ]
    bottom = y + 10 + 17 * len(scores)
    parts.append(Bar(begin, bottom, reach, 0.6, GREY))
    parts += [
        Words(begin + reach * share - 4, bottom + 11, text, 8, colour=GREY)
        for share, text in ((0, "0"), (0.5, "50"), (1, "100"))
    ]
    return parts


def fitting(shape: tuple[int, ...], across: float, down: float) -> tuple[float, float]:
    """Return width and height of a picture of a shape (H, W) within a box."""
    scale = min(across / shape[1], down / shape[0])
    return max(1.0, scale * shape[1]), max(1.0, scale * shape[0])


def fitted(text: str, size: float, width: float) -> str:
    """Return a line, cut where it is too long for a width."""
    if width_of(text, size, bold=True) <= width:
        return text
    while text and width_of(f"{text}…", size, bold=True) > width:
        text = text[:-1]
    return f"{text}…"


def _over(
    picture: Picture, heat_map: npt.NDArray[np.float32], lungs: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.uint8]:
    """Return what is laid over a picture: the map's colours, and the border of the lungs."""
    left, top, right, bottom = pixel_box(picture)
    size = right - left, bottom - top
    enlarged = Image.fromarray(heat_map).resize(size, Image.Resampling.BILINEAR)
    over = coloured(np.asarray(enlarged).clip(0, 1))
    if lungs is not None:
        stretched = Image.fromarray(lungs.astype(np.float32)).resize(
            size, Image.Resampling.BILINEAR
        )
        over[_border(np.asarray(stretched) > 0.5)] = (*ImageColor.getrgb(PALETTE[5]), 255)
    return over


def _border(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the outermost three pixels of a mask; the image's own edge is no border."""
    inner = mask
    for _ in range(3):
        padded = np.pad(inner, 1, mode="edge")
        inner = padded[1:-1, 1:-1] & padded[:-2, 1:-1] & padded[2:, 1:-1]
        inner = inner & padded[1:-1, :-2] & padded[1:-1, 2:]
    border: npt.NDArray[np.bool_] = mask & ~inner
    return border


def colour_bar(x: float, y: float, height: float) -> list[Part]:
    """Return the colours of a map from none, below, to most."""
    levels = np.linspace(1, 0, 256, dtype=np.float32)[:, None]
    return [
        Picture(x, y, 12, height, coloured(levels)[..., :3]),
        Words(x + 15, y + 9, "most", 8.5),
        Words(x + 15, y + height, "0", 8.5),
    ]


def _legend(x: float, y: float) -> list[Part]:
    return [
        Bar(x, y - 4, 18, 1.5, PALETTE[5]),
        Words(x + 24, y, "the lungs, as a small network finds them", 9),
    ]


def _paragraphs(
    lines: Sequence[str], x: float, y: float, *, size: float, width: float
) -> list[Words]:
    """Return lines of text below each other; the first, and each after an empty one, is bold."""
    words = []
    heading = True
    for line in lines:
        for row in wrapped(line, width, size, bold=heading):
            words.append(Words(x, y, row, size, bold=heading))
            y += 1.45 * size
        heading = not line
    return words
