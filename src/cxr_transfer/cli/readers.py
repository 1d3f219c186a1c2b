"""What `cxr readers` does: the readers of a study, and the model that they read with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_transfer.cli.options import BootstrapSeed
from cxr_transfer.cli.terminal import log, tell

READERS_EXAMPLES = (
    "Examples:\n\n"
    "cxr readers R1.json R2.json R3.json --truth images.csv --out runs/readers\n\n"
    "cxr readers readings.csv --truth images.csv --json"
)


def readers(
    readings: Annotated[
        list[Path],
        typer.Argument(
            help="Files that the page of cxr serve exported, .json or .csv, of all readers."
        ),
    ],
    truth: Annotated[
        Path,
        typer.Option(
            help="Manifest, or another table (.csv: label, and sha256, path or file; patient where "
            "patients have several images)."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Report folder. Default: the report is shown, not kept.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print readers.json.")] = False,
    seed: BootstrapSeed = 0,
) -> None:
    """Judge the readers of a study: sensitivity, specificity, AUROC, agreement, and the model.

    Means over readers hold for other readers and images (Obuchowski and Rockette).
    """
    from cxr_transfer import api_readers
    from cxr_transfer.files import json_text

    report = api_readers.readers(*readings, truth=truth, out=out, seed=seed, log=log)
    tell(json_text(dict(report)) if json else report.text)
    if report.folder:
        log(f"report: {report.folder / 'readers.md'}, with figures/readers.png")
