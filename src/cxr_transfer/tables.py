"""Tables that others may add rows to: what the package brings, and what installed packages bring.

A package adds a row by an entry point: its group names the table, its name the row, and the object
is the row itself. It is imported when the row is used, never to list the names.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from cxr_transfer.errors import MachineError, UsageError, kind_of
from cxr_transfer.text import for_terminal

Row = TypeVar("Row")


class Table(Mapping[str, Row], Generic[Row]):
    """Rows by name, in their order: those of the package, then those of other packages.

    Args:
        what: Noun for one row in messages, such as "architecture".
        kind: Type of a row.
        rows: Rows of the package itself.
        group: Group of entry points that add rows; "" for a table that nobody else adds to.

    Raises:
        UsageError: ``unknown_WHAT`` from ``table[name]`` for a name that no row has.
        MachineError: ``bad_plugin`` where another package's row cannot be imported, is of another
            type, or has the name of a row that is there.
    """

    def __init__(
        self, what: str, kind: type[Row], rows: Mapping[str, Row], group: str = ""
    ) -> None:
        self.group = group
        self._what, self._kind, self._rows = what, kind, dict(rows)
        self._loaded: dict[str, Row] = {}

    def __getitem__(self, name: str) -> Row:
        if name in self._rows:
            return self._rows[name]
        if name in self._added:
            return self._loaded[name] if name in self._loaded else self._imported(name)
        raise UsageError(
            f"unknown_{self._what.replace(' ', '_')}",
            f"Expected one of the {self._what}s {', '.join(self)}, but got {for_terminal(name)!r}"
            f"{nearest(name, list(self))}.",
        )

    def __iter__(self) -> Iterator[str]:
        yield from self._rows
        yield from self._added

    def __len__(self) -> int:
        return len(self._rows) + len(self._added)

    def __contains__(self, name: object) -> bool:
        return name in self._rows or name in self._added

    def is_own(self, name: str) -> bool:
        """Tell whether a row is one of the package itself, and not of another package."""
        return name in self._rows

    @functools.cached_property
    def _added(self) -> dict[str, EntryPoint]:
        added: dict[str, EntryPoint] = {}
        points = entry_points(group=self.group) if self.group else ()
        for point in sorted(points, key=lambda point: (point.name, point.value)):
            if point.name in self._rows or point.name in added:
                raise self._bad(point, "another name, since a row of that name is there")
            added[point.name] = point
        return added

    def _imported(self, name: str) -> Row:
        point = self._added[name]
        try:
            row = point.load()
        except Exception as error:  # whatever another package's code raises
            reason = for_terminal(f"{type(error).__name__}: {error}")
            raise self._bad(point, f"a package that can be imported ({reason})") from error
        if not isinstance(row, self._kind):
            raise self._bad(point, f"{self._kind.__name__}, not {kind_of(row)}")
        self._loaded[name] = row
        return row

    def _bad(self, point: EntryPoint, expected: str) -> MachineError:
        package = point.dist.name if point.dist else "an unknown package"
        return MachineError(
            "bad_plugin",
            f"Expected of {package}, for its {self._what} {point.name!r} ({point.value}), "
            f"{expected}; update or uninstall that package.",
        )


def nearest(word: str, names: list[str]) -> str:
    """Return the end of a message that names the known word next to ``word``; "" without one."""
    close = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
