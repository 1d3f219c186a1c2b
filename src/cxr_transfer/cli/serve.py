"""What `cxr serve` does: the HTTP API and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.cli.options import CHECKPOINT_HELP
from cxr_transfer.cli.terminal import warn

SERVE_EXAMPLES = (
    "Examples:\n\n"
    "cxr serve  (then open http://127.0.0.1:8000)\n\n"
    "cxr serve --model model_3 --model runs/mine --port 9000\n\n"
    "cxr serve --model runs/mine --keep-answers answers  (watched by 'cxr accept monitor')\n\n"
    "CXR_TOKEN=... cxr serve --host 0.0.0.0 --allowed-host images.example.org"
)


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(help=f"{CHECKPOINT_HELP} May be repeated; the first answers by default."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address; all but loopback need a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="0 takes any free one.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(help="That clients must send. Better: the environment's CXR_TOKEN."),
    ] = None,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="Name under which clients reach it; may be repeated.")
    ] = None,
    keep_answers: Annotated[
        Path | None,
        typer.Option(
            help="Folder in which answers are kept for 'cxr accept monitor': scores and hashes, no "
            "pictures, no names."
        ),
    ] = None,
) -> None:
    """Serve models over HTTP, with a page for a reading room at the root."""
    try:
        from cxr_transfer.serving.server import serve as run
    except ModuleNotFoundError as error:
        from cxr_transfer.extras import missing_package

        raise missing_package(error.name, "serving") or error from None
    warn(INTENDED_USE)
    run(
        model or (),
        host,
        port,
        token,
        allowed_hosts=allowed_host or (),
        keep_answers=keep_answers,
    )
