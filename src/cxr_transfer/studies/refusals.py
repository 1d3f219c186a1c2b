"""What a study is refused for, before any image is decoded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.errors import DataError, MachineError, UsageError
from cxr_transfer.labels import DATASET_0, DATASET_1
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.metadata import fingerprint
from cxr_transfer.models.pretrained import imagenet_weights
from cxr_transfer.studies.plan import MODELS, Study, model_names
from cxr_transfer.subjects.opening import is_subject
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.recipe_files import shipped_recipes
from cxr_transfer.training.start import check_run

_CHECKPOINTS = (".safetensors", ".json")
_LONGEST = 250
"""Characters beyond which no path is looked for."""

_OF_CURVE = ("--local", "--draws")
_OF_SUBJECT = ("--saw", "--description", "--per-second")
_OF_TRAINING = (
    *("--from", "--weights", "--add-source", "--max-epochs", "-o", "--precision"),
    *("--cluster", "--curve", *_OF_CURVE),
)
"""Options of `cxr validate` that say how something is trained."""


def check_options(
    *,
    learning_curve: str | None,
    draws: int | None,
    folds: int | None,
    split: str,
    pretraining: str | None,
    model_0: Path | None,
    models: str | None,
) -> None:
    """Refuse options of `cxr study` that have no effect beside the others.

    Raises:
        UsageError: ``unused_option``.
    """
    if learning_curve is not None:
        for option, value in (
            ("--folds", folds),
            ("--split image", split if split != "patient" else None),
            ("--pretraining", pretraining),
        ):
            if value is not None:
                raise UsageError(
                    "unused_option",
                    f"Expected {option} only without --learning-curve, whose draws are by patient "
                    "from one split; leave it out.",
                )
        return
    if draws is not None:
        raise UsageError(
            "unused_option",
            "Expected --draws only with --learning-curve; leave it out, or name the sizes.",
        )
    named = MODELS if models is None else model_names(models)
    if pretraining and not {"model_0", "model_2"} & set(named):
        raise UsageError(
            "unused_option",
            "Expected --pretraining only with model_0 or model_2, but the models are "
            f"{', '.join(named)}; leave it out.",
        )
    if model_0 and models is not None and "model_0" in named:
        raise UsageError(
            "unused_option",
            "Expected model_0 to be trained or given, but got it in --models and with --model-0; "
            "leave out one of them.",
        )


Validated = Literal["recipe", "model", "scores"]


def kind_validated(model: str) -> Validated:
    """Return what `cxr validate` is given: a recipe, a model, or a table of scores.

    Args:
        model: Name or path. A recipe's name is the recipe, whatever lies at a path of that name.

    >>> [kind_validated(model) for model in ("multi_source", "mine.toml", "mine.onnx", "x.csv")]
    ['recipe', 'recipe', 'model', 'scores']
    """
    if model.endswith(".csv"):
        return "scores"
    is_recipe = model in shipped_recipes() or model.endswith(".toml")
    is_model = is_subject(model) or model.endswith(_CHECKPOINTS)
    is_there = len(model) < _LONGEST and Path(model).exists()
    return "model" if not is_recipe and (is_model or is_there) else "recipe"


def check_validated(kind: Validated, options: Mapping[str, object]) -> None:
    """Refuse options of `cxr validate` that have no effect on what is validated.

    Args:
        kind: Kind of what is validated.
        options: Values by the name of the option; None or empty where none was given.

    Raises:
        UsageError: ``unused_option``.
    """
    for option in _OF_CURVE if kind == "recipe" and options.get("--curve") is None else ():
        if options.get(option):
            raise UsageError(
                "unused_option",
                f"Expected {option} only with --curve; leave it out, or say how many images.",
            )
    for option in _OF_SUBJECT if kind == "recipe" else _OF_TRAINING:
        if options.get(option):
            raise UsageError(
                "unused_option",
                f"Expected {option} only where "
                f"{'a model or its scores are' if kind == 'recipe' else 'a recipe is'} validated, "
                f"but got a {'table of scores' if kind == 'scores' else kind}; leave it out.",
            )


def check_runs(
    recipes: Mapping[str, Recipe], begin: Mapping[str, dict[str, Any]], model_0: Path | None
) -> None:
    """Refuse what can be refused before any image is decoded.

    Of the Model_0 that is trained here nothing is known yet.
    """
    for name, recipe in recipes.items():
        if recipe.initial != "model_0":
            check_run(recipe, DATASET_0 if name == "model_0" else DATASET_1, **begin[name])
        elif model_0:
            check_run(recipe, DATASET_1, start=model_0, **begin[name])


def check_used(study: Study, weights: Path | None, model_0: Path | None) -> None:
    """Refuse what no model of the study is made of."""
    for option, value, needs in (
        ("--weights", weights, "model_3"),
        ("--skip-unavailable", study.skip_unavailable or None, "model_3"),
        ("--model-0", model_0, "model_2"),
    ):
        if value is not None and needs not in study.models:
            raise UsageError(
                "unused_option",
                f"Expected {option} only with {needs}, but the models are "
                f"{', '.join(study.models)}; leave it out, or add {needs} to --models.",
            )
    if weights and study.skip_unavailable:
        raise UsageError(
            "unused_option",
            "Expected --weights or --skip-unavailable, but got both: weights that are given are "
            "never done without; leave out one of them.",
        )


def check_model_0(model_0: Path, target: Dataset, study: Study) -> None:
    """Refuse a Model_0 that has seen patients of the test part, unless that is what is studied."""
    seen = set(load_checkpoint(model_0)[0].seen.get("patients", ()))
    met = {
        case.patient
        for case in target.cases
        if case.split == "test" and fingerprint(case.patient) in seen
    }
    if met and study.pretraining == "clean":
        raise DataError(
            "seen_images",
            f"Expected a Model_0 that has seen no patient of the test part, but {model_0} has seen "
            f"{len(met)} of them; say --pretraining paper, or train a clean one.",
        )


def check_weights(study: Study, weights: Path | None) -> dict[str, str]:
    """Find out before any work whether Model_3 can be run at all."""
    if "model_3" not in study.models:
        return {}
    try:
        imagenet_weights(weights)
    except MachineError as error:
        if not study.skip_unavailable:
            raise
        # Not the error's own text: it names folders of this machine.
        return {"model_3": f"its ImageNet weights cannot be had here ({error.code})"}
    return {}
