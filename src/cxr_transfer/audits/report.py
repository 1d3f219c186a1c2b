"""An audit for a person: verdict first, then every check with its reading and its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.audits.inputs import Check
from cxr_transfer.datasets.damaged import damaged_sentence
from cxr_transfer.models.metadata import Checkpoint
from cxr_transfer.runs.run_folder import opened_words
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.text import markdown

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
    accuracy, area = (Estimate.from_dict(content[name]) for name in ("accuracy", "auroc_macro"))
    unread = damaged_sentence(films.get("damaged", 0))
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
        f"findings. Scores are {content['score_scale']}: what `cxr predict` gives. Intervals 95 %: "
        f"{content['intervals']}. {unread}".rstrip(),
        "",
        "| check | verdict | reading |",
        "|---|---|---|",
    ]
    for check in checks:
        said = f"**{check.verdict}**" if check.hard and check.verdict == "fail" else check.verdict
        lines.append(
            f"| {check.title}{' (hard)' if check.hard else ''} | {said} | "
            f"{markdown(check.reading)} |"
        )
    omitted = markdown("; ".join(content["not_done"]))
    skipped = f" Not done: {omitted}." if omitted else ""
    lines += [
        "",
        f"A hard check that fails fails the audit.{skipped} "
        f"{opened_words(content['test_openings'])}",
        "",
        "![](figures/without_the_lungs.png)",
        "",
        "![](figures/sources.png)",
    ]
    if content["accuracy"]["value"] < 1:
        lines += ["", "[Its surest errors](figures/errors.png), for your own eyes: it holds films."]
    for check in checks:
        lines += [
            "",
            f"## {check.title}: {check.verdict}",
            "",
            markdown(check.reading),
            "",
            f"*{check.bounds}.*",
        ]
        lines += _details(check)
    lines += [
        "",
        f"Lungs: {content['lung_mask']}. Weights "
        f"`{content['checkpoint']['weights_sha256'][:12]}`, data `{content['data_hash'][:12]}`, "
        f"commit `{provenance.short(content['commit'])}`, {content['time']}.",
        "",
        _precision(content["precision"]),
    ]
    return "\n".join(lines) + "\n"


def _precision(found: Mapping[str, Any]) -> str:
    said = f"Scores are of {found['quoted_scores']}, those of changed films of "
    said += f"{found['changed_films']}"
    if "called_otherwise" in found:
        said += (
            f" (bfloat16 called {found['called_otherwise']} of {found['films']} unchanged films "
            f"otherwise, by {found['largest_difference']:.3f} at most)"
        )
    return said + "."


def _details(check: Check) -> list[str]:
    table = {
        "outside": lambda found: _called(found["groups"]),
        "source_by_class": _crossed,
        "fragility": _falls,
        "occlusion": _areas,
        "left_out": _left_out,
        "matched": _matched,
        "heat_maps": _maps,
    }.get(check.name)
    return table(check.measured) if table and check.measured else []


def _falls(found: Mapping[str, Any]) -> list[str]:
    return ["", "| change | accuracy falls by, points |", "|---|---|"] + [
        f"| {name} | {100 * fall:.1f} |" for name, fall in found["fall"].items()
    ]


def _areas(found: Mapping[str, Any]) -> list[str]:
    return ["", "| what is left | AUROC (macro) |", "|---|---|"] + [
        f"| {name} | {Estimate.from_dict(area)} |"
        for name, area in found.items()
        if isinstance(area, dict) and area["value"] is not None
    ]


def _left_out(found: Mapping[str, Any]) -> list[str]:
    lines = []
    if found["left_out"]:
        lines += [
            "",
            "| left out | films | AUROC there | called so, % | AUROC (macro) in what was kept |",
            "|---|---|---|---|---|",
        ]
    for one in found["left_out"]:
        areas = "; ".join(
            f"{markdown(label)} {Estimate.from_dict(area).written(2)}"
            for label, area in one["auroc"].items()
            if area
        )
        right = "; ".join(
            f"{markdown(group['label'])} "
            f"{Estimate.from_dict(group['called'][group['label']]).percent()}"
            for group in one["groups"]
        )
        inside = Estimate.from_dict(one["inside"]).written(2)
        lines.append(
            f"| {markdown(' and '.join(one['sources']))} | {one['films']} | "
            f"{areas or 'one class'} | {right} | {inside} |"
        )
    said = [
        markdown(f"{' and '.join(one['sources'])} ({one['why']})") for one in found["not_possible"]
    ]
    return [*lines, "", f"Not left out: {'; '.join(said)}."] if said else lines


def _matched(found: Mapping[str, Any]) -> list[str]:
    return [
        "",
        "| classes | alike in | films | AUROC | of all films |",
        "|---|---|---|---|---|",
    ] + [
        f"| {markdown(' and '.join(pair['classes']))} | {', '.join(pair['on'])} | "
        f"{pair['films']} | {Estimate.from_dict(pair['matched'])} | "
        f"{Estimate.from_dict(pair['all'])} |"
        for pair in found["pairs"]
    ]


def _maps(found: Mapping[str, Any]) -> list[str]:
    lines = [
        "",
        f"Of {found['films']} films: share of the map in the lungs "
        f"{Estimate.from_dict(found['lung_share']).written(2)}, of the film "
        f"{found['lung_area']:.2f}. Rank correlation with the map of the same network after its "
        "weights were drawn anew:",
        "",
        "| drawn anew | correlation |",
        "|---|---|",
    ]
    return lines + [
        f"| {stage} | {Estimate.from_dict(alike).written(2)} |"
        for stage, alike in found["randomised"].items()
    ]


def _called(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(groups[0]["called"])
    heads = " | ".join(f"called {markdown(name)}, %" for name in names)
    lines = [
        "",
        f"| source | label | films | {heads} |",
        f"|---|---|---|{'---|' * len(names)}",
    ]
    for group in groups:
        cells = " | ".join(Estimate.from_dict(group["called"][name]).percent() for name in names)
        row = markdown(group["source"]), markdown(group["label"]), group["films"], cells
        lines.append(f"| {' | '.join(map(str, row))} |")
    return lines


def _crossed(found: Mapping[str, Any]) -> list[str]:
    labels = found["labels"]
    heads = " | ".join(map(markdown, labels))
    lines = ["", f"| source | {heads} |", f"|---|{'---|' * len(labels)}"]
    for source in found["sources"]:
        cells = " | ".join(str(found["counts"][source][label]) for label in labels)
        lines.append(f"| {markdown(source)} | {cells} |")
    return lines
