"""The explanation of one answer: an image, its heat map, its scores, as a PNG sheet or in a PDF."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cxr_transfer import INTENDED_USE
from cxr_transfer.figures.canvas import GREY, PALETTE, STYLE, canvas, score_bars
from cxr_transfer.statistics.temperature import score_scale


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
        scores: By class, in [0, 1].
        label: The class that the map is of.
        lines: Text beside the map; the first line, and each after an empty one, is a heading.
        title: One line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    rows = [part for line in lines for part in (wrap(line, 46) or [""])]
    inches = 13.5, max(5.4, 2.8 + 0.2 * (len(rows) + len(scores)))
    with canvas(path, inches, title) as figure:
        panels = figure.subplot_mosaic(
            [["image", "map", "scores"], ["image", "map", "text"]],
            width_ratios=(4, 4, 3.4),
            height_ratios=(0.5 + 0.35 * len(scores), 0.3 + 0.2 * len(rows)),
        )
        over = (0, radiograph.shape[1], radiograph.shape[0], 0)
        for name, heading in (
            ("image", "the image"),
            ("map", f"where the score of {label} is from"),
        ):
            white = 255 if radiograph.dtype == np.uint8 else 1
            panels[name].imshow(radiograph, cmap="gray", vmin=0, vmax=white, extent=over)
            panels[name].set_title(heading, size=11, loc="left")
            panels[name].set_anchor("N")
            panels[name].axis("off")
        heat = ScalarMappable(Normalize(0, 1), "inferno")
        coloured = heat.to_rgba(heat_map)
        # Opaque only where the map is high: elsewhere the image stays as it is.
        coloured[..., 3] = 0.7 * heat_map
        panels["map"].imshow(coloured, interpolation="bilinear", extent=over)
        beside: dict[str, Any] = {"fraction": 0.04, "pad": 0.02, "anchor": (0, 1)}
        bar = figure.colorbar(heat, ax=panels["map"], panchor=(0.5, 1), **beside)
        bar.set_ticks([0, 1], labels=["0", "most"])
        if lungs.any() and not lungs.all():
            _outline(panels["map"], lungs, radiograph.shape)
        score_bars(panels["scores"], scores, label)
        panels["text"].axis("off")
        for row, line in enumerate(rows):
            bold = not row or not rows[row - 1]
            weight = "bold" if bold else "normal"
            panels["text"].text(0, 1 - (row + 0.5) / len(rows), line, size=9.5, weight=weight)


def _outline(axes: Axes, mask: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> None:
    """Draw the border of the lungs, stretched over an image of ``shape``."""
    down, across = (
        (np.arange(side) + 0.5) * reach / side
        for side, reach in zip(mask.shape, shape, strict=True)
    )
    axes.contour(across, down, mask, levels=[0.5], colors=PALETTE[5], linewidths=1.5)
    line = Line2D(
        [], [], color=PALETTE[5], lw=1.5, label="the lungs, as a small network finds them"
    )
    axes.legend(handles=[line], loc="upper left", bbox_to_anchor=(0, 0), fontsize=9)


def report_pdf(pages: Sequence[Mapping[str, Any]], *, request_id: str) -> bytes:
    """Draw a report of answers, a page for each image, as a PDF.

    Args:
        pages: Pages: for each image its ``answer`` as it stands in JSON, its ``radiograph`` (H, W)
            uint8, and its ``overlay`` (H, W, 4) uint8; the last two None where there are none.
        request_id: Number of the request that is answered, for whoever looks it up.

    Returns:
        The file.
    """
    content = io.BytesIO()
    known = {"Title": "Class scores of chest radiographs", "Creator": "cxr-transfer"}
    with (
        mpl.rc_context(STYLE),
        warnings.catch_warnings(),
        PdfPages(content, metadata=known) as pdf,
    ):
        # A name in a script that the font does not have is drawn with boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        for number, page in enumerate(pages, start=1):
            figure = Figure(figsize=(11.7, 8.3))  # A4, landscape
            _report_page(figure, page)
            place = f"page {number} of {len(pages)}; request {request_id}"
            figure.text(0.04, 0.045, INTENDED_USE, size=8, weight="bold")
            figure.text(0.04, 0.02, place, size=7, color=GREY)
            pdf.savefig(figure)
    return content.getvalue()


def _report_page(figure: Figure, page: Mapping[str, Any]) -> None:
    answer, radiograph, overlay = page["answer"], page["image"], page["overlay"]
    figure.text(0.04, 0.94, "\n".join(wrap(answer["file"], 80)), size=14, weight="bold", va="top")
    pictures = [] if radiograph is None else [("the image", None)]
    if overlay is not None:
        pictures.append((f"where the score of {answer['label']} is from", overlay))
    for column, (heading, heat) in enumerate(pictures):
        axes = figure.add_axes((0.04 + 0.33 * column, 0.2, 0.31, 0.64))
        over = (0, radiograph.shape[1], radiograph.shape[0], 0)
        axes.imshow(radiograph, cmap="gray", vmin=0, vmax=255, extent=over)
        if heat is not None:
            axes.imshow(heat, interpolation="bilinear", extent=over)
        axes.set_title(heading, size=11, loc="left")
        axes.set_anchor("NW")
        axes.axis("off")
    if answer["probabilities"]:
        axes = figure.add_axes((0.79, 0.66, 0.18, 0.18))
        score_bars(axes, answer["probabilities"], answer["label"])
    said = [row for line in _report_lines(answer) for row in (wrap(line, 40) or [""])]
    top = 0.6 if answer["probabilities"] else 0.84
    figure.text(0.72, top, "\n".join(said), size=9, va="top", linespacing=1.5)


def _report_lines(answer: Mapping[str, Any]) -> list[str]:
    """What a page says in words."""
    lines = [f"model: {answer['model']}"]
    if answer["status"] != "ok":
        lines += [f"{answer['status'].replace('_', ' ')}: {answer['message']} [{answer['code']}]"]
    else:
        lines += [f"Scores are {score_scale(answer['temperature'])}."]
    if answer["lung_share"] is not None:
        lines += [
            f"{100 * answer['lung_share']:.0f} % of the map lies in the outlined lungs, which are "
            f"{100 * answer['lung_area']:.0f} % of what the model sees"
        ]
    if answer["neighbours"]:
        lines += ["", "Nearest training images, by distance of features"]
        lines += [
            f"{one['label']} ({one['source']}): {one['distance']:.2f}"
            for one in answer["neighbours"]
        ]
    if answer["warnings"]:
        lines += ["", "Take note", *answer["warnings"]]
    return lines
