"""Labels that join findings: read, renamed finding by finding, counted, and sorted for a split.

In come cases with joined labels (`Edema|Pneumonia?`), perhaps with a column of findings about which
nothing is stated. Out go the same cases with one form of label for one meaning, and numbers.
Nothing is guessed: a finding that is not named is absent, and a missing label says nothing.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.cells import one_spelling
from cxr_transfer.datasets.findings import LEFT_OUT, meanings
from cxr_transfer.errors import DataError, listing
from cxr_transfer.labels import ABSENT, JOINED, MISSING, LabelSet, Stated, stated

NOT_STATED = "not_stated"
"""Column of a table: the findings, joined, of which nothing is said for an image."""


@dataclass(frozen=True)
class FindingCases:
    """Cases whose labels join findings, each in one form.

    Attributes:
        cases: Cases in their order.
        names: Findings that stand in a label, in the alphabet's order.
        notices: Lines for a person on how the labels were read.
    """

    cases: tuple[Case, ...]
    names: tuple[str, ...]
    notices: tuple[str, ...]


def as_findings(
    cases: Sequence[Case],
    mapping: Mapping[str, str],
    *,
    table: Mapping[str, str] | None = None,
    labels: LabelSet | None = None,
) -> FindingCases:
    """Return cases whose labels are read as findings.

    Args:
        cases: Cases with labels of findings, joined where there are several.
        mapping: Finding to the one that it counts as, or to "" where it is not asked for: the words
            of a person on these very cases.
        table: Further findings of that form, whether cases have them or not.
        labels: Findings of a network. The mapping names them alone, and a name that differs from
            one in case or spaces alone is that one. None allows any.

    Raises:
        UsageError: ``unused_option`` or ``bad_label``, as `relabelled`.
    """
    statements = [_stated(case) for case in cases]
    named = [name for statement in statements for name in sorted(statement.names)]
    spelled, merged = one_spelling(named, "findings", preferred=labels or ())
    spelling = dict(zip(named, spelled, strict=True))
    present = Counter(spelled)
    meant = meanings(present, mapping, table=table, classes=labels)
    counts_as = {name: name if to is None else to for name, to in meant.items()}
    meaning = {name: counts_as[spelling[name]] for name in spelling}
    renamed_statements = [_renamed(restated, meaning) for restated in statements]
    renamed = [f"{name} counts as {to}" for name, to in counts_as.items() if to not in ("", name)]
    left_out = {name: present[name] for name, to in counts_as.items() if to == LEFT_OUT}
    notices = [*merged, *([f"findings: {listing(renamed)}"] if renamed else [])]
    if left_out:
        counted = listing(f"{name} ({number} images)" for name, number in left_out.items())
        notices.append(f"findings that are not asked for: {counted}; their images stay")
    return FindingCases(
        cases=tuple(
            dataclasses.replace(
                case,
                label=restated.label,
                finding=case.finding or case.label,
                extra=tuple(pair for pair in case.extra if pair[0].lower() != NOT_STATED),
            )
            for case, restated in zip(cases, renamed_statements, strict=True)
        ),
        names=tuple(sorted({name for restated in renamed_statements for name in restated.names})),
        notices=tuple(notices),
    )


def unknown_findings(labels: LabelSet, cases: Sequence[Case]) -> list[str]:
    """Return the line that tells which findings of labels a network does not know.

    Args:
        labels: Findings of the network.
        cases: Cases, as `as_findings` returns them.
    """
    counts = Counter(
        name for case in cases for name in stated(case.label).names if name not in labels
    )
    if not counts:
        return []
    counted = listing(f"{name} ({number} images)" for name, number in counts.most_common())
    return [
        f"the network has no such finding: {counted}; all labels of these images count as missing; "
        "--label NAME= says that a finding is none of the network's"
    ]


def rows_of(labels: LabelSet, cases: Sequence[Case]) -> npt.NDArray[np.int64]:
    """Return the targets (N, F) of N cases: 1 present, 0 absent, -1 missing."""
    row_of_label = {label: labels.row(label) for label in {case.label for case in cases}}
    rows = [row_of_label[case.label] for case in cases]
    return np.array(rows, dtype=np.int64).reshape(len(cases), len(labels))


def finding_counts(findings: FindingCases) -> dict[str, dict[str, int]]:
    """Return how many images have each finding, are known to be without it, or do not say."""
    words = {1: "with it", 0: "without", -1: "missing"}
    statements = [stated(case.label) for case in findings.cases]
    counts = {name: dict.fromkeys(words.values(), 0) for name in findings.names}
    for statement in statements:
        for name in findings.names:
            is_missing = statement.is_silent or name in statement.missing
            value = -1 if is_missing else int(name in statement.present)
            counts[name][words[value]] += 1
    return counts


def strata(labels: LabelSet, cases: Sequence[Case]) -> npt.NDArray[np.int64]:
    """Return a number (N,) by which cases are stratified: their class, or their rarest finding.

    The finding that fewest images have stands for an image with several; images without any are a
    stratum of their own.
    """
    if labels.exclusive:
        return np.array([labels.target(case.label) for case in cases])
    is_present = rows_of(labels, cases) == 1
    rarity = np.where(is_present, is_present.sum(axis=0), len(cases) + 1)
    return np.asarray(np.where(is_present.any(axis=1), rarity.argmin(axis=1), len(labels)))


def groups_by_label(labels: LabelSet, cases: Sequence[Case]) -> dict[str, npt.NDArray[np.bool_]]:
    """Return which cases (N,) make up each group that must not be empty.

    A class is one group. A finding makes two: images with it, and images known to be without it.
    """
    if labels.exclusive:
        written = np.array([case.label for case in cases], dtype=object)
        return {name: np.asarray(written == name, dtype=np.bool_) for name in labels}
    rows = rows_of(labels, cases)
    return {
        words: rows[:, place] == value
        for place, name in enumerate(labels)
        for words, value in ((name, 1), (f"{ABSENT}{name}", 0))
    }


def check_findings(labels: LabelSet, cases: Sequence[Case], where: str) -> None:
    """Refuse findings that all or no images have, and labels that name others.

    Args:
        labels: Findings.
        cases: Cases whose labels join them.
        where: Name of the cases, for the message.

    Raises:
        DataError: ``classes``.
    """
    unknown = sorted({name for case in cases for name in stated(case.label).names} - {*labels})
    rare = [name for name, rows in groups_by_label(labels, cases).items() if not rows.any()]
    if unknown or rare:
        wrong = [f"unknown findings {listing(unknown)}"] if unknown else []
        wrong += [f"no images of {listing(rare)}"] if rare else []
        raise DataError(
            "classes",
            f"Expected images with and without each of {', '.join(labels)} in {where}, but got "
            f"{' and '.join(wrong)}; add images, or leave the finding out (--label FINDING=).",
        )


def present_words(cases: Sequence[Case], most: int) -> list[str]:
    """Return the findings that are present in each case, joined, in at most ``most`` wordings.

    Where there are more, rare ones are written as their number of findings alone.
    """
    statements = [stated(case.label) for case in cases]
    words = [
        statement.label if statement.is_silent else Stated(statement.present, frozenset()).label
        for statement in statements
    ]
    counted = Counter(words)
    if len(counted) <= most:
        return words
    fewest = max(len(statement.present) for statement in statements) + 1
    kept = {word for word, _ in sorted(counted.items(), key=lambda item: (-item[1], item[0]))}
    kept = {*sorted(kept, key=lambda word: (-counted[word], word))[: max(0, most - fewest)]}
    return [
        word if word in kept else f"{len(statement.present)} findings"
        for word, statement in zip(words, statements, strict=True)
    ]


def _stated(case: Case) -> Stated:
    """Return what a case says, its column of what is not stated included."""
    blank = next((text for name, text in case.extra if name.lower() == NOT_STATED), "")
    statement = stated(case.label)
    if not blank:
        return statement
    silent = stated(JOINED.join(f"{name}{MISSING}" for name in blank.split(JOINED)))
    # What the label names itself is said, whatever the column lists.
    return Stated(statement.present, statement.missing | (silent.missing - statement.present))


def _renamed(statement: Stated, meaning: Mapping[str, str]) -> Stated:
    """Return what is said under other names: present wins over missing, missing over absent."""
    present = frozenset(filter(None, (meaning[name] for name in statement.present)))
    missing = frozenset(filter(None, (meaning[name] for name in statement.missing)))
    return Stated(present, missing - present, statement.is_silent)
