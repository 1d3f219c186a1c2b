"""Tables say the same in CSV and in LaTeX, and no name breaks either."""

import csv
import re

import numpy as np
import pytest

from cxr_transfer.evaluation.comparisons import compared_pairs
from cxr_transfer.evaluation.publication_tables import (
    Column,
    Table,
    classes_table,
    confusion_table,
    delong_table,
    latex_table,
    models_table,
    pairs_table,
    write_table,
)
from cxr_transfer.labels import LabelSet
from cxr_transfer.statistics.intervals import NOT_DEFINED, Estimate
from cxr_transfer.statistics.metrics import evaluate
from cxr_transfer.statistics.scores import Scores

LABELS = LabelSet(("clear_lungs", "50 % & more"))


def scores(seed, images=40):
    rng = np.random.default_rng(seed)
    targets = np.arange(images) % 2
    sure = np.clip(0.65 + 0.25 * rng.normal(size=images), 0.01, 0.99)
    table = np.where(np.eye(2)[targets] > 0, sure[:, None], 1 - sure[:, None])
    names = tuple(f"{row}" for row in range(images))
    return Scores(LABELS, targets, table, names, names)


@pytest.fixture(scope="module")
def models():
    return {name: scores(seed) for seed, name in enumerate(("a_1", "b", "c"))}


@pytest.fixture(scope="module")
def found(models):
    return {name: evaluate(each, resamples=50) for name, each in models.items()}


def cells(text):
    """The rows of a LaTeX table between its rules, cell by cell."""
    body = re.search(r"\\midrule\n(.*)\\bottomrule", text, re.S)[1]
    rows = [line.strip().removesuffix(" \\\\") for line in body.strip().splitlines()]
    return [re.split(r"(?<!\\) & ", row) for row in rows]


def read(path):
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_both_files_have_the_same_figures(found, tmp_path):
    write_table(tmp_path / "models", models_table(found, "Three models"))
    rows, text = read(tmp_path / "models.csv"), (tmp_path / "models.tex").read_text()
    assert [row["model"] for row in rows] == list(found)
    for row, line, each in zip(rows, cells(text), found.values(), strict=True):
        assert float(row["accuracy"]) == each.accuracy.value
        assert float(row["accuracy_low"]) == each.accuracy.low
        assert each.accuracy.percent() in line
        assert str(each.images) in line
    assert r"a\_1" in text
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\caption{Three models}"):
        assert text.count(rule) == 1


def test_each_class_and_each_call_has_its_row(found, tmp_path):
    write_table(tmp_path / "classes", classes_table(found, "Classes"))
    write_table(tmp_path / "confusion", confusion_table(found, "Calls"))
    assert len(read(tmp_path / "classes.csv")) == 6
    rows = read(tmp_path / "confusion.csv")
    counts = [[int(row[f"called_{label}"]) for label in LABELS] for row in rows[:2]]
    assert counts == found["a_1"].confusion.tolist()
    assert r"50 \% \& more" in (tmp_path / "confusion.tex").read_text()


def test_pairs_are_adjusted_by_holm_over_the_pairs(models, tmp_path):
    pairs = compared_pairs(models, resamples=50)
    assert [(pair["a"], pair["b"]) for pair in pairs] == [("a_1", "b"), ("a_1", "c"), ("b", "c")]
    least = min(pairs, key=lambda pair: pair["p_mcnemar_exact"])
    assert least["p_holm"] == pytest.approx(min(1, 3 * least["p_mcnemar_exact"]))
    for label in LABELS:
        tests = [pair["delong"][label] for pair in pairs]
        least = min(tests, key=lambda test: test["p"])
        assert least["p_holm"] == pytest.approx(min(1, 3 * least["p"]))
        assert all(test["p_holm"] >= test["p"] for test in tests)
    write_table(tmp_path / "pairs", pairs_table(pairs, "Pairs"))
    write_table(tmp_path / "delong", delong_table(pairs, "AUROC"))
    rows = read(tmp_path / "pairs.csv")
    assert float(rows[0]["p_mcnemar_exact"]) == pairs[0]["p_mcnemar_exact"]
    assert len(read(tmp_path / "delong.csv")) == 6
    assert compared_pairs({"a": scores(0)}) == []


def test_no_name_breaks_a_table():
    names = ["&", "\\", "{", "}", "$x$", "#", "~", "^", "%", "[1]", "*", "a\nb", "\x1b[31m"]
    columns = [Column("name", "name"), Column("value", "v [%]", "percent")]
    estimates = [Estimate(0.5, 0.4, 0.6), NOT_DEFINED] * len(names)
    rows = [{"name": name, "value": e} for name, e in zip(names, estimates, strict=False)]
    text = latex_table(Table("50 % of $ & #", columns, rows), "a_table")
    assert text.count("\\\\\n") == len(names) + 1
    assert all(len(row) == 2 for row in cells(text))
    assert not re.search(r"\\\\\s*[\[*]", text), "that would be read as an argument"
    bare = text.replace("\\\\\n", "\n").replace(" & ", " ").partition("\n")[2]
    assert not re.search(r"(?<!\\)[&#$%~^]", bare)
    assert re.sub(r"\\[{}]", "", text).count("{") == re.sub(r"\\[{}]", "", text).count("}")
    assert "\\label{tab:a-table}" in text
    assert "not defined" in text


def test_p_values_are_never_nought():
    columns = [Column("p", "p", "p")]
    text = latex_table(Table("p", columns, [{"p": 0.0}, {"p": 0.0478}, {"p": 1.0}]), "p")
    assert [row[0] for row in cells(text)] == [r"\textless{} 0.001", "0.048", "1.000"]
