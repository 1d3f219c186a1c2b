"""Which weights a stage hands on, by its rule and by whether it improved on its beginning."""

import pytest

from cxr_transfer.training.kept_weights import KEPT, Outcome, line_of, marked, outcome_of
from cxr_transfer.training.stage_recipe import Stage


def stage(keep):
    return Stage(name="all", train=("*",), keep=keep)


def ended(val_loss):
    """How the stage before ended; None for none."""
    return None if val_loss is None else Outcome("head", 1, 1, val_loss, improved=True)


def rows_of(*losses):
    return [{"epoch": number, "val_loss": loss} for number, loss in enumerate(losses, start=1)]


@pytest.mark.parametrize(
    ("keep", "losses", "before", "kept", "val_loss", "improved"),
    [
        ("best_overall", (0.5, 0.4, 0.6), None, 2, 0.4, True),
        ("best_overall", (0.5, 0.4, 0.6), 0.41, 2, 0.4, True),
        ("best_overall", (0.5, 0.4, 0.6), 0.4, None, 0.4, False),
        ("best_overall", (0.5, 0.4, 0.6), 0.3, None, 0.3, False),
        ("best_of_stage", (0.5, 0.4, 0.6), 0.3, 2, 0.4, False),
        ("best_of_stage", (0.5, 0.4, 0.4), 0.5, 2, 0.4, True),
        ("last", (0.5, 0.4, 0.6), None, 3, 0.6, True),
        # An epoch was better, though it is not the one that is kept.
        ("last", (0.5, 0.4, 0.6), 0.45, 3, 0.6, True),
        ("last", (0.5, 0.4, 0.6), 0.3, 3, 0.6, False),
    ],
)
def test_a_stage_keeps_what_its_rule_says(keep, losses, before, kept, val_loss, improved):
    found = outcome_of(stage(keep), rows_of(*losses), ended(before))
    assert (found.kept_epoch, found.val_loss, found.improved) == (kept, val_loss, improved)
    assert (found.name, found.epochs, found.goes_back) == ("all", 3, kept is None)


def test_the_row_that_was_kept_is_marked_and_none_where_the_stage_went_back():
    rows = rows_of(0.5, 0.4)
    own = marked(rows, outcome_of(stage("best_overall"), rows, None))
    assert [row[KEPT] for row in own] == [0, 1]
    back = marked(rows, outcome_of(stage("best_overall"), rows, ended(0.1)))
    assert [row[KEPT] for row in back] == [0, 0]
    assert KEPT not in rows[0], "the rows that came in are left alone"


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        ("best_overall", "the weights before it are kept"),
        ("best_of_stage", "its own best are kept all the same"),
        ("last", "its last are kept all the same"),
    ],
)
def test_a_stage_that_improved_nothing_is_said_with_what_is_kept(keep, said):
    rows = rows_of(0.5, 0.4)
    line = line_of("mine", stage(keep), outcome_of(stage(keep), rows, ended(0.25)), ended(0.25))
    assert line.startswith("mine · all: no epoch has a lower validation loss than the 0.2500")
    assert said in line


@pytest.mark.parametrize("before", [None, 0.9])
def test_of_a_stage_that_improved_or_is_the_first_nothing_is_said(before):
    rows = rows_of(0.5, 0.4)
    outcome = outcome_of(stage("best_overall"), rows, ended(before))
    assert line_of("mine", stage("best_overall"), outcome, ended(before)) is None


def test_a_stage_that_watches_the_auroc_keeps_its_highest_and_goes_back_to_a_higher_one():
    watching = Stage(name="all", train=("*",), monitor="val_auroc")
    rows = [
        {"epoch": 1, "val_loss": 0.5, "val_auroc": 0.8},
        {"epoch": 2, "val_loss": 0.4, "val_auroc": 0.7},
    ]
    first = outcome_of(watching, rows, None)
    assert (first.kept_epoch, first.val_loss, first.monitored) == (1, 0.5, 0.8)
    later = outcome_of(watching, [row | {"val_auroc": 0.6} for row in rows], first)
    assert later.goes_back
    assert (later.val_loss, later.monitored) == (0.5, 0.8)
    line = line_of("mine", watching, later, first)
    assert "no epoch has a higher validation AUROC than the 0.8000" in line
