"""What is known of a checkpoint, entry by entry of its card; None where nothing answers.

Counts and picks, but words nothing: the words are those of the templates ``card_*.md.j2``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr_transfer import provenance
from cxr_transfer.evaluation.card_reports import EARLIER_INTERVALS, Report
from cxr_transfer.labels import NO_FINDING, NONE_STATED, stated
from cxr_transfer.models.metadata import Checkpoint
from cxr_transfer.models.reference import TrainingReference
from cxr_transfer.runs.run_folder import (
    PartRow,
    access_sentence,
    own_overlap,
    patients_in_several_parts,
    recorded_accesses,
)
from cxr_transfer.statistics.intervals import share
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.statistics.temperature import NOT_CALIBRATED, score_scale

NOT_DONE = "not done"
PARTS = ("train", "validation", "test")

CHECKED = (
    ("Copies of images across parts and sources", "overlap"),
    ("Source and class", "source_by_class"),
    ("Source told from the network's own features", "source_classifier"),
    ("The score without the lungs", "occlusion"),
    ("What the files alone tell", "metadata"),
    ("What age, sex and view alone tell", "demographics"),
    ("Images of like age, sex and view", "matched"),
    ("Images from elsewhere", "outside"),
    ("Told apart within one source", "within_source"),
    ("Sources left out of training", "left_out"),
    ("Heat maps inside the lungs, and whether they follow the weights", "heat_maps"),
    ("Scores and what comes true", "calibration"),
    ("Groups that are served worse", "groups"),
    ("Changes that change no finding", "robustness"),
)
"""Title of what an audit looks for, in the order of the pitfalls, and the name of its check."""

Facts = dict[str, Any]
"""Facts by entry of the card; None where nothing answers it."""


@dataclass(frozen=True)
class CardInputs:
    """All that a card is made of.

    Attributes:
        card: Card of the checkpoint.
        reference: Reference beside it; None where there is none.
        folder: Folder of its run.
        rows: Images of ``split.csv``, if they are those of which the card tells.
        validation: Scores of its validation images.
        report: Contents of the reports on it.
        audit: Content of its ``audit.json``.
    """

    card: Checkpoint
    reference: TrainingReference | None
    folder: Path
    rows: Sequence[PartRow]
    validation: Scores | None
    report: Report
    audit: Mapping[str, Any] | None

    @property
    def checks(self) -> dict[str, Mapping[str, Any]]:
        """Checks of the audit, by name."""
        return {check["name"]: check for check in (self.audit or {}).get("checks", ())}

    @property
    def several(self) -> bool:
        """Whether the model names several findings at once, and no class."""
        return not self.card.label_set.exclusive

    @property
    def abstains(self) -> bool:
        """Whether the model gives no class where it is not sure."""
        return self.reference is not None and self.reference.confidence_threshold is not None


def model_facts(inputs: CardInputs) -> Facts:
    """Return facts of the model, and its use."""
    card, record, reference = inputs.card, inputs.card.provenance, inputs.reference
    no_class = (*(("far",) if reference else ()), *(("unsure",) if inputs.abstains else ()))
    return {
        "title": ": ".join(filter(None, (card.name, card.recipe.get("title")))),
        "network": card.architecture,
        "classes": card.labels,
        "start": record.get("initial") or None,
        "stages": card.recipe.get("stages") or None,
        "kept": record.get("stages") or None,
        "scale": reference.score_scale if reference else NOT_CALIBRATED,
        "abstention": _abstention(inputs),
        "no_class": no_class,
        **({"thresholds": _thresholds(inputs)} if inputs.several else {}),
        "made": {"time": record["time"], "versions": record.get("versions", {})}
        if record.get("time")
        else None,
        "repeat": {
            "seed": record["seed"],
            "commit": provenance.short(record.get("commit", "")),
            "precision": record.get("precision", "float32"),
            "device": record.get("device", "cpu"),
            "data_hash": card.data["data_hash"],
            "split_hash": card.data["split_hash"],
        }
        if "seed" in record and "data_hash" in card.data
        else None,
        "weights": card.weights_sha256,
        "used_for": True,
        "not_for": no_class,
    }


def _thresholds(inputs: CardInputs) -> list[tuple[str, float]] | None:
    """Return the probability from which on each finding is named; None where it is not known."""
    thresholds = inputs.reference.thresholds if inputs.reference else None
    return list(zip(inputs.card.labels, thresholds, strict=True)) if thresholds else None


def _abstention(inputs: CardInputs) -> str:
    if inputs.abstains:
        return "here"
    return "lost" if inputs.card.recipe.get("coverage") else "never"


def data_facts(inputs: CardInputs) -> Facts:
    """Return facts of the images that it learnt from."""
    data, rows = inputs.card.data, inputs.rows
    images = data.get("images", {})
    split_by = data.get("split_by", "")
    return {
        "data_set": {
            "name": data["name"],
            "images": [(part, images[part]) for part in PARTS if part in images],
        }
        if "name" in data
        else None,
        "split_by": split_by if split_by in ("patient", "image", "given") else None,
        "left_out": {"labels": data.get("left_out", {}), "damaged": data["damaged"]}
        if "damaged" in data
        else None,
        "sources": _by_source(rows, inputs.several) if rows else None,
        "licences": _counted(row.licence for row in rows),
        "views": _counted(row.view for row in rows),
        "people": _people(rows),
    }


def _by_source(rows: Sequence[PartRow], several: bool) -> list[Facts]:
    labelled_rows = [(row, label) for row in rows for label in _labels_of(row, several)]
    counts = Counter((row.source, label, row.split) for row, label in labelled_rows)
    patients: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row, label in labelled_rows:
        patients[row.source, label].add(row.patient)
    return [
        {
            "source": source,
            "label": label,
            "images": [counts[source, label, part] for part in PARTS],
            "patients": len(patients[source, label]),
        }
        for source, label in sorted(patients)
    ]


def _labels_of(row: PartRow, several: bool) -> list[str]:
    """Return the class of an image, or each of its findings."""
    if not several:
        return [row.label]
    statement = stated(row.label)
    return [NONE_STATED] if statement.is_silent else sorted(statement.present) or [NO_FINDING]


def _people(rows: Sequence[PartRow]) -> Facts | None:
    ages = sorted(float(row.age) for row in rows if row.age)
    if not ages:
        return None
    return {
        "stated": len(ages),
        "images": len(rows),
        "youngest": ages[0],
        "oldest": ages[-1],
        "median": ages[len(ages) // 2],
        "sexes": _counted(row.sex for row in rows) or [],
    }


def _counted(values: Iterable[str]) -> list[tuple[str, int]] | None:
    """Return the values, the most common first; None when none is stated."""
    counts = Counter(values)
    return counts.most_common() if set(counts) - {""} else None


def figure_facts(inputs: CardInputs) -> Facts:
    """Return its figures."""
    metrics, worth = inputs.report.metrics, inputs.report.worth or {}
    if inputs.several:
        return {"held_back": metrics, "by_class": None if metrics is None else metrics["per_class"]}
    return {
        "held_back": inputs.audit or None if metrics is None else metrics,
        "by_class": None if metrics is None else metrics["per_class"],
        "validation": _validation(inputs),
        "subgroups": worth["subgroups"] if worth else None,
        "calibration": _calibration(worth["calibration"]) if worth else None,
        "operating_points": worth["operating_points"] or None if worth else None,
        "comparisons": inputs.report.comparisons or None,
    }


def _validation(inputs: CardInputs) -> Facts | None:
    scores = inputs.validation
    if not scores:
        return None
    right = share(scores.predicted == scores.targets, scores.patients)
    return {"accuracy": right, "images": len(scores.files), "chosen": _chosen_by_validation(inputs)}


def _chosen_by_validation(inputs: CardInputs) -> list[str]:
    """Return what was chosen on validation images, whose figures therefore prove nothing."""
    chosen = []
    if any(stage.get("fit") != "logistic" for stage in inputs.card.recipe.get("stages", ())):
        chosen.append("weights")
    if inputs.reference and inputs.reference.calibrated:
        chosen.append("temperature")
    if inputs.reference:
        chosen.append("distance")
    if inputs.abstains:
        chosen.append("limit")
    return chosen


def _calibration(table: Mapping[str, Any]) -> Facts:
    scale = score_scale(table["temperature"]) if table["after"] else NOT_CALIBRATED
    return {"before": table["before"], "after": table["after"], "scale": scale}


def doubt_facts(inputs: CardInputs) -> Facts:
    """Return which reasons for doubt were looked for, beside the checks of an audit."""
    opened = recorded_accesses(inputs.folder) if inputs.rows else None
    return {
        "parts": _parts(inputs),
        "scored": {
            # An audit that names no scale was made of the network's own scores.
            "scale": inputs.audit.get("score_scale", NOT_CALIBRATED),
            "intervals": inputs.audit.get("intervals", EARLIER_INTERVALS),
        }
        if inputs.audit
        else None,
        "opened": access_sentence(opened) if opened else None,
    }


def _parts(inputs: CardInputs) -> Facts | None:
    check = inputs.checks.get("parts", {})
    of_audit = None if check.get("verdict", NOT_DONE) == NOT_DONE else check["reading"]
    of_run = None
    if inputs.rows:
        several, seen = (
            patients_in_several_parts(inputs.rows),
            own_overlap(inputs.card, inputs.rows),
        )
        of_run = {"patients": several, "images": seen}
    return {"of_run": of_run, "of_audit": of_audit} if of_run or of_audit else None


def check_facts(inputs: CardInputs) -> list[Facts]:
    """Return the result of each check of `CHECKED`, or why it is not done; then all others."""
    checks = inputs.checks
    rows = []
    named = {name for _, name in CHECKED} | {"parts"}
    others = [(check["title"], name) for name, check in checks.items() if name not in named]
    for title, name in (*CHECKED, *others):
        check = checks.get(name)
        row: Facts = {"title": title, "found": None, "absent": "", "why": ""}
        if not checks:
            row["absent"] = "no audit"
        elif check is None:
            row["absent"] = "not asked for" if name == "left_out" else "not made"
        elif check["verdict"] == NOT_DONE:
            row["why"] = check["reading"].removeprefix("Not done: ").rstrip(".")
        else:
            row["found"] = check
        rows.append(row)
    return rows


def limit_facts(inputs: CardInputs) -> Facts:
    """Return its known limits."""
    sources: dict[str, set[str]] = {label: set() for label in inputs.card.labels}
    for row in inputs.rows:
        for label in _labels_of(row, inputs.several):
            sources.setdefault(label, set()).add(row.source)
    failed = None
    if inputs.audit and inputs.audit["verdict"] == "fail":
        failed = [
            check["title"]
            for check in inputs.audit["checks"]
            if check["hard"] and check["verdict"] == "fail"
        ]
    limits = {
        "classes": len(inputs.card.labels),
        "not_calibrated": inputs.reference is not None and not inputs.reference.calibrated,
        "of_one_source": [(label, *names) for label, names in sources.items() if len(names) == 1],
        "shared_patients": inputs.card.data.get("split_by") == "image",
        "failed": failed,
        "audited": bool(inputs.audit),
    }
    return {"limits": limits}
