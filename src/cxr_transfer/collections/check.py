"""What is in a folder of archives: counts, what is missing, what stands there twice.

Comes in: collections. Goes out: a plain table per archive, ready for a terminal or JSON. Opens
every film once; a damaged one is listed, not fatal.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cxr_transfer.collections.case import Case, Collection
from cxr_transfer.collections.index import index_each
from cxr_transfer.errors import FilmError


def check(
    archives: Sequence[Collection], *, each: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Return what `cxr data check` prints.

    Returns:
        ``archives`` (a table each), ``identical`` (groups of films that are equal pixel for
        pixel, over all archives), ``damaged`` (names with the error's code).
    """
    damaged: list[str] = []
    tables = []
    same: dict[str, list[str]] = defaultdict(list)
    for archive in archives:
        readable: list[Case] = []
        for case, outcome in zip(archive.cases, index_each(archive.cases), strict=True):
            each()
            if isinstance(outcome, FilmError):
                damaged.append(f"{case.path.name}: {outcome.code}")
            else:
                readable.append(outcome)
                same[outcome.pixels].append(f"{archive.root.name}/{case.path.name}")
        tables.append(_table(archive, readable))
    return {
        "archives": tables,
        "identical": sorted(names for names in same.values() if len(names) > 1),
        "damaged": damaged,
    }


def _table(archive: Collection, cases: Sequence[Case]) -> dict[str, Any]:
    films_of = Counter(case.patient for case in cases)
    return {
        "collection": archive.name,
        "folder": _last_parts(archive.root),
        "generated": archive.generated,
        "films": len(cases),
        "patients": len(films_of),
        "patients_with_several_films": sum(number > 1 for number in films_of.values()),
        "classes": dict(Counter(case.label for case in cases).most_common()),
        "sources": dict(Counter(case.source for case in cases).most_common()),
        "views": dict(Counter(case.view or "not stated" for case in cases).most_common()),
        "sizes": _sizes(cases),
        "missing": list(archive.missing),
        "ignored": archive.ignored,
    }


def _sizes(cases: Sequence[Case]) -> str:
    if not cases:
        return "none"
    small = min(cases, key=lambda case: case.width * case.height)
    large = max(cases, key=lambda case: case.width * case.height)
    return f"{small.width} x {small.height} to {large.width} x {large.height} pixels"


def _last_parts(path: Path) -> str:
    return "/".join(path.parts[-2:])
