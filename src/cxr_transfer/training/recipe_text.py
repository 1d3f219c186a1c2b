"""A recipe as a text for people: every key with what it means, to be changed by hand."""

from __future__ import annotations

import inspect
import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel

from cxr_transfer.radiograph.preprocessing import Preprocessing
from cxr_transfer.training.augmentation import AUGMENTATIONS
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.stage_recipe import GRADIENT_KEYS, LOGISTIC_KEYS, Stage

_WIDTH = 98


def recipe_name(path: Path) -> str:
    """Return a recipe's name made of a file's: small letters, digits and underscores.

    >>> recipe_name(Path("My Recipe-2.toml"))
    'my_recipe_2'
    """
    return re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_")[:64] or "mine"


def attribute_meanings(model: type) -> dict[str, str]:
    """Return what each field means, as "Attributes:" of a Google docstring has it."""
    section = (inspect.getdoc(model) or "").partition("Attributes:\n")[2]
    meanings: dict[str, str] = {}
    for line in section.splitlines():
        if opened := re.match(r" {4}(\w+): (.+)", line):
            meanings[name := opened[1]] = opened[2]
        elif line.startswith(" " * 8):
            meanings[name] += f" {line.strip()}"
        else:
            break
    return meanings


def commented(recipe: Recipe) -> str:
    """Return a recipe as TOML that is read again as the same, with a comment above each key.

    Args:
        recipe: Recipe to write out.
    """
    content = tomllib.loads(recipe.to_toml())
    stages, preprocessing, augmentation, labels = (
        content.pop(key, {}) for key in ("stages", "preprocessing", "augmentation", "labels")
    )
    blocks = [_comment("A recipe of your own. 'cxr recipe show FILE' checks it."), ""]
    blocks += _keys(content, Recipe)
    blocks += ["", "[preprocessing]", *_keys(preprocessing, Preprocessing)]
    blocks += [
        "",
        _comment("Random changes of the training images; none where the table is empty."),
    ]
    blocks += ["[augmentation]"]
    for name, row in AUGMENTATIONS.items():
        line = f"{name} = {augmentation.get(name, 0)}"
        text = f"{row.title}: {row.unit}, at most {row.most:g}"
        blocks.append(f"{line if name in augmentation else '# ' + line}  # {text}")
    if labels:
        blocks += ["", _comment(attribute_meanings(Recipe)["labels"]), "[labels]"]
        blocks += [tomli_w.dumps(labels).strip()]
    explained: set[str] = set()
    for stage in stages:
        unused = GRADIENT_KEYS if stage["fit"] == "logistic" else LOGISTIC_KEYS
        kept = {key: value for key, value in stage.items() if key not in unused}
        blocks += ["", "[[stages]]", *_keys(kept, Stage, explained)]
        explained |= set(kept)
    return "\n".join(blocks) + "\n"


def _keys(
    content: dict[str, Any], model: type[BaseModel], explained: set[str] | None = None
) -> list[str]:
    """Return a line for each key, with its meaning above it where that was not said before."""
    meanings = attribute_meanings(model)
    lines = []
    for key in model.model_fields:
        if key not in content:
            continue
        if key not in (explained or ()):
            lines.append(_comment(meanings[key].replace("``", "")))
        lines.append(tomli_w.dumps({key: content[key]}).strip())
    return lines


def _comment(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent="# ", subsequent_indent="# ")
