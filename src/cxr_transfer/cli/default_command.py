"""A group of commands of which one is meant where none is named."""

from __future__ import annotations

from typing import Any

import typer.core

DEFAULT = "run"


class DefaultCommandGroup(typer.core.TyperGroup):
    """``cxr audit SUBJECT`` is ``cxr audit run SUBJECT``: what names no command is an argument."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - Click's context
        """Put the default command before what names none."""
        if not args or args[0] not in self.commands:
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)
