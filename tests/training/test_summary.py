"""How a run ended, in words: which epoch was kept, why each stage stopped, validation figures."""

import dataclasses
import json

import pytest

from cxr_transfer.labels import DATASET_1
from cxr_transfer.models.checkpoint import save_checkpoint
from cxr_transfer.models.metadata import CARD
from cxr_transfer.models.registry import build
from cxr_transfer.training.kept_weights import Outcome
from cxr_transfer.training.summary import seconds_of, summary_line, summary_lines
from miniature import SIDE, make_recipe

ENDS = {
    "head": (
        Outcome("head", 12, 7, 0.5, True),
        "best epoch 7 of 12, stopped since 5 epochs brought no better validation loss",
    ),
    "all": (
        Outcome("all", 20, 3, 0.4, True),
        "best epoch 3 of 20, stopped after max_epochs = 20",
    ),
    "last": (
        Outcome("last", 20, None, 0.4, False),
        "no epoch of 20 was better, went back to the weights before it, stopped after "
        "max_epochs = 20",
    ),
}


@pytest.fixture
def run(tmp_path):
    recipe = make_recipe(stages=[(name, ["head"]) for name in ENDS], max_epochs=20, stop_after=5)
    network = build("simple_cnn", len(DATASET_1), size=(SIDE, SIDE), epsilon=1e-3)
    card = {
        "name": "mine",
        "architecture": "simple_cnn",
        "labels": DATASET_1.names,
        "preprocessing": recipe.preprocessing,
        "epsilon": 1e-3,
        "recipe": recipe.model_dump(mode="json"),
        "provenance": {"stages": [dataclasses.asdict(outcome) for outcome, _ in ENDS.values()]},
        "data": {},
        "seen": {},
    }
    save_checkpoint(tmp_path, network, card)
    (tmp_path / "history.csv").write_text("stage,epoch,seconds\nhead,1,2.5\nhead,2,\nall,1,1.5\n")
    return tmp_path


def test_each_stage_says_its_best_epoch_and_why_it_stopped(run):
    lines = summary_lines(run)
    assert lines[:3] == [f"mine · {name}: {words}" for name, (_, words) in ENDS.items()]
    assert lines[3] == "mine · validation: loss 0.4000"
    line = summary_line(run)
    assert line.startswith("mine: head best epoch 7 of 12")
    assert line.endswith("; validation loss 0.4000")


def test_the_seconds_of_all_epochs_are_added(run):
    assert seconds_of(run) == 4.0


def test_a_card_that_does_not_tell_of_its_stages_says_what_it_knows(run):
    card = json.loads((run / CARD).read_text())
    del card["provenance"]["stages"]
    (run / CARD).write_text(json.dumps(card))
    assert summary_lines(run) == ["mine · validation: not kept"]
