"""An audit for a person: verdict first, then every check with its reading and its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.evaluation.checks import Check
from cxr_transfer.evaluation.intervals import Estimate
from cxr_transfer.models.card import Checkpoint

SAID = {
    "pass": "No check found a shortcut.",
    "warn": "No hard check failed, but the figures are not beyond doubt: see what warns or was "
    "not done.",
    "fail": "The figures of this model do not mean that it recognises a disease.",
}


def page(checkpoint: Checkpoint, content: Mapping[str, Any], checks: Sequence[Check]) -> str:
    """Return the page.

    Args:
        checkpoint: What was audited.
        content: Of ``audit.json``.
        checks: In the order in which they are told.
    """
    films = content["films"]
    accuracy, area = (Estimate(**content[name]) for name in ("accuracy", "auroc_macro"))
    lines = [
        f"# Audit of {checkpoint.name}: {content['verdict'].upper()}",
        "",
        f"**{INTENDED_USE}**",
        "",
        f"**{SAID[content['verdict']]}**",
        "",
        f"On {films['scored']} films that training has not seen, of sources that it has: accuracy "
        f"{accuracy.percent()} percent, macro AUROC {area}. {films['seen_in_training']} films were "
        f"seen in training and not scored; {films['elsewhere']} are from elsewhere or of other "
        "findings. Intervals 95 %, by patient.",
        "",
        "| check | verdict | reading |",
        "|---|---|---|",
    ]
    for check in checks:
        said = f"**{check.verdict}**" if check.hard and check.verdict == "fail" else check.verdict
        lines.append(
            f"| {check.title}{' (hard)' if check.hard else ''} | {said} | {check.reading} |"
        )
    lines += [
        "",
        "A hard check that fails fails the audit. Not built yet: "
        f"{'; '.join(content['not_done'])}.",
        "",
        "![](figures/without_the_lungs.png)",
    ]
    for check in checks:
        lines += [
            "",
            f"## {check.title}: {check.verdict}",
            "",
            check.reading,
            "",
            f"*{check.bounds}.*",
        ]
        lines += _details(check)
    lines += [
        "",
        f"Lungs: {content['lung_mask']}. Weights "
        f"`{content['checkpoint']['weights_sha256'][:12]}`, data `{content['data_hash'][:12]}`, "
        f"commit `{provenance.short(content['commit'])}`, {content['time']}.",
    ]
    return "\n".join(lines) + "\n"


def _details(check: Check) -> list[str]:
    if check.name == "outside":
        return _called(check.measured["groups"]) if check.measured else []
    if check.name == "source_by_class" and check.measured:
        return _crossed(check.measured)
    if check.name == "fragility" and check.measured:
        rows = check.measured["fall"].items()
        return ["", "| change | accuracy falls by, points |", "|---|---|"] + [
            f"| {name} | {100 * fall:.1f} |" for name, fall in rows
        ]
    if check.name == "occlusion":
        return ["", "| what is left | AUROC (macro) |", "|---|---|"] + [
            f"| {name} | {Estimate(**area)} |"
            for name, area in check.measured.items()
            if isinstance(area, dict) and area["value"] is not None
        ]
    return []


def _called(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(groups[0]["called"])
    lines = [
        "",
        f"| source | label | films | {' | '.join(f'called {name}, %' for name in names)} |",
        f"|---|---|---|{'---|' * len(names)}",
    ]
    for group in groups:
        cells = " | ".join(
            Estimate(*(group["called"][name][k] for k in ("value", "low", "high"))).percent()
            for name in names
        )
        lines.append(f"| {group['source']} | {group['label']} | {group['films']} | {cells} |")
    return lines


def _crossed(found: Mapping[str, Any]) -> list[str]:
    labels = found["labels"]
    lines = ["", f"| source | {' | '.join(labels)} |", f"|---|{'---|' * len(labels)}"]
    for source, counts in zip(found["sources"], found["counts"], strict=True):
        lines.append(f"| {source} | {' | '.join(map(str, counts))} |")
    return lines
