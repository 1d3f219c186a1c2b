"""What `cxr card` does: what is known of a model, on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_transfer.cli.options import Checkpoint
from cxr_transfer.cli.terminal import log, tell

CARD_EXAMPLES = (
    "Examples:\n\n"
    "cxr card model_3\n\n"
    "cxr card runs/mine --audit runs/mine/audit/audit.json --out MODEL_CARD.md"
)


def card(
    checkpoint: Checkpoint,
    out: Annotated[Path | None, typer.Option(help="File; default: standard output.")] = None,
    audit: Annotated[
        Path | None, typer.Option(help="Its audit.json; default: the one in the run folder.")
    ] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="Its report.json; default: the one in the run folder.")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Run folder that it is from, where it was handed on without."),
    ] = None,
) -> None:
    """Write the model card: filled from the run, and blanks say 'not done'."""
    from cxr_transfer.evaluation.card_reports import read_report
    from cxr_transfer.evaluation.model_card import model_card
    from cxr_transfer.files import check_new, write_text

    if out:
        check_new(out)
    text = model_card(
        checkpoint,
        audit=None if audit is None else read_report(audit),
        evaluation=None if evaluation is None else read_report(evaluation),
        run=run,
    )
    if out is None:
        tell(text)
        return
    write_text(out, text)
    log(f"model card: {out}")
