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
"""What an audit looks for, in the order of the pitfalls, and the name of its check."""

Facts = dict[str, Any]
"""By entry of the card; None where nothing answers it."""


@dataclass(frozen=True)
class CardInputs:
    """All that a card is made of.

    Attributes:
        card: Card of the checkpoint.
        reference: Beside it.
        folder: Folder of its run.
        rows: Images of ``split.csv``, if they are those of which the card tells.
        validation: Scores of its validation images.
        report: What reports say of it.
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
        """Whether it tells several findings at once, and no class."""
        return not self.card.label_set.exclusive

    @property
    def abstains(self) -> bool:
        """Whether the model gives no class where it is not sure."""
        return self.reference is not None and self.reference.confidence_threshold is not None


def model_facts(given: CardInputs) -> Facts:
    """Return what is known of the model, and what it is for."""
    card, known, reference = given.card, given.card.provenance, given.reference
    no_class = (*(("far",) if reference else ()), *(("unsure",) if given.abstains else ()))
    return {
        "title": ": ".join(filter(None, (card.name, card.recipe.get("title")))),
        "network": card.architecture,
        "classes": card.labels,
        "start": known.get("initial") or None,
        "stages": card.recipe.get("stages") or None,
        "kept": known.get("stages") or None,
        "scale": reference.score_scale if reference else NOT_CALIBRATED,
        "abstention": _abstention(given),
        "no_class": no_class,
        **({"thresholds": _thresholds(given)} if given.several else {}),
        "made": {"time": known["time"], "versions": known.get("versions", {})}
        if known.get("time")
        else None,
        "repeat": {
            "seed": known["seed"],
            "commit": provenance.short(known.get("commit", "")),
            "precision": known.get("precision", "float32"),
            "device": known.get("device", "cpu"),
            "data_hash": card.data["data_hash"],
            "split_hash": card.data["split_hash"],
        }
        if "seed" in known and "data_hash" in card.data
        else None,
        "weights": card.weights_sha256,
        "used_for": True,
        "not_for": no_class,
    }


def _thresholds(given: CardInputs) -> list[tuple[str, float]] | None:
    """Return the probability from which on each finding is named; None where it is not known."""
    known = given.reference.thresholds if given.reference else None
    return list(zip(given.card.labels, known, strict=True)) if known else None


def _abstention(given: CardInputs) -> str:
    if given.abstains:
        return "here"
    return "lost" if given.card.recipe.get("coverage") else "never"


def data_facts(given: CardInputs) -> Facts:
    """Return what is known of the images that it learnt from."""
    data, rows = given.card.data, given.rows
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
        "sources": _by_source(rows, given.several) if rows else None,
        "licences": _counted(row.licence for row in rows),
        "views": _counted(row.view for row in rows),
        "people": _people(rows),
    }


def _by_source(rows: Sequence[PartRow], several: bool) -> list[Facts]:
    told = [(row, label) for row in rows for label in _labels_of(row, several)]
    counts = Counter((row.source, label, row.split) for row, label in told)
    patients: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row, label in told:
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
    said = stated(row.label)
    return [NONE_STATED] if said.is_silent else sorted(said.present) or [NO_FINDING]


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


def figure_facts(given: CardInputs) -> Facts:
    """Return its figures."""
    found, worth = given.report.metrics, given.report.worth or {}
    if given.several:
        return {"held_back": found, "by_class": None if found is None else found["per_class"]}
    return {
        "held_back": given.audit or None if found is None else found,
        "by_class": None if found is None else found["per_class"],
        "validation": _validation(given),
        "subgroups": worth["subgroups"] if worth else None,
        "calibration": _calibration(worth["calibration"]) if worth else None,
        "operating_points": worth["operating_points"] or None if worth else None,
        "comparisons": given.report.comparisons or None,
    }


def _validation(given: CardInputs) -> Facts | None:
    found = given.validation
    if not found:
        return None
    right = share(found.predicted == found.targets, found.patients)
    return {"accuracy": right, "images": len(found.files), "chosen": _chosen_by_validation(given)}


def _chosen_by_validation(given: CardInputs) -> list[str]:
    """Say what was chosen on validation images, whose figures therefore prove nothing."""
    chosen = []
    if any(stage.get("fit") != "logistic" for stage in given.card.recipe.get("stages", ())):
        chosen.append("weights")
    if given.reference and given.reference.calibrated:
        chosen.append("temperature")
    if given.reference:
        chosen.append("distance")
    if given.abstains:
        chosen.append("limit")
    return chosen


def _calibration(found: Mapping[str, Any]) -> Facts:
    scale = score_scale(found["temperature"]) if found["after"] else NOT_CALIBRATED
    return {"before": found["before"], "after": found["after"], "scale": scale}


def doubt_facts(given: CardInputs) -> Facts:
    """Return which reasons for doubt were looked for, beside the checks of an audit."""
    opened = recorded_accesses(given.folder) if given.rows else None
    return {
        "parts": _parts(given),
        "scored": {
            # An audit that names no scale was made of the network's own scores.
            "scale": given.audit.get("score_scale", NOT_CALIBRATED),
            "intervals": given.audit.get("intervals", EARLIER_INTERVALS),
        }
        if given.audit
        else None,
        "opened": access_sentence(opened) if opened else None,
    }


def _parts(given: CardInputs) -> Facts | None:
    told = given.checks.get("parts", {})
    of_audit = None if told.get("verdict", NOT_DONE) == NOT_DONE else told["reading"]
    of_run = None
    if given.rows:
        several, seen = patients_in_several_parts(given.rows), own_overlap(given.card, given.rows)
        of_run = {"patients": several, "images": seen}
    return {"of_run": of_run, "of_audit": of_audit} if of_run or of_audit else None


def check_facts(given: CardInputs) -> list[Facts]:
    """Return of each of `CHECKED` what the audit found, or why it is not done; then its others."""
    checks = given.checks
    said = []
    named = {name for _, name in CHECKED} | {"parts"}
    others = [(check["title"], name) for name, check in checks.items() if name not in named]
    for title, name in (*CHECKED, *others):
        check = checks.get(name)
        one: Facts = {"title": title, "found": None, "absent": "", "why": ""}
        if not checks:
            one["absent"] = "no audit"
        elif check is None:
            one["absent"] = "not asked for" if name == "left_out" else "not made"
        elif check["verdict"] == NOT_DONE:
            one["why"] = check["reading"].removeprefix("Not done: ").rstrip(".")
        else:
            one["found"] = check
        said.append(one)
    return said


def limit_facts(given: CardInputs) -> Facts:
    """Return its known limits."""
    sources: dict[str, set[str]] = {label: set() for label in given.card.labels}
    for row in given.rows:
        for label in _labels_of(row, given.several):
            sources.setdefault(label, set()).add(row.source)
    failed = None
    if given.audit and given.audit["verdict"] == "fail":
        failed = [
            check["title"]
            for check in given.audit["checks"]
            if check["hard"] and check["verdict"] == "fail"
        ]
    known = {
        "classes": len(given.card.labels),
        "not_calibrated": given.reference is not None and not given.reference.calibrated,
        "of_one_source": [(label, *found) for label, found in sources.items() if len(found) == 1],
        "shared_patients": given.card.data.get("split_by") == "image",
        "failed": failed,
        "audited": bool(given.audit),
    }
    return {"limits": known}
