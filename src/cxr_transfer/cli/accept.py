"""What `cxr accept` does: plan a test at one's own place, run it, verify it, watch afterwards."""

from __future__ import annotations

import shlex
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cxr_transfer.cli.options import (
    SUBJECT_HELP,
    DataLabels,
    Describing,
    Device,
    PerSecond,
    Saw,
    SkipDamaged,
)
from cxr_transfer.cli.terminal import log, phases, program, tell

ACCEPT_PLAN_EXAMPLES = (
    "Examples:\n\n"
    "cxr accept plan --sensitivity 0.9 --margin 0.05 --power 0.8\n\n"
    "cxr accept plan --sensitivity 0.9 --specificity 0.8 --prevalence 0.1\n\n"
    "cxr accept plan --sensitivity 0.9 --write-criteria criteria.toml"
)
ACCEPT_RUN_EXAMPLES = (
    "Examples:\n\n"
    "cxr accept run runs/mine --data local.csv --criteria criteria.toml --out acceptance\n\n"
    "cxr accept run released:multi_source --data local --criteria criteria.toml --out acceptance"
    "\n\n"
    "cxr accept run scores.csv --criteria criteria.toml --out acceptance  (labels in the table)"
)
ACCEPT_VERIFY_EXAMPLES = "Examples:\n\ncxr accept verify acceptance/acceptance.json"
ACCEPT_MONITOR_EXAMPLES = (
    "Examples:\n\n"
    "cxr accept monitor answers --reference acceptance/acceptance.json --out watch\n\n"
    "cxr accept monitor answers --reference acceptance --since 2026-11-01 --outcomes outcomes.csv "
    "--out watch\n\n"
    "cxr accept monitor answers --reference runs/mine --positive covid19 --out watch"
)


def accept_plan(
    sensitivity: Annotated[float, typer.Option(help="Sensitivity that is promised, such as 0.9.")],
    margin: Annotated[
        float, typer.Option(help="Amount below the promise that is still acceptable.")
    ] = 0.05,
    power: Annotated[
        float, typer.Option(help="Probability of showing it where the promise is true.")
    ] = 0.8,
    specificity: Annotated[
        float | None, typer.Option(help="Specificity that is promised, with the same margin.")
    ] = None,
    prevalence: Annotated[
        float | None,
        typer.Option(help="Share of positives: how many consecutive images hold enough."),
    ] = None,
    images_per_patient: Annotated[
        float, typer.Option(help="Mean number of images of a kind that a patient has.")
    ] = 1.0,
    correlation: Annotated[
        float, typer.Option(help="Correlation of hits within a patient who has several images.")
    ] = 0.5,
    level: Annotated[float, typer.Option(help="Confidence level of the one-sided bound.")] = 0.95,
    write_criteria: Annotated[
        Path | None, typer.Option(help="TOML file to write: commented criteria to fill in.")
    ] = None,
    positive: Annotated[
        str, typer.Option(help="With --write-criteria: class that is looked for.")
    ] = "covid19",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print how many local images a test needs: exact binomial power, and a table of others."""
    import json as json_module

    from cxr_transfer.acceptance.plan import plan_lines, plan_test

    plan = plan_test(
        sensitivity,
        margin,
        power,
        specificity=specificity,
        prevalence=prevalence,
        images_per_patient=images_per_patient,
        correlation=correlation,
        level=level,
    )
    if write_criteria is not None:
        from cxr_transfer.acceptance.criteria import write_criteria as write

        facts = {"sensitivity": sensitivity, "specificity": specificity, "margin": margin}
        write(write_criteria, facts | {"level": level, "positive": positive})
    tell(json_module.dumps(plan, indent=2) if json else "\n".join(plan_lines(plan)))
    if write_criteria is not None:
        log(f"criteria: {write_criteria}; fill them in before you look at a score")


def accept_run(
    subject: Annotated[str, typer.Argument(help=SUBJECT_HELP)],
    criteria: Annotated[
        Path, typer.Option(help="Criteria (.toml); 'cxr accept plan --write-criteria' writes some.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the record.")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Local images: a manifest (.csv), a folder per class, or archives. May be left "
            "out for a table of scores that has a column label."
        ),
    ] = None,
    saw: Saw = None,
    description: Describing = None,
    per_second: PerSecond = 0.0,
    label: DataLabels = None,
    skip_damaged: SkipDamaged = False,
    device: Device = "auto",
) -> None:
    """Test a model on local images by criteria that were written before, and write the record.

    The verdict: accept, accept after recalibration, not accept, or too few to say. Exit code 1
    unless it is one of the first two.
    """
    from cxr_transfer.acceptance.local_images import LocalData
    from cxr_transfer.acceptance.run import AcceptanceTest, run_acceptance
    from cxr_transfer.acceptance.verdict import ACCEPTED
    from cxr_transfer.datasets.findings import read_mapping
    from cxr_transfer.own_folder import lock_folder
    from cxr_transfer.subjects.opening import SubjectOptions
    from cxr_transfer.training.device import resolve_device

    local = LocalData(data, read_mapping(label or ()), saw, skip_damaged)
    options = SubjectOptions(resolve_device(device), description, per_second)
    asked = AcceptanceTest(subject, criteria, local, options)
    with lock_folder(out), phases() as tell_phase:
        record = run_acceptance(asked, out, log=log, progress=tell_phase)
    tell(f"{record['verdict']}\n" + "\n".join(f"* {line}" for line in record["reasons"]))
    log(f"record: {out / 'acceptance.json'}, SHA-256 {record['sha256']}")
    log(f"page: {out / 'acceptance.html'}")
    log(f"next: {program()} accept verify {shlex.quote(str(out / 'acceptance.json'))}")
    if record["verdict"] not in ACCEPTED:
        raise typer.Exit(1)


def accept_verify(
    record: Annotated[Path, typer.Argument(help="acceptance.json, or its folder.")],
) -> None:
    """Say whether a record, and the files beside it, are as they were written.

    Exit code 1 where something is changed. Whoever changes a record can compute its hash anew:
    compare the hash with the one that you wrote down.
    """
    from cxr_transfer.acceptance.record import verify

    found = verify(record)
    tell("unchanged" if found["unchanged"] else "changed")
    for line in found["changed"]:
        tell(f"* {line}")
    log(f"SHA-256 {found['sha256']}")
    if not found["unchanged"]:
        raise typer.Exit(1)


def accept_monitor(
    answers: Annotated[
        list[Path],
        typer.Argument(help="Tables that 'cxr predict' wrote (.csv, .jsonl), or folders of them."),
    ],
    reference: Annotated[
        Path,
        typer.Option(help="acceptance.json; or a run folder, whose validation part then counts."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the page, the numbers and metrics.prom.")],
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="First day of the first week. Default: the first."),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Last day that counts. Default: yesterday."),
    ] = None,
    outcomes: Annotated[
        Path | None,
        typer.Option(help="Table (.csv: file,label[,date]) of what images turned out to be."),
    ] = None,
    positive: Annotated[
        list[str] | None,
        typer.Option(help="With a run folder: class that is looked for. May be repeated."),
    ] = None,
    false_alarms: Annotated[
        float,
        typer.Option(
            help="Probability of any false alarm of drift in a year, and of any of performance."
        ),
    ] = 0.05,
    baseline_weeks: Annotated[
        int,
        typer.Option(
            min=0,
            max=52,
            help="First weeks with which later ones are compared, in place of the reference: where "
            "the tested images have other shares of classes than those of every day.",
        ),
    ] = 0,
) -> None:
    """Watch answers that were kept: drift week by week, and the promise as outcomes come.

    Exit code 1 where a test alarms.
    """
    from cxr_transfer.acceptance.monitor import Watch, watch_answers
    from cxr_transfer.own_folder import lock_folder

    watch = Watch(
        answers=tuple(answers),
        reference=reference,
        since=since.date() if since else None,
        until=until.date() if until else None,
        outcomes=outcomes,
        positive=tuple(positive or ()),
        false_alarms=false_alarms,
        baseline_weeks=baseline_weeks,
    )
    with lock_folder(out):
        content = watch_answers(watch, out, log=log)
    over = sum(week["is_over"] for week in content["weeks"])
    tell(f"{content['answers']} answers, {over} whole weeks, {len(content['alarms'])} alarms")
    for line in content["alarms"]:
        tell(f"* {line}")
    log(f"page: {out / 'monitor.html'}, metrics: {out / 'metrics.prom'}")
    if content["alarms"]:
        raise typer.Exit(1)
