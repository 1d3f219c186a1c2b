"""What the reports of ``evaluate``, ``study`` and ``audit`` say of one checkpoint.

In come their contents, or the paths where they may lie; a report of another checkpoint is none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cxr_transfer.errors import DataError, ModelError
from cxr_transfer.models.folder import read_json
from cxr_transfer.models.metadata import Checkpoint
from cxr_transfer.statistics.temperature import NOT_CALIBRATED

EARLIER_INTERVALS = (
    "bootstrap by patient, percentiles; of AUROC the bootstrap's spread on the logit scale, which "
    "was too wide near 1"
)
"""Method of the intervals in reports that do not name it: they were made before it changed."""


@dataclass(frozen=True)
class About:
    """Origin of figures of merit: of which images they are, and how they were made.

    Attributes:
        of_test_part: Whether they are of a study's test part.
        data_hash: SHA-256 of the images.
        day: Day on which they were made.
        seen: Number of the images that training saw.
        scale: Scale of the scores.
        intervals: Method of the intervals.
    """

    of_test_part: bool
    data_hash: str
    day: str
    seen: int
    scale: str
    intervals: str


@dataclass(frozen=True)
class Report:
    """Contents of reports on one checkpoint; empty without a report.

    Attributes:
        metrics: Figures of merit.
        about: Origin of the figures.
        worth: Results that `evaluate_checkpoint` adds to them.
        worth_scale: Scale of the scores, and thresholds, in ``worth``.
        comparisons: Pairs of models with this one among them.
    """

    metrics: Mapping[str, Any] | None = None
    about: About | None = None
    worth: Mapping[str, Any] | None = None
    worth_scale: str = NOT_CALIBRATED
    comparisons: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of(cls, card: Checkpoint, *contents: Mapping[str, Any] | None) -> Report:
        """Read reports, the one to prefer first."""
        report = cls()
        for content in contents:
            if content is None:
                continue
            models = content.get("models", {})
            name = next((name for name, model in models.items() if _is(card, model)), "")
            metrics = models[name] if models else content.get("evaluation")
            # Reports that name no scale were made of the network's own scores.
            scale = (metrics or {} if models else content).get("score_scale", NOT_CALIBRATED)
            about = About(
                of_test_part=bool(models),
                data_hash=content["data_hash"],
                day=content["time"][:10],
                seen=content.get("seen_in_training", 0),
                scale=scale,
                intervals=content.get("intervals", EARLIER_INTERVALS),
            )
            if not report.metrics and metrics:
                report = replace(report, metrics=metrics, about=about)
            if not report.worth and content.get("worth"):
                report = replace(report, worth=content["worth"], worth_scale=scale)
            pairs = [pair for pair in content.get("comparisons", ()) if name in pair.values()]
            report = replace(report, comparisons=report.comparisons or pairs)
        return report


def report_beside(card: Checkpoint, *paths: Path) -> Mapping[str, Any] | None:
    """Return the first of these reports that is there and of this checkpoint."""
    for path in paths:
        try:
            content = read_json(path)
        except (ModelError, ValueError):
            continue
        if isinstance(content, dict) and _speaks_of(card, content):
            return content
    return None


def read_report(path: Path) -> dict[str, Any]:
    """Return the JSON of a report that a person named.

    Raises:
        DataError: ``not_json``.
    """
    try:
        # A report may name files whose names are no text.
        content = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError("not_json", f"Expected JSON in {path}, but got: {error}.") from None
    if not isinstance(content, dict):
        raise DataError("not_json", f"Expected a report in {path}, but got something else.")
    return content


def check_given(card: Checkpoint, content: Mapping[str, Any] | None, holds: Sequence[str]) -> None:
    """Refuse a report that was given and is of something else, or of another checkpoint.

    Args:
        card: Card of the checkpoint.
        content: Report; None when none was given.
        holds: Keys of which such a report has at least one.

    Raises:
        DataError: ``other_report``, ``other_weights``.
    """
    if content is None:
        return
    if not set(holds) & set(content):
        raise DataError(
            "other_report",
            f"Expected a report with {' or '.join(holds)} in it, but got one with "
            f"{', '.join(list(content)[:5]) or 'nothing'}; give audit.json as the audit, "
            "report.json as the evaluation.",
        )
    if not _speaks_of(card, content):
        raise DataError(
            "other_weights",
            f"Expected a report of {card.name} with the weights {card.weights_sha256[:12]}, but "
            "got one of another checkpoint; give the one that was made with it.",
        )


def _speaks_of(card: Checkpoint, content: Mapping[str, Any]) -> bool:
    models = content.get("models", {"": content.get("checkpoint", {})})
    return any(_is(card, model) for model in models.values())


def _is(card: Checkpoint, model: Mapping[str, Any]) -> bool:
    return bool(model.get("weights_sha256") == card.weights_sha256)
