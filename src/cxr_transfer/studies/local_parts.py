"""A local source in two halves, one of which tests, beside all other sources.

In come the cases of all sources; out go the data sets of the runs of a local curve. Trains nothing
and opens no image.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.draws import LEAST, draw
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.splits import MIN_GROUPS, folds
from cxr_transfer.errors import DataError, UsageError, listing
from cxr_transfer.evaluation.evaluated import seen_in_training
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.statistics.external import FEWEST
from cxr_transfer.studies.external_sources import lacking_without
from cxr_transfer.studies.one_recipe import TrainingPlan
from cxr_transfer.text import for_terminal


@dataclass(frozen=True, eq=False)
class LocalParts:
    """The local source in two halves, and the other sources.

    Attributes:
        local: Images of the local source, of its classes alone; one half is the test part.
        others: Names of files of the other sources' images that share nothing with the local ones.
        tested: Images of the test half that a start has not met.
        left_out: Local images of classes that are too rare there, by class.
    """

    local: Dataset
    others: frozenset[Path]
    tested: tuple[Case, ...]
    left_out: dict[str, int]

    @classmethod
    def of(cls, dataset: Dataset, local: str, plan: TrainingPlan) -> LocalParts:
        """Part a data set.

        Args:
            dataset: Indexed cases of all sources, with their parts.
            local: Name of the local source.
            plan: How recipes are trained.

        Raises:
            UsageError: ``unknown_source``.
            DataError: ``too_few``, ``no_source_to_leave_out``, ``seen_images``.
        """
        own, left_out = local_dataset(dataset, local)
        parted = folds(own, 2, by="patient", seed=plan.seed)[0]
        ours = [case for case in dataset.cases if case.source == local]
        patients, pixels = (
            {getattr(case, name) for case in ours} for name in ("patient", "pixels")
        )
        others = frozenset(
            case.path
            for case in dataset.cases
            if case.source != local
            and case.patient not in patients
            and (not case.pixels or case.pixels not in pixels)
        )
        tested = parted.test
        if plan.start is not None:
            met = seen_in_training(load_checkpoint(plan.start)[0], tested)
            tested = tuple(case for case, was_met in zip(tested, met, strict=True) if not was_met)
        if len({case.label for case in tested}) < 2:
            raise DataError(
                "seen_images",
                f"Expected images of two classes of {for_terminal(local)} to test on, but the "
                "start has met them; leave --from out.",
            )
        return cls(parted, others, tested, left_out)

    def drawn(
        self, dataset: Dataset, size: int, number: int, seed: int
    ) -> tuple[Dataset, npt.NDArray[np.bool_]]:
        """Return the data set of a run, and which rows of the whole it has.

        Args:
            dataset: Data set that was parted.
            size: Number of local images, over all classes.
            number: Number of the draw, from 1.
            seed: Random seed of the draws.
        """
        part_of: dict[Path, str] = {}
        if size:
            of_draw = draw(self.local, per_class(size, self.local), number, seed=seed)
            part_of = {case.path: case.split for case in of_draw.cases if case.split != "test"}
        rows = np.array(
            [case.path in self.others or case.path in part_of for case in dataset.cases],
            dtype=np.bool_,
        )
        cases = tuple(
            dataclasses.replace(case, split=part_of.get(case.path, case.split))
            for case, kept in zip(dataset.cases, rows, strict=True)
            if kept
        )
        return dataclasses.replace(dataset, cases=cases), rows


def local_dataset(dataset: Dataset, local: str) -> tuple[Dataset, dict[str, int]]:
    """Return the images of the local source without parts, of classes that are not too rare.

    Args:
        dataset: Cases of all sources.
        local: Name of the local source.

    Returns:
        These images, and the number of those of each class that is too rare.

    Raises:
        UsageError: ``unknown_source``.
        DataError: ``no_source_to_leave_out``.
    """
    ours = [case for case in dataset.cases if case.source == local]
    if not ours:
        names = listing(sorted({for_terminal(case.source) for case in dataset.cases}))
        raise UsageError(
            "unknown_source",
            f"Expected the name of a source of the data, but got {local!r}; there are {names}.",
        )
    numbers = Counter(case.label for case in ours)
    patients = {
        label: len({case.patient for case in ours if case.label == label}) for label in numbers
    }
    kept = [
        label
        for label in dataset.labels
        if numbers[label] >= 2 * FEWEST and patients[label] >= MIN_GROUPS
    ]
    if len(kept) < 2:
        counts = ", ".join(f"{number} {label}" for label, number in sorted(numbers.items()))
        raise DataError(
            "no_source_to_leave_out",
            f"Expected at least {2 * FEWEST} images of {MIN_GROUPS} patients of each of two "
            f"classes in {for_terminal(local)}, half of which test, but got {counts}; add images.",
        )
    if lacking := lacking_without(local, dataset.cases, dataset.labels, has_parts=False):
        raise DataError(
            "no_source_to_leave_out", f"Expected other sources to train on, but {lacking}."
        )
    cases = tuple(dataclasses.replace(case, split="") for case in ours if case.label in kept)
    rare = {label: number for label, number in numbers.items() if label not in kept}
    return Dataset(f"the source {for_terminal(local)}", LabelSet(tuple(kept)), cases), rare


def per_class(size: int, local: Dataset) -> int:
    """Return the number of images of each class of so many in all; none of 0.

    Args:
        size: Number of images, over all classes.
        local: Images of the local source.
    """
    return max(LEAST, round(size / len(local.labels))) if size else 0
