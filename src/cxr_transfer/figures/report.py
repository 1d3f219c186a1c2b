"""A report of answers for images, as a PDF: a summary, then a page for each image.

It is what travels without the page that it was made on. So it says itself when and by what it was
made, what the scores mean, and that a model fails its audit where it does. Knows no network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxr_transfer.about import INTENDED_USE, __version__
from cxr_transfer.figures.colours import GREY, INK, PALE, PALETTE
from cxr_transfer.figures.explanation import colour_bar, fitted, fitting, score_bars
from cxr_transfer.figures.page import Bar, Page, Part, Picture, Words, pages_pdf, wrapped
from cxr_transfer.labels import words_of
from cxr_transfer.statistics.temperature import written_score

Pixels = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 842, 595
"""A4, landscape."""

ON_A_PAGE = 2
"""Models whose answers stand on one page."""

_LEFT, _COLUMN, _GAP = 34.0, 245.0, 19.0
_FOOT = 548.0
_BELOW_A_MAP = 108.0
"""Height that is kept for what stands below a map."""

_NOTES = 200.0
"""Height of what must be read before a score, however much it is."""

_LINE = 1.2
"""Width of a frame's line."""

_DPI = 200
"""Pixels of an image for each inch of paper: more make a large file that looks the same."""

MEANS = (
    "A class score says which training class an image is most like. It is no finding, and it says "
    "nothing of any other finding."
)
_FAILS = "FAILS its audit: its figures do not mean that it recognises a disease"
_AUDITS = {
    "fail": _FAILS,
    "warn": "passes its audit with warnings",
    "pass": "passes its audit",
    "not done": "no audit of these weights is known",
}


@dataclass(frozen=True, eq=False)
class ReportImage:
    """An image of a report.

    Attributes:
        answers: Answer of each model, as it stands in JSON.
        picture: Image (H, W) uint8; None where it cannot be read.
        overlays: Heat map (H, W, 4) uint8 of each answer; None where there is none.
        box: Left, top, right, bottom of what the model saw, in shares of width and height; None
            frames nothing.
    """

    answers: Sequence[Mapping[str, Any]]
    picture: Pixels | None
    overlays: Sequence[Pixels | None]
    box: tuple[float, float, float, float] | None = None


def report_pdf(
    images: Sequence[ReportImage],
    models: Sequence[Mapping[str, Any]],
    *,
    time: str,
    request_id: str,
    undated: bool = False,
) -> bytes:
    """Draw a report of answers for images.

    Args:
        images: Images, in the order of the report.
        models: Facts of each model that answered, as the server describes it: ``name``, ``title``,
            ``weights_sha256``, ``audit`` and ``score_scale``.
        time: Time at which the answers were given, ISO 8601.
        request_id: Number of the request that is answered, for whoever looks it up.
        undated: Whether the file itself does not tell when it was made, as `pages_pdf` takes it.

    Raises:
        MachineError: ``missing_package`` without reportlab.
    """
    pages = [*_summary(images, models, time), *_image_pages(images, models)]
    for number, page in enumerate(pages, start=1):
        place = (
            f"page {number} of {len(pages)}; {time}; cxr-transfer {__version__}; "
            f"request {request_id}"
        )
        page.parts += _foot(place)
    return pages_pdf(pages, title="Class scores of chest radiographs", undated=undated)


def answer_page(image: ReportImage, model: Mapping[str, Any], *, heading: str, made: str) -> Page:
    """Return the page of an image that one model answered: a picture that says all by itself.

    Args:
        image: Image with one answer.
        model: Facts of the model, as `report_pdf` takes them.
        heading: Heading of the page; it names no patient.
        made: When and by what it was made, one line.
    """
    page = _image_page(heading, image, [model], image.answers, image.overlays)
    page.parts += [Words(_LEFT, 22, INTENDED_USE, 9.5, bold=True), *_foot(made)]
    return page


def _foot(place: str) -> list[Part]:
    """Return what stands at the foot of a page: what the answers are for, and a line in small."""
    return [
        Words(_LEFT, 566, INTENDED_USE, 8, bold=True),
        Words(_LEFT, 581, fitted(place, 7, WIDTH - 2 * _LEFT), 7, colour=GREY),
    ]


def _summary(
    images: Sequence[ReportImage], models: Sequence[Mapping[str, Any]], time: str
) -> Iterator[Page]:
    """Make the pages that list all images; the first one says what the models are."""
    page = Page(WIDTH, HEIGHT)
    plural = "s" if len(images) != 1 else ""
    heading = f"Class scores of {len(images)} chest radiograph{plural}"
    y = 48.0
    page.parts.append(Words(_LEFT, y, heading, 18, bold=True))
    y += 18
    made = f"Answered {time} by cxr-transfer {__version__}. Scores are of 100. {MEANS}"
    y = _lines(page, made, y, 9.5)
    for model in models:
        verdict = str(model["audit"])
        y += 8
        name = f"{model['name']}: {model['title']}"
        page.parts.append(Words(_LEFT, y, fitted(name, 10, WIDTH - 2 * _LEFT), 10, bold=True))
        facts = f"Weights {model['weights_sha256'][:12]}. Scores are {model['score_scale']}."
        y = _lines(page, f"{_AUDITS.get(verdict, verdict)}.", y + 13, 9, bold=verdict == "fail")
        y = _lines(page, facts, y, 9)
    rows = [(number, image) for number, image in enumerate(images, start=1)]
    y += 10
    while True:
        y = _table_head(page, models, y)
        while rows and y <= _FOOT - 6:
            _table_row(page, *rows.pop(0), models, y)
            y += 15
        yield page
        if not rows:
            return
        page, y = Page(WIDTH, HEIGHT), 48.0


def _lines(page: Page, text: str, y: float, size: float, *, bold: bool = False) -> float:
    """Write lines below each other, and return where the next one stands."""
    for line in wrapped(text, WIDTH - 2 * _LEFT, size, bold=bold):
        page.parts.append(Words(_LEFT, y, line, size, bold=bold))
        y += 1.45 * size
    return y


def _columns(models: Sequence[object]) -> tuple[float, list[float], float]:
    """Return where names of files begin, where answers do, and how wide an answer is."""
    width = (WIDTH - 2 * _LEFT - 24) / (1 + len(models))
    return _LEFT + 24, [_LEFT + 24 + width * (1 + row) for row in range(len(models))], width - 10


def _table_head(page: Page, models: Sequence[Mapping[str, Any]], y: float) -> float:
    first, answers, width = _columns(models)
    page.parts += [
        Words(_LEFT, y, "no.", 8.5, colour=GREY),
        Words(first, y, "file", 8.5, colour=GREY),
        *(
            Words(x, y, fitted(f"most like, by {model['name']}", 8.5, width), 8.5, colour=GREY)
            for x, model in zip(answers, models, strict=True)
        ),
        Bar(_LEFT, y + 4, WIDTH - 2 * _LEFT, 0.6, GREY),
    ]
    return y + 17


def _table_row(
    page: Page, number: int, image: ReportImage, models: Sequence[Mapping[str, Any]], y: float
) -> None:
    first, places, width = _columns(models)
    page.parts += [
        Words(_LEFT, y, str(number), 9),
        Words(first, y, fitted(image.answers[0]["file"], 9, width), 9),
    ]
    for x, answer, model in zip(places, image.answers, models, strict=True):
        colour = INK if _is_sound(answer, model) else GREY
        page.parts.append(Words(x, y, fitted(_headline(answer), 9, width), 9, colour=colour))
    page.parts.append(Bar(_LEFT, y + 4, WIDTH - 2 * _LEFT, 0.3, PALE))


def _headline(answer: Mapping[str, Any]) -> str:
    """Return what an answer comes to, in one line."""
    if answer["status"] != "ok":
        return f"no class: {str(answer['code']).replace('_', ' ')}"
    scores = answer["probabilities"]
    if "findings" in answer:
        named = [f"{words_of(name)} {written_score(scores[name])}" for name in answer["findings"]]
        return ", ".join(named) or "no finding that the model knows"
    label = answer["label"]
    note = ": take note, see its page" if answer["warnings"] else ""
    return f"{words_of(label)} {written_score(scores[label])}{note}"


def _sentence(answer: Mapping[str, Any]) -> str:
    """Return what an answer comes to, as the heading of its page."""
    if "findings" in answer:
        return f"{_headline(answer)}, of 100"
    label = answer["label"]
    score = written_score(answer["probabilities"][label])
    return f"most like the training class {words_of(label)}: {score} of 100"


def _is_sound(answer: Mapping[str, Any], model: Mapping[str, Any]) -> bool:
    """Tell whether an answer may stand out: not of a model that fails, nor of an odd image."""
    odd = answer.get("unusual") or answer.get("trained_on")
    return bool(answer["status"] == "ok" and model["audit"] != "fail" and not odd)


def _image_pages(
    images: Sequence[ReportImage], models: Sequence[Mapping[str, Any]]
) -> Iterator[Page]:
    for number, image in enumerate(images, start=1):
        for start in range(0, len(models), ON_A_PAGE):
            some = slice(start, start + ON_A_PAGE)
            heading = f"{number}. {image.answers[0]['file']}"
            yield _image_page(
                heading, image, models[some], image.answers[some], image.overlays[some]
            )


def _image_page(
    heading: str,
    image: ReportImage,
    models: Sequence[Mapping[str, Any]],
    answers: Sequence[Mapping[str, Any]],
    overlays: Sequence[Pixels | None],
) -> Page:
    page = Page(WIDTH, HEIGHT)
    page.parts += [
        Words(_LEFT, 44, fitted(heading, 14, WIDTH - 2 * _LEFT), 14, bold=True),
        Words(_LEFT, 60, MEANS, 8.5, colour=GREY),
    ]
    if image.picture is not None:
        (picture,), _ = _picture(image.picture, None, _LEFT, 92, 440)
        caption = "the image" if image.box is None else "the image; framed: what the model saw"
        page.parts += [
            Words(_LEFT, 84, caption, 10),
            picture,
            *(_frame(picture, image.box) if image.box else []),
        ]
    for column, (model, answer, overlay) in enumerate(zip(models, answers, overlays, strict=True)):
        left = _LEFT + (_COLUMN + _GAP) * (1 + column)
        if len(models) == 1 and image.picture is not None and overlay is not None:
            parts, _ = _heat_map(image.picture, overlay, answer, left, 84, 430)
            page.parts += parts
            left += _COLUMN + _GAP
            overlay = None
        page.parts += _answer(model, answer, image.picture, overlay, left)
    return page


def _answer(
    model: Mapping[str, Any],
    answer: Mapping[str, Any],
    picture: Pixels | None,
    overlay: Pixels | None,
    left: float,
) -> list[Part]:
    """Return what one model says of an image, below each other in a column."""
    y = 84.0
    parts: list[Part] = [Words(left, y, fitted(model["name"], 10, _COLUMN), 10, bold=True)]
    if model["audit"] == "fail":
        for line in wrapped(_FAILS, _COLUMN, 9, bold=True):
            y += 13
            parts.append(Words(left, y, line, 9, bold=True))
    notes = [*answer["warnings"]]
    if answer["status"] != "ok":
        notes.insert(0, f"No class: {answer['message']}")
    # What a reader must know before the score stands above it.
    lines = [line for note in notes for line in ("", *wrapped(note, _COLUMN, 9))]
    step = min(12, _NOTES / max(1, len(lines)))
    for line in lines:
        y += step if line else 0.4 * step
        parts.append(Words(left, y, line, min(9, 0.75 * step)))
    y += 22
    colour = INK if _is_sound(answer, model) else GREY
    if answer["status"] == "ok":
        for line in wrapped(_sentence(answer), _COLUMN, 12, bold=True):
            parts.append(Words(left, y, line, 12, bold=True, colour=colour))
            y += 16
    if answer["probabilities"]:
        dark = answer.get("findings") or [answer["label"]]
        scores = {words_of(label): value for label, value in answer["probabilities"].items()}
        y += 6
        parts += score_bars(scores, [words_of(label) for label in dark if label], left, y, _COLUMN)
        y += 17 * len(scores) + 44
    if overlay is not None and picture is not None:
        drawn, bottom = _heat_map(
            picture, overlay, answer, left, y, max(60, _FOOT - _BELOW_A_MAP - y)
        )
        parts += drawn
        y = bottom + 18
    rows = [row for line in _details(model, answer) for row in wrapped(line, _COLUMN, 8)]
    # Whatever is said, it does not run over what stands at the foot of every page.
    step = min(11.5, (_FOOT - y) / max(1, len(rows)))
    return parts + [
        Words(left, y + step * row, text, min(8, 0.72 * step), colour=GREY)
        for row, text in enumerate(rows)
    ]


def _heat_map(
    picture: Pixels,
    overlay: Pixels,
    answer: Mapping[str, Any],
    left: float,
    top: float,
    height: float,
) -> tuple[list[Part], float]:
    """Return an image with its map, a heading above and the map's colours beside it."""
    shown = answer.get("heat_map_of") or answer["label"]
    heading = fitted(f"where the score of {words_of(shown)} is from", 10, _COLUMN)
    drawn, bottom = _picture(picture, overlay, left, top + 8, height, _COLUMN - 42)
    box = drawn[0]
    bar = colour_bar(box.x + box.width + 6, box.y, box.height)
    return [Words(left, top, heading, 10), *drawn, *bar], bottom


def _picture(
    picture: Pixels,
    overlay: Pixels | None,
    left: float,
    top: float,
    height: float,
    width: float = _COLUMN,
) -> tuple[list[Picture], float]:
    """Return an image, and a map over it, in as many pixels as paper shows; and where it ends."""
    across, down = fitting(picture.shape, width, height)
    box = left, top, across, down
    alone = "The chest radiograph" if overlay is None else ""
    parts = [Picture(*box, _reduced(picture, across, down), alone)]
    if overlay is not None:
        alt = "The chest radiograph with the heat map over it"
        parts.append(Picture(*box, _reduced(overlay, across, down), alt))
    return parts, top + down


def _frame(picture: Picture, box: tuple[float, float, float, float]) -> list[Bar]:
    """Return the border of a part of a picture."""
    left, right = (picture.x + picture.width * share for share in box[::2])
    top, bottom = (picture.y + picture.height * share for share in box[1::2])
    across, down = right - left, bottom - top
    return [
        Bar(left, top, across, _LINE, PALETTE[1]),
        Bar(left, bottom - _LINE, across, _LINE, PALETTE[1]),
        Bar(left, top, _LINE, down, PALETTE[1]),
        Bar(right - _LINE, top, _LINE, down, PALETTE[1]),
    ]


def _reduced(pixels: Pixels, across: float, down: float) -> Pixels:
    most = round(across * _DPI / 72), round(down * _DPI / 72)
    if pixels.shape[1] <= most[0]:
        return pixels
    picture = Image.fromarray(pixels).resize(most, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(picture)


def _details(model: Mapping[str, Any], answer: Mapping[str, Any]) -> list[str]:
    """Return what else is known of an answer, a sentence each."""
    lines = [f"Weights {model['weights_sha256'][:12]}; scores are {model['score_scale']}."]
    if answer.get("lung_share") is not None:
        lines += [
            f"{100 * answer['lung_share']:.0f} % of the map lies in the lungs, which are "
            f"{100 * answer['lung_area']:.0f} % of what the model sees. A map shows where a score "
            "is from, not where a disease is."
        ]
    if answer.get("neighbours"):
        nearest = "; ".join(
            f"{words_of(neighbour['label'])} ({neighbour['source']}) {neighbour['distance']:.2f}"
            for neighbour in answer["neighbours"]
        )
        lines += [f"Nearest training images, by distance of features (0: the same): {nearest}."]
    return lines
