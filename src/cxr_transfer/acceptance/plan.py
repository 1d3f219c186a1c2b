"""The plan of an acceptance test: how many local images of each kind, and how many in a row.

In come promises; out go a dict of numbers and lines for a person. See `statistics.sample_size`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cxr_transfer.statistics.sample_size import (
    LEVEL,
    MARGINS,
    POWERS,
    SURE,
    SizePlan,
    check_promise,
    consecutive_images,
    design_effect,
    images_needed,
)


def plan_test(
    sensitivity: float,
    margin: float,
    power: float = POWERS[0],
    *,
    specificity: float | None = None,
    prevalence: float | None = None,
    images_per_patient: float = 1.0,
    correlation: float = 0.5,
    level: float = LEVEL,
) -> dict[str, Any]:
    """Return how many images show that a promise is kept.

    Args:
        sensitivity: Sensitivity that is promised, and taken for the true one.
        margin: Amount below the promise that is still acceptable.
        power: Probability of showing it where the promise is true.
        specificity: Specificity that is promised; None asks for none.
        prevalence: Share of positives among consecutive images; None where it is not known.
        images_per_patient: Mean number of images of a kind that a patient has.
        correlation: Correlation of hits within a patient, where patients have several images.
        level: Confidence level of the one-sided exact bound.

    Returns:
        ``positives`` and ``negatives`` (`SizePlan` as dicts, negatives null without a specificity),
        each with ``images_by_patient``, the number where patients have several images;
        ``consecutive``, the number of consecutive images; ``table``, the same for other margins and
        powers.

    Raises:
        UsageError: ``bad_promise``, ``bad_margin``, ``bad_power``, ``level``, ``prevalence``,
            ``images_per_patient``, ``correlation``.
    """
    effect = design_effect(images_per_patient, correlation)
    promises = {"positives": sensitivity}
    if specificity is not None:
        promises["negatives"] = specificity
    for promised in promises.values():
        check_promise(promised, margin, power)
    plans = {
        kind: images_needed(promised, margin, power, level) for kind, promised in promises.items()
    }
    needed = {kind: math.ceil(effect * plan.images) for kind, plan in plans.items()}
    consecutive = None
    if prevalence is not None:
        consecutive = consecutive_images(
            needed["positives"], needed.get("negatives", 0), prevalence
        )
    return {
        "level": level,
        "design_effect": effect,
        "positives": _with_patients(plans["positives"], effect),
        "negatives": _with_patients(plans["negatives"], effect) if "negatives" in plans else None,
        "prevalence": prevalence,
        "consecutive": consecutive,
        "sure": SURE,
        "table": _table(promises, effect, level),
    }


def plan_lines(plan: Mapping[str, Any]) -> list[str]:
    """Return a plan as lines for a person."""
    lines: list[str] = []
    for kind, name in (("positives", "sensitivity"), ("negatives", "specificity")):
        figures = plan[kind]
        if figures is None:
            continue
        lines.append(
            f"{figures['images_by_patient']} {kind}: a true {name} of {figures['promised']:g} is "
            f"shown to lie above {figures['promised'] - figures['margin']:.4g} in at least "
            f"{100 * figures['power']:.4g} % of tests (one-sided {100 * plan['level']:.4g} % "
            "Clopper-Pearson bound)."
        )
        of_one = "" if plan["design_effect"] == 1 else " Were every image of another patient:"
        lines.append(
            f"{of_one} {figures['images']} images, of which at least {figures['fewest_hits']} have "
            f"to be right; power {100 * figures['reached']:.1f} %. {figures['first']} images reach "
            "the power, too, but some larger numbers do not.".strip()
        )
    if plan["consecutive"] is not None:
        lines.append(
            f"At a prevalence of {plan['prevalence']:g}, {plan['consecutive']} consecutive images "
            f"hold so many in {100 * plan['sure']:.0f} % of cases."
        )
    return [*lines, "", *_table_lines(plan["table"])]


def _with_patients(plan: SizePlan, effect: float) -> dict[str, Any]:
    return plan.as_dict() | {"images_by_patient": math.ceil(effect * plan.images)}


def _table(promises: Mapping[str, float], effect: float, level: float) -> list[dict[str, Any]]:
    """Return a row for each margin with the numbers of images by kind and power."""
    rows = []
    for margin in MARGINS:
        row: dict[str, Any] = {"margin": margin}
        for kind, promised in promises.items():
            for power in POWERS:
                number = None  # The margin leaves nothing of the promise.
                if margin < promised:
                    images = images_needed(promised, margin, power, level).images
                    number = math.ceil(effect * images)
                row[f"{kind}, power {power}"] = number
        rows.append(row)
    return rows


def _table_lines(table: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(table[0])
    lines = ["  ".join(names)]
    for row in table:
        cells = ["-" if row[name] is None else f"{row[name]:g}" for name in names]
        lines.append(
            "  ".join(f"{cell:>{len(name)}}" for cell, name in zip(cells, names, strict=True))
        )
    return lines
