"""A group of commands of which one is meant where none is named."""

from __future__ import annotations

from typing import Any

import typer.core

DEFAULT = "-"
"""Name of the command that is meant: no file or folder is called so."""


class DefaultCommandGroup(typer.core.TyperGroup):
    """``cxr audit SUBJECT`` is a command, and ``cxr audit inspect`` another.

    What names no command is an argument of the one that is meant.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - Click's context
        """Put the default command before what names none."""
        if not args or args[0] not in self.commands:
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - Click's
        """Return the command that is meant without its name, which no help shows."""
        name, command, remaining = super().resolve_command(ctx, args)
        return "" if name == DEFAULT else name, command, remaining
