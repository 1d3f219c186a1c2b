"""Commands that say how far a checkpoint can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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


AUDIT_EXAMPLES = (
    "Examples:\n\n"
    "cxr audit model_3 --data ../data --out runs/audit\n\n"
    "cxr audit runs/study/model_3 --data ../data --out runs/audit --retrain\n\n"
    "cxr audit runs/mine --data films.csv --out runs/mine/audit || echo not to be trusted"
)


def audit(
    checkpoint: Annotated[Path, typer.Argument(help=CHECKPOINT_HELP)],
    data: Annotated[
        Path, typer.Option(help="Archives, a manifest (.csv) or a folder per class: all its films.")
    ],
    out: Annotated[Path, typer.Option(help="Report folder.")],
    retrain: Annotated[
        bool,
        typer.Option(help="Train the recipe again without each source (long; goes on if stopped)."),
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(help="With --retrain: file with ResNet-50's weights.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(help=LABEL_HELP)] = None,
    skip_damaged: Annotated[bool, typer.Option(help=SKIP_DAMAGED_HELP)] = False,
    json: Annotated[bool, typer.Option("--json", help="Print audit.json.")] = False,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Random seed of the bootstrap.")
    ] = 0,
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "auto",
    precision: Annotated[
        str, typer.Option(help="Precision of retraining and of the scores of changed films.")
    ] = "auto",
) -> None:
    """Look for reasons not to believe a model's figure; exit code 1 when a hard check fails."""
    from cxr_transfer.audits.run import audit as run
    from cxr_transfer.datasets.findings import read_mapping
    from cxr_transfer.datasets.loading import open_all
    from cxr_transfer.errors import UsageError
    from cxr_transfer.models.metadata import checkpoint_files, read_card
    from cxr_transfer.own_folder import owned
    from cxr_transfer.training.settings import claimed

    if weights and not retrain:
        raise UsageError(
            "unused_option",
            f"Expected --weights only with --retrain, but got {weights}; leave it out, or add "
            "--retrain.",
        )
    known = read_card(checkpoint_files(checkpoint)[0])
    read = open_all(
        data, known.label_set, mapping=read_mapping(label or ()), table=known.label_table
    )
    for notice in read.notices:
        say(notice)
    cases = read.cases
    # By the weights: another run's folder may have the same name.
    audit_of = {"audit_of": f"{known.name} {known.weights_sha256[:12]}"}
    with owned(out), claimed(out, audit_of), steps("reading films", len(cases)) as step:
        found = run(
            checkpoint,
            cases,
            out,
            retrain=retrain,
            skip_damaged=skip_damaged,
            weights=weights,
            device=device,
            precision=precision,
            seed=seed,
            each=step,
            say=say,
        )
    tell(
        (out / ("audit.json" if json else "audit.md")).read_text(
            encoding="utf-8", errors="surrogateescape"
        )
    )
    if found["verdict"] == "fail":
        raise typer.Exit(1)


CARD_EXAMPLES = (
    "Examples:\n\n"
    "cxr card model_3\n\n"
    "cxr card runs/mine --audit runs/mine/audit/audit.json --out MODEL_CARD.md"
)


def card(
    checkpoint: Annotated[Path, typer.Argument(help=CHECKPOINT_HELP)],
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
    from cxr_transfer.evaluation.model_card import model_card
    from cxr_transfer.files import check_new, write_text

    if out:
        check_new(out)
    text = model_card(checkpoint, audit=_report(audit), evaluation=_report(evaluation), run=run)
    if out is None:
        tell(text)
        return
    write_text(out, text)
    say(f"model card: {out}")


def _report(path: Path | None) -> dict[str, Any] | None:
    import json

    from cxr_transfer.errors import DataError

    if path is None:
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError("not_json", f"Expected JSON in {path}, but got: {error}.") from None
    if not isinstance(found, dict):
        raise DataError("not_json", f"Expected a report in {path}, but got something else.")
    return found
