"""Tables of a publication: the same rows as CSV, for programs, and as LaTeX, for a paper."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cxr_transfer.files import write_csv, write_text
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.statistics.metrics import TITLES, Evaluation
from cxr_transfer.text import latex

Cell = str | int | float | Estimate | None
Form = Literal["text", "count", "number", "p", "percent", "points"]

_TABLE = ("accuracy", "precision_macro", "recall_macro", "f1_macro", "auroc_macro")
_P = ("p_mcnemar_exact", "p_holm")
_OF_CLASS = ("precision", "recall", "f1", "auroc", "average_precision")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: Name in the CSV; an estimate has two more, ``NAME_low`` and ``NAME_high``.
        title: Heading in LaTeX.
        form: Form of its cells: ``percent`` and ``points`` are estimates of proportions, and of
            differences of them, that LaTeX shows times 100.
    """

    name: str
    title: str
    form: Form = "text"


@dataclass(frozen=True)
class Table:
    """A table of a publication.

    Attributes:
        caption: Caption, one sentence, without a full stop.
        columns: Columns in their order.
        rows: Rows, column to cell; a cell that is absent is empty.
    """

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Cell]]


def write_table(path: Path, table: Table) -> None:
    """Write a table as CSV and as LaTeX.

    Args:
        path: Path of both files, without an ending.
        table: Table to write.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """
    names = [name for column in table.columns for name in _names(column)]
    rows = (
        {name: value for column in table.columns for name, value in _cells(column, row)}
        for row in table.rows
    )
    write_csv(path.with_name(f"{path.name}.csv"), names, rows)
    write_text(path.with_name(f"{path.name}.tex"), latex_table(table, path.name))


def latex_table(table: Table, name: str) -> str:
    """Return a table as LaTeX, with the rules of the package booktabs.

    Args:
        table: Table to write.
        name: Name of the table, by which the text refers to it.
    """
    lines = [
        "% In the preamble: \\usepackage{booktabs}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{latex(table.caption)}}}",
        f"  \\label{{tab:{name.replace('_', '-')}}}",
        f"  \\begin{{tabular}}{{{''.join(_alignment(column) for column in table.columns)}}}",
        "    \\toprule",
        _line(column.title for column in table.columns),
        "    \\midrule",
        *(_line(_written(column, row.get(column.name)) for column in table.columns)
          for row in table.rows),
        "    \\bottomrule",
        "  \\end{tabular}",
        "\\end{table}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def models_table(models: Mapping[str, Evaluation], caption: str) -> Table:
    """Return the figures of merit of several models, a row each."""
    rows: list[Mapping[str, Cell]] = [
        {
            "model": name,
            "images": evaluation.images,
            "patients": evaluation.patients,
            **{metric: getattr(evaluation, metric) for metric in _TABLE},
        }
        for name, evaluation in models.items()
    ]
    figures = [Column(metric, f"{TITLES[metric]}, %", "percent") for metric in _TABLE]
    counts = [Column(name, name, "count") for name in ("images", "patients")]
    return Table(caption, [Column("model", "model"), *counts, *figures], rows)


def classes_table(models: Mapping[str, Evaluation], caption: str) -> Table:
    """Return the figures of each class against the rest, a row for each model and class."""
    rows: list[Mapping[str, Cell]] = [
        {"model": name, "class": label, "images": of_class["images"]}
        | {metric: of_class[metric] for metric in _OF_CLASS}  # type: ignore[literal-required]
        for name, evaluation in models.items()
        for label, of_class in evaluation.per_class.items()
    ]
    columns = [
        Column("model", "model"),
        Column("class", "class"),
        Column("images", "images", "count"),
        *(Column(name, f"{name.replace('_', ' ')}, %", "percent") for name in _OF_CLASS),
    ]
    return Table(caption, columns, rows)


def confusion_table(models: Mapping[str, Evaluation], caption: str) -> Table:
    """Return how many images of each class were called each class."""
    labels = list(next(iter(models.values())).per_class)
    rows: list[Mapping[str, Cell]] = [
        {"model": name, "class": label}
        | {f"called_{called}": int(n) for called, n in zip(labels, counts, strict=True)}
        for name, evaluation in models.items()
        for label, counts in zip(evaluation.per_class, evaluation.confusion, strict=True)
    ]
    columns = [Column("model", "model"), Column("class", "class")]
    columns += [Column(f"called_{label}", f"called {label}", "count") for label in labels]
    return Table(caption, columns, rows)


def pairs_table(pairs: Sequence[Mapping[str, Any]], caption: str) -> Table:
    """Return what `comparisons.compared_pairs` found, a row for each pair."""
    gained = ("accuracy_b_minus_a", "auroc_b_minus_a")
    rows: list[Mapping[str, Cell]] = [
        {name: pair[name] for name in (*("a", "b", "only_a_right", "only_b_right"), *_P)}
        | {name: Estimate.from_dict(pair[name]) for name in gained}
        for pair in pairs
    ]
    columns = [
        Column("a", "A"),
        Column("b", "B"),
        Column("only_a_right", "only A right", "count"),
        Column("only_b_right", "only B right", "count"),
        Column(_P[0], "p (McNemar, exact)", "p"),
        Column(_P[1], "p (Holm)", "p"),
        Column(gained[0], "accuracy of B less A, points", "points"),
        Column(gained[1], "AUROC of B less A, points", "points"),
    ]
    return Table(caption, columns, rows)


def delong_table(pairs: Sequence[Mapping[str, Any]], caption: str) -> Table:
    """Return DeLong's test of each pair and class; classes with too few images are left out."""
    rows: list[Mapping[str, Cell]] = [
        {
            "a": pair["a"],
            "b": pair["b"],
            "class": label,
            "auroc_b_minus_a": Estimate.from_dict(test["auroc_b_minus_a"]),
            "p": test["p"],
            "p_holm": test["p_holm"],
        }
        for pair in pairs
        for label, test in pair["delong"].items()
        if test
    ]
    columns = [
        Column("a", "A"),
        Column("b", "B"),
        Column("class", "class"),
        Column("auroc_b_minus_a", "AUROC of B less A, points", "points"),
        Column("p", "p (DeLong)", "p"),
        Column("p_holm", "p (Holm)", "p"),
    ]
    return Table(caption, columns, rows)


def _names(column: Column) -> list[str]:
    ends = ("", "_low", "_high") if column.form in ("percent", "points") else ("",)
    return [f"{column.name}{end}" for end in ends]


def _cells(column: Column, row: Mapping[str, Cell]) -> Iterator[tuple[str, object]]:
    """Yield the cells of a column in a CSV; what is not defined is empty."""
    value = row.get(column.name)
    if column.form not in ("percent", "points"):
        yield column.name, value
        return
    bounds = (value.value, value.low, value.high) if isinstance(value, Estimate) else ()
    for name, bound in zip(_names(column), bounds, strict=False):
        yield name, None if math.isnan(bound) else bound


def _written(column: Column, value: Cell) -> str:
    """Return a cell as a paper shows it."""
    if value is None:
        return ""
    if isinstance(value, Estimate):
        return value.percent()
    if column.form == "p" and isinstance(value, float):
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _line(cells: Iterable[str]) -> str:
    return f"    {' & '.join(map(latex, cells))} \\\\"


def _alignment(column: Column) -> str:
    return "l" if column.form == "text" else "r"
