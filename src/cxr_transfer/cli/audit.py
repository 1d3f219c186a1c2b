"""What `cxr audit` does: reasons not to believe a figure, and what a foreign file seems to be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxr_transfer.cli.options import (
    SUBJECT_HELP,
    BootstrapSeed,
    Describing,
    Device,
    Labels,
    PerSecond,
    Saw,
    SkipDamaged,
    Subgroups,
)
from cxr_transfer.cli.terminal import log, phases, program, tell, warn
from cxr_transfer.progress import counting, of_images

if TYPE_CHECKING:
    from cxr_transfer.datasets.case import Case
    from cxr_transfer.subjects.subject import Subject

FailOn = Literal["hard", "any", "never"]

AUDIT_EXAMPLES = (
    "Examples:\n\n"
    "cxr audit model_3 --data ../data --out runs/audit\n\n"
    "cxr audit runs/study/model_3 --data ../data --out runs/audit --retrain\n\n"
    "cxr audit theirs.onnx --description theirs.toml --data images.csv --out runs/theirs\n\n"
    "cxr audit python:clinic.model:scores --description clinic.toml --data images.csv --out runs/a"
    "\n\n"
    "cxr audit http://127.0.0.1:8000/v1/predict --data images.csv --out runs/server\n\n"
    "cxr audit theirs.onnx --data ../data --most 100 --out runs/quick\n\n"
    "cxr audit scores.csv --saw trained_on.csv --data images.csv --out runs/scores\n\n"
    "cxr audit runs/findings --finding Effusion --data images.csv --out runs/effusion\n\n"
    "cxr audit runs/mine --data images.csv --out runs/mine/audit || echo not to be trusted\n\n"
    "cxr audit model_3 --data new.csv --compare-with old.csv --out runs/drift --fail-on any\n\n"
    "What a file of another tool seems to be: cxr audit inspect --help"
)
INSPECT_EXAMPLES = (
    "Examples:\n\n"
    "cxr audit inspect theirs.onnx --out theirs.toml\n\n"
    "cxr audit inspect theirs.hdf5 --data images.csv --labels normal,covid19 --out theirs.toml\n\n"
    "cxr audit inspect --new"
)


def audit(
    subject: Annotated[str, typer.Argument(help=SUBJECT_HELP)],
    data: Annotated[
        Path,
        typer.Option(help="Archives, a manifest (.csv) or a folder per class: all its images."),
    ],
    out: Annotated[Path, typer.Option(help="Report folder.")],
    description: Describing = None,
    saw: Saw = None,
    per_second: PerSecond = 0.0,
    compare_with: Annotated[
        Path | None,
        typer.Option(help="Images of another data set: how far --data differ from them (drift)."),
    ] = None,
    fail_on: Annotated[
        FailOn,
        typer.Option(
            help="Failed checks that make the exit code 1: hard ones, any of them, or never."
        ),
    ] = "hard",
    retrain: Annotated[
        bool,
        typer.Option(help="Train the recipe again without each source (long; goes on if stopped)."),
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(help="With --retrain: file with ResNet-50's weights.")
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(
            min=20,
            help="Look at so many images of each label in each source at most, drawn at random: "
            "quicker, with wider intervals. Default: all.",
        ),
    ] = None,
    label: Labels = None,
    finding: Annotated[
        str | None,
        typer.Option(help="Finding to audit, of a model that tells several findings at once."),
    ] = None,
    skip_damaged: SkipDamaged = False,
    subgroup: Subgroups = None,
    json: Annotated[bool, typer.Option("--json", help="Print audit.json.")] = False,
    seed: BootstrapSeed = 0,
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="Precision of retraining and of the scores of changed images.")
    ] = "auto",
) -> None:
    """Look for reasons not to believe a model's figure; exit code 1 when a hard check fails.

    The folder has audit.html to read and to print, audit.md, audit.json and figures. The same
    command goes on where it was stopped: scores are kept in the folder.
    """
    from cxr_transfer.audits.reasons import fails_on
    from cxr_transfer.audits.run import audit as run
    from cxr_transfer.datasets.draws import most_of_each
    from cxr_transfer.errors import UsageError
    from cxr_transfer.own_folder import lock_folder
    from cxr_transfer.subjects.one_finding import as_classes
    from cxr_transfer.subjects.opening import SubjectOptions, open_subject
    from cxr_transfer.training.device import resolve_device
    from cxr_transfer.training.settings import settings_checked

    if weights and not retrain:
        raise UsageError(
            "unused_option",
            f"Expected --weights only with --retrain, but got {weights}; leave it out, or add "
            "--retrain.",
        )
    judged = open_subject(subject, SubjectOptions(resolve_device(device), description, per_second))
    given = _images(data, judged, label)
    drawn = given if most is None else most_of_each(given, most, seed)
    if len(drawn) < len(given):
        log(f"{len(drawn)} of {len(given)} images, drawn at random: {most} of each at most")
    compared = [] if compare_with is None else _images(compare_with, judged, label)
    judged, (cases, reference) = as_classes(judged, finding, drawn, compared)
    images = len(cases) + len(reference)
    with (
        lock_folder(out),
        settings_checked(out, {"audit_of": judged.identity}),
        phases() as tell_phase,
    ):
        content = run(
            judged,
            cases,
            out,
            saw=saw,
            compare_with=reference,
            retrain=retrain,
            skip_damaged=skip_damaged,
            columns=subgroup or (),
            weights=weights,
            device=device,
            precision=precision,
            seed=seed,
            on_image=counting(tell_phase, of_images("reading", images), images),
            log=log,
            progress=tell_phase,
        )
    tell(
        (out / ("audit.json" if json else "audit.md")).read_text(
            encoding="utf-8", errors="surrogateescape"
        )
    )
    if fails_on(content["checks"], fail_on):
        raise typer.Exit(1)


def _images(data: Path, judged: Subject, label: list[str] | None) -> list[Case]:
    """Return the images of a folder or table, and tell what its reader tells."""
    from cxr_transfer.datasets.findings import read_mapping
    from cxr_transfer.datasets.loading import open_all

    read = open_all(
        data, judged.labels, mapping=read_mapping(label or ()), table=judged.label_table
    )
    for notice in read.notices:
        warn(notice)
    return list(read.cases)


def audit_inspect(
    subject: Annotated[
        str | None, typer.Argument(help="A file of another tool, or an address of KServe's.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Images with labels of its classes: with them range, polarity and the order of "
            "the classes are measured, not guessed."
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Classes with commas, in any order; default: what --data holds."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Description to write (.toml).")] = None,
    output: Annotated[
        int | None, typer.Option(min=0, help="Number of the output, where it has several.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=48, max=2048, help="Pixels a side, where the file does not say."),
    ] = None,
    label: Labels = None,
    images: Annotated[
        int, typer.Option(min=2, max=2000, help="Images of each class that are looked at at most.")
    ] = 60,
    seed: BootstrapSeed = 0,
    new: Annotated[
        bool, typer.Option("--new", help="Show a description to write by hand.")
    ] = False,
) -> None:
    """Guess what a model of another tool wants and gives, and say how sure that is."""
    from cxr_transfer.datasets.findings import read_mapping
    from cxr_transfer.errors import UsageError
    from cxr_transfer.files import check_new, write_text
    from cxr_transfer.subjects.description import NEW
    from cxr_transfer.subjects.inspection import Inspected, inspect_subject

    if new:
        tell(NEW)
        return
    if subject is None:
        raise UsageError(
            "usage", "Expected a model to look at, but got none; name it, or give --new."
        )
    if out is not None:
        check_new(out)
    asked = Inspected(
        subject=subject,
        data=data,
        labels=tuple(name.strip() for name in labels.split(",")) if labels else (),
        mapping=read_mapping(label or ()),
        output=output,
        size=size,
        images=images,
        seed=seed,
    )
    with phases() as tell_phase:
        guessed = inspect_subject(asked, log=log, progress=tell_phase)
    tell(guessed.toml)
    if out is not None:
        write_text(out, guessed.toml)
        log(f"next: {program()} audit {subject} --description {out} --data DATA --out runs/audit")
