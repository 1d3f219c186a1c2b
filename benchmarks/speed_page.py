"""The page of the speed measurements: what each part took, on every kind of processor at hand.

In come the results of `speed.py`, by the kind of processor; out go ``docs/results/speed.md`` and
the figure of how cost grows.
"""

from __future__ import annotations

import io
import statistics
from pathlib import Path

from matplotlib.figure import Figure

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.files import write_bytes, write_text
from cxr_transfer.provenance import short

KINDS = {"avx2": "AVX2", "avx512": "AVX-512 with VNNI", "amx": "AMX"}
"""Kinds of processors, by the widest units that they have for products."""

GOALS = {
    "CNN, an epoch": 3,
    "Model_3, start to best checkpoint": 20,
    "ResNet-50, one image, file to scores": 8,
    "ResNet-50, a folder of megapixel JPEGs": 5,
}
"""How many times as fast as Keras ours is to be."""

LIMITS_S = {
    "cxr --help": 0.2,
    "cold start, one image": 0.7,
    "cxr evaluate, multi_source, 300 images": 20,
    "cxr evaluate, model_2, 300 images": 20,
}
"""Seconds that a command is to take at most."""

_HELD = (
    " Where it says so, a processor with more is held to AVX2 by settings of PyTorch, TensorFlow "
    "and OpenVINO."
)
_UNITS = {"s": "Seconds", "ms": "Milliseconds", "ms per image": "Milliseconds per image"}

GROWTH = (
    ("training the CNN, an epoch", "growth", "training_images", "epoch_s", "training_peak_mb"),
    ("predicting a folder", "growth", "predicted_images", "prediction_s", "prediction_peak_mb"),
    (
        "cxr evaluate, model_2",
        "evaluation",
        "evaluated_images",
        "evaluation_s",
        "evaluation_peak_mb",
    ),
)
"""What grows: its name, its part, and where its images, seconds and memory stand."""


def write_page(path: Path, results: dict[str, dict]) -> None:
    """Write the page, and the figure beside it."""
    draw_growth(path.parent / "figures" / "growth.png", results[latest(results)])
    write_text(path, page(results))


def latest(results: dict[str, dict]) -> str:
    """Return the kind whose growth was measured last."""
    measured = [kind for kind, content in results.items() if "growth" in content]
    return max(
        measured,
        key=lambda kind: max(one["time"] for one in results[kind]["measured"].values()),
    )


def draw_growth(path: Path, content: dict) -> None:
    """Draw seconds and memory over images."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    for name, part, images, seconds, peak in GROWTH:
        rows = content.get(part)
        if not rows:
            continue
        across = [row[images] for row in rows]
        took = [row[seconds] for row in rows]
        time_axes.loglog(across, took, "o-", label=name)
        time_axes.loglog(
            across, [took[0] * number / across[0] for number in across], ":", color="#6B6B6B"
        )
        memory_axes.semilogx(across, [row[peak] for row in rows], "o-", label=name)
    time_axes.set(xlabel="images", ylabel="seconds (dotted: in proportion)")
    memory_axes.set(xlabel="images", ylabel="peak memory, MB", ylim=(0, None))
    time_axes.legend()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=130)
    write_bytes(path, content.getvalue())


def page(results: dict[str, dict]) -> str:
    """Return the page."""
    lines = [
        "# How fast, beside what one would use instead",
        "",
        f"**{INTENDED_USE}**",
        "",
        "Written by `benchmarks/speed.py` (`make bench`). Contestants take turns on the same "
        "images, each in a process of its own; medians over the rounds, ratios within a round "
        "with their lowest and highest. The machines were shared: trust the ratios more than the "
        "times." + (_HELD if any(content.get("held") for content in results.values()) else ""),
        "",
        "| processor | machine | measured |",
        "|---|---|---|",
        *(
            f"| {KINDS[kind]} | {_machine(content)} | {_measured(kind, content)} |"
            for kind, content in results.items()
        ),
        "",
    ]
    for title in dict.fromkeys(title for content in results.values() for title in content):
        if any(_is_table(content.get(title)) for content in results.values()):
            lines += _comparison(
                title, {kind: content.get(title) for kind, content in results.items()}
            )
    lines += _commands(results)
    lines += ["## The machine's limit", "", *_limits(results)]
    lines += ["", "## How cost grows", "", *_grown(results[latest(results)])]
    lines += ["", "![time and memory over images](figures/growth.png)", "", "## Memory", ""]
    for title, name in (
        ("CNN training", "cnn"),
        ("ResNet-50 training", "resnet"),
        ("a folder", "folder"),
    ):
        for kind, content in results.items():
            each = ", ".join(f"{who} {peak}" for who, peak in content[f"peak_mb_{name}"].items())
            lines.append(f"* {title}, {KINDS[kind]}, peak MB: {each}.")
    return "\n".join(lines) + "\n"


def _machine(content: dict) -> str:
    held = ", held to AVX2" if content.get("held") else ""
    return f"{content['machine']['processor']}, {content['machine']['cores']} cores{held}"


def _measured(kind: str, content: dict) -> str:
    stamps = "; ".join(
        f"{name} {one['time'][:10]} at `{short(one['commit'])}`"
        for name, one in content["measured"].items()
    )
    absent = content.get("not_measured")
    without = f"; not measured: {', '.join(absent)}" if absent else ""
    return (
        f"{content['images']} images: {stamps}{without} "
        f"([numbers](../../benchmarks/results/speed-{kind}.json))"
    )


def _is_table(found: object) -> bool:
    return isinstance(found, dict) and "unit" in found and "median" not in found


def _comparison(title: str, by_kind: dict[str, dict | None]) -> list[str]:
    """Return a table: a row for each contestant, a column for each kind of processor."""
    tables = {kind: found for kind, found in by_kind.items() if _is_table(found)}
    first = next(iter(tables.values()))
    theirs = first.get("beside", "Keras")
    goal = f"; goal: {GOALS[title]} times Keras" if title in GOALS else ""
    if title in LIMITS_S:
        goal = f"; goal: {LIMITS_S[title]} s"
    lines = [
        f"## {title}{goal}",
        "",
        f"{_UNITS[first['unit']]}, and how many times as fast as {theirs}.",
        "",
        "| | " + " | ".join(KINDS[kind] for kind in tables) + " |",
        "|---|" + "---|" * len(tables),
    ]
    names = dict.fromkeys(
        name
        for found in tables.values()
        for name, row in found.items()
        if isinstance(row, dict) and "median" in row
    )
    for name in names:
        cells = [_cell(found.get(name)) for found in tables.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    images = ", ".join(
        f"{found['of_images']} ({KINDS[kind]})"
        for kind, found in tables.items()
        if "of_images" in found
    )
    lines += ["", *([f"Images: {images}.", ""] if images else [])]
    if "epochs" in first:
        epochs = " and ".join(f"{number} of {name}" for name, number in first["epochs"].items())
        lines += [
            f"Composed: what is done once, and the measured epochs times those of the real "
            f"study's seed 0 ({epochs}); both sides stop by the same rule.",
            "",
        ]
    return lines


def _cell(row: dict | None) -> str:
    if row is None:
        return "–"
    ratio = (
        f": {row['times_faster']:.1f} ({row['times_faster_lowest']:.1f} to "
        f"{row['times_faster_highest']:.1f})"
        if "times_faster" in row
        else ""
    )
    median = row["median"]
    return f"{f'{median:.0f}' if median >= 100 else f'{median:.3g}'}{ratio}"


def _commands(results: dict[str, dict]) -> list[str]:
    tables = {kind: one["commands"] for kind, one in results.items() if "commands" in one}
    if not tables:
        return []
    names = dict.fromkeys(name for found in tables.values() for name in found)
    lines = [
        "## Whole commands",
        "",
        "Seconds, as they are typed; the slowest run behind the median.",
        "",
    ]
    lines += ["| | goal | " + " | ".join(KINDS[kind] for kind in tables) + " |"]
    lines += ["|---|---|" + "---|" * len(tables)]
    for name in names:
        cells = [
            f"{found[name]['median']:.2f} ({max(found[name]['rounds']):.2f})"
            if name in found
            else "–"
            for found in tables.values()
        ]
        lines.append(f"| {name} | {LIMITS_S.get(name, '')} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _limits(results: dict[str, dict]) -> list[str]:
    lines = [
        "The floor is arithmetic alone, at the peak measured in products of matrices with 4,096 "
        "rows; an epoch's validation is taken as free. No peak is measured of numbers that the "
        "processor has no units for.",
        "",
        "| processor | | GFLOP an image | peak, GFLOP/s | floor, ms an image | ours, ms an image | "
        "ours / floor |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, content in results.items():
        for title, gflop, number, ours in _computed(content):
            peak = content["machine_peaks"].get(f"{number}_gflops")
            if peak is None:
                continue
            floor = 1000 * gflop / peak
            lines.append(
                f"| {KINDS[kind]} | {title} | {gflop:.2f} | {peak:.0f} | {floor:.2f} | "
                f"{ours:.2f} | {ours / floor:.1f} |"
            )
    lines.append("")
    for kind, content in results.items():
        decoding = statistics.median(
            part["decoding_all_threads_ms"] for part in content["parts"].values()
        )
        lines.append(
            f"* {KINDS[kind]}: decoding and resizing a megapixel JPEG, all threads: {decoding:.1f} "
            f"ms an image; copying: {content['machine_peaks']['memory_gb_s']:.0f} GB/s."
        )
    return lines


def _computed(content: dict) -> list[tuple[str, float, str, float]]:
    """Return what is computed: its name, GFLOP and numbers, and the milliseconds it took."""
    work, cnn = content["gflop_per_image"], content["CNN, an epoch"]
    block = content["Model_3, an epoch of last_block"]
    rows = [
        (
            f"the network, batch of 16, {name.removeprefix('ours, ')}",
            work["resnet_forward"],
            name.removeprefix("ours, "),
            part["network_batch_16_ms"],
        )
        for name, part in content["parts"].items()
    ]
    for name in ("float32", "bfloat16"):
        if f"ours, {name}" not in cnn:
            continue
        for title, table, gflop in (
            ("training the CNN", cnn, work["cnn_training"]),
            ("training the last block", block, work["last_block_training"]),
        ):
            ours = 1000 * table[f"ours, {name}"]["median"] / cnn["of_images"]
            rows.append((f"{title}, {name}", gflop, name, ours))
    return rows


def _grown(content: dict) -> list[str]:
    lines = [f"Measured on: {_machine(content)}.", ""]
    for name, part, images, seconds, peak in GROWTH:
        rows = content.get(part)
        if not rows:
            continue
        lines += [f"| {name}: images | s | ms an image | peak MB |", "|---|---|---|---|"]
        lines += [
            f"| {row[images]} | {row[seconds]:.2f} | {1000 * row[seconds] / row[images]:.1f} | "
            f"{row[peak]} |"
            for row in rows
        ]
        lines.append("")
    if "manifest" in content:
        table = content["manifest"]
        lines.append(
            f"A manifest of {table['rows']:,} images is read in {table['seconds']:.1f} s, with the "
            f"start of Python, and {table['peak_mb']} MB at most; no image is opened for it."
        )
    return lines
