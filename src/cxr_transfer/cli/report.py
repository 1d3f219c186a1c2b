"""What `cxr report` does: a checklist that people must hand in, filled from evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_transfer.cli.terminal import log, program, tell

REPORT_EXAMPLES = (
    "Examples:\n\n"
    "cxr report runs/mine --for claim-2024 --out runs/claim\n\n"
    "cxr report runs/mine --for tripod-ai --evaluation runs/test/report.json "
    "--audit runs/audit/audit.json --out runs/tripod\n\n"
    "cxr report --new-author-file author.toml --for claim-2024\n\n"
    "cxr report runs/mine --for claim-2024 --author author.toml --out runs/claim\n\n"
    "cxr report runs/mine --for hf --out runs/card"
)


def report(
    kind: Annotated[
        str,
        typer.Option("--for", help="claim-2024, tripod-ai, stard-ai, chai, hf or methods."),
    ],
    checkpoint: Annotated[
        Path | None,
        typer.Argument(help="Run folder, .safetensors file, or a released model's name."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the report.")] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="Its report.json; default: the one in the run folder.")
    ] = None,
    audit: Annotated[
        Path | None, typer.Option(help="Its audit.json; default: the one in the run folder.")
    ] = None,
    validation: Annotated[
        Path | None, typer.Option(help="Its validation.json; default: the one in the run folder.")
    ] = None,
    author: Annotated[
        Path | None, typer.Option(help="The author's words (.toml); see --new-author-file.")
    ] = None,
    new_author_file: Annotated[
        Path | None,
        typer.Option(help="TOML file to write: what only authors know, as comments to fill in."),
    ] = None,
) -> None:
    """Fill a checklist from a run and its reports; nothing is filled without evidence."""
    from cxr_transfer.own_folder import lock_folder
    from cxr_transfer.reports.author import write_author
    from cxr_transfer.reports.writing import Given, check_asked, check_kind, write_report

    check_kind(kind)
    if new_author_file is not None:
        write_author(new_author_file, kind)
        log(f"author's file: {new_author_file}")
        log(f"next: {program()} report RUN --for {kind} --author {new_author_file} --out FOLDER")
        return
    run, folder = check_asked(checkpoint, out)
    with lock_folder(folder):
        content = write_report(
            kind, Given(run, evaluation, audit, validation, author), folder, log=log
        )
    for status, number in content.get("counts", {}).items():
        tell(f"{number} {status}")
