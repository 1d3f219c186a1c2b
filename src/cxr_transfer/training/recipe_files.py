"""Recipes by name or path, with overrides: TOML in, and a checked `Recipe` or all errors out."""

from __future__ import annotations

import importlib.resources
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cxr_transfer.errors import UsageError, listing
from cxr_transfer.radiograph.preprocessing import Preprocessing
from cxr_transfer.tables import nearest
from cxr_transfer.text import for_terminal
from cxr_transfer.training.augmentation import AUGMENTATIONS
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.stage_recipe import GRADIENT_KEYS, Stage

LARGEST = 65_536
"""Bytes of a recipe; the largest of the package has under 2,000."""

EVERY_STAGE = "train"
"""First word of an override that is meant for all stages that train by gradients."""


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes in the package, name to file."""
    folder = importlib.resources.files("cxr_transfer.recipes")
    files = [Path(str(entry)) for entry in folder.iterdir() if entry.name.endswith(".toml")]
    return {file.stem: file for file in sorted(files)}


def load_recipe(name_or_path: str, overrides: Mapping[str, object] | None = None) -> Recipe:
    """Load a shipped recipe by name, or any recipe by its path.

    Args:
        name_or_path: Name of a recipe of the package, or path of a TOML file.
        overrides: Values of keys by their paths, as `overridden` takes them.

    Raises:
        UsageError: ``no_recipe``, ``bad_recipe``, ``bad_override``.
    """
    shipped = shipped_recipes()
    path = shipped.get(name_or_path) or Path(name_or_path)
    try:
        is_there = path.is_file()
        is_large = is_there and path.stat().st_size > LARGEST
    except (OSError, ValueError):
        is_there = is_large = False  # No path at all: too long, or with a zero byte.
    if not is_there:
        kind = ", which is a folder" if Path(name_or_path[:255]).is_dir() else ""
        raise UsageError(
            "no_recipe",
            f"Expected a recipe's name ({', '.join(shipped)}) or a TOML file, but got "
            f"{name_or_path!r}{kind}{nearest(name_or_path, list(shipped))}.",
        )
    if is_large:
        raise UsageError(
            "bad_recipe",
            f"Expected a recipe of at most {LARGEST} bytes, but {path} is larger; is it another "
            "file?",
        )
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, too deep, too long a number
        raise UsageError("bad_recipe", f"Expected TOML in {path}, but got: {error}.") from None
    origin = f"{name_or_path} with {', '.join(overrides)} changed" if overrides else str(path)
    return parse_recipe(overridden(content, overrides or {}), origin=for_terminal(origin))


def parse_overrides(texts: Sequence[str]) -> dict[str, object]:
    """Read overrides as a person types them.

    Args:
        texts: ``KEY=VALUE`` each; the value as TOML has it, or a word without quotes.

    Raises:
        UsageError: ``bad_override`` for what is no ``KEY=VALUE``, and for a key given twice.

    >>> parse_overrides(["train.learning_rate=3e-4", "network=monai:DenseNet121"])
    {'train.learning_rate': 0.0003, 'network': 'monai:DenseNet121'}
    """
    values: dict[str, object] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(
                "bad_override",
                f"Expected KEY=VALUE, but got {for_terminal(text)!r}; write it as in "
                "train.learning_rate=3e-4.",
            )
        if key.strip() in values:
            raise UsageError(
                "bad_override",
                f"Expected each key once, but {for_terminal(key.strip())} is given twice; leave "
                "one out.",
            )
        try:
            values[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except (ValueError, RecursionError):
            values[key.strip()] = value.strip()
    return values


def overridden(content: Mapping[str, Any], overrides: Mapping[str, object]) -> dict[str, Any]:
    """Return a recipe's content with other values of some keys.

    Args:
        content: Recipe as TOML has it.
        overrides: Value by path: ``KEY`` of the recipe, ``input_size`` (height and width),
            ``preprocessing.KEY``, ``augmentation.NAME``, ``labels.LABEL``, ``STAGE.KEY`` of the
            stage of that name, or ``train.KEY`` of all stages that train by gradients. What is
            said of one stage wins over what is said of all, in either order.

    Raises:
        UsageError: ``bad_override`` for a path that leads nowhere.
    """
    changed: dict[str, Any] = dict(content)
    stages = content.get("stages")
    tables = [dict(stage) if isinstance(stage, Mapping) else stage for stage in stages or ()]
    if stages is not None:
        changed["stages"] = tables
    if {"network", "initial"} & set(overrides):
        changed["title"] = ""  # it told of another network or start
    every_stage_first = sorted(overrides.items(), key=lambda item: not _is_of_all(item[0]))
    for path, value in every_stage_first:
        first, _, key = path.partition(".")
        named = [
            stage for stage in tables if isinstance(stage, dict) and stage.get("name") == first
        ]
        if not key and first == "input_size":
            sizes = {"height": value, "width": value}
            changed["preprocessing"] = {**_table(changed, "preprocessing"), **sizes}
        elif not key:
            changed[first] = value
        elif first in ("preprocessing", "augmentation", "labels"):
            changed[first] = {**_table(changed, first), key: value}
        elif named:
            named[0][key] = value
        elif first == EVERY_STAGE:
            for stage in tables:
                if isinstance(stage, dict) and stage.get("fit") != "logistic":
                    stage[key] = value
        else:
            names = [str(stage.get("name")) for stage in tables if isinstance(stage, dict)]
            expected = ["preprocessing", "augmentation", "labels", EVERY_STAGE, *names]
            raise UsageError(
                "bad_override",
                f"Expected a key of the recipe, or {', '.join(expected)} before the dot, but got "
                f"{for_terminal(path)!r}{nearest(first, expected)}; see 'cxr recipe show'.",
            )
    return changed


def _is_of_all(path: str) -> bool:
    return path.startswith(f"{EVERY_STAGE}.")


def _table(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    table = content.get(key)
    return dict(table) if isinstance(table, Mapping) else {}


def parse_recipe(content: Mapping[str, Any], *, origin: str) -> Recipe:
    """Check a recipe's content.

    Args:
        content: Recipe as TOML has it.
        origin: File or name, for messages.

    Raises:
        UsageError: ``bad_recipe`` with all that is wrong: the key, what was expected, and the
            nearest known key.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        problems = [
            _problem(problem, content)
            for problem in error.errors(include_url=False)
            # What is wrong with a stage is said of the stage: none is left of it to be counted.
            if not (
                problem["type"] == "too_short"
                and problem["loc"] == ("stages",)
                and content["stages"]
            )
        ]
        raise UsageError(
            "bad_recipe", f"Expected a recipe in {origin}, but {listing(problems)}."
        ) from None


def _problem(error: ErrorDetails, content: Mapping[str, Any]) -> str:
    """Say in a few words what is wrong with one key."""
    where = ".".join(_names_of(error["loc"], content))
    if error["type"] == "extra_forbidden":
        inner = str(error["loc"][-1])
        return f"{for_terminal(where)} is no key of a recipe{nearest(inner, _known(error['loc']))}"
    message = error["msg"].removeprefix("Value error, ")
    return for_terminal(f"{where}: {message}" if where else message)


def _names_of(location: Sequence[int | str], content: Mapping[str, Any]) -> list[str]:
    """Name a place in a recipe as an override does: a stage by its name, not by its number."""
    if len(location) > 1 and location[0] == "stages" and isinstance(location[1], int):
        stages = content["stages"]
        stage = stages[location[1]] if isinstance(stages, list | tuple) else None
        name = stage.get("name") if isinstance(stage, Mapping) else None
        if isinstance(name, str):
            return [name, *map(str, location[2:])]
    return [str(part) for part in location]


def _known(location: Sequence[int | str]) -> list[str]:
    tables = {
        "stages": list(Stage.model_fields),
        "preprocessing": list(Preprocessing.model_fields),
        "augmentation": list(AUGMENTATIONS),
    }
    return tables.get(str(location[0]), [*Recipe.model_fields, *GRADIENT_KEYS])
