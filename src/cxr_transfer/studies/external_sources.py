"""Which sources can be left out of a training and judged: those that hold two classes.

In come cases with labels and sources; out go the sources, and of each other one the reason. Opens
no image and trains nothing.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.splits import MIN_GROUPS
from cxr_transfer.errors import DataError, listing
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.metadata import fingerprint
from cxr_transfer.statistics.external import FEWEST
from cxr_transfer.statistics.subgroups import NOT_STATED
from cxr_transfer.text import for_terminal

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,60}")


@dataclass(frozen=True)
class SourcesToJudge:
    """The sources of a data set by whether they can be left out and judged.

    Attributes:
        judged: Names of sources that can be judged, sorted.
        skipped: Reason why each of the others cannot, by its name, sorted.
    """

    judged: tuple[str, ...]
    skipped: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return a line for each source that is skipped."""
        return [
            f"{for_terminal(source)} is not judged: {why}" for source, why in self.skipped.items()
        ]


def sources_to_judge(
    cases: Sequence[Case],
    labels: LabelSet,
    *,
    is_trained: bool = True,
    has_parts: bool = False,
) -> SourcesToJudge:
    """Return the sources that hold two classes, and of the others why they are skipped.

    Args:
        cases: Images of all sources, of classes of ``labels``.
        labels: Classes of the recipe or model.
        is_trained: Whether networks are to be trained without each source: every class then has to
            keep patients to learn from.
        has_parts: Whether all parts are drawn: each then has to keep every class.

    Raises:
        DataError: ``one_source`` for fewer than two sources; ``no_source_to_leave_out`` where none
            of them can be judged.
    """
    numbers: dict[str, Counter[str]] = defaultdict(Counter)
    for case in cases:
        numbers[case.source][case.label] += 1
    if len(numbers.keys() - {""}) < 2:
        names = ", ".join(for_terminal(source) for source in numbers if source) or "none is stated"
        raise DataError(
            "one_source",
            f"Expected images of at least two sources, but got those of one ({names}); name each "
            "image's source in the manifest's column source, or add images of another.",
        )
    judged, skipped = [], {}
    for source in sorted(numbers):
        why = too_small(source, numbers[source])
        if not why and is_trained:
            why = lacking_without(source, cases, labels, has_parts=has_parts)
        if why:
            skipped[source or NOT_STATED] = why
        else:
            judged.append(source)
    if not judged:
        reasons = listing(f"{for_terminal(source)}: {why}" for source, why in skipped.items())
        raise DataError(
            "no_source_to_leave_out",
            f"Expected a source with at least {FEWEST} images of each of two classes, since only "
            f"within one source a model gains nothing by knowing it, but there is none ({reasons})"
            "; add images of a source that holds two classes.",
        )
    return SourcesToJudge(tuple(judged), skipped)


def too_small(source: str, numbers: Counter[str]) -> str:
    """Return why a source cannot be judged; "" where it can.

    Args:
        source: Name of the source; "" where nobody states it.
        numbers: Number of its images of each class.
    """
    if not source:
        return "nobody says where these images are from"
    if len(numbers) < 2:
        return f"it holds one class only ({next(iter(numbers))})"
    if sum(number >= FEWEST for number in numbers.values()) < 2:
        counts = ", ".join(f"{number} {label}" for label, number in sorted(numbers.items()))
        return f"it holds fewer than {FEWEST} images of its second class ({counts})"
    return ""


def lacking_without(
    source: str, cases: Sequence[Case], labels: LabelSet, *, has_parts: bool
) -> str:
    """Return why nothing can be trained without a source; "" where it can.

    Args:
        source: Name of the source.
        cases: Images of all sources.
        labels: Classes.
        has_parts: Whether all parts are drawn.
    """
    others = [case for case in cases if case.source != source]
    patients: dict[str, set[str]] = defaultdict(set)
    for case in others:
        patients[case.label].add(case.patient)
    few = [label for label in labels if len(patients[label]) < MIN_GROUPS]
    if few:
        return (
            f"without it fewer than {MIN_GROUPS} patients of {', '.join(few)} are left to learn "
            "from"
        )
    for part in ("train", "validation") if has_parts else ():
        present = {case.label for case in others if case.split == part}
        absent = [label for label in labels if label not in present]
        if absent:
            return f"without it no image of {', '.join(absent)} is in the part {part}"
    return ""


def folder_name(source: str) -> str:
    """Return the name of the run folder without a source.

    Names of sources may hold what no folder's name can, and differ in nothing else.

    >>> folder_name("nih")
    'without_nih'
    >>> folder_name("St. Mary's / A")
    'without_st_mary_s_a_7642ed'
    """
    if _PLAIN.fullmatch(source):
        return f"without_{source}"
    slug = re.sub(r"[^a-z0-9]+", "_", source.lower()).strip("_")
    return f"without_{slug[:40]}_{fingerprint(source)[:6]}"
