"""What `cxr evaluate` does: one model on one list of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_transfer.cli.terminal import (
    CHECKPOINT_HELP,
    DEVICE_HELP,
    LABEL_HELP,
    SKIP_DAMAGED_HELP,
    say,
    steps,
    tell,
)

EVALUATE_EXAMPLES = (
    "Examples:\n\n"
    "cxr evaluate runs/study/model_3 --data prepared/outside.csv --out runs/outside\n\n"
    "cxr evaluate runs/study/model_1 --data runs/study/model_1/split.csv --out runs/test --json"
)


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help=CHECKPOINT_HELP)],
    data: Annotated[Path, typer.Option(help="Manifest (.csv) or a folder per class.")],
    out: Annotated[Path, typer.Option(help="Report folder.")],
    part: Annotated[
        str | None, typer.Option(help="Part of a manifest with parts; default: test.")
    ] = None,
    allow_seen: Annotated[
        bool, typer.Option(help="Score films whose patients training saw; do not quote them.")
    ] = False,
    label: Annotated[list[str] | None, typer.Option(help=LABEL_HELP)] = None,
    skip_damaged: Annotated[bool, typer.Option(help=SKIP_DAMAGED_HELP)] = False,
    json: Annotated[bool, typer.Option("--json", help="Print report.json.")] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Random seed of the bootstrap.")
    ] = 0,
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "auto",
) -> None:
    """Evaluate a checkpoint: figures with intervals, and what each group of films is called."""
    from cxr_transfer.datasets.findings import read_mapping, unknown_lines
    from cxr_transfer.datasets.loading import open_cases
    from cxr_transfer.evaluation.evaluate import assess
    from cxr_transfer.models.metadata import checkpoint_files, read_card
    from cxr_transfer.own_folder import owned
    from cxr_transfer.training.settings import claimed

    known = read_card(checkpoint_files(checkpoint)[0])
    read = open_cases(
        data,
        part,
        mapping=read_mapping(label or ()),
        table=known.label_table,
        labels=known.label_set,
    )
    for notice in read.notices:
        say(notice)
    cases = read.cases
    for line in unknown_lines(case.label for case in cases if case.label not in known.labels):
        say(line)
    with (
        owned(out),
        claimed(out, {"evaluation_of": checkpoint.name}),
        steps("reading films", len(cases)) as step,
    ):
        assess(
            checkpoint,
            cases,
            out,
            allow_seen=allow_seen,
            skip_damaged=skip_damaged,
            device=device,
            seed=seed,
            each=step,
            say=say,
        )
    name = "report.json" if json else "report.md"
    tell((out / name).read_text(encoding="utf-8", errors="surrogateescape"))
