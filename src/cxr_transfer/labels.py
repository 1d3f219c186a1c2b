"""Class names in index order: the only place where the order of labels lives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cxr_transfer.errors import DataError

MOST_LABELS = 1000
LONGEST_LABEL = 100


@dataclass(frozen=True)
class LabelSet:
    """The classes that a network tells apart; a label's position is its target.

    Attributes:
        names: Unique class names; ``names[target]`` is the label.

    Raises:
        DataError: ``label_set`` when there are fewer than two names or more than 1000, when one
            stands twice, is empty, longer than 100 characters, or holds what is not printable.

    >>> LabelSet(("normal", "covid19")).target("covid19")
    1
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) < 2 or len(set(self.names)) != len(self.names):
            raise DataError(
                "label_set",
                f"Expected at least two different class names, but got {list(self.names)}; "
                "give every class one name and at least one image.",
            )
        if len(self.names) > MOST_LABELS:
            raise DataError(
                "label_set",
                f"Expected at most {MOST_LABELS} class names, but got {len(self.names)}; is "
                "another column meant as the label?",
            )
        # They stand on terminals, pages and in file names: a name that moves a cursor, or turns
        # the direction of writing round, is none.
        odd = [name for name in self.names if not _is_shown(name)]
        if odd:
            raise DataError(
                "label_set",
                f"Expected class names of 1 to {LONGEST_LABEL} printable characters, but got "
                f"{odd[0][: 2 * LONGEST_LABEL]!a}; rename the class.",
            )

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


def _is_shown(name: str) -> bool:
    return 0 < len(name) <= LONGEST_LABEL and name.isprintable()


DATASET_0 = LabelSet(("normal", "bacterial", "viral"))
"""The classes of the paper's first data set (section 3.2), in its order."""

DATASET_1 = LabelSet(("normal", "bacterial", "covid19"))
"""The classes of the paper's second data set (section 3.1: y in {0, 1, 2})."""

MULTI_SOURCE = LabelSet(("normal", "other_pneumonia", "covid19"))
"""Classes that every source can hold: what the recipe of that name tells apart."""
