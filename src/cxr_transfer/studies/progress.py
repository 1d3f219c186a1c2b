"""How far a study is, and how long the rest of it takes.

A study is a list of phases that each cost something; what the phases before took tells how long
the rest will take. Costs are in forward passes of the simple CNN, and rough: only their ratios
count, and an error makes the time left less exact, nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.studies.plan import Study
from cxr_transfer.training.device import FROZEN_PART
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.stage_recipe import Stage

_NETWORK = {"simple_cnn": 1.0, "resnet50": 13.0, "resnet50_early": 5.0}
_OTHER_NETWORK = 10.0
_EPOCH = {"all": 3.0, "block": 0.3, "head": 0.02}
_DECODE = 2.0
_FINISH = 1.5
"""Reference, validation scores and test scores of a run, in forward passes of its images."""
_REPORT = 250.0
"""Intervals and figures of one model: they hardly depend on the number of images."""
READING, REPORT = "reading images", "writing the report"
"""Titles of the first phase and the last."""
_LEAST_SHARE = 0.02
"""Share of the study below which the time left cannot be told."""


@dataclass(frozen=True)
class Progress:
    """What a person is told of a study on its way.

    Attributes:
        title: Name of what runs now.
        share: Share of the whole study that is done, from 0 to 1.
        seconds_left: Seconds until the end, as far as can be told; None at the beginning.
    """

    title: str
    share: float
    seconds_left: float | None


Show = Callable[[Progress], None]


@dataclass(frozen=True)
class Phase:
    """A phase of a study.

    Attributes:
        title: Name of the phase, for a person.
        costs: Cost of each of its parts by name, in their order.
    """

    title: str
    costs: Mapping[str, float]

    @property
    def cost(self) -> float:
        """Cost of all parts."""
        return sum(self.costs.values())


class StudyProgress:
    """Counts what is done of a study, phase by phase, and shows it."""

    def __init__(
        self,
        phases: Sequence[Phase],
        show: Show,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Count from now on.

        Args:
            phases: Phases in their order; their titles differ.
            show: Function that is given where the study stands.
            clock: Function that returns the seconds since some moment.
        """
        self._phases = {phase.title: phase for phase in phases}
        self._show, self._clock = show, clock
        self._total = sum(phase.cost for phase in phases)
        self._done, self._now = 0.0, Phase("", {})
        self._started = clock()

    def begin(self, title: str) -> None:
        """Begin a phase, which ends the one before."""
        self._done += self._now.cost
        self._now = self._phases[title]
        self._tell("", 0.0)

    def within(self, part: str, share: float) -> None:
        """Tell which share of a part of the phase is done; the parts before it are over.

        Args:
            part: Name of the part.
            share: Share of the part that is done, from 0 to 1.
        """
        spent = 0.0
        for name, cost in self._now.costs.items():
            if name == part:
                spent += cost * share
                break
            spent += cost
        self._tell(part, spent)

    def count(self, title: str, images: int) -> Callable[[], None]:
        """Begin a phase that goes image by image; return what is called after each."""
        self.begin(title)
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            self.within("", done / images)

        return step

    def _tell(self, part: str, spent: float) -> None:
        share = min((self._done + spent) / self._total, 1.0)
        passed = self._clock() - self._started
        left = passed * (1 - share) / share if share >= _LEAST_SHARE else None
        title = f"{self._now.title} · {part}" if part else self._now.title
        self._show(Progress(title, share, left))


def plan(
    study: Study,
    recipes: Mapping[str, Recipe],
    target: Dataset,
    pretraining: Dataset | None,
    show: Show,
) -> StudyProgress:
    """Return the progress of a study that has yet to begin.

    Args:
        study: Study that is run.
        recipes: Recipes of its models by name, in their order.
        target: Dataset_1.
        pretraining: Dataset_0; None where Model_0 is not trained.
        show: Function that is given where the study stands.
    """
    phases = [reading(target)]
    if pretraining:
        phases.append(reading(pretraining))
        phases.append(Phase("model_0", run_costs(recipes["model_0"], len(pretraining.cases))))
    for fold in range(1, (study.folds or 1) + 1):
        for name in [name for name in recipes if name != "model_0"]:
            title = f"fold {fold} of {study.folds}: {name}" if study.folds else name
            phases.append(Phase(title, run_costs(recipes[name], len(target.cases))))
    phases.append(Phase(REPORT, {"": _REPORT * len(recipes)}))
    return StudyProgress(phases, show)


def plan_runs(
    images: int, runs: Mapping[str, Recipe | None], show: Show
) -> tuple[StudyProgress, Callable[[], None]]:
    """Begin to count what reads images, runs recipes on all of them, and writes a report.

    Args:
        images: Number of images.
        runs: Recipe of each run by the title of its phase, in their order; None for a run that is
            done, and only scored again.
        show: Function that is given how far it is.

    Returns:
        The progress, and the function to call after every image that is read.
    """
    phases = [Phase(READING, {"": _DECODE * images})]
    for title, recipe in runs.items():
        costs = {"": _FINISH * images} if recipe is None else run_costs(recipe, images)
        phases.append(Phase(title, costs))
    phases.append(Phase(REPORT, {"": _REPORT}))
    progress = StudyProgress(phases, show)
    return progress, progress.count(READING, images)


def run_costs(recipe: Recipe, images: int) -> dict[str, float]:
    """Return the cost of each part of a run, by its name.

    Args:
        recipe: Recipe that is run.
        images: Number of images in all parts.
    """
    pixels = recipe.preprocessing.height * recipe.preprocessing.width / 224**2
    forward = images * _NETWORK.get(recipe.network, _OTHER_NETWORK) * pixels
    # What one stage trains is not kept for all of them.
    whole = any(_trains(stage) == "all" for stage in recipe.stages)
    costs = {FROZEN_PART: 0.0 if whole else forward}
    for stage in recipe.stages:
        epochs = 1 if stage.fit == "logistic" else stage.max_epochs
        costs[stage.name] = forward * _EPOCH[_trains(stage)] * epochs
    return costs | {"": forward * _FINISH}


def reading(dataset: Dataset) -> Phase:
    """Return the phase in which the images of a data set are read."""
    return Phase(f"reading {dataset.name}", {"": _DECODE * len(dataset.cases)})


def _trains(stage: Stage) -> str:
    if stage.train == ("*",):
        return "all"
    return "head" if stage.train == ("head",) else "block"
