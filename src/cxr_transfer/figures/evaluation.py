"""The paper's figures 4 to 6 and more, as PNG files.

In come numbers that others computed and the path of a file; out goes that file, whole or not at
all. This module computes no statistic, and does not know which model is meant to win.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cxr_transfer.errors import DataError
from cxr_transfer.figures.canvas import (
    ABOVE,
    CENTRED,
    WHISKER,
    canvas,
    label_rows,
    table,
    whiskers,
)
from cxr_transfer.figures.colours import BARS, GREY, INK, PALE, PALETTE
from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.curves import pr_curve, roc_curve
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.statistics.metrics import TITLES, Evaluation
from cxr_transfer.statistics.scores import Floats, Scores

PAPER_MS = (26.9, 42.7)
"""Milliseconds per image of the paper's models on a Tesla K80 (section 4.2)."""


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
        estimates: Proportions in [0, 1] by model and metric.
        metrics: Metrics to draw, two, such as ``("precision_macro", "recall_macro")``.
        paper: Figures of the paper in percent, by model and metric; what is missing is not drawn.
        title: Title of the figure, one line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    with canvas(path, (8.5, 5.4), title) as figure:
        axes = figure.subplots()
        for series, metric in enumerate(metrics):
            places = np.arange(len(estimates)) + (series - 0.5) * 0.4
            measured = [of_model[metric] for of_model in estimates.values()]
            values = 100 * table(measured)
            name = TITLES.get(metric, metric)
            axes.bar(places, values[:, 0], 0.36, color=BARS[series], label=name)
            axes.errorbar(places, values[:, 0], yerr=whiskers(values), **WHISKER)
            for place, estimate in zip(places, measured, strict=True):
                text = estimate.percent().replace(" [", "\n[")
                axes.text(place, 103, text, ha="center", va="bottom", fontsize=9)
            published = [paper.get(model, {}).get(metric, np.nan) for model in estimates]
            once = "the paper, one split" if series == 0 and paper else None
            # Beside the whisker, so that neither hides the other.
            axes.plot(places + 0.1, published, "D", mfc="white", mec=INK, ms=6, label=once)
        axes.set_xticks(range(len(estimates)), list(estimates))
        axes.tick_params(axis="x", length=0)
        axes.set(ylim=(0, 114), yticks=range(0, 101, 20), ylabel="percent [95 % interval]")
        axes.grid(axis="y")
        axes.legend(**ABOVE)


def time_bars(path: Path, ms: Mapping[str, Estimate], title: str = "Time per image") -> None:
    """Draw figure 6: milliseconds per image of each model, and the paper's range.

    Args:
        path: The PNG file.
        ms: Milliseconds by model.
        title: Title of the figure, one line; the place to name the machine.

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
    """Draw how many images of each class (rows) were called each class (columns).

    Args:
        path: The PNG file.
        confusion: (C, C) counts, rows are true classes.
        labels: The C classes.
        title: Title of the figure, one line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    images = confusion.sum(axis=1)
    share = confusion / np.maximum(images, 1)[:, None]
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
        named = [f"{label}\n{n} images" for label, n in zip(labels, images, strict=True)]
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
        scores: N images.
        evaluation: Evaluation of ``scores``.
        title: Title of the figure, one line.
        bands: Result of `metrics.roc_band` by label, which is drawn behind the curve.

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
            of_class = evaluation.per_class[label]
            name = f"{label}: average precision {of_class['average_precision']}"
            axes.step(recall, precision, where="post", color=colour, label=name, clip_on=False)
            axes.axhline(of_class["images"] / evaluation.images, color=colour, lw=1, ls=":")
        axes.plot([], [], ":", color=GREY, lw=1, label="no skill: the share of the class")
        axes.legend(loc="lower left")


def reliability_plot(
    path: Path,
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
    title: str,
) -> None:
    """Draw how often images are right against their score, as it was and calibrated.

    Below, how many images each bin holds: a share of few images is worth little.

    Args:
        path: The PNG file.
        before: Rows of `calibration.reliability`.
        after: Rows of the calibrated scores; none where there is no temperature.
        title: Title of the figure, one line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    columns = [("as given by the network", before), ("calibrated", after)][: 2 if after else 1]
    with canvas(path, (5.25 * len(columns), 7.4), title) as figure:
        panels = figure.subplots(
            2, len(columns), sharex=True, sharey="row", height_ratios=(5, 1), squeeze=False
        )
        most = max((row["images"] for row in (*before, *after)), default=1)
        for column, (name, rows) in enumerate(columns):
            shares, images = panels[:, column]
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
                images.bar(centre, row["images"], 0.9 * width, color=colour)
                count = f"{row['images']}"
                images.text(centre, row["images"], count, ha="center", va="bottom", size=9)
            # Each bar carries its number: no scale beside it.
            images.set(xlabel="highest score", ylim=(0, 1.3 * most), yticks=[])
            images.spines["left"].set_visible(False)
        panels[0, 0].set_ylabel("share right")
        panels[1, 0].set_ylabel("images")


def risk_coverage_plot(
    path: Path,
    coverage: npt.NDArray[np.float64],
    risk: npt.NDArray[np.float64],
    title: str,
) -> None:
    """Draw how the share wrong grows as less sure images are kept.

    Args:
        path: The PNG file.
        coverage: (P,) shares of images kept, rising to 1, as of `decisions.risk_coverage`.
        risk: (P,) share wrong among the images kept.
        title: Title of the figure, one line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    with canvas(path, (8.5, 5.4), title) as figure:
        axes = figure.subplots()
        # An image is kept together with its equals: a step reaches back to the point before.
        kept, wrong = 100 * np.append(0, coverage), 100 * np.append(risk[:1], risk)
        surest = "surest images kept first"
        axes.step(kept, wrong, where="pre", color=PALETTE[0], label=surest, clip_on=False)
        chance = f"kept at random: {wrong[-1]:.1f} %"
        axes.axhline(wrong[-1], color=GREY, lw=1, ls=":", label=chance)
        axes.set(xlim=(0, 100), ylim=(0, 1.15 * wrong.max() or 1))
        axes.set(xlabel="images kept, percent", ylabel="wrong among those kept, percent")
        axes.grid()
        axes.legend(**ABOVE)


def training_history(
    path: Path, rows: Sequence[Mapping[str, Any]], title: str = "Training history"
) -> None:
    """Draw loss and accuracy over the epochs of all stages, each stage's best epoch ringed.

    Args:
        path: The PNG file.
        rows: Rows of the epochs, in order: ``stage``, ``loss``, ``val_loss``, and ``accuracy``,
            ``val_accuracy`` in [0, 1]; further keys are not drawn.
        title: Title of the figure, one line.

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
        rows: Rows of a name and a proportion in [0, 1]; the first stands for all images.
        title: Title of the figure, one line.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    with canvas(path, (8.5, 1.8 + 0.34 * len(rows)), title) as figure:
        axes = figure.subplots()
        places, values = np.arange(float(len(rows))), 100 * table([share for _, share in rows])
        axes.axvline(values[0, 0], color=GREY, lw=1, ls=":")
        axes.errorbar(values[:, 0], places, xerr=whiskers(values), **WHISKER | {"capsize": 3})
        axes.plot(values[:, 0], places, "s", color=PALETTE[0], ms=6)
        label_rows(axes, [name for name, _ in rows], [share.percent() for _, share in rows])
        axes.invert_yaxis()
        # From the lowest interval to 100: on a scale from 0 no difference would be seen.
        lowest = float(np.nanmin(values)) if np.isfinite(values).any() else 50.0
        left = lowest - max(1.0, 0.05 * (100 - lowest))
        axes.set(xlabel="percent [95 % interval]", xlim=(left, 100))
        axes.grid(axis="x")


def _square(figure: Figure, x: str, y: str) -> Axes:
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.grid()
    return axes


def _curved(scores: Scores) -> list[tuple[str, str]]:
    """Return the classes that have a curve, with the colour of their place in the label set."""
    targets = set(scores.targets.tolist())
    if len(targets) < 2:
        return []
    coloured = enumerate(zip(scores.labels, cycle(PALETTE), strict=False))
    return [pair for target, pair in coloured if target in targets]
