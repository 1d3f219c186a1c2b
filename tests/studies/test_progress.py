"""How far a study is: it only grows, ends at the whole, and tells the time that is left."""

from pathlib import Path

import pytest

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.labels import DATASET_0, DATASET_1
from cxr_transfer.studies.plan import MODELS, Study
from cxr_transfer.studies.progress import Phase, StudyProgress, plan, run_costs
from cxr_transfer.training.recipe_files import load_recipe


class Clock:
    """Stands still until it is moved."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def counted():
    """Two phases of which the second costs three times as much, and what was shown."""
    shown, clock = [], Clock()
    phases = [Phase("reading", {"": 10.0}), Phase("model", {"head": 10.0, "all": 20.0})]
    return StudyProgress(phases, shown.append, clock), clock, shown


def test_the_time_left_follows_from_what_was_done(counted):
    progress, clock, shown = counted
    step = progress.count("reading", 2)
    assert shown[-1].share == 0
    assert shown[-1].seconds_left is None, "nothing can be told yet"
    clock.now += 5
    step()
    assert (shown[-1].share, shown[-1].seconds_left) == (0.125, 35)
    progress.begin("model")
    assert (shown[-1].title, shown[-1].share) == ("model", 0.25)
    clock.now += 5
    progress.within("head", 0.5)
    assert (shown[-1].title, shown[-1].share) == ("model · head", 0.375)
    assert shown[-1].seconds_left == pytest.approx(10 * 0.625 / 0.375)


def test_a_part_that_ended_early_is_over_when_the_next_begins(counted):
    progress, _, shown = counted
    progress.begin("reading")
    progress.begin("model")
    progress.within("head", 0.1)
    progress.within("all", 0.0)
    assert shown[-1].share == 0.5
    progress.within("all", 1.0)
    assert (shown[-1].share, shown[-1].seconds_left) == (1, 0)


def dataset(name, labels, images):
    names = labels.names
    cases = tuple(
        Case(Path(f"{n}.png"), names[n % len(names)], patient=str(n), source="here")
        for n in range(images)
    )
    return Dataset(name, labels, cases)


@pytest.mark.parametrize("folds", [None, 3])
def test_a_plan_has_each_run_once(folds):
    recipes = {name: load_recipe(name).limited(5) for name in MODELS}
    shown = []
    parts = dataset("dataset_1", DATASET_1, 40), dataset("dataset_0", DATASET_0, 60)
    progress = plan(Study(folds=folds), recipes, *parts, shown.append)
    titles = ["reading dataset_1", "reading dataset_0", "model_0"]
    for fold in range(1, (folds or 1) + 1):
        before = f"fold {fold} of {folds}: " if folds else ""
        titles += [f"{before}{name}" for name in MODELS[1:]]
    for title in [*titles, "writing the report"]:
        progress.begin(title)
    shares = [each.share for each in shown]
    assert shares == sorted(set(shares)), "each phase costs something"
    assert 0.5 < shares[-1] < 1


def test_a_smaller_input_costs_less_and_a_longer_training_more():
    recipe = load_recipe("model_3").limited(10)

    def cost(recipe):
        return sum(run_costs(recipe, 100).values())

    assert cost(recipe.sized(112)) == pytest.approx(cost(recipe) / 4)
    assert cost(recipe.limited(5)) < cost(recipe)
    assert list(run_costs(recipe, 100)) == [
        "keeping activations",
        "training head",
        "training last_block",
        "",
    ]
