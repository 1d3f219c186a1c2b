"""Which reasons for doubt matter most, and the figures of a check in one list.

Knows no page: `html_page` shows what is chosen here, and ``audit.json`` names it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cxr_transfer.audits.inputs import Check

MOST_REASONS = 3

_NAMES = ("axis", "source", "sources", "group", "label", "classes", "title", "figure", "name")
"""Keys by which an entry of a list is called."""


def severity(check: Check) -> int | None:
    """Return how much a check speaks against the figures: 0 the most; None where it does not."""
    if check.verdict == "fail":
        return 0 if check.hard else 1
    return 2 if check.verdict == "warn" else None


def reasons(checks: Sequence[Check]) -> list[Check]:
    """Return the reasons that matter most: hard checks that failed, others that did, warnings.

    Of one severity those that stand first in the table, which begins with what tells most.
    """
    against = [check for check in checks if severity(check) is not None]
    return sorted(against, key=lambda check: severity(check) or 0)[:MOST_REASONS]


def fails_on(checks: Sequence[Mapping[str, Any]], which: Literal["hard", "any", "never"]) -> bool:
    """Return whether a pipeline is to stop.

    Args:
        checks: Checks as they stand in ``audit.json``.
        which: Failed checks that stop it: hard ones, any of them, or none.

    >>> soft = [{"verdict": "fail", "hard": False}]
    >>> [fails_on(soft, which) for which in ("hard", "any", "never")]
    [False, True, False]
    """
    failed = [check for check in checks if check["verdict"] == "fail"]
    if which == "never":
        return False
    return any(check["hard"] or which == "any" for check in failed)


@dataclass(frozen=True)
class Figure:
    """One figure of a check.

    Attributes:
        name: Name, as the keys of the evidence have it.
        value: Value.
        low: Lower end of the interval; None without one.
        high: Upper end of the interval; None without one.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None


def figures_of(measured: Mapping[str, Any]) -> list[Figure]:
    """Return every figure of the evidence that has an interval, in its order.

    >>> figures_of({"auroc": {"value": 0.5, "low": 0.4, "high": 0.6}, "images": 3})
    [Figure(name='auroc', value=0.5, low=0.4, high=0.6)]
    """
    return list(_walk("", measured))


def counts_of(measured: Mapping[str, Any]) -> list[Figure]:
    """Return the plain numbers of the evidence, those of its first level.

    >>> counts_of({"auroc": {"value": 0.5, "low": 0.4, "high": 0.6}, "images": 3})
    [Figure(name='images', value=3, low=None, high=None)]
    """
    return [
        Figure(_words(name), value)
        for name, value in measured.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]


def _walk(name: str, value: object) -> Iterator[Figure]:
    if isinstance(value, Mapping):
        if {"value", "low", "high"} <= value.keys():
            if isinstance(value["value"], int | float):
                yield Figure(name or "value", value["value"], value["low"], value["high"])
            return
        for key, inner in value.items():
            yield from _walk(_joined(name, _words(str(key))), inner)
    elif isinstance(value, list | tuple):
        for entry in value:
            if isinstance(entry, Mapping):
                yield from _walk(_joined(name, _called(entry)), entry)


def _called(entry: Mapping[str, Any]) -> str:
    """Return what an entry of a list is called."""
    parts = []
    for key in _NAMES:
        part = entry.get(key)
        if isinstance(part, list | tuple):
            part = " and ".join(map(str, part))
        if part is not None and not isinstance(part, Mapping):
            parts.append(str(part))
    return ", ".join(parts)


def _joined(name: str, more: str) -> str:
    return f"{name}: {more}" if name and more else name or more


def _words(name: str) -> str:
    return name.replace("_", " ")
