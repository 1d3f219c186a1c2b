"""What a finding counts as among the classes of ``multi_source``, and labels renamed by a person.

In come cases under whatever labels they have; out go the same cases under the classes that are
trained on, and how many of each label belong to none. No finding has a class by default: one that
stands neither in the table nor in the person's own mapping is refused.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.cells import spelling_key
from cxr_transfer.errors import LISTED, DataError, UsageError, listing
from cxr_transfer.labels import MULTI_SOURCE, LabelSet

LEFT_OUT = ""
"""Stands for a class where a finding belongs to none."""

ANY = "*"
"""Stands in a mapping for any letters of a label: ``*`` alone is every label not named."""

_NORMAL = ("normal", "no finding")
_COVID19 = ("covid19", "covid-19")
# What Cohen et al. have, in June 2020 and later, and what the other collections call a pneumonia.
# Pneumonia is an inflammation of the lung's tissue, infectious or (lipoid, aspiration) not; the
# names of germs stand for the pneumonias that they caused.
_OTHER_PNEUMONIA = (
    "other_pneumonia",
    "pneumonia",
    *("bacterial", "viral", "fungal", "lipoid", "aspiration"),
    *("chlamydophila", "e.coli", "klebsiella", "legionella", "nocardia"),
    *("mycoplasma", "mycoplasma bacterial pneumonia", "streptococcus", "staphylococcus", "mrsa"),
    *("sars", "mers-cov", "influenza", "h1n1", "varicella", "herpes"),
    *("pneumocystis", "aspergillosis"),
)
_NONE_OF_THEM = (
    # The collection does not know yet.
    *("unknown", "todo"),
    # A syndrome with many causes, of which pneumonia is one.
    "ards",
    # An infection, but of another picture: nodules, cavities, miliary patterns, old scars.
    "tuberculosis",
    # As Valencia's readers use the word: an effusion, nodules, a pneumothorax, a lobar pneumonia.
    "atypical",
)

FINDINGS: Mapping[str, str] = {
    **dict.fromkeys(_NORMAL, "normal"),
    **dict.fromkeys(_OTHER_PNEUMONIA, "other_pneumonia"),
    **dict.fromkeys(_COVID19, "covid19"),
    **dict.fromkeys(_NONE_OF_THEM, LEFT_OUT),
}
"""Finding, in lower case, to class of `MULTI_SOURCE`; to `LEFT_OUT` where it belongs to none."""


@dataclass(frozen=True)
class Relabelled:
    """Cases under the classes that are trained on.

    Attributes:
        cases: Cases that belong to a class, in their order.
        left_out: Label to number of cases that belong to no class, most frequent first.
        renamed: Label and class to number of cases whose label was another word for the class.
        excluded: Cases that belong to no class, in their order.
    """

    cases: tuple[Case, ...]
    left_out: dict[str, int]
    renamed: dict[tuple[str, str], int]
    excluded: tuple[Case, ...] = ()

    def lines(self) -> list[str]:
        """Return what a person has to know: what counts as what, and what is left out."""
        renamings = [
            f"{label} counts as {name} ({_images(n)})" for (label, name), n in self.renamed.items()
        ]
        return [
            *([f"labels: {listing(renamings)}"] if renamings else []),
            *left_out_lines(self.left_out),
        ]


def counts_as(label: str, table: Mapping[str, str]) -> str | None:
    """Return what a table says that a label counts as; None where it says nothing of it.

    A row names a label, or many with "*" for any letters. A label that is named itself counts as
    that row says; of several patterns the one with most letters counts.

    Args:
        label: A label, in any spelling.
        table: Label or pattern, in the form of `spelling_key`, to class or `LEFT_OUT`.

    >>> table = {"no finding": "normal", "*pneumonia*": "sick", "*": ""}
    >>> [counts_as(label, table) for label in ("No Finding", "Edema|Pneumonia", "Edema")]
    ['normal', 'sick', '']
    """
    key = spelling_key(label)
    if key in table:
        return table[key]
    fitting = [row for row in table if ANY in row and _pattern(row).fullmatch(key)]
    # By letters and not by order: tables are joined, and read from files.
    return table[max(fitting, key=lambda row: (len(row), row))] if fitting else None


@functools.cache
def _pattern(row: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, row.split(ANY))), re.DOTALL)


def left_out_lines(left_out: Mapping[str, int]) -> list[str]:
    """Return the line that tells how many images belong to no class; none where all belong to one.

    >>> left_out_lines({"atypical": 380, "unknown": 28})
    ['left out, since they belong to none of the classes: 380 images of atypical, 28 of unknown']
    """
    if not left_out:
        return []
    return [f"left out, since they belong to none of the classes: {_numbered(left_out)}"]


def unknown_lines(labels: Iterable[str]) -> list[str]:
    """Return the line that tells which labels a network has no class for; none without any.

    >>> unknown_lines(["atypical", "sars", "atypical"])[0][:74]
    'the network has no such class: 2 images of atypical, 1 of sars; they are s'
    """
    counts = dict(Counter(labels).most_common())
    if not counts:
        return []
    return [
        f"the network has no such class: {_numbered(counts)}; they are scored, and take no part in "
        "the figures; --label says what they count as"
    ]


def _numbered(counts: Mapping[str, int]) -> str:
    (label, n), *others = counts.items()
    phrases = [f"{_images(n)} of {label}", *(f"{m} of {other}" for other, m in others)]
    unlisted = phrases[LISTED:]
    unlisted_images = sum(m for _, m in others[LISTED - 1 :])
    return ", ".join(phrases[:LISTED]) + (
        f" and {unlisted_images} of {len(unlisted)} more labels" if unlisted else ""
    )


def _images(number: int) -> str:
    return "1 image" if number == 1 else f"{number} images"


def read_mapping(texts: Sequence[str]) -> dict[str, str]:
    """Read what a person types: ``pneumothorax=normal``, or ``atypical=`` to leave it out.

    Args:
        texts: Mappings ``LABEL=CLASS``, one for each label; "*" stands for any letters.

    Returns:
        Label to class, or to `LEFT_OUT`.

    Raises:
        UsageError: ``bad_label`` when one is not of this form, or a label has two classes.

    >>> read_mapping(["pneumothorax=normal", "atypical="])
    {'pneumothorax': 'normal', 'atypical': ''}
    """
    mapping: dict[str, str] = {}
    for text in texts:
        label, equals, name = (part.strip() for part in text.rpartition("="))
        if not (label and equals):
            raise UsageError(
                "bad_label",
                f"Expected LABEL=CLASS, or LABEL= to leave its images out, but got {text!r}; write "
                "for example pneumothorax=normal.",
            )
        if mapping.setdefault(label, name) != name:
            raise UsageError(
                "bad_label",
                f"Expected one class for the label {label!r}, but got {mapping[label]!r} and "
                f"{name!r}; choose one of them.",
            )
    return mapping


def relabelled(
    cases: Sequence[Case],
    mapping: Mapping[str, str],
    *,
    table: Mapping[str, str] | None = None,
    closed: bool = False,
    classes: LabelSet | None = None,
) -> Relabelled:
    """Return ``cases`` under the classes that ``mapping``, else ``table``, gives their labels.

    Labels are compared without regard to case, spaces and invisible characters. Patterns with "*"
    are for labels that are not named (`counts_as`), and never for the classes themselves.

    Args:
        cases: Cases with labels of any kind.
        mapping: Label to class or `LEFT_OUT`, as `read_mapping` returns it: what a person says of
            these very cases.
        table: Label to class or `LEFT_OUT`: what is known of labels, these cases' or not.
        closed: Whether a label that neither of them names is refused; otherwise it stays as it is.
        classes: Classes that the mapping may name; None is any.

    Raises:
        UsageError: ``unused_option`` for a label in the mapping that no case has; ``bad_label``
            for a class that is not one of ``classes``, or that itself counts as something else.
        DataError: ``unknown_label`` for labels that are refused, with their numbers.
    """
    present = Counter(case.label for case in cases)
    meant = meanings(present, mapping, table=table, classes=classes)
    unknown = {label: n for label, n in sorted(present.items()) if meant[label] is None}
    if closed and unknown:
        first, counts = min(unknown), [f"{label} ({_images(n)})" for label, n in unknown.items()]
        raise DataError(
            "unknown_label",
            f"Expected labels whose class among {', '.join(classes or MULTI_SOURCE)} is known, but "
            f"got {listing(counts)}; say what each counts as, for example --label "
            f"'{first}=normal', or leave its images out with --label '{first}=' (--label '*=' for "
            "all that are not named).",
        )
    kept: list[Case] = []
    excluded: list[Case] = []
    renamed: Counter[tuple[str, str]] = Counter()
    for case in cases:
        name = meant[case.label]
        if name == LEFT_OUT:
            excluded.append(case)
        elif name is None or name == case.label:
            kept.append(case)
        else:
            renamed[case.label, name] += 1
            kept.append(dataclasses.replace(case, label=name, finding=case.finding or case.label))
    left_out = Counter(case.label for case in excluded)
    return Relabelled(
        cases=tuple(kept),
        left_out=dict(left_out.most_common()),
        renamed=dict(renamed.most_common()),
        excluded=tuple(excluded),
    )


def meanings(
    present: Mapping[str, int],
    mapping: Mapping[str, str],
    *,
    table: Mapping[str, str] | None = None,
    classes: LabelSet | None = None,
) -> dict[str, str | None]:
    """Return what each label counts as; None where neither mapping nor table names it.

    Args:
        present: Labels that the data have, with their numbers.
        mapping: Mapping as in `relabelled`.
        table: Table as in `relabelled`.
        classes: Classes as in `relabelled`.

    Raises:
        UsageError: ``unused_option`` or ``bad_label``, as `relabelled`.
    """
    _check_mapping(mapping, present, classes)
    meaning_of = {
        spelling_key(label): name for rows in (table or {}, mapping) for label, name in rows.items()
    }
    twice = sorted(
        name for name in meaning_of.values() if meaning_of.get(spelling_key(name), name) != name
    )
    if twice:
        raise UsageError(
            "bad_label",
            "Expected the classes that labels count as to stay what they are, but "
            f"{listing(dict.fromkeys(twice))} would count as another class or as none; say at once "
            "what each label counts as in the end.",
        )
    # A class is what it is, also where a pattern would take it in.
    named = {spelling_key(name) for name in (*meaning_of.values(), *(classes or ())) if name}
    return {
        label: label
        if spelling_key(label) in named - meaning_of.keys()
        else counts_as(label, meaning_of)
        for label in present
    }


def _check_mapping(
    mapping: Mapping[str, str], present: Mapping[str, int], classes: LabelSet | None
) -> None:
    unused = sorted(
        label
        for label in mapping
        if all(
            counts_as(present_label, {spelling_key(label): ""}) is None for present_label in present
        )
    )
    if unused:
        raise UsageError(
            "unused_option",
            f"Expected --label for labels of the data ({listing(sorted(present))}), but got "
            f"{listing(unused)}; correct or drop it.",
        )
    if classes is None:
        return
    wrong = sorted({name for name in mapping.values() if name != LEFT_OUT and name not in classes})
    if wrong:
        raise UsageError(
            "bad_label",
            f"Expected --label to name one of the classes {', '.join(classes)}, or nothing to "
            f"leave the images out, but got {listing(wrong)}.",
        )
