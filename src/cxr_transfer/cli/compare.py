"""What `cxr compare` does: models that were tested on the same images."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from cxr_transfer.cli.options import BootstrapSeed, Device
from cxr_transfer.cli.terminal import log, progress, tell

COMPARE_EXAMPLES = (
    "Examples:\n\n"
    "cxr compare runs/cv runs/other_cv\n\n"
    "cxr compare runs/mine runs/theirs predictions.csv --out runs/comparison\n\n"
    "cxr compare runs/mine runs/theirs --json"
)


def compare(
    models: Annotated[
        list[Path],
        typer.Argument(
            help="Run folders, cross-validations, evaluations, or tables of predictions (.csv: "
            "file, label, score_CLASS ... or, of findings, probability_FINDING ...); two or more."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Report folder. Default: the report is shown, not kept.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print report.json.")] = False,
    seed: BootstrapSeed = 0,
    device: Device = "auto",
) -> None:
    """Compare models on the images that all of them were tested on.

    Exact McNemar test, DeLong's test and differences by patient, Holm over the pairs.
    """
    from cxr_transfer import api_protocols
    from cxr_transfer.files import json_text

    with ExitStack() as shown:

        def on_images(number: int) -> Callable[[], None]:
            return shown.enter_context(progress("reading", number))

        report = api_protocols.compare(
            *models, out=out, device=device, seed=seed, on_images=on_images, log=log
        )
    tell(json_text(dict(report)) if json else report.text)
    if report.folder:
        log(f"report: {report.folder / 'report.md'}, with tables as CSV and LaTeX")
