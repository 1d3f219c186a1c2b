"""What `cxr recipe` does: show the recipes of the package, write one of one's own, check it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from cxr_transfer.cli.options import Overrides
from cxr_transfer.cli.terminal import log, tell

RECIPE_LIST_EXAMPLES = "Examples:\n\ncxr recipe list"
RECIPE_SHOW_EXAMPLES = (
    "Examples:\n\n"
    "cxr recipe show model_3\n\n"
    "cxr recipe show transfer -o network=simple_cnn -o initial=random"
)
RECIPE_NEW_EXAMPLES = (
    "Examples:\n\n"
    "cxr recipe new mine.toml\n\n"
    "cxr recipe new mine.toml --like model_1 -o train.learning_rate=3e-4 -o input_size=112"
)
RECIPE_SCHEMA_EXAMPLES = "Examples:\n\ncxr recipe schema --out recipe.schema.json"


def recipe_list() -> None:
    """List the recipes of the package."""
    from cxr_transfer.training.recipe_files import load_recipe, shipped_recipes

    for name in shipped_recipes():
        recipe = load_recipe(name)
        tell(f"{name:14} {recipe.network:16} {recipe.shown}")


def recipe_show(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, or a TOML file.")],
    override: Overrides = None,
) -> None:
    """Show a recipe as it would be run, with every default; all that is wrong with it is said."""
    from cxr_transfer.training.recipe_files import load_recipe, parse_overrides

    tell(load_recipe(recipe, parse_overrides(override or ())).to_toml().rstrip())


def recipe_new(
    out: Annotated[Path, typer.Argument(help="TOML file to write.")],
    like: Annotated[
        str, typer.Option(help="Name of the recipe, or TOML file, that it begins with.")
    ] = "transfer",
    override: Overrides = None,
) -> None:
    """Write a recipe of one's own, with what each key means."""
    from cxr_transfer.files import check_new, write_text
    from cxr_transfer.training.recipe_files import load_recipe, parse_overrides
    from cxr_transfer.training.recipe_text import commented, recipe_name

    check_new(out)
    overrides = {"name": recipe_name(out), "title": ""} | parse_overrides(override or ())
    write_text(out, commented(load_recipe(like, overrides)))
    log(f"recipe: {out}; train it with: cxr train {shlex.quote(str(out))} --data DATA")


def recipe_schema(
    out: Annotated[Path | None, typer.Option(help="File; default: standard output.")] = None,
) -> None:
    """Write the JSON schema of recipes, by which an editor checks and completes them."""
    import json

    from cxr_transfer.files import check_new, write_text
    from cxr_transfer.training.recipe import Recipe

    text = json.dumps(Recipe.model_json_schema(), indent=2)
    if out is None:
        tell(text)
        return
    check_new(out)
    write_text(out, text + "\n")
    log(f"schema: {out}")
