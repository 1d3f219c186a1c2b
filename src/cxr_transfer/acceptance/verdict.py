"""Figures beside criteria: what is met, what is not, what the images are too few to say.

In come figures as plain dicts; out go `Finding`s, each with a sentence, and one verdict. Measures
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from cxr_transfer.acceptance.criteria import Criteria, PromisedShare
from cxr_transfer.statistics.recalibration import FEWEST
from cxr_transfer.statistics.sample_size import POWERS, images_needed
from cxr_transfer.text import for_terminal

State = Literal["met", "not met", "too few to say"]
MET: State = "met"
NOT_MET: State = "not met"
TOO_FEW: Literal["too few to say"] = "too few to say"

Verdict = Literal["accept", "accept after recalibration", "not accept", "too few to say"]
ACCEPTED: tuple[Verdict, ...] = ("accept", "accept after recalibration")


@dataclass(frozen=True)
class Finding:
    """What the figures say of one criterion.

    Attributes:
        criterion: Name of the criterion.
        state: Whether it is met.
        sentence: What was measured, and why that is so.
    """

    criterion: str
    state: State
    sentence: str

    def as_dict(self) -> dict[str, str]:
        """Return it for JSON."""
        return asdict(self)


def findings(figures: Mapping[str, Any], criteria: Criteria) -> list[Finding]:
    """Return what figures at one threshold say of each criterion.

    Args:
        figures: ``sensitivity``, ``specificity``, ``calibration``, ``abstention`` and ``groups``,
            as `measured` makes them.
        criteria: What is asked for.
    """
    found = [_promised("sensitivity", "positives", figures["sensitivity"], criteria.sensitivity)]
    if criteria.specificity:
        found.append(
            _promised("specificity", "others", figures["specificity"], criteria.specificity)
        )
    if criteria.abstention:
        found.append(_abstention(figures["abstention"], criteria.abstention.maximum))
    if criteria.calibration:
        found.append(_calibration(figures["calibration"], criteria.calibration.maximum_error))
    if criteria.subgroups:
        found.append(_groups(figures["groups"], criteria.subgroups.minimum_sensitivity))
    return found


def verdict_of(
    as_it_is: Sequence[Finding], recalibrated: Sequence[Finding] | None
) -> tuple[Verdict, list[str]]:
    """Return the verdict and the sentences that decide it.

    Args:
        as_it_is: Findings at the transported threshold, with scores as they are given.
        recalibrated: Findings with the local threshold and recalibrated scores, of images that had
            no part in either; None where the images are too few to recalibrate on.
    """
    if all(finding.state == MET for finding in as_it_is):
        return "accept", [finding.sentence for finding in as_it_is]
    short = [finding.sentence for finding in as_it_is if finding.state != MET]
    if recalibrated is None:
        failed = [finding.sentence for finding in as_it_is if finding.state == NOT_MET]
        reason = "There are too few images to recalibrate on."
        return ("not accept", [*failed, reason]) if failed else (TOO_FEW, [*short, reason])
    if all(finding.state == MET for finding in recalibrated):
        after = [f"After recalibration: {finding.sentence}" for finding in recalibrated]
        return "accept after recalibration", [*(f"As it is: {line}" for line in short), *after]
    failed = [finding.sentence for finding in recalibrated if finding.state == NOT_MET]
    if failed:
        return "not accept", [f"Even after recalibration: {line}" for line in failed]
    undecided = [finding.sentence for finding in recalibrated if finding.state == TOO_FEW]
    before = [f"As it is: {line}" for line in short]
    return TOO_FEW, [*before, *(f"After recalibration: {line}" for line in undecided)]


def _promised(name: str, kind: str, figure: Mapping[str, Any], asked: PromisedShare) -> Finding:
    floor = f"{100 * asked.floor:.1f} %"
    if figure["value"] is None:
        return Finding(name, TOO_FEW, f"The {name} is not known: there is no image of the {kind}.")
    measured = (
        f"The {name} is {100 * figure['value']:.1f} % ({figure['hits']} of {figure['images']} "
        f"{kind})"
    )
    low, high = figure["lower_bound"], figure["upper_bound"]
    if low > asked.floor:
        why = f"its lower bound of {100 * low:.1f} % lies above {floor}"
        return Finding(name, MET, f"{measured}; {why}.")
    if high < asked.floor:
        why = f"even its upper bound of {100 * high:.1f} % lies below {floor}"
        return Finding(name, NOT_MET, f"{measured}; {why}.")
    needed = images_needed(asked.minimum, asked.margin, POWERS[0]).images
    why = (
        f"between its bounds of {100 * low:.1f} % and {100 * high:.1f} % lies {floor}; {needed} "
        f"{kind} show a true {100 * asked.minimum:.0f} % in {100 * POWERS[0]:.0f} % of tests"
    )
    return Finding(name, TOO_FEW, f"{measured}; {why}.")


def _abstention(figure: Mapping[str, Any], maximum: float) -> Finding:
    measured = (
        f"{100 * figure['value']:.1f} % of the images ({figure['hits']} of {figure['images']}) get "
        f"no answer, and {100 * maximum:.1f} % may"
    )
    if figure["value"] <= maximum:
        return Finding("abstention", MET, f"{measured}.")
    if figure["lower_bound"] > maximum:
        return Finding("abstention", NOT_MET, f"{measured}; no chance explains that.")
    return Finding("abstention", TOO_FEW, f"{measured}; chance may explain that.")


def _calibration(figure: Mapping[str, Any] | None, maximum: float) -> Finding:
    if figure is None or figure["fewer_kind"] < FEWEST:
        kinds = f"it takes at least {FEWEST} positives and {FEWEST} others"
        return Finding("calibration", TOO_FEW, f"The calibration error is not known: {kinds}.")
    measured = (
        f"The calibration error is {100 * figure['error']:.1f} points, of which chance gives "
        f"{100 * figure['by_chance']:.1f}; {100 * maximum:.1f} beyond that are allowed"
    )
    if figure["beyond_chance"] <= maximum:
        return Finding("calibration", MET, f"{measured}.")
    if figure["lower_bound"] > maximum:
        return Finding("calibration", NOT_MET, f"{measured}; no chance explains the rest.")
    return Finding("calibration", TOO_FEW, f"{measured}; chance may explain the rest.")


def _groups(groups: Mapping[str, Sequence[Mapping[str, Any]]], minimum: float) -> Finding:
    judged = [
        (column, group) for column, rows in groups.items() for group in rows if group["is_judged"]
    ]
    few = sum(len(rows) for rows in groups.values()) - len(judged)
    aside = f" {few} groups have too few positives to be judged." if few else ""
    low = [
        f"{for_terminal(column)} {for_terminal(str(group['group']))} "
        f"({100 * group['sensitivity']['value']:.1f} %)"
        for column, group in judged
        if group["sensitivity"]["upper_bound"] < minimum
    ]
    limit = f"{100 * minimum:.0f} %"
    if low:
        sentence = f"The sensitivity lies below {limit} in: {', '.join(low)}.{aside}"
        return Finding("subgroups", NOT_MET, sentence)
    if not judged:
        return Finding("subgroups", TOO_FEW, "No group has enough positives to be judged.")
    sentence = f"In none of {len(judged)} groups the sensitivity is shown to lie below {limit}."
    return Finding("subgroups", MET, f"{sentence}{aside}")
