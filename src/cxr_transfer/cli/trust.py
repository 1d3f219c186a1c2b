"""Commands that say how far a checkpoint can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_transfer.cli.terminal import DEVICE_HELP, say, steps

if TYPE_CHECKING:
    pass


EVALUATE_EXAMPLES = (
    "Examples:\n\n"
    "cxr evaluate runs/study/model_3 --data prepared/outside.csv --out runs/outside\n\n"
    "cxr evaluate runs/study/model_1 --data runs/study/model_1/split.csv --out runs/test --json"
)


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Run folder, .safetensors or its .json.")],
    data: Annotated[Path, typer.Option(help="Manifest (.csv), archives or a folder per class.")],
    out: Annotated[Path, typer.Option(help="Report folder.")],
    part: Annotated[
        str | None, typer.Option(help="Part of a manifest with parts; default: test.")
    ] = None,
    allow_seen: Annotated[
        bool, typer.Option(help="Score films whose patients training saw; do not quote them.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print report.json.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the bootstrap.")] = 0,
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "auto",
) -> None:
    """Evaluate a checkpoint: figures with intervals, and what each group of films is called."""
    from cxr_transfer.collections.opening import open_cases
    from cxr_transfer.evaluation.assessment import assess
    from cxr_transfer.files import owned
    from cxr_transfer.training.run import claim

    cases = open_cases(data, part)
    with owned(out):
        claim(out, {"evaluation_of": checkpoint.name})
        with steps("reading films", len(cases)) as step:
            assess(
                checkpoint, cases, out, allow_seen=allow_seen, device=device, seed=seed, each=step
            )
    name = "report.json" if json else "report.md"
    typer.echo((out / name).read_text(encoding="utf-8"))


AUDIT_EXAMPLES = (
    "Examples:\n\n"
    "cxr audit runs/study/model_3 --data ../data --out runs/audit\n\n"
    "cxr audit runs/mine --data films.csv --out runs/mine/audit || echo not to be trusted"
)


def audit(
    checkpoint: Annotated[Path, typer.Argument(help="Run folder, .safetensors or its .json.")],
    data: Annotated[
        Path, typer.Option(help="Archives, a manifest (.csv) or a folder per class: all its films.")
    ],
    out: Annotated[Path, typer.Option(help="Report folder.")],
    json: Annotated[bool, typer.Option("--json", help="Print audit.json.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the bootstrap.")] = 0,
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "auto",
) -> None:
    """Look for reasons not to believe a model's figure; exit code 1 when a hard check fails."""
    from cxr_transfer.collections.opening import open_all
    from cxr_transfer.evaluation.audit import audit as run
    from cxr_transfer.files import owned
    from cxr_transfer.training.run import claim

    cases = open_all(data)
    with owned(out):
        claim(out, {"audit_of": checkpoint.name})
        with steps("reading films", len(cases)) as step:
            found = run(checkpoint, cases, out, device=device, seed=seed, each=step, say=say)
    typer.echo((out / ("audit.json" if json else "audit.md")).read_text(encoding="utf-8"))
    if found["verdict"] == "fail":
        raise typer.Exit(1)
