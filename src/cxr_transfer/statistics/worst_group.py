"""Figures by source and class, the worst group first: a mean hides the group that fails.

In come the `Scores` of a model and the cases they were computed from; out go plain dicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cxr_transfer.datasets.case import Case
from cxr_transfer.statistics.external import within_source
from cxr_transfer.statistics.intervals import share
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.statistics.subgroups import AXES, TOO_FEW, rows_by_group


def by_source_and_class(
    scores: Scores, cases: Sequence[Case], *, resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Return how many images of each class of each source are called right, the fewest first.

    The lowest of these shares is the worst-group accuracy of Sagawa et al. 2020 ("Distributionally
    Robust Neural Networks for Group Shifts", ICLR): a model that goes by the source has a high mean
    and fails in the group where source and class part.

    Args:
        scores: Scores of N images.
        cases: Cases of the same N images, in the same order.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap.

    Returns:
        ``sources``: of each ``source``, ``images``, ``patients``, ``accuracy`` and ``auroc_macro``
        inside of it (null values where it does not hold two classes). ``groups``: of each source
        and ``label`` with at least `TOO_FEW` images ``images``, ``patients`` and ``recall``, the
        lowest first. ``too_few``: number of smaller groups. Each estimate is a dict.
    """
    again = {"resamples": resamples, "seed": seed}
    right = scores.predicted == scores.targets
    sources: list[dict[str, Any]] = []
    groups: list[dict[str, Any]] = []
    too_few = 0
    for source, rows in rows_by_group(cases, AXES["source"]).items():
        part = scores.only(rows)
        sources.append(
            {
                "source": source,
                "images": len(rows),
                "patients": len(set(part.patients)),
                "accuracy": share(right[rows], part.patients, **again).as_dict(),
                "auroc_macro": within_source(part)[1].as_dict(),
            }
        )
        for target, label in enumerate(scores.labels):
            of_class = [row for row in rows if scores.targets[row] == target]
            too_few += 0 < len(of_class) < TOO_FEW
            if len(of_class) < TOO_FEW:
                continue
            patients = [scores.patients[row] for row in of_class]
            recall = share(right[of_class], patients, **again)
            groups.append(
                {
                    "source": source,
                    "label": label,
                    "images": len(of_class),
                    "patients": len(set(patients)),
                    "recall": recall.as_dict(),
                }
            )
    groups.sort(key=lambda group: float(group["recall"]["value"]))
    return {"sources": sources, "groups": groups, "too_few": too_few}
