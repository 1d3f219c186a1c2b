"""A guessed description as TOML for a person: each line with how sure it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cxr_transfer.text import for_terminal

_ORDER = (
    *("name", "labels"),
    *("input.height", "input.width", "input.channels", "input.layout", "input.range"),
    *("input.mean", "input.std", "input.bright", "input.equalise"),
    *("output.values", "output.number", "output.column", "output.swapped"),
)


def written(
    values: Mapping[str, Any],
    sure: Mapping[str, str],
    greys: Mapping[str, list[float]],
    facts: Mapping[str, Any],
) -> str:
    """Return the TOML.

    Args:
        values: Value of each key, tables with a dot.
        sure: How sure each is, in words.
        greys: Numbers for images of one grey value.
        facts: What the file says of itself.
    """
    lines = ["# What this model wants and gives, as far as could be found out.", "#"]
    if facts.get("tool"):
        lines.append(f"# Opened: {for_terminal(str(facts['tool']))}")
    guesses = sum(word.startswith("GUESS") for word in sure.values())
    lines.append(
        f"# {guesses} of these lines are guesses: see to them before you believe a figure."
        if guesses
        else "# No line is a guess."
    )
    for name, numbers in greys.items():
        shown = ", ".join(f"{number:.3f}" for number in numbers[:8])
        more = " ..." if len(numbers) > 8 else ""
        lines.append(f"# An image that is all {name} gets {shown}{more}")
    table = ""
    for key in _ORDER:
        if key not in values:
            continue
        own, _, name = key.rpartition(".")
        if own != table:
            lines += ["", f"[{own}]"]
            table = own
        word = for_terminal(sure.get(key, ""))
        lines.append(f"{name} = {_value(values[key])}" + (f"  # {word}" if word else ""))
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)
