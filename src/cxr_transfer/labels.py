"""Class names in index order: the only place where the order of labels lives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cxr_transfer.errors import DataError


@dataclass(frozen=True)
class LabelSet:
    """The classes that a network tells apart; a label's position is its target.

    Attributes:
        names: Unique class names; ``names[target]`` is the label.

    Raises:
        DataError: ``label_set`` when there are fewer than two names, or one stands twice.

    >>> LabelSet(("normal", "covid19")).target("covid19")
    1
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) < 2 or len(set(self.names)) != len(self.names):
            raise DataError(
                "label_set",
                f"Expected at least two different class names, but got {list(self.names)}; "
                "give every class one name and at least one film.",
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
                "rename the label or leave the film out.",
            ) from None


DATASET_0 = LabelSet(("normal", "bacterial", "viral"))
"""The classes of the paper's first data set (section 3.2), in its order."""

DATASET_1 = LabelSet(("normal", "bacterial", "covid19"))
"""The classes of the paper's second data set (section 3.1: y in {0, 1, 2})."""

MULTI_SOURCE = LabelSet(("normal", "other_pneumonia", "covid19"))
"""Classes that every source can hold: what the recipe of that name tells apart."""
