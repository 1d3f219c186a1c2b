"""Class names in index order: the only place where the order of labels lives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from cxr_transfer.errors import DataError, UsageError

MOST_LABELS = 1000
LONGEST_LABEL = 100

ABSENT = "no "
"""Stands before a finding where its absence is the other of two classes."""

Task = Literal["multi_class", "multi_label"]
"""Whether an image has exactly one of the labels, or any number of them."""

JOINED = "|"
"""Stands between the findings of an image that has several, as NIH writes them."""

MISSING = "?"
"""Stands behind a finding whose label is missing: nobody says whether the image has it."""

NO_FINDING = "No Finding"
"""Label of an image without any finding, as NIH and CheXpert write it."""

NONE_STATED = "none stated"
"""Label of an image of which nothing is said: all its labels are missing."""

CLASS_WORDS = {
    "normal": "normal",
    "bacterial": "bacterial pneumonia",
    "viral": "viral pneumonia",
    "covid19": "COVID-19",
    "other_pneumonia": "other pneumonia",
    "pneumonia": "pneumonia",
    "tuberculosis": "tuberculosis",
}
"""Training classes as a reader says them; the page's ``words.js`` has the same."""

_EMPTY = ("no finding", "normal")


def words_of(label: str) -> str:
    """Return a label as a reader says it; one that is not in `CLASS_WORDS` without underscores.

    >>> words_of("covid19"), words_of("lung_cancer")
    ('COVID-19', 'lung cancer')
    """
    return CLASS_WORDS.get(label, label.replace("_", " "))


@dataclass(frozen=True)
class LabelSet:
    """The labels that a network tells apart; a label's position is its target.

    Attributes:
        names: Unique names of classes or findings; ``names[target]`` is the label.
        exclusive: Whether an image has exactly one of them: classes. Else they are findings, of
            which an image has any number.

    Raises:
        DataError: ``label_set`` for fewer than two names or more than 1000. Also for a name that
            stands twice, is empty, is longer than 100 characters (a finding: than 97), or holds
            what is not printable; for findings also for one that could not stand in a joined label.

    >>> LabelSet(("normal", "covid19")).target("covid19")
    1
    >>> LabelSet(("Edema", "Effusion", "Mass"), exclusive=False).row("Edema|Mass?")
    (1, 0, -1)
    """

    names: tuple[str, ...]
    exclusive: bool = True

    def __post_init__(self) -> None:
        if len(self.names) < 2 or len(set(self.names)) != len(self.names):
            raise DataError(
                "label_set",
                f"Expected at least two different class names, but got {list(self.names)}; "
                "give every class one name and at least one image."
                if self.exclusive
                else f"Expected at least two different findings, but got {list(self.names)}; one "
                'finding and its absence are two classes: task = "multi_class".',
            )
        if len(self.names) > MOST_LABELS:
            raise DataError(
                "label_set",
                f"Expected at most {MOST_LABELS} class names, but got {len(self.names)}; is "
                "another column meant as the label?",
            )
        # They stand on terminals, pages and in file names: a name that moves a cursor, or turns
        # the direction of writing round, is none.
        # The absence of a finding is a class, too: its name is longer.
        longest = LONGEST_LABEL if self.exclusive else LONGEST_LABEL - len(ABSENT)
        odd = [name for name in self.names if not _is_shown(name, longest)]
        if odd:
            kind, it = ("class names", "class") if self.exclusive else ("findings", "finding")
            raise DataError(
                "label_set",
                f"Expected {kind} of 1 to {longest} printable characters, but got "
                f"{odd[0][: 2 * LONGEST_LABEL]!a}; rename the {it}.",
            )
        unfit = [] if self.exclusive else [name for name in self.names if not _may_be_joined(name)]
        if unfit:
            raise DataError(
                "label_set",
                f"Expected names of findings that are no word for none, without '{JOINED}' and "
                f"without '{MISSING}' at their end, but got {unfit[0]!r}; rename the finding.",
            )

    @property
    def task(self) -> Task:
        """Task of a recipe for such labels."""
        return "multi_class" if self.exclusive else "multi_label"

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, label: object) -> bool:
        return label in self.names

    def target(self, label: str) -> int:
        """Return the index of ``label``.

        Raises:
            DataError: ``unknown_label`` when the set does not hold it.
        """
        try:
            return self.names.index(label)
        except ValueError:
            raise DataError(
                "unknown_label",
                f"Expected one of the labels {', '.join(self.names)}, but got {label!r}; "
                "rename the label or leave the image out.",
            ) from None

    def row(self, label: str) -> tuple[int, ...]:
        """Return what a joined label says of each finding: 1 present, 0 absent, -1 missing.

        A name that is none of these findings makes all of them missing: it may be another word
        for one of them.
        """
        statement = stated(label)
        if statement.is_silent or not statement.names <= set(self.names):
            return (-1,) * len(self.names)
        return tuple(
            1 if name in statement.present else -1 if name in statement.missing else 0
            for name in self.names
        )


class Stated(NamedTuple):
    """Statements of a joined label.

    Attributes:
        present: Findings that the image has.
        missing: Findings of which nobody knows.
        is_silent: Whether the label says nothing of any finding.
    """

    present: frozenset[str]
    missing: frozenset[str]
    is_silent: bool = False

    @property
    def names(self) -> frozenset[str]:
        """All findings that are named."""
        return self.present | self.missing

    @property
    def label(self) -> str:
        """The joined label that says this, in the alphabet's order."""
        if self.is_silent:
            return NONE_STATED
        missing = (f"{name}{MISSING}" for name in self.missing)
        return JOINED.join(sorted({*self.present, *missing})) or NO_FINDING


def stated(label: str) -> Stated:
    """Return what a joined label says; what is named as present and as missing is missing.

    >>> sorted(stated("Edema| Mass?").present), sorted(stated("Edema|Mass?").missing)
    (['Edema'], ['Mass'])
    >>> stated("no finding").label, stated("Mass?|Edema").label
    ('No Finding', 'Edema|Mass?')
    """
    parts = [part.strip() for part in label.split(JOINED)]
    parts = [part for part in parts if part and part.lower() not in _EMPTY]
    missing = frozenset(part[: -len(MISSING)].strip() for part in parts if part.endswith(MISSING))
    present = frozenset(part for part in parts if not part.endswith(MISSING)) - missing
    if NONE_STATED in present:
        return Stated(frozenset(), frozenset(), is_silent=True)
    return Stated(present, missing - {""})


def refuse_findings(labels: LabelSet, what: str) -> None:
    """Refuse labels that do not exclude one another, where only classes are built.

    Args:
        labels: Labels of a model or of a recipe's data.
        what: Name of what is not built, as the beginning of a sentence.

    Raises:
        UsageError: ``several_findings``.
    """
    if not labels.exclusive:
        raise UsageError(
            "several_findings",
            f"Expected classes of which an image has one, but got several findings at once "
            f"({', '.join(labels.names[:3])}, ...): {what} of those is not built yet. 'cxr "
            "evaluate' tells how well each finding is told.",
        )


def _may_be_joined(name: str) -> bool:
    word = name.strip().lower()
    return (
        JOINED not in name
        and not name.endswith(MISSING)
        and word not in (*_EMPTY, NONE_STATED)
        and name == name.strip()
    )


def _is_shown(name: str, longest: int) -> bool:
    return 0 < len(name) <= longest and name.isprintable()


DATASET_0 = LabelSet(("normal", "bacterial", "viral"))
"""The classes of the paper's first data set (section 3.2), in its order."""

DATASET_1 = LabelSet(("normal", "bacterial", "covid19"))
"""The classes of the paper's second data set (section 3.1: y in {0, 1, 2})."""

MULTI_SOURCE = LabelSet(("normal", "other_pneumonia", "covid19"))
"""Classes that every source can hold: what the recipe of that name tells apart."""
