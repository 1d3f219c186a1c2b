"""The settings of a run in its folder: the same run goes on, another one is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.damaged import DAMAGED_FILE
from cxr_transfer.datasets.manifest import PARTS_FILE
from cxr_transfer.errors import CxrError, MachineError, UsageError
from cxr_transfer.files import LOCK, LOG, write_json
from cxr_transfer.own_folder import RUN_RECORD
from cxr_transfer.training.device import (
    is_main_process,
)
from cxr_transfer.training.recipe import Recipe

SETTINGS = RUN_RECORD

_NAMING = frozenset({SETTINGS, LOCK, "recipe.toml", PARTS_FILE, LOG, DAMAGED_FILE})
"""What a run writes before it has done anything."""


@contextmanager
def settings_checked(folder: Path, settings: dict[str, Any]) -> Iterator[bool]:
    """`check_settings`, undone where what follows is refused before it left anything there.

    Args:
        folder: Run or report folder.
        settings: JSON's kinds of values.

    Yields:
        What `check_settings` returns.
    """
    there = check_settings(folder, settings)
    try:
        yield there
    except MachineError:
        raise  # The same command may go on elsewhere, or with more room.
    except CxrError:
        left = {path.name for path in folder.iterdir() if path.name != "partial"}
        left |= {path.name for path in folder.glob("partial/*")}
        if not there and is_main_process() and left <= _NAMING:
            for name in _NAMING - {LOCK}:
                (folder / name).unlink(missing_ok=True)
        raise


def check_settings(folder: Path, settings: dict[str, Any]) -> bool:
    """Write the settings of a run into its folder, or check that they are the same.

    The recipe of an earlier run is read as recipes are: a key that came later has its default.

    Args:
        folder: Run folder.
        settings: JSON's kinds of values; the recipe under "recipe".

    Returns:
        Whether they stood there before.

    Raises:
        UsageError: ``other_run``, naming what differs.
    """
    path = folder / SETTINGS
    if not path.is_file():
        if is_main_process():
            write_json(path, settings)
        return False
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        earlier = {}
    earlier = earlier if isinstance(earlier, dict) else {}
    earlier |= {"recipe": _completed(earlier.get("recipe"))}
    different = [
        line for key, value in settings.items() for line in _different(key, earlier.get(key), value)
    ]
    if different:
        raise UsageError(
            "other_run",
            f"Expected to go on with the run in {folder}, but it is another one: "
            f"{'; '.join(different)}; choose another --out.",
        )
    return True


def split_hash(cases: tuple[Case, ...]) -> str:
    """Return one SHA-256 for who stands in which part."""
    lines = sorted(f"{case.split} {case.sha256}" for case in cases)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def sources_hash(cases: tuple[Case, ...]) -> str:
    """Return one SHA-256 for where images are from, which some trainings depend on."""
    lines = sorted(f"{case.source} {case.sha256}" for case in cases)
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _completed(recipe: object) -> object:
    """Return a recipe that was written down with every key of today; as it is where it is none."""
    try:
        return Recipe.model_validate(recipe).model_dump(mode="json")
    except ValidationError:
        return recipe


def _different(key: str, there: object, now: object) -> list[str]:
    """Return what differs, named by its innermost key; nothing where nothing does."""
    inner = [_by_key(value) for value in (there, now)]
    if all(inner):
        names = dict.fromkeys([*inner[1], *inner[0]])  # in the order of today's
        return [
            line
            for name in names
            for line in _different(f"{key}.{name}", *(table.get(name) for table in inner))
        ]
    if there == now:
        return []
    texts = _short(there), _short(now)
    # Two long values may begin alike: the same text twice would tell nothing.
    return [key if texts[0] == texts[1] else f"{key} {texts[0]} there, {texts[1]} now"]


def _by_key(value: object) -> dict[Any, Any]:
    """Return what a table, or a list of tables, holds by key or number; else empty."""
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return dict(enumerate(value))
    return value if isinstance(value, dict) else {}


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
