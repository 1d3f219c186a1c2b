"""A watch as files: ``monitor.html``, ``monitor.json`` and ``metrics.prom``.

In comes the content of a watch; out go the files. ``metrics.prom`` is for the textfile collector of
Prometheus' node exporter: text, whole or absent, never a name of an image. Computes nothing.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cxr_transfer.evaluation.rendering import render
from cxr_transfer.figures.acceptance import weekly_figure
from cxr_transfer.files import write_json, write_text
from cxr_transfer.provenance import short

METRICS = "metrics.prom"


def write_monitor(out: Path, content: Mapping[str, Any]) -> None:
    """Write all files of a watch.

    Args:
        out: Folder of the watch.
        content: Content of ``monitor.json``.
    """
    picture = out / "figures" / "weeks.png"
    weeks = content["weeks"]
    rows = {
        "images": [float(week["images"]) for week in weeks],
        "stability index": [_number(week["stability_index"]) for week in weeks],
        "without an answer, %": [_percent(week["without_answer"]["value"]) for week in weeks],
        "refused by quality control, %": [_percent(week["refused"]["value"]) for week in weeks],
    }
    weekly_figure(picture, [week["from"] for week in weeks], rows, "Week by week")
    write_json(out / "monitor.json", content)
    write_text(
        out / "monitor.html",
        render(
            "monitor.html.j2",
            content=content,
            picture=base64.b64encode(picture.read_bytes()).decode(),
            commit=short(content["commit"]),
        ),
    )
    write_text(out / METRICS, metrics_text(content))


def metrics_text(content: Mapping[str, Any]) -> str:
    """Return a watch in Prometheus' text form; the figures are those of the last whole week."""
    over = [week for week in content["weeks"] if week["is_over"]]
    lines: list[str] = []

    def gauge(name: str, words: str, values: Mapping[str, float | None]) -> None:
        known = {label: value for label, value in values.items() if value is not None}
        if known:
            lines.append(f"# HELP cxr_monitor_{name} {words}")
            lines.append(f"# TYPE cxr_monitor_{name} gauge")
            lines.extend(f"cxr_monitor_{name}{label} {value!r}" for label, value in known.items())

    seconds = datetime.fromisoformat(content["time"]).timestamp()
    gauge("run_timestamp_seconds", "When the answers were last looked at.", {"": seconds})
    gauge("answers", "Answers since the first day.", {"": content["answers"]})
    gauge("weeks_over", "Weeks that were tested.", {"": len(over)})
    gauge("alarms", "Alarms since the first day.", {"": len(content["alarms"])})
    if over:
        week = over[-1]
        gauge("week_images", "Images of the last whole week.", {"": week["images"]})
        gauge(
            "week_share",
            "Share of images of the last whole week, by what became of them.",
            {_label("of", name): week[name]["value"] for name in ("without_answer", "refused")},
        )
        gauge(
            "stability_index",
            "Population stability index of the scores of the last whole week.",
            {"": week["stability_index"]},
        )
        gauge(
            "p_value",
            "P-value that the last whole week is as it was.",
            {_label("signal", name): value for name, value in week["p"].items()},
        )
    performance = content["performance"] or {}
    shares = {name: performance.get(name, {}) for name in ("sensitivity", "specificity")}
    gauge(
        "performance",
        "Share since the first day, by figure.",
        {_label("figure", name): share.get("value") for name, share in shares.items()},
    )
    gauge(
        "evidence",
        "Largest evidence that a figure lies below what is promised.",
        {_label("figure", name): share.get("evidence") for name, share in shares.items()},
    )
    return "\n".join(lines) + "\n"


def _label(name: str, value: str) -> str:
    return f'{{{name}="{value}"}}'


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _percent(value: float | None) -> float:
    return 100 * _number(value)
