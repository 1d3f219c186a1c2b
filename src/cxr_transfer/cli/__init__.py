"""The command ``cxr``: the only package that prints and exits.

Whatever takes time to import is imported after Ctrl-C is looked after.
"""

from __future__ import annotations

from cxr_transfer.cli import stopping


def main() -> None:
    """Run ``cxr``; every error is one line on standard error and an exit code."""
    stopping.watch()
    try:
        from cxr_transfer.cli.commands import run

        run()
    except BaseException:
        # Whatever an import, or a library, has made of it.
        if stopping.asked():
            stopping.leave()
        raise


def __getattr__(name: str) -> object:
    if name == "app":
        from cxr_transfer.cli.commands import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
