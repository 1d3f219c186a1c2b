"""Tables: every row by its name, and rows of other packages beside those of this one."""

import sys
from importlib.metadata import EntryPoint

import pytest

from cxr_transfer import tables
from cxr_transfer.audits.checks import CHECKS
from cxr_transfer.datasets.registry import COLLECTIONS
from cxr_transfer.errors import MachineError, UsageError
from cxr_transfer.export.formats import EXPORTS
from cxr_transfer.models.registry import ARCHITECTURES
from cxr_transfer.statistics.metrics import METRICS, OF_A_CLASS, ClassEvaluation, Evaluation
from cxr_transfer.tables import Table


@pytest.fixture
def numbers(monkeypatch):
    """A table of numbers, to which the functions of an entry point's module add."""

    def make(**added):
        points = [EntryPoint(name, value, "numbers") for name, value in added.items()]
        monkeypatch.setattr(tables, "entry_points", lambda group: points if group else [])
        return Table("number", float, {"one": 1.0, "two": 2.0}, group="numbers")

    return make


def test_rows_stand_in_their_order_and_those_of_others_come_last(numbers):
    table = numbers(pi="math:pi", e="math:e")
    assert list(table) == ["one", "two", "e", "pi"]
    assert len(table) == 4
    assert "pi" in table
    assert table["pi"] == pytest.approx(3.14159, abs=1e-5)
    assert list(table.items()) == [
        ("one", 1.0),
        ("two", 2.0),
        ("e", table["e"]),
        ("pi", table["pi"]),
    ]


def test_an_unknown_name_is_an_error_that_names_the_nearest(numbers):
    with pytest.raises(UsageError, match="did you mean 'two'") as refused:
        numbers()["twoo"]
    assert refused.value.code == "unknown_number"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("no_such_module:row", "ModuleNotFoundError"),
        ("math:no_such_row", "AttributeError"),
        ("math:sin", "float, not builtin_function_or_method"),
    ],
)
def test_a_row_that_cannot_be_used_names_its_package_and_stops_nobody_else(numbers, value, said):
    table = numbers(pi="math:pi", bad=value)
    assert list(table) == ["one", "two", "bad", "pi"]
    assert table["pi"] > 3
    with pytest.raises(MachineError, match=said) as refused:
        table["bad"]
    assert refused.value.code == "bad_plugin"


def test_nobody_replaces_a_row_that_is_there(numbers):
    table = numbers(one="math:pi")
    with pytest.raises(MachineError, match="another name"):
        list(table)


def test_to_list_names_imports_nothing_of_others(numbers):
    sys.modules.pop("this", None)
    assert "zen" in list(numbers(zen="this:s"))
    assert "this" not in sys.modules


@pytest.mark.parametrize("table", [ARCHITECTURES, COLLECTIONS, CHECKS, EXPORTS])
def test_every_row_has_a_title(table):
    assert len(table) > 2
    assert all(row.title for row in table.values())


def test_every_metric_has_its_field():
    fields = set(Evaluation.__dataclass_fields__) - {
        "per_class",
        "confusion",
        "images",
        "patients",
    }
    assert fields == {
        f"{name}{kind}" for name, metric in METRICS.items() for kind in metric.averages
    }
    assert set(OF_A_CLASS) == ClassEvaluation.__annotations__.keys() - {"images"}
