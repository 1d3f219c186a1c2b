"""An assessment for a person: the content of ``report.json`` as one page of Markdown.

Computes nothing; what was not done is said to be not done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cxr_transfer import INTENDED_USE
from cxr_transfer.datasets.damaged import damaged_sentence
from cxr_transfer.evaluation import report
from cxr_transfer.models.metadata import Checkpoint
from cxr_transfer.runs.run_folder import opened_words
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.statistics.metrics import Evaluation
from cxr_transfer.text import markdown

NOT_DONE = "Not done: there are no scores of validation films beside the checkpoint."

NO_REFERENCE = "Scores are not calibrated: there is no reference beside the checkpoint."


def page(
    checkpoint: Checkpoint,
    content: Mapping[str, Any],
    evaluation: Evaluation | None,
    drawn: Sequence[str] = (),
) -> str:
    """Return the page.

    Args:
        checkpoint: What was evaluated.
        content: Of ``report.json``.
        evaluation: None when no film has a label that the network knows.
        drawn: Names of the figures in ``figures/``.
    """
    lines = [
        f"# {checkpoint.name} on {content['films']} films",
        "",
        f"**{INTENDED_USE}**",
        "",
        f"Weights `{content['checkpoint']['weights_sha256'][:12]}`, data "
        f"`{content['data_hash'][:12]}`, {content['time']}. Percent unless said, with 95 % "
        f"intervals: {content['intervals']}. Scores, and thresholds of them, are "
        f"{content['score_scale']}: what `cxr predict` gives. All films are scored here, also "
        "those to which it gives no class.",
    ]
    if content["seen_in_training"]:
        lines += [
            "",
            f"**{content['seen_in_training']} of these films or their patients were seen "
            "in training: these figures say nothing of new films.**",
        ]
    if said := damaged_sentence(content["damaged_files"]):
        lines += ["", said]
    if evaluation:
        lines += [
            "",
            f"Accuracy {evaluation.accuracy.percent()}, macro F1 {evaluation.f1_macro.percent()} "
            f"over {evaluation.films} films of {evaluation.patients} patients with a label that "
            "the network knows.",
            "",
            *report.class_table(evaluation),
        ]
    lines += ["", opened_words(content["test_openings"])]
    if evaluation:
        lines += _errors(checkpoint.name, evaluation.films, content["errors"])
    worth = content["worth"]
    if worth:
        lines += _within_sources(worth["within_sources"])
    lines += _groups(list(checkpoint.labels), content["groups"])
    if worth:
        lines += [
            *_subgroups(worth["subgroups"], worth["gaps"]),
            *_calibration(worth["calibration"]),
            *_operating_points(worth["operating_points"]),
            *_risk_coverage(worth["risk_coverage"], worth["abstention"]),
        ]
    lines += ["", *(f"![](figures/{name})" for name in drawn)]
    return "\n".join(lines).rstrip() + "\n"


def _errors(name: str, films: int, found: Mapping[str, int]) -> list[str]:
    lines = ["", "## Errors", "", f"![](figures/{name}_confusion.png)", ""]
    wrong, shown = found["films"], found["shown"]
    if not wrong:
        return [*lines, "Every film is called its own class: there is no error to show."]
    these = "them" if shown == wrong else f"the first {shown}"
    return [
        *lines,
        f"Films called another class than their own: {wrong} of {films}. "
        "[errors.csv](errors.csv) has them all, the highest score first; the picture shows "
        f"{these} as the network saw them, under the same numbers.",
        "",
        "![](figures/errors.png)",
        "",
        "**This picture holds the films themselves: leave it out when you hand the report on.**",
    ]


def _within_sources(found: Mapping[str, Any]) -> list[str]:
    lines = [
        "",
        "## Within one source",
        "",
        "AUROC of a class against the others among the films of one source: what a network that "
        "tells only the sources apart cannot have.",
        "",
    ]
    if found["compared"]:
        lines += ["| source | class | films | others | AUROC |", "|---|---|---|---|---|"]
    for source in found["compared"]:
        lines += [
            f"| {markdown(source['source'])} | {markdown(label)} | {one['films']} | "
            f"{one['others']} | "
            f"{_percent(one['auroc'])} |"
            for label, one in source["classes"].items()
        ]
    alone = ", ".join(
        markdown(f"{one['source']} ({one['label']})") for one in found["one_class_only"]
    )
    if alone:
        lines += ["", f"Nothing to compare, for want of a second class: {alone}."]
    return lines


def _groups(names: Sequence[str], groups: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "",
        "## What each group is called",
        "",
        f"| source | label | films | {' | '.join(f'called {markdown(name)}' for name in names)} |",
        f"|---|---|---|{'---|' * len(names)}",
    ]
    for group in groups:
        cells = [_percent(group["called"][name]) for name in names]
        row = [markdown(group["source"]), markdown(group["label"]), str(group["films"]), *cells]
        lines.append(f"| {' | '.join(row)} |")
    return lines


def _subgroups(
    groups: Mapping[str, Sequence[Mapping[str, Any]]], gaps: Mapping[str, Any]
) -> list[str]:
    lines = [
        "",
        "## For whom",
        "",
        "| | group | films | patients | accuracy |",
        "|---|---|---|---|---|",
    ]
    for axis, found in groups.items():
        for group in found:
            accuracy = "too few" if group["too_few"] else _percent(group["accuracy"])
            lines.append(
                f"| {axis} | {markdown(group['group'])} | {group['films']} | {group['patients']} | "
                f"{accuracy} |"
            )
    said = [
        f"{axis} {100 * gap['gap']:.1f} points "
        f"({markdown(gap['worst'])} to {markdown(gap['best'])})"
        for axis, gap in gaps.items()
        if gap
    ]
    return [
        *lines,
        "",
        f"From the worst group to the best: {'; '.join(said) or 'none to compare'}.",
    ]


def _calibration(found: Mapping[str, Any]) -> list[str]:
    lines = ["", "## Calibration", ""]
    # The errors by bins come last: on few films chance alone pushes them up.
    names = {
        "brier": "Brier score",
        "log_loss": "log loss",
        "ece": "expected calibration error",
        "ece_classwise": "the same, class by class",
    }
    after = found["after"]
    lines += ["| not percent | as the network gives them | calibrated |", "|---|---|---|"]
    lines += [
        f"| {name} | {_estimate(found['before'][key])} | "
        f"{_estimate(after[key]) if after else 'not done'} |"
        for key, name in names.items()
    ]
    return [*lines, "", found["temperature_check"] or NO_REFERENCE]


def _operating_points(found: Mapping[str, Any] | None) -> list[str]:
    lines = ["", "## Operating points", ""]
    if found is None:
        return [*lines, NOT_DONE]
    lines += [
        "Thresholds chosen on the validation films, on the scale of the scores that `cxr predict` "
        "gives; a film is called positive from the threshold on. Sensitivity and specificity on "
        "these films; predictive values at stated prevalences, by Bayes' rule.",
        "",
    ]
    shares = [
        one["prevalence"]
        for point in list(found.values())[:1]
        for one in next(iter(point.values()))["prevalences"]
    ]
    heads = " | ".join(f"PPV, NPV at {share:.0%}" for share in shares)
    lines += [
        f"| class | for | threshold | sensitivity | specificity | {heads} |",
        f"|---|---|---|---|---|{'---|' * len(shares)}",
    ]
    for label, points in found.items():
        for name, point in points.items():
            values = " | ".join(
                f"{_percent(one['ppv'])}, {_percent(one['npv'])}" for one in point["prevalences"]
            )
            lines.append(
                f"| {markdown(label)} | {name} | {point['threshold']:.6f} | "
                f"{_percent(point['sensitivity'])} | {_percent(point['specificity'])} | {values} |"
            )
    return lines


def _risk_coverage(found: Mapping[str, Any], limit: Mapping[str, Any] | None) -> list[str]:
    lines = [
        "",
        "## Leaving out unsure films",
        "",
        f"Area under risk and coverage {found['aurc']:.4f}.",
        "",
        "| kept | films | from a score of | wrong among them |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {one['coverage']:.0%} | {one['films']} | {one['threshold']:.6f} | "
        f"{_percent(one['risk'])} |"
        for one in found["kept"]
    ]
    if limit:
        wrong = limit["wrong_among_answered"]
        lines += [
            "",
            f"The model's own limit is a score of {limit['least_score']:.6f}: "
            f"{limit['answered']} of these films get a class"
            + (f", of which {_percent(wrong)} % is wrong" if wrong else "")
            + f", {limit['not_sure']} get none.",
        ]
    return lines


def _percent(found: Mapping[str, float | None] | None) -> str:
    return "too few" if found is None else Estimate.from_dict(found).percent()


def _estimate(found: Mapping[str, float | None]) -> str:
    return Estimate.from_dict(found).written(3)
