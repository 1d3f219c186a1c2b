"""What a learning curve is asked for, and how long its parts take."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr_transfer.datasets.draws import LEAST
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.errors import MachineError, UsageError
from cxr_transfer.models.pretrained import imagenet_weights
from cxr_transfer.progress import Show
from cxr_transfer.studies.plan import PHANTOM, PHANTOM_INPUT_SIZE
from cxr_transfer.studies.progress import Phase, StudyProgress, reading, run_costs
from cxr_transfer.training.device import FROZEN_PART
from cxr_transfer.training.recipe import NO_CHECKPOINT, Recipe
from cxr_transfer.training.recipe_files import load_recipe, shipped_recipes

DEFAULT_MODELS = ("model_1", "model_2", "model_3", "linear_probe")
"""From scratch, by transfer from radiographs, by transfer from photographs, frozen features."""

FROM_FILES = ("imagenet", "file")
"""What a recipe may start from that a file of weights is given for."""

_MOST_DRAWS = 100
_TYPICAL_EPOCHS = 40
"""Epochs after which training on few images mostly stops by itself."""
_BEGIN = 60.0
"""Cost of building a network and beginning a stage, in forward passes of the simple CNN."""


@dataclass(frozen=True)
class LearningCurve:
    """Settings of a learning curve.

    Attributes:
        sizes: Images per class, training and validation together, rising.
        models: Recipes by name, or paths of TOML files.
        draws: Number of draws of each size.
        seed: Random seed of split, draws and runs.
        max_epochs: Number of epochs at which every stage is cut short; None is the recipe's own.
        input_size: Height and width of the model input in pixels; None is the recipes' own.
        resamples: Number of resamples of the bootstrap.
        skip_unavailable: Whether recipes whose ImageNet weights cannot be had are left out.
        skip_damaged: Whether files that cannot be read are left out.
    """

    sizes: tuple[int, ...]
    models: tuple[str, ...] = DEFAULT_MODELS
    draws: int = 5
    seed: int = 0
    max_epochs: int | None = None
    input_size: int | None = None
    resamples: int = 2000
    skip_unavailable: bool = False
    skip_damaged: bool = False

    def __post_init__(self) -> None:
        if not self.sizes or min(self.sizes) < LEAST or list(self.sizes) != sorted(set(self.sizes)):
            raise UsageError(
                "bad_sizes",
                f"Expected rising numbers of images per class, each at least {LEAST}, but got "
                f"{', '.join(map(str, self.sizes)) or 'none'}; 10,20,50,100 is usual.",
            )
        if not 1 <= self.draws <= _MOST_DRAWS:
            raise UsageError(
                "bad_draws",
                f"Expected 1 to {_MOST_DRAWS} draws of each size, but got {self.draws}; 5 is "
                "usual.",
            )

    def on(self, data: str) -> LearningCurve:
        """Return the curve as it is measured on ``data``: generated images are small by default."""
        if data != PHANTOM or self.input_size is not None:
            return self
        return dataclasses.replace(self, input_size=PHANTOM_INPUT_SIZE)

    def recipe(self, name: str) -> Recipe:
        """Return a recipe as it is run here: of the size and length that are asked for."""
        recipe = load_recipe(name).sized(self.input_size)
        # A head that is fitted has no epochs, and is no reason to refuse the others'.
        return recipe if _is_fitted(recipe) else recipe.limited(self.max_epochs)

    def runs(self) -> list[tuple[int, int]]:
        """Return size and draw of all runs of a model, in their order.

        Draw after draw: a study that is stopped has whole curves.
        """
        return [(size, number) for number in range(1, self.draws + 1) for size in self.sizes]


def read_sizes(text: str) -> tuple[int, ...]:
    """Read sizes as a person types them.

    Raises:
        UsageError: ``bad_sizes``.

    >>> read_sizes("10, 20,50")
    (10, 20, 50)
    """
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise UsageError(
            "bad_sizes",
            f"Expected numbers of images per class with commas, but got {text!r}; 10,20,50,100 is "
            "usual.",
        ) from None


def recipes_of(
    curve: LearningCurve, weights: Path | None
) -> tuple[dict[str, Recipe], dict[str, str]]:
    """Return the recipes that are compared, and those that are left out with the reason.

    Raises:
        UsageError: ``no_models``; ``recipes_differ`` where they cannot be compared;
            ``unused_option`` for weights that none starts from; what `load_recipe` raises.
        MachineError, ModelError: What `imagenet_weights` raises, unless they may be left out.
    """
    recipes = [curve.recipe(name) for name in dict.fromkeys(curve.models)]
    names = [recipe.name for recipe in recipes]
    if len(set(names)) != len(names):
        raise UsageError(
            "recipes_differ",
            f"Expected recipes of different names, but got {', '.join(names)}; change 'name' in "
            "one of them.",
        )
    # A recipe that names none takes the images of the others.
    if len({recipe.dataset for recipe in recipes} - {None}) > 1 or any(
        recipe.labels != recipes[0].labels for recipe in recipes
    ):
        sets = ", ".join(f"{recipe.name}: {recipe.dataset}" for recipe in recipes)
        raise UsageError(
            "recipes_differ",
            f"Expected recipes of one data set with the same [labels], but got {sets}; their "
            "figures would be of other images.",
        )
    _check_weights(curve, recipes, weights)
    left_out = {}
    if curve.skip_unavailable:
        try:
            imagenet_weights(None)
        except MachineError as error:
            # Not the error's own text: it names folders of this machine.
            why = f"its ImageNet weights cannot be had here ({error.code})"
            left_out = {recipe.name: why for recipe in recipes if recipe.initial == "imagenet"}
    kept = {recipe.name: recipe for recipe in recipes if recipe.name not in left_out}
    if not kept:
        raise UsageError("no_models", "Expected a recipe to run, but all of them are left out.")
    return kept, left_out


def _check_weights(curve: LearningCurve, recipes: Sequence[Recipe], weights: Path | None) -> None:
    """Refuse an option on ImageNet's weights that has no effect."""
    for option, value, beginnings in (
        ("--weights", weights, FROM_FILES),
        ("--skip-unavailable", curve.skip_unavailable, ("imagenet",)),
    ):
        if value and not any(recipe.initial in beginnings for recipe in recipes):
            raise UsageError(
                "unused_option",
                f"Expected {option} only where a recipe starts from {' or a '.join(beginnings)}, "
                "but got "
                f"{', '.join(recipe.name for recipe in recipes)}; leave it out.",
            )
    if weights and curve.skip_unavailable:
        raise UsageError(
            "unused_option",
            "Expected --weights or --skip-unavailable, but got both: weights that are given are "
            "never done without; leave out one of them.",
        )


def pretrained_of(
    curve: LearningCurve, recipes: Iterable[Recipe], start: Path | None
) -> dict[str, Recipe]:
    """Return the recipes that have to be trained first, since others start from them.

    Args:
        curve: Curve that is asked for.
        recipes: Recipes that are compared.
        start: Checkpoint that was given to start from.

    Raises:
        UsageError: ``no_start`` for one that is not trained on Dataset_0 from the beginning;
            ``unused_option`` for a checkpoint that no recipe starts from.
    """
    wanted = dict.fromkeys(
        recipe.initial for recipe in recipes if recipe.initial not in NO_CHECKPOINT
    )
    if start is not None and not wanted:
        raise UsageError(
            "unused_option",
            f"Expected --model-0 only where a recipe starts from a checkpoint, but got {start}; "
            "leave it out.",
        )
    if start is not None:
        return {}
    # What no recipe of that name makes is refused, with the known names, by `check_run`.
    recipes_by_name = {name: curve.recipe(name) for name in wanted if name in shipped_recipes()}
    for name, recipe in recipes_by_name.items():
        if recipe.dataset != "dataset_0" or recipe.initial not in NO_CHECKPOINT:
            raise UsageError(
                "no_start",
                f"Expected a checkpoint of {name}, which is not trained here; make one with 'cxr "
                f"train {name} ...' and give it with --model-0.",
            )
    return recipes_by_name


def curve_progress(
    curve: LearningCurve,
    recipes: Mapping[str, Recipe],
    pretrained: Mapping[str, Recipe],
    target: Dataset,
    pretraining: Dataset | None,
    pending: Sequence[tuple[str, int, int]],
    show: Show,
) -> StudyProgress:
    """Return the progress of a curve that has yet to begin.

    Args:
        curve: Curve that is measured.
        recipes: Recipes that are compared.
        pretrained: Recipes that are trained first.
        target: Data set of the curve.
        pretraining: Data set that others are trained on first; None where there are none.
        pending: Name, size and draw of each run that is not done.
        show: Function that is given where the study stands.
    """
    phases = [reading(target)]
    if pretraining:
        phases.append(reading(pretraining))
        images = len(pretraining.cases)
        phases += [
            Phase(name, run_costs(_shortened(recipe), images))
            for name, recipe in pretrained.items()
        ]
    for name in dict.fromkeys(name for name, _, _ in pending):
        forward = run_costs(recipes[name], len(target.cases))[FROZEN_PART]
        phases.append(Phase(keeping(name), {"": forward}))
    for name, size, number in pending:
        costs = _run_costs(recipes[name], size * len(target.labels))
        phases.append(Phase(title_of(name, size, number), costs))
    phases.append(Phase("writing the report", {"": 400.0 * len(recipes)}))
    return StudyProgress(phases, show)


def keeping(name: str) -> str:
    """Return the title of the phase in which a recipe's frozen activations are computed."""
    return f"{name}: keeping the activations of the frozen part"


def title_of(name: str, size: int, number: int) -> str:
    """Return the title of a run."""
    return f"{name}, {size} per class, draw {number}"


def _run_costs(recipe: Recipe, images: int) -> dict[str, float]:
    """Return the cost of each part of one run, whose frozen activations are kept already."""
    costs = run_costs(_shortened(recipe), images)
    return costs | {FROZEN_PART: 0.0, "": _BEGIN}


def _shortened(recipe: Recipe) -> Recipe:
    """Return a recipe as long as it mostly is: hardly one comes to its last epoch."""
    return recipe if _is_fitted(recipe) else recipe.limited(_TYPICAL_EPOCHS)


def _is_fitted(recipe: Recipe) -> bool:
    """Tell whether no stage of a recipe has epochs."""
    return all(stage.fit == "logistic" for stage in recipe.stages)
