"""A page of words, pictures and bars, drawn as a PNG or as a page of a PDF.

Lengths are points (1/72 inch) from the upper left corner; words stand on their baseline. The fonts
come with the package, so every machine draws the same. Knows nothing of what a page says.
"""

from __future__ import annotations

import functools
import importlib.resources
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.errors import MachineError
from cxr_transfer.figures.colours import INK
from cxr_transfer.figures.tags import Tags
from cxr_transfer.files import SOFTWARE

DPI = 150
_POINTS = 72
_GREY_AXES = 2
_JPEG_QUALITY = 92
_HEADING = 12
"""Size from which bold words are a heading, points."""

_LINES = 1.6
"""Distance of the lines of a paragraph at most, in sizes of its font."""

_FONTS = {False: "DejaVuSans", True: "DejaVuSans-Bold"}


@dataclass(frozen=True)
class Words:
    """One line of text.

    Attributes:
        x: Left end.
        y: Baseline.
        text: The line; a sign that the font does not have is drawn as a box.
        size: Size of the font.
        bold: Whether the line is bold.
        colour: Colour, "#RRGGBB".
        right: Whether ``x`` is the right end instead.
    """

    x: float
    y: float
    text: str
    size: float
    bold: bool = False
    colour: str = INK
    right: bool = False


@dataclass(frozen=True, eq=False)
class Picture:
    """An image, stretched over a box.

    Attributes:
        x: Left edge.
        y: Upper edge.
        width: Width of the box.
        height: Height of the box.
        pixels: (H, W) grey, (H, W, 3) colours or (H, W, 4) with opacity, uint8.
        alt: What it shows, for who has it read aloud; "" where the words beside it say all.
    """

    x: float
    y: float
    width: float
    height: float
    pixels: npt.NDArray[np.uint8]
    alt: str = ""


@dataclass(frozen=True)
class Bar:
    """A filled rectangle.

    Attributes:
        x: Left edge.
        y: Upper edge.
        width: Width of the rectangle.
        height: Height of the rectangle.
        colour: Colour, "#RRGGBB".
    """

    x: float
    y: float
    width: float
    height: float
    colour: str


Part = Words | Picture | Bar


@dataclass
class Page:
    """A page and what stands on it, in the order in which it is drawn.

    Attributes:
        width: Width of the page.
        height: Height of the page.
        parts: Parts of the page.
    """

    width: float
    height: float
    parts: list[Part] = field(default_factory=list)


def width_of(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width of a line of text.

    >>> width_of("WW", 10) > width_of("ii", 10) > 0
    True
    """
    return float(_font(bold, 100).getlength(text)) * size / 100


def wrapped(text: str, width: float, size: float, *, bold: bool = False) -> list[str]:
    """Return a text as lines of at most a width, broken at spaces, within words where it must be.

    >>> wrapped("one two", 30, 10)
    ['one', 'two']
    """
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if width_of(longer, size, bold=bold) <= width:
            line = longer
            continue
        lines += [line] if line else []
        while len(word) > 1 and width_of(word, size, bold=bold) > width:
            fits = max(1, int(len(word) * width / width_of(word, size, bold=bold)))
            while fits > 1 and width_of(word[:fits], size, bold=bold) > width:
                fits -= 1
            lines.append(word[:fits])
            word = word[fits:]
        line = word
    return [*lines, line] if line or not lines else lines


def page_png(page: Page) -> bytes:
    """Return a page as a PNG of `DPI` pixels per inch."""
    content, metadata = io.BytesIO(), PngInfo()
    metadata.add_text("Software", SOFTWARE)
    page_image(page).save(content, "PNG", dpi=(DPI, DPI), pnginfo=metadata)
    return content.getvalue()


def page_image(page: Page, *, dpi: int = DPI) -> Image.Image:
    """Return a page as a picture in colours.

    Args:
        page: Page to be drawn.
        dpi: Pixels per inch.
    """
    scale = dpi / _POINTS
    size = round(page.width * scale), round(page.height * scale)
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for part in page.parts:
        left, top = part.x * scale, part.y * scale
        if isinstance(part, Words):
            anchor = "rs" if part.right else "ls"
            font = _font(part.bold, part.size * scale)
            draw.text((left, top), _printable(part.text), part.colour, font, anchor)
            continue
        box = pixel_box(part, dpi=dpi)
        if isinstance(part, Bar):
            draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), part.colour)
            continue
        wanted = max(1, box[2] - box[0]), max(1, box[3] - box[1])
        stretched = Image.fromarray(part.pixels).resize(wanted, Image.Resampling.BILINEAR)
        mask = stretched.getchannel("A") if stretched.mode == "RGBA" else None
        image.paste(stretched.convert("RGB"), box[:2], mask)
    return image


def pixel_box(part: Picture | Bar, *, dpi: int = DPI) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of a part in pixels of `page_image`."""
    scale = dpi / _POINTS
    ends = part.x, part.y, part.x + part.width, part.y + part.height
    left, top, right, bottom = (round(scale * end) for end in ends)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def pages_pdf(pages: Sequence[Page], *, title: str, undated: bool = False) -> bytes:
    """Return pages as a PDF whose words can be selected, searched and read aloud.

    It is tagged: lines in large and bold are headings, lines below each other a paragraph.

    Args:
        pages: Pages in their order.
        title: Title of the document.
        undated: Whether the file does not tell when it was made: the same pages are the same bytes.

    Raises:
        MachineError: ``missing_package`` without reportlab.
    """
    try:
        from reportlab.pdfgen.canvas import Canvas
    except ImportError:
        raise MachineError(
            "missing_package",
            "Expected reportlab for a PDF, but it is not installed: "
            "pip install 'cxr-transfer[serve]'.",
        ) from None
    _register_fonts()
    content = io.BytesIO()
    # Else every page names Helvetica, which is not embedded, and sets nothing in it.
    canvas = Canvas(content, lang="en", invariant=int(undated), initialFontName=_FONTS[False])
    canvas.setTitle(title)
    canvas.setCreator(SOFTWARE)
    canvas.setAuthor(SOFTWARE)
    canvas.setSubject(INTENDED_USE)
    canvas.setViewerPreference("DisplayDocTitle", "true")
    tags = Tags(canvas)
    heading = "H1"
    for page in pages:
        canvas.setPageSize((page.width, page.height))
        for parts in _read_together(page.parts):
            first = parts[0]
            role = "P" if isinstance(first, Words) else None
            if isinstance(first, Words) and first.bold and first.size >= _HEADING:
                role, heading = heading, "H2"
            alt = first.alt if isinstance(first, Picture) else ""
            with tags.marked("Figure" if alt else role, alt):
                for part in parts:
                    # Between lines of a paragraph stands a space, also for who hears or copies it.
                    end = " " if part is not parts[-1] else ""
                    _draw(canvas, part, page.height, end)
        canvas.showPage()
        tags.end_page()
    tags.finish()
    canvas.save()
    return content.getvalue()


def _read_together(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Yield parts in their order, the lines of a paragraph together."""
    together: list[Part] = []
    for part in parts:
        if together and not _goes_on(together[-1], part):
            yield together
            together = []
        together.append(part)
    if together:
        yield together


def _goes_on(above: Part, part: Part) -> bool:
    """Tell whether a part is the next line of a paragraph."""
    if not (isinstance(above, Words) and isinstance(part, Words)):
        return False
    alike = replace(above, y=part.y, text=part.text) == part
    return alike and 0 < part.y - above.y <= _LINES * part.size


def _draw(canvas: Any, part: Part, height: float, end: str) -> None:  # noqa: ANN401 - reportlab has no types
    if isinstance(part, Words):
        canvas.setFillColor(part.colour)
        canvas.setFont(_FONTS[part.bold], part.size)
        drawn = canvas.drawRightString if part.right else canvas.drawString
        drawn(part.x, height - part.y, _printable(part.text) + end)
        return
    bottom = height - part.y - part.height
    if isinstance(part, Bar):
        canvas.setFillColor(part.colour)
        canvas.rect(part.x, bottom, part.width, part.height, stroke=0, fill=1)
        return
    from reportlab.lib.utils import ImageReader

    picture = ImageReader(_embedded(part.pixels))
    canvas.drawImage(picture, part.x, bottom, part.width, part.height, mask="auto")


def _embedded(pixels: npt.NDArray[np.uint8]) -> Image.Image | io.BytesIO:
    """Return a picture as a PDF holds it: grey as JPEG, for its noise fills megabytes otherwise."""
    picture = Image.fromarray(pixels)
    if pixels.ndim != _GREY_AXES:
        return picture
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=_JPEG_QUALITY)
    content.seek(0)
    return content


def _printable(text: str) -> str:
    """Return text without halves of signs, which no font has: names of files may hold them."""
    return text.encode("utf-8", "replace").decode()


@functools.cache
def _content(bold: bool) -> bytes:
    folder = importlib.resources.files("cxr_transfer.figures") / "fonts"
    return (folder / f"{_FONTS[bold]}.ttf").read_bytes()


@functools.lru_cache(maxsize=16)
def _font(bold: bool, pixels: float) -> ImageFont.FreeTypeFont:
    # The basic engine: another one, where it is installed, would set letters otherwise.
    basic = ImageFont.Layout.BASIC
    return ImageFont.truetype(io.BytesIO(_content(bold)), pixels, layout_engine=basic)


@functools.cache
def _register_fonts() -> None:
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    for bold, name in _FONTS.items():
        file: Any = io.BytesIO(_content(bold))
        pdfmetrics.registerFont(TTFont(name, file))
