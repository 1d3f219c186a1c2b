"""Acceptance at one's own place as public functions: plan, test, watch.

Each does what a command of `cxr accept` does, through the same code.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from cxr_transfer.api import Log, PathLike, Report, path_of, subject_of
from cxr_transfer.errors import check_list, check_whole
from cxr_transfer.own_folder import lock_folder


def plan_acceptance(
    sensitivity: float,
    margin: float = 0.05,
    power: float = 0.8,
    *,
    specificity: float | None = None,
    prevalence: float | None = None,
    images_per_patient: float = 1.0,
    correlation: float = 0.5,
    level: float = 0.95,
) -> Report:
    """Return how many local images an acceptance test needs.

    >>> plan_acceptance(0.9, 0.05, 0.8)["positives"]["images"]
    304

    Args:
        sensitivity: Sensitivity that is promised, and taken for the true one.
        margin: Amount below the promise that is still acceptable.
        power: Probability of showing it where the promise is true.
        specificity: Specificity that is promised; None asks for none.
        prevalence: Share of positives among consecutive images; None where it is not known.
        images_per_patient: Mean number of images of a kind that a patient has.
        correlation: Correlation of hits within a patient, where patients have several images.
        level: Confidence level of the one-sided exact bound.

    Returns:
        The numbers of `cxr accept plan --json`; as a table, a row for each margin.

    Raises:
        UsageError: ``bad_promise``, ``bad_margin``, ``bad_power``, ``level``, ``prevalence``,
            ``images_per_patient``, ``correlation``.
    """
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
    return Report(plan, "\n".join(plan_lines(plan)), plan["table"], None)


def accept(
    subject: PathLike,
    data: PathLike | None,
    *,
    criteria: PathLike,
    out: PathLike,
    labels: Mapping[str, str] | None = None,
    saw: PathLike | None = None,
    description: PathLike | None = None,
    skip_damaged: bool = False,
    device: str = "auto",
    log: Log = lambda line: None,
) -> Report:
    """Test a model on local images by criteria that were written before, and write the record.

    Args:
        subject: Run folder, checkpoint, exported ``.xml`` or ``.onnx``, "released:NAME", or a table
            of scores (.csv).
        data: Local images: manifest (.csv), folder with a sub-folder per class, or archives; None
            where a table of scores has the labels itself.
        criteria: Path of the criteria (.toml).
        out: Folder of the record, made where it is absent.
        labels: Label of the data to class; "" as a class leaves its images out.
        saw: Table (.csv) of images that the model was trained on; they are left out.
        description: Description (.toml) of a model of another tool; None looks beside its file.
        skip_damaged: Whether to leave out files that cannot be read.
        device: Device: "auto", "cpu", "cuda" or "mps".
        log: Function that is told what happens, a line at a time.

    Returns:
        The content of ``acceptance.json``; as a table, a row for each criterion, as it is and after
        recalibration.

    Raises:
        TypeError: An argument is of another type.
        CxrError: What `cxr accept run` says; see its codes.
    """
    from cxr_transfer.acceptance.local_images import LocalData
    from cxr_transfer.acceptance.run import AcceptanceTest, run_acceptance
    from cxr_transfer.subjects.opening import SubjectOptions
    from cxr_transfer.training.device import resolve_device

    given = LocalData(
        None if data is None else path_of(data, "data"),
        labels or {},
        None if saw is None else path_of(saw, "saw"),
        skip_damaged,
    )
    told = None if description is None else path_of(description, "description")
    asked = AcceptanceTest(
        subject_of(subject, "subject"),
        path_of(criteria, "criteria"),
        given,
        SubjectOptions(resolve_device(device), told),
    )
    folder = path_of(out, "out")
    with lock_folder(folder):
        record = run_acceptance(asked, folder, log=log)
    parts = [("as it is", record["as_it_is"]), ("after recalibration", record["recalibrated"])]
    rows = [{"which": which, **row} for which, part in parts if part for row in part["findings"]]
    text = "\n".join([f"**{record['verdict']}**", "", *(f"* {line}" for line in record["reasons"])])
    return Report(record, text, rows, folder)


def monitor(
    answers: Sequence[PathLike],
    reference: PathLike,
    *,
    out: PathLike,
    since: datetime.date | None = None,
    until: datetime.date | None = None,
    outcomes: PathLike | None = None,
    positive: Sequence[str] = (),
    false_alarms: float = 0.05,
    baseline_weeks: int = 0,
    log: Log = lambda line: None,
) -> Report:
    """Watch answers that were kept: drift week by week, and the promise as outcomes come.

    Args:
        answers: Tables that `cxr predict` wrote (.csv, .jsonl), or folders of them.
        reference: ``acceptance.json``; or a run folder, whose validation part then counts.
        out: Folder of the page, made where it is absent.
        since: First day of the first week; None is the day of the first answer.
        until: Last day that counts; None is yesterday.
        outcomes: Table (.csv: ``file,label``) of what images turned out to be.
        positive: Classes that are looked for, with a run folder.
        false_alarms: Probability of any false alarm of drift in a year, and of any of performance.
        baseline_weeks: Number of first weeks with which later ones are compared in place of the
            reference.
        log: Function that is told what happens, a line at a time.

    Returns:
        The content of ``monitor.json``; as a table, a row for each week.

    Raises:
        TypeError: An argument is of another type.
        CxrError: What `cxr accept monitor` says; see its codes.
    """
    from cxr_transfer.acceptance.monitor import Watch, watch_answers

    check_list(answers, "paths")
    check_list(positive, "classes")
    check_whole(baseline_weeks, "baseline_weeks")
    watch = Watch(
        answers=tuple(path_of(path, "answers") for path in answers),
        reference=path_of(reference, "reference"),
        since=since,
        until=until,
        outcomes=None if outcomes is None else path_of(outcomes, "outcomes"),
        positive=tuple(positive),
        false_alarms=false_alarms,
        baseline_weeks=baseline_weeks,
    )
    folder = path_of(out, "out")
    with lock_folder(folder):
        content = watch_answers(watch, folder, log=log)
    text = "\n".join(f"* {line}" for line in content["alarms"]) or "No alarm."
    return Report(content, text, [_week_row(week) for week in content["weeks"]], folder)


def _week_row(week: Mapping[str, Any]) -> dict[str, Any]:
    """Return a week in one row."""
    plain = {name: value for name, value in week.items() if not isinstance(value, dict | list)}
    shares = {name: week[name]["value"] for name in ("without_answer", "refused")}
    return plain | shares | {f"p_{name}": value for name, value in week["p"].items()}
