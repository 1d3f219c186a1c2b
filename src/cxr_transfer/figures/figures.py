"""The paper's figures 4 to 6 and more, as PNG files; the only importer of matplotlib.

In come numbers that others computed and the path of a file; out goes that file, whole or not at
all. This module computes no statistic, and does not know which model is meant to win.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle, pairwise
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
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cxr_transfer import INTENDED_USE
from cxr_transfer.errors import DataError
from cxr_transfer.files import SOFTWARE, write_bytes
from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.statistics.metrics import Evaluation, Floats, Scores, pr_curve, roc_curve
from cxr_transfer.statistics.temperature import score_scale

DPI = 150
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
"""Okabe & Ito 2008, told apart with every common colour blindness; by place in the label set."""

BARS = (PALETTE[5], PALETTE[1])
"""Light enough for a dark whisker to show."""

INK, GREY, PALE = "#222222", "#6B6B6B", "#E6E6E6"

PAPER_MS = (26.9, 42.7)
"""Milliseconds per image of the paper's models on a Tesla K80 (section 4.2)."""

METRIC_NAMES = {"accuracy": "Accuracy", "auroc_macro": "AUROC (macro)"} | {
    f"{metric}_{kind}": f"{name} ({kind})"
    for metric, name in (("precision", "Precision"), ("recall", "Recall"), ("f1", "F1"))
    for kind in ("macro", "weighted")
}

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: every machine draws the same
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "xtick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.color": GREY,
    "ytick.labelcolor": INK,
    "legend.edgecolor": "none",
    "lines.linewidth": 2,
    "text.parse_math": False,  # a class may have a dollar in its name
}

ABOVE: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 3}
CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}
WHISKER: dict[str, Any] = {"fmt": "none", "ecolor": INK, "elinewidth": 1.5, "capsize": 5}


def paper_bars(
    path: Path,
    estimates: Mapping[str, Mapping[str, Estimate]],
    metrics: tuple[str, str],
    paper: Mapping[str, Mapping[str, float]],
    title: str,
) -> None:
    """Draw figure 4 or 5: two metrics of each model, the paper's values as open diamonds.

    Args:
        path: The PNG file.
        estimates: By model and metric, proportions in [0, 1].
        metrics: The two to draw, such as ``("precision_macro", "recall_macro")``.
        paper: By model and metric, in percent; what is missing is not drawn.
        title: One line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    with canvas(path, (8.5, 5.4), title) as figure:
        axes = figure.subplots()
        for series, metric in enumerate(metrics):
            places = np.arange(len(estimates)) + (series - 0.5) * 0.4
            ours = [of_model[metric] for of_model in estimates.values()]
            values = 100 * table(ours)
            name = METRIC_NAMES.get(metric, metric)
            axes.bar(places, values[:, 0], 0.36, color=BARS[series], label=name)
            axes.errorbar(places, values[:, 0], yerr=whiskers(values), **WHISKER)
            for place, estimate in zip(places, ours, strict=True):
                text = estimate.percent().replace(" [", "\n[")
                axes.text(place, 103, text, ha="center", va="bottom", fontsize=9)
            theirs = [paper.get(model, {}).get(metric, np.nan) for model in estimates]
            once = "the paper, one split" if series == 0 and paper else None
            # Beside the whisker, so that neither hides the other.
            axes.plot(places + 0.1, theirs, "D", mfc="white", mec=INK, ms=6, label=once)
        axes.set_xticks(range(len(estimates)), list(estimates))
        axes.tick_params(axis="x", length=0)
        axes.set(ylim=(0, 114), yticks=range(0, 101, 20), ylabel="percent [95 % interval]")
        axes.grid(axis="y")
        axes.legend(**ABOVE)


def time_bars(path: Path, ms: Mapping[str, Estimate], title: str = "Time per image") -> None:
    """Draw figure 6: milliseconds per image of each model, and the paper's range.

    Args:
        path: The PNG file.
        ms: By model, in milliseconds.
        title: One line; the place to name the machine.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    with canvas(path, (8.5, 2.0 + 0.6 * len(ms)), title) as figure:
        axes = figure.subplots()
        places, values = np.arange(float(len(ms))), table(list(ms.values()))
        ends = np.fmax.reduce(values, axis=1)
        reach = max(*ends, PAPER_MS[1])
        paper = f"the paper on a Tesla K80: {PAPER_MS[0]} to {PAPER_MS[1]} ms"
        axes.axvspan(*PAPER_MS, color=PALE, label=paper)
        axes.barh(places, values[:, 0], 0.55, color=BARS[0])
        axes.errorbar(values[:, 0], places, xerr=whiskers(values), **WHISKER)
        for place, estimate, end in zip(places, ms.values(), ends, strict=True):
            axes.text(end + 0.015 * reach, place, estimate.written(1), va="center", size=9)
        axes.set_yticks(places, list(ms))
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set(xlim=(0, 1.22 * reach), xlabel="milliseconds per image")
        axes.legend(**ABOVE)


def confusion_matrix(
    path: Path, confusion: npt.NDArray[np.int64], labels: LabelSet, title: str
) -> None:
    """Draw how many films of each class (rows) were called each class (columns).

    Args:
        path: The PNG file.
        confusion: (C, C) counts, rows are true classes.
        labels: The C classes.
        title: One line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    films = confusion.sum(axis=1)
    share = confusion / np.maximum(films, 1)[:, None]
    side = 2.6 + 1.2 * len(labels)
    with canvas(path, (side + 0.4, side), title) as figure:
        axes = figure.subplots()
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(confusion):
            colour = "white" if share[row, column] > 0.5 else INK
            percent = f"{100 * share[row, column]:.1f} %"
            for text, drop, size in ((f"{count}", -0.07, 16), (percent, 0.16, 9)):
                axes.text(column, row + drop, text, color=colour, size=size, **CENTRED)
        axes.set_xticks(range(len(labels)), list(labels))
        named = [f"{label}\n{n} films" for label, n in zip(labels, films, strict=True)]
        axes.set_yticks(range(len(labels)), named)
        axes.set(xlabel="predicted class", ylabel="true class")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)


def roc_curves(
    path: Path,
    scores: Scores,
    evaluation: Evaluation,
    title: str,
    bands: Mapping[str, tuple[Floats, Floats, Floats]] | None = None,
) -> None:
    """Draw one ROC curve per class against the rest, with its area and interval.

    Args:
        path: The PNG file.
        scores: N films.
        evaluation: Of ``scores``.
        title: One line.
        bands: By label, what `metrics.roc_band` returned; drawn behind the curve.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    with canvas(path, (6.6, 7.0), title) as figure:
        axes = _square(figure, "1 - specificity", "sensitivity")
        for label, colour in _curved(scores):
            false_rate, true_rate, _ = roc_curve(scores, label)
            name = f"{label}: AUROC {evaluation.per_class[label]['auroc']}"
            if bands and label in bands:
                rates, low, high = bands[label]
                axes.fill_between(rates, low, high, color=colour, alpha=0.18, lw=0)
            axes.plot(false_rate, true_rate, color=colour, label=name, clip_on=False)
        axes.plot([0, 1], [0, 1], ":", color=GREY, lw=1, label="no skill")
        axes.legend(loc="lower right")


def pr_curves(path: Path, scores: Scores, evaluation: Evaluation, title: str) -> None:
    """Draw one precision-recall curve per class, with its average precision and interval.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    with canvas(path, (6.6, 7.0), title) as figure:
        axes = _square(figure, "recall (sensitivity)", "precision")
        for label, colour in _curved(scores):
            precision, recall, _ = pr_curve(scores, label)
            found = evaluation.per_class[label]
            name = f"{label}: average precision {found['average_precision']}"
            axes.step(recall, precision, where="post", color=colour, label=name, clip_on=False)
            axes.axhline(found["films"] / evaluation.films, color=colour, lw=1, ls=":")
        axes.plot([], [], ":", color=GREY, lw=1, label="no skill: the share of the class")
        axes.legend(loc="lower left")


def reliability_plot(
    path: Path,
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
    title: str,
) -> None:
    """Draw how often films are right against their score, as it was and calibrated.

    Below, how many films each bin holds: a share of few films is worth little.

    Args:
        path: The PNG file.
        before: Rows of `calibration.reliability`.
        after: Rows of the calibrated scores; none where there is no temperature.
        title: One line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    columns = [("as given by the network", before), ("calibrated", after)][: 2 if after else 1]
    with canvas(path, (5.25 * len(columns), 7.4), title) as figure:
        panels = figure.subplots(
            2, len(columns), sharex=True, sharey="row", height_ratios=(5, 1), squeeze=False
        )
        most = max((row["films"] for row in (*before, *after)), default=1)
        for column, (name, rows) in enumerate(columns):
            shares, films = panels[:, column]
            colour = PALETTE[column]
            shares.plot([0, 1], [0, 1], ":", color=GREY, lw=1, label="right as often as sure")
            scored = [row["mean_score"] for row in rows]
            values = table([Estimate(**row["right"]) for row in rows]).reshape(-1, 3)
            right = f"{name}: share right [95 %, Wilson]"
            # A good model's scores lie at the edge, where half a dot would be cut off.
            whole = {"clip_on": False, "zorder": 3}
            shares.errorbar(scored, values[:, 0], yerr=whiskers(values), **WHISKER, **whole)
            shares.plot(scored, values[:, 0], "o", color=colour, ms=6, label=right, **whole)
            shares.set(xlim=(0, 1), ylim=(0, 1))
            shares.grid()
            shares.legend(**ABOVE | {"ncols": 1})
            for row in rows:
                centre, width = (row["low"] + row["high"]) / 2, row["high"] - row["low"]
                films.bar(centre, row["films"], 0.9 * width, color=colour)
                count = f"{row['films']}"
                films.text(centre, row["films"], count, ha="center", va="bottom", size=9)
            # Each bar carries its number: no scale beside it.
            films.set(xlabel="highest score", ylim=(0, 1.3 * most), yticks=[])
            films.spines["left"].set_visible(False)
        panels[0, 0].set_ylabel("share right")
        panels[1, 0].set_ylabel("films")


def risk_coverage_plot(
    path: Path,
    coverage: npt.NDArray[np.float64],
    risk: npt.NDArray[np.float64],
    title: str,
) -> None:
    """Draw how the share wrong grows as less sure films are kept.

    Args:
        path: The PNG file.
        coverage: (P,) shares of films kept, rising to 1, as of `decisions.risk_coverage`.
        risk: (P,) share wrong among the films kept.
        title: One line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    with canvas(path, (8.5, 5.4), title) as figure:
        axes = figure.subplots()
        # A film is kept together with its equals: a step reaches back to the point before.
        kept, wrong = 100 * np.append(0, coverage), 100 * np.append(risk[:1], risk)
        surest = "surest films kept first"
        axes.step(kept, wrong, where="pre", color=PALETTE[0], label=surest, clip_on=False)
        chance = f"kept at random: {wrong[-1]:.1f} %"
        axes.axhline(wrong[-1], color=GREY, lw=1, ls=":", label=chance)
        axes.set(xlim=(0, 100), ylim=(0, 1.15 * wrong.max() or 1))
        axes.set(xlabel="films kept, percent", ylabel="wrong among those kept, percent")
        axes.grid()
        axes.legend(**ABOVE)


def training_history(
    path: Path, rows: Sequence[Mapping[str, Any]], title: str = "Training history"
) -> None:
    """Draw loss and accuracy over the epochs of all stages, each stage's best epoch ringed.

    Args:
        path: The PNG file.
        rows: One per epoch, in order: ``stage``, ``loss``, ``val_loss``, and ``accuracy``,
            ``val_accuracy`` in [0, 1]; further keys are not drawn.
        title: One line.

    Raises:
        DataError: ``no_epochs`` without a row.
        MachineError: ``disk_full`` or ``not_writable``.
    """
    if not rows:
        raise DataError("no_epochs", "Expected at least one epoch, but got none; train first.")
    epochs = np.arange(1, len(rows) + 1)
    stages = [str(row["stage"]) for row in rows]
    starts = [0, *(i for i in range(1, len(rows)) if stages[i] != stages[i - 1])]
    val_loss = np.array([float(row["val_loss"]) for row in rows])
    best = [
        start + int(np.nanargmin(val_loss[start:end]))
        for start, end in pairwise([*starts, len(rows)])
        if not np.isnan(val_loss[start:end]).all()
    ]
    with canvas(path, (10.5, 5.0), title) as figure:
        left, right = figure.subplots(1, 2)
        for axes, key, name, scale in (
            (left, "loss", "cross-entropy loss", 1),
            (right, "accuracy", "accuracy, percent", 100),
        ):
            for part, prefix, colour in (("training", "", 1), ("validation", "val_", 0)):
                values = scale * np.array([float(row[prefix + key]) for row in rows])
                axes.plot(epochs, values, ".-", ms=5, color=PALETTE[colour], label=part)
            ringed = "lowest validation loss of the stage"
            axes.plot(epochs[best], values[best], "o", mfc="none", mec=INK, ms=11, label=ringed)
            axes.margins(y=0.1)
            for rank, start in enumerate(starts):
                axes.axvline(start + 0.5, color=GREY, lw=1, ls=":")
                # Every other name one line higher: a short stage has no room for its own.
                place = {"xy": (start + 0.5, 1.01 + 0.05 * (rank % 2))}
                along = {"xycoords": axes.get_xaxis_transform(), "color": GREY, "size": 9}
                axes.annotate(f" stage {stages[start]}", **place, **along)
            axes.set(xlabel="epoch, all stages", ylabel=name, xlim=(0.5, len(rows) + 0.5))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
            axes.grid(axis="y")
        right.legend(loc="lower right", fontsize=9)


def forest_plot(path: Path, rows: Sequence[tuple[str, Estimate]], title: str) -> None:
    """Draw proportions with their intervals one below the other, the first as the line to compare.

    Args:
        path: The PNG file.
        rows: Names and proportions in [0, 1]; the first stands for all films.
        title: One line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    with canvas(path, (8.5, 1.8 + 0.34 * len(rows)), title) as figure:
        axes = figure.subplots()
        places, values = np.arange(float(len(rows))), 100 * table([each for _, each in rows])
        axes.axvline(values[0, 0], color=GREY, lw=1, ls=":")
        axes.errorbar(values[:, 0], places, xerr=whiskers(values), **WHISKER | {"capsize": 3})
        axes.plot(values[:, 0], places, "s", color=PALETTE[0], ms=6)
        for place, (_, estimate) in zip(places, rows, strict=True):
            # To the right of the axes, in a column: beside its point it would hide others.
            axes.annotate(
                estimate.percent(),
                (1.02, place),
                xycoords=axes.get_yaxis_transform(),
                size=9,
                va="center",
            )
        axes.set_yticks(places, [name for name, _ in rows])
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.set(xlabel="percent [95 % interval]", xlim=(min(50.0, np.nanmin(values) - 2), 100))
        axes.grid(axis="x")


@contextmanager
def canvas(path: Path, inches: tuple[float, float], title: str) -> Iterator[Figure]:
    """Give a figure to draw on; then write it to ``path``, whole or not at all."""
    with mpl.rc_context(STYLE):
        footer = 0.3 / inches[1]
        layout = ConstrainedLayoutEngine(rect=(0, footer, 1, 1 - footer), w_pad=0.12, h_pad=0.1)
        figure = Figure(figsize=inches, layout=layout)
        figure.suptitle(title, x=0.12 / inches[0], ha="left", size=13, weight="bold")
        figure.text(0.12 / inches[0], footer / 3, INTENDED_USE, size=6.5, color=GREY)
        yield figure
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=DPI, metadata={"Software": SOFTWARE})
    write_bytes(path, content.getvalue())


def _square(figure: Figure, x: str, y: str) -> Axes:
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.grid()
    return axes


def _curved(scores: Scores) -> list[tuple[str, str]]:
    """The classes that have a curve, with the colour of their place in the label set."""
    found = set(scores.targets.tolist())
    if len(found) < 2:
        return []
    coloured = enumerate(zip(scores.labels, cycle(PALETTE), strict=False))
    return [pair for target, pair in coloured if target in found]


def table(estimates: Sequence[Estimate]) -> npt.NDArray[np.float64]:
    """Return (N, 3): value, low, high."""
    return np.array([(e.value, e.low, e.high) for e in estimates], dtype=np.float64)


def whiskers(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (2, N) lengths below and above; a bound on the wrong side of its value gets none."""
    return np.maximum([values[:, 0] - values[:, 1], values[:, 2] - values[:, 0]], 0)


def explanation_sheet(
    path: Path,
    film: npt.NDArray[np.uint8] | npt.NDArray[np.float32],
    heat_map: npt.NDArray[np.float32],
    lungs: npt.NDArray[np.bool_],
    scores: Mapping[str, float],
    label: str,
    *,
    lines: Sequence[str],
    title: str,
) -> None:
    """Draw a film, where the score of a class comes from, the class scores, and what is said.

    For the eyes of who owns the film.

    Args:
        path: The PNG file.
        film: (H, W), bright = dense, uint8 or float32 in [0, 1].
        heat_map: Values in [0, 1], at any size; it is stretched over the film.
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
            [["film", "map", "scores"], ["film", "map", "text"]],
            width_ratios=(4, 4, 3.4),
            height_ratios=(0.5 + 0.35 * len(scores), 0.3 + 0.2 * len(rows)),
        )
        over = (0, film.shape[1], film.shape[0], 0)
        for name, heading in (("film", "the film"), ("map", f"where the score of {label} is from")):
            white = 255 if film.dtype == np.uint8 else 1
            panels[name].imshow(film, cmap="gray", vmin=0, vmax=white, extent=over)
            panels[name].set_title(heading, size=11, loc="left")
            panels[name].set_anchor("N")
            panels[name].axis("off")
        heat = ScalarMappable(Normalize(0, 1), "inferno")
        coloured = heat.to_rgba(heat_map)
        # Opaque only where the map is high: elsewhere the film stays as it is.
        coloured[..., 3] = 0.7 * heat_map
        panels["map"].imshow(coloured, interpolation="bilinear", extent=over)
        beside: dict[str, Any] = {"fraction": 0.04, "pad": 0.02, "anchor": (0, 1)}
        bar = figure.colorbar(heat, ax=panels["map"], panchor=(0.5, 1), **beside)
        bar.set_ticks([0, 1], labels=["0", "most"])
        if lungs.any() and not lungs.all():
            _outline(panels["map"], lungs, film.shape)
        _score_bars(panels["scores"], scores, label)
        panels["text"].axis("off")
        for row, line in enumerate(rows):
            bold = not row or not rows[row - 1]
            weight = "bold" if bold else "normal"
            panels["text"].text(0, 1 - (row + 0.5) / len(rows), line, size=9.5, weight=weight)


def _outline(axes: Axes, mask: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> None:
    """Draw the border of the lungs, stretched over a film of ``shape``."""
    down, across = (
        (np.arange(side) + 0.5) * reach / side
        for side, reach in zip(mask.shape, shape, strict=True)
    )
    axes.contour(across, down, mask, levels=[0.5], colors=PALETTE[5], linewidths=1.5)
    line = Line2D(
        [], [], color=PALETTE[5], lw=1.5, label="the lungs, as a small network finds them"
    )
    axes.legend(handles=[line], loc="upper left", bbox_to_anchor=(0, 0), fontsize=9)


def _score_bars(axes: Axes, scores: Mapping[str, float], label: str | None) -> None:
    places = np.arange(float(len(scores)))
    colours = [PALETTE[0] if name == label else BARS[0] for name in scores]
    axes.barh(places, list(scores.values()), 0.6, color=colours)
    for place, score in zip(places, scores.values(), strict=True):
        axes.text(score + 0.02, place, f"{score:.3f}", va="center", size=9)
    axes.set_yticks(places, list(scores))
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.18), xticks=(0, 0.5, 1))
    axes.set_title("class score", size=11, loc="left")


def report_pdf(pages: Sequence[Mapping[str, Any]], *, request_id: str) -> bytes:
    """Draw a report of answers, a page for each film, as a PDF.

    Args:
        pages: Of each film its ``answer`` as it stands in JSON, its ``film`` (H, W) uint8, and
            its ``overlay`` (H, W, 4) uint8; the last two None where there are none.
        request_id: Of the request that is answered, for whoever looks it up.

    Returns:
        The file.
    """
    content = io.BytesIO()
    known = {"Title": "Class scores of chest films", "Creator": "cxr-transfer"}
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
    answer, film, overlay = page["answer"], page["film"], page["overlay"]
    figure.text(0.04, 0.94, "\n".join(wrap(answer["file"], 80)), size=14, weight="bold", va="top")
    pictures = [] if film is None else [("the film", None)]
    if overlay is not None:
        pictures.append((f"where the score of {answer['label']} is from", overlay))
    for column, (heading, heat) in enumerate(pictures):
        axes = figure.add_axes((0.04 + 0.33 * column, 0.2, 0.31, 0.64))
        over = (0, film.shape[1], film.shape[0], 0)
        axes.imshow(film, cmap="gray", vmin=0, vmax=255, extent=over)
        if heat is not None:
            axes.imshow(heat, interpolation="bilinear", extent=over)
        axes.set_title(heading, size=11, loc="left")
        axes.set_anchor("NW")
        axes.axis("off")
    if answer["probabilities"]:
        axes = figure.add_axes((0.79, 0.66, 0.18, 0.18))
        _score_bars(axes, answer["probabilities"], answer["label"])
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
        lines += ["", "Nearest training films, by distance of features"]
        lines += [
            f"{one['label']} ({one['source']}): {one['distance']:.2f}"
            for one in answer["neighbours"]
        ]
    if answer["warnings"]:
        lines += ["", "Take note", *answer["warnings"]]
    return lines
