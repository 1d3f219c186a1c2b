"""What `cxr audit` does: reasons not to believe a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_transfer.cli.options import (
    BootstrapSeed,
    Checkpoint,
    Device,
    Labels,
    SkipDamaged,
    Subgroups,
)
from cxr_transfer.cli.terminal import log, phases, tell, warn
from cxr_transfer.progress import counting, of_images

AUDIT_EXAMPLES = (
    "Examples:\n\n"
    "cxr audit model_3 --data ../data --out runs/audit\n\n"
    "cxr audit runs/study/model_3 --data ../data --out runs/audit --retrain\n\n"
    "cxr audit runs/mine --data images.csv --out runs/mine/audit || echo not to be trusted"
)


def audit(
    checkpoint: Checkpoint,
    data: Annotated[
        Path,
        typer.Option(help="Archives, a manifest (.csv) or a folder per class: all its images."),
    ],
    out: Annotated[Path, typer.Option(help="Report folder.")],
    retrain: Annotated[
        bool,
        typer.Option(help="Train the recipe again without each source (long; goes on if stopped)."),
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(help="With --retrain: file with ResNet-50's weights.")
    ] = None,
    label: Labels = None,
    skip_damaged: SkipDamaged = False,
    subgroup: Subgroups = None,
    json: Annotated[bool, typer.Option("--json", help="Print audit.json.")] = False,
    seed: BootstrapSeed = 0,
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="Precision of retraining and of the scores of changed images.")
    ] = "auto",
) -> None:
    """Look for reasons not to believe a model's figure; exit code 1 when a hard check fails."""
    from cxr_transfer.audits.run import audit as run
    from cxr_transfer.datasets.findings import read_mapping
    from cxr_transfer.datasets.loading import open_all
    from cxr_transfer.errors import UsageError
    from cxr_transfer.models.metadata import checkpoint_files, read_card
    from cxr_transfer.own_folder import lock_folder
    from cxr_transfer.training.settings import settings_checked

    if weights and not retrain:
        raise UsageError(
            "unused_option",
            f"Expected --weights only with --retrain, but got {weights}; leave it out, or add "
            "--retrain.",
        )
    card = read_card(checkpoint_files(checkpoint)[0])
    read = open_all(data, card.label_set, mapping=read_mapping(label or ()), table=card.label_table)
    for notice in read.notices:
        warn(notice)
    cases = read.cases
    # By the weights: another run's folder may have the same name.
    audit_of = {"audit_of": f"{card.name} {card.weights_sha256[:12]}"}
    with (
        lock_folder(out),
        settings_checked(out, audit_of),
        phases() as tell_phase,
    ):
        content = run(
            checkpoint,
            cases,
            out,
            retrain=retrain,
            skip_damaged=skip_damaged,
            columns=subgroup or (),
            weights=weights,
            device=device,
            precision=precision,
            seed=seed,
            on_image=counting(tell_phase, of_images("reading", len(cases)), len(cases)),
            log=log,
            progress=tell_phase,
        )
    tell(
        (out / ("audit.json" if json else "audit.md")).read_text(
            encoding="utf-8", errors="surrogateescape"
        )
    )
    if content["verdict"] == "fail":
        raise typer.Exit(1)
