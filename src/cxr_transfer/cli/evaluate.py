"""What `cxr evaluate` does: one model on one list of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_transfer.cli.options import (
    CHECKPOINT_HELP,
    BootstrapSeed,
    Device,
    Labels,
    SkipDamaged,
    Subgroups,
)
from cxr_transfer.cli.terminal import log, phases, tell, warn
from cxr_transfer.progress import counting, of_images

EVALUATE_EXAMPLES = (
    "Examples:\n\n"
    "cxr evaluate runs/study/model_3 --data prepared/outside.csv --out runs/outside\n\n"
    "cxr evaluate runs/study/model_1 --data runs/study/model_1/split.csv --out runs/test --json\n\n"
    "cxr evaluate runs/cv --data outside.csv --out runs/cv_outside\n\n"
    "cxr evaluate runs/mine --data images.csv --subgroup scanner --out runs/by_scanner"
)


def evaluate(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help=f"{CHECKPOINT_HELP} A folder of several runs, such as a cross-validation, is "
            "evaluated as one: the mean of their calibrated scores."
        ),
    ],
    data: Annotated[Path, typer.Option(help="Manifest (.csv) or a folder per class.")],
    out: Annotated[Path, typer.Option(help="Report folder.")],
    part: Annotated[
        str | None, typer.Option(help="Part of a manifest with parts; default: test.")
    ] = None,
    allow_seen: Annotated[
        bool, typer.Option(help="Score images whose patients training saw; do not quote them.")
    ] = False,
    label: Labels = None,
    skip_damaged: SkipDamaged = False,
    subgroup: Subgroups = None,
    json: Annotated[bool, typer.Option("--json", help="Print report.json.")] = False,
    seed: BootstrapSeed = 0,
    device: Device = "auto",
) -> None:
    """Evaluate a checkpoint: figures with intervals, and what each group of images is called."""
    from cxr_transfer.datasets.findings import read_mapping, unknown_lines
    from cxr_transfer.datasets.loading import open_cases
    from cxr_transfer.evaluation.evaluate import evaluate_checkpoint
    from cxr_transfer.evaluation.evaluated import card_of
    from cxr_transfer.own_folder import lock_folder
    from cxr_transfer.training.settings import settings_checked

    card = card_of(checkpoint)
    read = open_cases(
        data,
        part,
        mapping=read_mapping(label or ()),
        table=card.label_table,
        labels=card.label_set,
    )
    for notice in read.notices:
        warn(notice)
    cases = read.cases
    classes = card.labels if card.label_set.exclusive else [case.label for case in cases]
    for line in unknown_lines(case.label for case in cases if case.label not in classes):
        warn(line)
    with (
        lock_folder(out),
        settings_checked(out, {"evaluation_of": checkpoint.name}),
        phases() as tell_phase,
    ):
        evaluate_checkpoint(
            checkpoint,
            cases,
            out,
            allow_seen=allow_seen,
            skip_damaged=skip_damaged,
            columns=subgroup or (),
            device=device,
            seed=seed,
            on_image=counting(tell_phase, of_images("reading", len(cases)), len(cases)),
            log=log,
            progress=tell_phase,
        )
    name = "report.json" if json else "report.md"
    tell((out / name).read_text(encoding="utf-8", errors="surrogateescape"))
