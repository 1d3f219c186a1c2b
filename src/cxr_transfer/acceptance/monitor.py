"""The watch after an acceptance test: week by week, and outcome by outcome.

Order: answers that were kept -> weeks from a day on -> of each whole week, are scores, abstentions
and refusals as they were? -> outcomes that came later: is the promise still kept? -> alarms, each
with a stated false-alarm rate -> page, JSON, metrics.

Drift: a week is tested once it is over, so that looking more often changes nothing. The rate of a
year is shared by its 52 weeks and the three signals. Performance: see `statistics.sequential`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from cxr_transfer import provenance
from cxr_transfer.about import INTENDED_USE
from cxr_transfer.acceptance.answers import (
    ERROR,
    OK,
    REFUSED,
    Answer,
    Answers,
    Outcome,
    read_answers,
    read_outcomes,
)
from cxr_transfer.acceptance.monitor_report import write_monitor
from cxr_transfer.acceptance.watched import Watched, open_watched
from cxr_transfer.errors import DataError, Notice, UsageError
from cxr_transfer.statistics.exact import clopper_pearson
from cxr_transfer.statistics.sequential import (
    evidence_against,
    scores_changed,
    share_changed,
    stability_index,
)
from cxr_transfer.statistics.temperature import as_given
from cxr_transfer.text import for_terminal
from cxr_transfer.training.settings import check_settings

Log = Callable[[str], None]

SIGNALS = ("scores", "without_answer", "refused")
WEEKS = 52
"""Weeks over which the false-alarm rate of drift is spread."""

_MOST_WEEKS = 20 * WEEKS

FALSE_ALARMS = 0.05
"""Probability of any false alarm of drift in a year; and of any of performance, for ever."""


@dataclass(frozen=True)
class Watch:
    """What is watched.

    Attributes:
        answers: Tables of answers, or folders of them.
        reference: Record of an acceptance test, or run folder.
        since: First day of the first week; None is the day of the first answer.
        until: Last day that counts; None is today.
        outcomes: Table of what images turned out to be; None for none.
        positive: Classes that are looked for, where the reference is a run folder.
        false_alarms: False-alarm rate, as `FALSE_ALARMS`.
        baseline_weeks: Number of first weeks with which later ones are compared in place of the
            reference: the images of a test need not have the shares of classes of every day.
    """

    answers: tuple[Path, ...]
    reference: Path
    since: date | None = None
    until: date | None = None
    outcomes: Path | None = None
    positive: tuple[str, ...] = ()
    false_alarms: float = FALSE_ALARMS
    baseline_weeks: int = 0


def watch_answers(watch: Watch, out: Path, *, log: Log = lambda line: None) -> dict[str, Any]:
    """Compare answers with what was accepted, and write the page.

    Args:
        watch: What is watched.
        out: Folder, owned by the caller (`own_folder.lock_folder`).
        log: Function that is told what is left out.

    Returns:
        The content of ``out/monitor.json``.

    Raises:
        UsageError: ``bad_rate``, ``bad_days``, ``no_promise``, ``other_run``.
        DataError: ``other_model``, ``no_answers``; what `read_answers` and `read_outcomes` raise.
    """
    if not 0 < watch.false_alarms < 1:
        raise UsageError(
            "bad_rate",
            f"Expected a false-alarm rate between 0 and 1, but got {watch.false_alarms}; 0.05 is "
            "usual.",
        )
    reference = open_watched(watch.reference, watch.positive)
    if watch.outcomes is not None and reference.threshold is None:
        raise UsageError(
            "no_promise",
            "Expected the record of an acceptance test as --reference for --outcomes, since a run "
            "folder promises no sensitivity; give acceptance.json.",
        )
    every = read_answers(watch.answers, reference.positive, reference.weights)
    answers = _in_days(every, watch)
    _check_model(answers, reference, log)
    since = watch.since or answers.rows[0].day
    # Today is not over yet.
    last = watch.until or datetime.now(UTC).date() - timedelta(days=1)
    if (answers.rows[-1].day - since).days > 7 * _MOST_WEEKS:
        raise UsageError(
            "bad_days",
            f"Expected answers of at most {_MOST_WEEKS} weeks, but they reach from {since} to "
            f"{answers.rows[-1].day}; give a later --since, or mend the days.",
        )
    check_settings(out, {"monitor_of": reference.sha256})
    _tell(every, log)
    if watch.baseline_weeks:
        reference = _with_baseline(reference, answers.rows, since, watch.baseline_weeks)
    weeks = _weeks(answers.rows, reference, since, last)
    _test(weeks, watch.false_alarms, watch.baseline_weeks)
    performance = None
    if watch.outcomes is not None:
        outcomes, left = read_outcomes(
            watch.outcomes, answers, reference.positive, reference.labels
        )
        performance = _performance(outcomes, reference, watch.false_alarms) | {"left_out": left}
    content = {
        "kind": "watch",
        "intended_use": INTENDED_USE,
        "reference": {"name": reference.name, "sha256": reference.sha256},
        "positive": list(reference.positive),
        "threshold": reference.threshold,
        "since": since.isoformat(),
        "until": last.isoformat(),
        "answers": len(answers.rows),
        "repeated_rows": every.repeated,
        "rows_of_other_networks": every.of_others,
        "rows_cut_off": every.cut_off,
        "false_alarms": watch.false_alarms,
        "baseline_weeks": watch.baseline_weeks,
        "weeks": weeks,
        "performance": performance,
        "alarms": _alarms(weeks, performance),
        "commit": provenance.commit(),
        "time": provenance.now(),
        "versions": provenance.versions(),
    }
    write_monitor(out, content)
    return content


def _tell(every: Answers, log: Log) -> None:
    """Say where days are from, and what does not count."""
    for source, number in every.days_from.items():
        log(f"{number} answers have their day from {source}")
    if every.of_others:
        log(Notice(f"{every.of_others} answers are of other networks and do not count"))
    if every.cut_off:
        log(Notice(f"{every.cut_off} lines are cut off and do not count: a server was killed"))


def _in_days(every: Answers, watch: Watch) -> Answers:
    """Return the answers from the first to the last day.

    Raises:
        UsageError: ``bad_days``.
        DataError: ``no_answers``.
    """
    first, last = watch.since or date.min, watch.until or date.max
    if first > last:
        raise UsageError(
            "bad_days",
            f"Expected --until after --since, but {last} lies before {first}; swap them.",
        )
    rows = tuple(row for row in every.rows if first <= row.day <= last)
    if not rows:
        days = f"{every.rows[0].day} to {every.rows[-1].day}"
        raise DataError(
            "no_answers",
            f"Expected answers from {first} on, but those that there are lie from {days}; give "
            "another --since.",
        )
    return replace(every, rows=rows)


def _with_baseline(reference: Watched, rows: Sequence[Answer], since: date, weeks: int) -> Watched:
    """Return a reference whose scores and shares are those of the first weeks.

    Raises:
        DataError: ``no_answers`` where these weeks have none.
    """
    end = since + timedelta(days=7 * weeks)
    read = [row for row in rows if row.day < end and row.status != ERROR]
    if not read:
        raise DataError(
            "no_answers",
            f"Expected answers from {since} to before {end} to compare later ones with, but there "
            "are none; give another --since.",
        )
    return replace(
        reference,
        scores=np.array([row.score for row in read if row.score is not None], dtype=np.float64),
        images=len(read),
        without_answer=sum(row.status != OK for row in read),
        refused=sum(map(_is_refused, read)),
    )


def _check_model(answers: Answers, reference: Watched, log: Log) -> None:
    """Refuse answers of another model than the one that was accepted.

    Raises:
        DataError: ``other_model``.
    """
    names = {row.model for row in answers.rows if row.model}
    known = {digest[:12] for digest in reference.weights}
    others = sorted(name for name in names if known and name.rpartition(" ")[2] not in known)
    if others:
        raise DataError(
            "other_model",
            f"Expected answers of the model of {reference.name}, but some are of "
            f"{for_terminal(others[0])}; test that model for acceptance first.",
        )
    if len(names) > 1 or not (known and names):
        log(Notice("whether all answers are of the model that was accepted is not known"))


def _weeks(
    rows: Sequence[Answer], reference: Watched, since: date, last: date
) -> list[dict[str, Any]]:
    """Return figures and p-values of each week; a week that is not over is not tested."""
    numbers = np.array([(row.day - since).days // 7 for row in rows])
    weeks: list[dict[str, Any]] = []
    before: list[Answer] = []
    for number in range(int(numbers.max()) + 1):
        part = [rows[place] for place in np.flatnonzero(numbers == number).tolist()]
        first = since + timedelta(days=7 * number)
        read = [row for row in part if row.status != ERROR]
        counts = {
            "without_answer": sum(row.status != OK for row in read),
            "refused": sum(row.status == REFUSED for row in read),
        }
        scores = np.array([row.score for row in read if row.score is not None])
        week = {
            "from": first.isoformat(),
            "to": (first + timedelta(days=6)).isoformat(),
            "is_over": first + timedelta(days=6) <= last,
            "images": len(read),
            "unreadable": len(part) - len(read),
            "scored": len(scores),
            **{
                name: clopper_pearson(value, len(read)).as_dict() | {"images": value}
                for name, value in counts.items()
            },
            "stability_index": _or_none(stability_index(scores, reference.scores)),
            "mean_score": _or_none(float(scores.mean()) if len(scores) else math.nan),
            "p": {"scores": scores_changed(scores, reference.scores)}
            | {
                name: _p_of_share(name, value, len(read), reference, before)
                for name, value in counts.items()
            },
        }
        weeks.append(week)
        before += read
    return weeks


def _p_of_share(
    name: str, value: int, images: int, reference: Watched, before: Sequence[Answer]
) -> float:
    """Return the p-value that a share is that of the reference; else of the weeks before."""
    accepted = reference.without_answer if name == "without_answer" else reference.refused
    if accepted is not None and reference.images:
        return share_changed(value, images, accepted, reference.images)
    wanted = (lambda row: row.status != OK) if name == "without_answer" else _is_refused
    return share_changed(value, images, sum(map(wanted, before)), len(before))


def _is_refused(row: Answer) -> bool:
    return row.status == REFUSED


def _test(weeks: Sequence[dict[str, Any]], false_alarms: float, baseline_weeks: int) -> None:
    """Say of each week that is over, and is none of the baseline, which signals alarm."""
    limit = false_alarms / (WEEKS * len(SIGNALS))
    for number, week in enumerate(weeks):
        week["is_baseline"] = number < baseline_weeks
        is_tested = week["is_over"] and not week["is_baseline"]
        week["alarms"] = [name for name in SIGNALS if is_tested and week["p"][name] <= limit]


def _performance(
    outcomes: Sequence[Outcome], reference: Watched, false_alarms: float
) -> dict[str, Any]:
    """Return sensitivity and specificity so far, and the evidence against the promise."""
    assert reference.threshold is not None, "it was asked for"
    answered = [outcome for outcome in outcomes if outcome.answer.status == OK]
    scores = as_given(np.array([outcome.answer.score for outcome in answered], dtype=np.float64))
    called = scores >= reference.threshold
    positive = np.array([outcome.is_positive for outcome in answered], dtype=np.bool_)
    limit = len(reference.floors) / false_alarms
    figures: dict[str, Any] = {}
    for name, rows, hits in (
        ("sensitivity", positive, called),
        ("specificity", ~positive, ~called),
    ):
        part = hits[rows]
        figure: dict[str, Any] = {
            **clopper_pearson(int(part.sum()), len(part)).as_dict(),
            "hits": int(part.sum()),
            "images": len(part),
        }
        if name in reference.floors:
            evidence = evidence_against(part, reference.floors[name])
            reached = np.flatnonzero(evidence >= limit)
            days = [outcome.day for outcome, is_in in zip(answered, rows, strict=True) if is_in]
            figure |= {
                "promised": reference.floors[name],
                "evidence": float(evidence.max()) if len(evidence) else 1.0,
                "limit": limit,
                "alarm": bool(len(reached)),
                "alarm_day": days[reached[0]].isoformat() if len(reached) else None,
            }
        figures[name] = figure
    return {**figures, "outcomes": len(outcomes), "without_answer": len(outcomes) - len(answered)}


def _alarms(weeks: Sequence[Mapping[str, Any]], performance: Mapping[str, Any] | None) -> list[str]:
    """Return a sentence for each alarm."""
    words = {
        "scores": "the scores are distributed otherwise",
        "without_answer": "another share of images gets no answer",
        "refused": "another share of images is refused by quality control",
    }
    lines = [
        f"Week from {week['from']}: {words[name]} (p = {week['p'][name]:.2g})."
        for week in weeks
        for name in week["alarms"]
    ]
    for name in ("sensitivity", "specificity"):
        figure = performance[name] if performance else {}
        if figure.get("alarm"):
            lines.append(
                f"Since {figure['alarm_day']}: the {name} lies below {100 * figure['promised']:.1f}"
                f" % (evidence {figure['evidence']:.3g}, alarm at {figure['limit']:.3g}); so far "
                f"{figure['hits']} of {figure['images']}."
            )
    return lines


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
