"""What evaluations, studies, audits and validations prove of a model's figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cxr_transfer.reports.documents import Document, Documents
from cxr_transfer.reports.model_evidence import Facts
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.statistics.metrics import TITLES

_NOT_DONE = "not done"
CHECKS = ("robustness", "heat_maps", "occlusion", "groups", "metadata", "overlap", "calibration")
"""Checks of an audit that a checklist may ask for, by name."""


def figures_of(documents: Documents) -> tuple[Document, Mapping[str, Any], str] | None:
    """Return the report that has the model's figures, the figures, and their JSON path there."""
    for document in (documents.evaluation, documents.study):
        if document is None:
            continue
        if "evaluation" in document.content:
            return document, document.content["evaluation"], "$.evaluation"
        for name, model in document.content.get("models", {}).items():
            if model.get("weights_sha256") == documents.card.weights_sha256:
                return document, model, f"$.models.{name}"
    return None


def figure_evidence(documents: Documents) -> Facts:
    """Return what an evaluation proves; every fact is None without one."""
    names = (
        *("metrics", "intervals", "internal", "performance", "by_class", "confusion", "errors"),
        *("calibration", "operating_points", "abstention", "subgroups", "gaps", "within_source"),
        *("flow", "comparisons", "speed"),
    )
    facts: Facts = dict.fromkeys(f"figures.{name}" for name in names)
    has_figures = figures_of(documents)
    if has_figures is None:
        return facts
    document, figures, path = has_figures
    content = document.content
    averages = [name for name in TITLES if isinstance(figures.get(name), dict)]
    facts |= {
        "figures.metrics": document.fact(", ".join(TITLES[name] for name in averages), path),
        "figures.intervals": document.fact(str(content.get("intervals", "")), "$.intervals"),
        "figures.internal": document.fact(_tested(figures), f"{path}.test_images"),
        "figures.performance": document.fact(
            "; ".join(f"{TITLES[name]} {_percent(figures[name])} %" for name in averages), path
        ),
        "figures.by_class": document.fact(
            "; ".join(_class_words(*row) for row in figures.get("per_class", {}).items()),
            f"{path}.per_class",
        ),
        "figures.confusion": document.fact(
            _confusion(documents.card.labels, figures.get("confusion")), f"{path}.confusion"
        ),
        "figures.flow": document.fact(_flow(content.get("flow")), "$.flow"),
        "figures.speed": document.fact(_speed(content.get("ms_per_image")), "$.ms_per_image"),
        "figures.comparisons": document.fact(_pairs(content.get("comparisons")), "$.comparisons"),
    }
    if content.get("errors"):
        words = f"{content['errors']['images']} images are called wrong; errors.csv lists them"
        facts["figures.errors"] = document.fact(words, "$.errors")
    return facts | _worth_evidence(document, content.get("worth"))


def _worth_evidence(document: Document, worth: Mapping[str, Any] | None) -> Facts:
    if not worth:
        return {}
    calibration, abstention = worth.get("calibration"), worth.get("abstention")
    groups = worth.get("subgroups") or {}
    within = (worth.get("within_sources") or {}).get("compared") or ()
    gaps = worth.get("gaps") or {}
    points = worth.get("operating_points")
    return {
        "figures.calibration": document.fact(
            f"expected calibration error {_percent(calibration['before']['ece'])} %"
            if calibration
            else "",
            "$.worth.calibration",
        ),
        "figures.operating_points": document.fact(
            f"thresholds chosen on validation images, for {', '.join(points)}" if points else "",
            "$.worth.operating_points",
        ),
        "figures.abstention": document.fact(
            f"{abstention['not_sure']} images are not sure and get no class, "
            f"{abstention['answered']} get one"
            if abstention
            else "",
            "$.worth.abstention",
        ),
        "figures.subgroups": document.fact(
            "; ".join(f"by {name}: {_groups(rows)}" for name, rows in groups.items()),
            "$.worth.subgroups",
        ),
        "figures.gaps": document.fact(
            "; ".join(
                f"by {name}, {100 * gap['gap']:.1f} points from {gap['worst']} to {gap['best']}"
                for name, gap in gaps.items()
                if gap
            ),
            "$.worth.gaps",
        ),
        "figures.within_source": document.fact(
            f"compared within sources: {', '.join(row['source'] for row in within)}"
            if within
            else "",
            "$.worth.within_sources",
        ),
    }


def audit_evidence(documents: Documents) -> Facts:
    """Return what an audit proves: a check that was not done proves nothing."""
    names = ("verdict", "failed", *CHECKS)
    facts: Facts = dict.fromkeys(f"audit.{name}" for name in names)
    audit = documents.audit
    if audit is None:
        return facts
    checks = audit.content["checks"]
    for row, check in enumerate(checks):
        if check["name"] in CHECKS and check["verdict"] != _NOT_DONE:
            words = f"{check['title']}: {check['verdict']}. {check['reading']}"
            facts[f"audit.{check['name']}"] = audit.fact(words, f"$.checks[{row}]")
    failed = [f"{check['title']}: {check['reading']}" for check in checks if _failed(check)]
    facts["audit.verdict"] = audit.fact(str(audit.content["verdict"]), "$.verdict")
    facts["audit.failed"] = audit.fact(
        " ".join(failed) or "no check failed", "$.checks[?(@.verdict=='fail')]"
    )
    return facts


def _failed(check: Mapping[str, Any]) -> bool:
    return bool(check["verdict"] == "fail")


def validation_evidence(documents: Documents) -> Facts:
    """Return what an external validation proves."""
    names = ("external", "sources", "worst")
    facts: Facts = dict.fromkeys(f"validation.{name}" for name in names)
    validation = documents.validation
    if validation is None:
        return facts
    content, summary = validation.content, validation.content["summary"]
    kind = {
        "recipe": "the recipe was trained anew without each source, and tested on it",
        "model": "the model was tested on sources that it had not met",
    }
    rows = [f"{row['source']} ({row['images']} images)" for row in content["sources"]]
    facts["validation.external"] = validation.fact(kind.get(content["kind"], ""), "$.kind")
    facts["validation.sources"] = validation.fact(", ".join(rows), "$.sources")
    worst = summary.get("worst")
    if worst:
        words = f"worst source {worst['source']}: mean AUROC {_percent(worst['auroc_macro'])} %"
        facts["validation.worst"] = validation.fact(words, "$.summary.worst")
    return facts


def _percent(estimate: Mapping[str, float | None] | None) -> str:
    return Estimate.from_dict(estimate).percent()


def _tested(figures: Mapping[str, Any]) -> str:
    images, patients = figures.get("test_images"), figures.get("test_patients")
    return f"{images} test images of {patients} patients" if images else ""


def _class_words(name: str, row: Mapping[str, Any]) -> str:
    words = [
        f"{title} {_percent(row[key])} %"
        for key, title in (
            ("recall", "sensitivity"),
            ("precision", "precision"),
            ("auroc", "AUROC"),
        )
        if isinstance(row.get(key), dict)
    ]
    return f"{name}: {', '.join(words)}" if words else ""


def _confusion(labels: tuple[str, ...], table: list[list[int]] | None) -> str:
    if not table:
        return ""
    rows = []
    for label, counts in zip(labels, table, strict=True):
        called = ", ".join(f"{name} {count}" for name, count in zip(labels, counts, strict=True))
        rows.append(f"{label} called {called}")
    return "; ".join(rows)


def _flow(flow: Mapping[str, Any] | None) -> str:
    if not flow:
        return ""
    left_out = [f"{row['images']}: {row['why']}" for row in flow["left_out"] if row["images"]]
    return (
        f"{flow['found']['images']} images of {flow['found']['patients']} patients found, "
        f"{flow['analysed']['images']} of {flow['analysed']['patients']} analysed; left out "
        f"{'; '.join(left_out) or 'none'}"
    )


def _speed(estimate: Mapping[str, float | None] | None) -> str:
    return f"{Estimate.from_dict(estimate).written(1)} ms an image" if estimate else ""


def _pairs(pairs: list[Mapping[str, Any]] | None) -> str:
    return "; ".join(
        f"{pair['a']} and {pair['b']}: exact McNemar p {pair['p_mcnemar_exact']:.3g}, Holm "
        f"{pair['p_holm']:.3g}"
        for pair in pairs or ()
        if "p_mcnemar_exact" in pair
    )


def _groups(rows: list[Mapping[str, Any]]) -> str:
    return ", ".join(
        f"{row['group']} {_percent(row.get('accuracy'))} % of {row['images']}"
        for row in rows
        if not row.get("too_few")
    )
