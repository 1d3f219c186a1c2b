"""Ours and what one would use instead, alternately on the same images; then the machine's limit.

    make bench                          # generated images
    make bench DATA=../shared/data      # the training images are real ones

Every measurement is a process of its own. Contestants take turns, several times over; figures are
medians, ratios are taken within a round, and their spread over rounds is written beside them. What
cannot run here (the peer's environment is missing) is said to be not measured. Writes
``benchmarks/results/speed.json`` and ``docs/results/speed.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cxr_transfer import provenance
from cxr_transfer.files import write_bytes, write_json, write_text
from images import write_images

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CXR = Path(sys.executable).with_name("cxr")
OURS = [sys.executable, str(HERE / "ours.py")]
TORCH = [sys.executable, str(HERE / "peers/torch/peer.py")]
KERAS = [str(ROOT / ".venv-keras/bin/python"), str(HERE / "peers/keras/peer.py")]
GOALS = {
    "Model_3, start to best checkpoint": 20,
    "CNN, an epoch": 2.5,
    "ResNet-50, one image, file to scores": 15,
    "ResNet-50, a folder of megapixel JPEGs": 5,
}


def measured(command: list[str]) -> dict:
    """Run one contestant; its last line is its result."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def rounds(contestants: dict[str, list[str]], repetitions: int, title: str) -> dict[str, list]:
    """Let every contestant run once a round."""
    found: dict[str, list] = {name: [] for name in contestants}
    for turn in range(repetitions):
        for name, command in contestants.items():
            print(f"{title}: round {turn + 1} of {repetitions}, {name}", flush=True)
            found[name].append(measured(command))
    return found


def seconds_of(command: list[str], times: int) -> list[float]:
    """Time whole processes."""
    took = []
    for _ in range(times):
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        took.append(time.perf_counter() - started)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return took


def compared(values: dict[str, list[float]], theirs: str) -> dict:
    """Medians, and how many times faster each is than ``theirs``, round by round."""
    found = {}
    for name, each in values.items():
        found[name] = {"median": statistics.median(each), "rounds": each}
        if theirs in values and name != theirs:
            ratios = [a / b for a, b in zip(values[theirs], each, strict=True)]
            found[name] |= {
                "times_faster": statistics.median(ratios),
                "times_faster_lowest": min(ratios),
                "times_faster_highest": max(ratios),
            }
    return found


def warm(epochs: list[float]) -> float:
    return statistics.median(epochs[1:])


def to_best_checkpoint(one: dict, epochs: dict[str, int], images: dict[str, int]) -> float:
    """Seconds for the whole of Model_3 at the study's size: what is done once, and every epoch.

    Both sides stop by the same rule, so the number of epochs is the method's and not the
    software's: it is the real study's. Each epoch is scaled from the images measured to the
    study's.
    """
    here = one["training_images"] + one["validation_images"]
    scale = (images["train"] + images["validation"]) / here
    total = (one["once_s"] + one.get("decoding_s", 0)) * scale
    return total + sum(
        number * warm(one["epochs_s"][name]) * scale for name, number in epochs.items()
    )


def peaks() -> dict[str, float]:
    """Measure what this machine can do at most: products and memory."""
    import torch

    def best(work, times: int = 6) -> float:
        took = []
        for _ in range(times):
            started = time.perf_counter()
            work()
            took.append(time.perf_counter() - started)
        return min(took)

    side = 4096
    found = {}
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a, b = torch.randn(side, side).to(kind), torch.randn(side, side).to(kind)
        found[f"{name}_gflops"] = 2 * side**3 / best(lambda a=a, b=b: a @ b) / 1e9
    a = torch.randint(-9, 9, (side, side), dtype=torch.int8)
    found["int8_gflops"] = 2 * side**3 / best(lambda: torch._int_mm(a, a)) / 1e9
    source, target = torch.empty(2**28), torch.empty(2**28)
    found["memory_gb_s"] = 2 * 4 * 2**28 / best(lambda: target.copy_(source)) / 1e9
    return found


def flops() -> dict[str, float]:
    """Count the multiplications and additions of one image, in billions."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from cxr_transfer.models.resnet50 import resnet50
    from cxr_transfer.models.simple_cnn import simple_cnn

    def count(network, images, *, backward: bool) -> float:
        with FlopCounterMode(display=False) as counter:
            scores = network(images)
            if backward:
                scores.sum().backward()
        return counter.get_total_flops() / len(images) / 1e9

    radiograph = torch.zeros((2, 1, 224, 224), dtype=torch.uint8)
    network = resnet50(3)
    return {
        "cnn_training": count(simple_cnn(3), radiograph, backward=True),
        "resnet_forward": count(network.eval(), radiograph, backward=False),
        "last_block_training": count(network[-3:], torch.zeros(2, 2048, 7, 7), backward=True),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="Archives; default: generated images.")
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--training-images", type=int, default=240)
    parser.add_argument("--large-images", type=int, default=1000)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "speed.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "results" / "speed.md")
    parser.add_argument(
        "--only", choices=("training", "inference"), help="Measure one half; keep the other."
    )
    parser.add_argument(
        "--render", action="store_true", help="Write the page anew from the results at hand."
    )
    given = parser.parse_args()
    if given.render:
        write_page(given.page, json.loads(given.results.read_text(encoding="utf-8")))
        return
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    keras = Path(KERAS[0]).is_file()
    if not keras:
        print("the Keras peer has no environment (.venv-keras): it is not measured", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        content = measure(Path(folder), given, keras=keras)
    write_json(given.results, content)
    write_page(given.page, content)
    print(f"{given.results} and {given.page}")


def write_page(path: Path, content: dict) -> None:
    """Write the page, and the figure of how cost grows beside it."""
    import io

    from matplotlib.figure import Figure

    rows = content["growth"]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    for name, images, seconds, peak in (
        ("training the CNN, an epoch", "training_images", "epoch_s", "training_peak_mb"),
        ("predicting a folder", "predicted_images", "prediction_s", "prediction_peak_mb"),
    ):
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
    content_png = io.BytesIO()
    figure.savefig(content_png, format="png", dpi=130)
    write_bytes(path.parent / "figures" / "growth.png", content_png.getvalue())
    write_text(path, page(content))


def measure(folder: Path, given: argparse.Namespace, *, keras: bool) -> dict:
    print("writing images", flush=True)
    write_images(folder, training=given.training_images, large=given.large_images, data=given.data)
    content = json.loads(given.results.read_text(encoding="utf-8")) if given.only else {}
    content |= {
        "command": f"make bench{' DATA=DIR' if given.data else ''}",
        "images": "real" if given.data else "generated",
        "machine": provenance.machine(),
        "versions": provenance.versions(),
    }
    for name, part in (("training", measure_training), ("inference", measure_inference)):
        if given.only in (None, name):
            stamp = {"commit": provenance.commit(), "time": provenance.now()}
            content |= part(folder, given, keras=keras)
            content["measured"] = content.get("measured", {}) | {name: stamp}
    return content


def measure_training(folder: Path, given: argparse.Namespace, *, keras: bool) -> dict:
    turns, content = given.repetitions, {}
    training = {
        "Keras": [*KERAS],
        "plain PyTorch": [*TORCH],
        "ours, float32": [*OURS],
        "ours, bfloat16": [*OURS],
    }
    if not keras:
        del training["Keras"]

    def tasks(task: str) -> dict[str, list[str]]:
        return {
            name: [*command, task, str(folder)]
            + (["--precision", name.removeprefix("ours, ")] if name.startswith("ours") else [])
            for name, command in training.items()
        }

    found = rounds(tasks("cnn_epoch"), turns, "CNN")
    seconds = {name: [warm(one["epochs_s"]["all"]) for one in each] for name, each in found.items()}
    content["CNN, an epoch"] = compared(seconds, "Keras") | {
        "unit": "s",
        "of_images": found["ours, float32"][0]["training_images"],
    }
    content["peak_mb_cnn"] = {
        name: max(one["peak_mb"] for one in each) for name, each in found.items()
    }

    found = rounds(tasks("resnet_epochs"), turns, "ResNet-50")
    study = json.loads((ROOT / "docs/results/study.json").read_text())["seed_0"]
    epochs = study["models"]["model_3"]["epochs"]
    images = study["models"]["model_3"]["images"]
    whole = {
        name: [to_best_checkpoint(one, epochs, images) for one in each]
        for name, each in found.items()
    }
    content["Model_3, start to best checkpoint"] = compared(whole, "Keras") | {
        "unit": "s",
        "epochs": epochs,
        "of_images": images["train"] + images["validation"],
    }
    for stage in ("head", "last_block"):
        values = {
            name: [warm(one["epochs_s"][stage]) for one in each] for name, each in found.items()
        }
        content[f"Model_3, an epoch of {stage}"] = compared(values, "Keras") | {"unit": "s"}
    content["peak_mb_resnet"] = {
        name: max(one["peak_mb"] for one in each) for name, each in found.items()
    }
    content["model_3_once_s"] = {
        name: statistics.median(one["once_s"] for one in each) for name, each in found.items()
    }
    return content


def measure_inference(folder: Path, given: argparse.Namespace, *, keras: bool) -> dict:
    turns, content = given.repetitions, {}
    models = networks(folder)
    inference = {
        "Keras": [*KERAS, "one", str(folder)],
        "Keras, network called directly": [*KERAS, "one_call", str(folder)],
        "plain PyTorch": [*TORCH, "one", str(folder)],
    }
    if not keras:
        inference = {name: way for name, way in inference.items() if "Keras" not in name}
    ours = {
        f"ours, {name}": ["--model", str(models[kind]), "--precision", precision]
        for name, kind, precision in (
            ("float32", "float32", "float32"),
            ("bfloat16", "float32", "bfloat16"),
            ("int8", "int8", "float32"),
        )
    }
    found = rounds(
        inference | {name: [*OURS, "one", str(folder), *words] for name, words in ours.items()},
        turns,
        "one image",
    )
    values = {name: [statistics.median(one["ms"]) for one in each] for name, each in found.items()}
    content["ResNet-50, one image, file to scores"] = compared(values, "Keras") | {"unit": "ms"}

    inference = {
        name: [*way[:2], "folder", *way[3:]]
        for name, way in inference.items()
        if "directly" not in name
    }
    found = rounds(
        inference | {name: [*OURS, "folder", str(folder), *words] for name, words in ours.items()},
        turns,
        "a folder",
    )
    values = {
        name: [1000 * one["s"] / one["images"] for one in each] for name, each in found.items()
    }
    content["ResNet-50, a folder of megapixel JPEGs"] = compared(values, "Keras") | {
        "unit": "ms per image",
        "of_images": given.large_images,
    }
    content["peak_mb_folder"] = {
        name: max(one["peak_mb"] for one in each) for name, each in found.items()
    }
    content["parts"] = {
        name: measured([*OURS, "parts", str(folder), *words]) for name, words in ours.items()
    }

    radiograph = str(min((folder / "megapixel").iterdir()))
    predict = [str(CXR), "predict", radiograph, "--model"]
    cold = {
        "ours, float32": [*predict, str(models["float32"])],
        "ours, int8": [*predict, str(models["int8"])],
    }
    if keras:
        measured([*KERAS, "cold", str(folder)])
        cold = {"Keras": [*KERAS, "cold", str(folder)]} | cold
    content["cold start, one image"] = compared(
        {name: seconds_of(command, 5) for name, command in cold.items()}, "Keras"
    ) | {"unit": "s"}
    content["cxr --help"] = compared({"ours": seconds_of([str(CXR), "--help"], 9)}, "") | {
        "unit": "s"
    }
    content["machine_peaks"] = peaks()
    content["gflop_per_image"] = flops()
    content["growth"] = growth(folder, models["float32"])
    return content


def networks(folder: Path) -> dict[str, Path]:
    """Convert a ResNet-50 with random weights: only time is measured with it."""
    import numpy as np

    from cxr_transfer.export.openvino import convert
    from cxr_transfer.export.self_test import drawn_images
    from cxr_transfer.models.checkpoint import save_checkpoint
    from cxr_transfer.models.registry import build
    from cxr_transfer.radiograph import Preprocessing

    preprocessing = Preprocessing()
    network = build("resnet50", 3, size=preprocessing.size, epsilon=1e-3)
    card = {
        "name": "random",
        "architecture": "resnet50",
        "labels": ("normal", "bacterial", "covid19"),
        "preprocessing": preprocessing,
        "epsilon": 1e-3,
    }
    save_checkpoint(folder / "network", network, card)
    found = {name: folder / f"{name}.xml" for name in ("float32", "int8")}
    convert(folder / "network", found["float32"])
    images = np.concatenate([drawn_images(preprocessing, 32)])
    convert(folder / "network", found["int8"], precision="int8", calibration=images)
    return found


def growth(folder: Path, model: Path) -> list[dict]:
    """Training and inference at 1, 4 and 16 times the images."""
    found = []
    for times in (1, 4, 16):
        print(f"growth: {times} times the images", flush=True)
        with tempfile.TemporaryDirectory() as many:
            write_images(Path(many), training=75 * times, large=1)
            trained = measured([*OURS, "cnn_epoch", many, "--precision", "bfloat16"])
        limit = ["--limit", str(60 * times)]
        words = ["--model", str(model), "--precision", "bfloat16", *limit]
        answered = measured([*OURS, "folder", str(folder), *words])
        found.append(
            {
                "times": times,
                "training_images": trained["training_images"],
                "epoch_s": warm(trained["epochs_s"]["all"]),
                "training_peak_mb": trained["peak_mb"],
                "predicted_images": answered["images"],
                "prediction_s": answered["s"],
                "prediction_peak_mb": answered["peak_mb"],
            }
        )
    return found


def page(content: dict) -> str:
    """Return the results as a page."""
    machine = content["machine"]
    lines = [
        "# How fast, beside what one would use instead",
        "",
        f"Written by `{content['command']}` (`benchmarks/speed.py`; numbers in "
        "[speed.json](../../benchmarks/results/speed.json)); "
        f"{content['images']} images, {machine['processor']}, {machine['cores']} cores; "
        + "; ".join(
            f"{name} {one['time']}, commit `{provenance.short(one['commit'])}`"
            for name, one in content["measured"].items()
        )
        + ".",
        "",
        "Contestants take turns on the same images; medians over the rounds, ratios within a round "
        "with their lowest and highest. A shared machine: trust the ratios more than the times.",
        "",
    ]
    for title, found in content.items():
        if not isinstance(found, dict) or "unit" not in found:
            continue
        goal = f"; goal: {GOALS[title]} times Keras" if title in GOALS else ""
        images = f", {found['of_images']} images" if "of_images" in found else ""
        lines += [f"## {title}{images}{goal}", ""]
        lines += [f"| | {found['unit']} | times faster than Keras |", "|---|---|---|"]
        for name, row in found.items():
            if not isinstance(row, dict) or "median" not in row:
                continue
            ratio = (
                f"{row['times_faster']:.1f} ({row['times_faster_lowest']:.1f} - "
                f"{row['times_faster_highest']:.1f})"
                if "times_faster" in row
                else ""
            )
            lines.append(f"| {name} | {row['median']:.3g} | {ratio} |")
        lines.append("")
        if "epochs" in found:
            epochs = " and ".join(f"{number} of {name}" for name, number in found["epochs"].items())
            lines += [
                f"Composed: what is done once, and the measured epochs times those of the real "
                f"study's seed 0 ({epochs}); both sides stop by the same rule.",
                "",
            ]
    lines += ["## The machine's limit", "", *limits(content)]
    lines += ["", "## How cost grows", "", *grown(content["growth"])]
    lines += ["", "![time and memory over images](figures/growth.png)"]
    lines += ["", "## Memory", ""]
    for title, name in (
        ("CNN training", "cnn"),
        ("ResNet-50 training", "resnet"),
        ("a folder", "folder"),
    ):
        each = ", ".join(f"{who} {peak}" for who, peak in content[f"peak_mb_{name}"].items())
        lines.append(f"* {title}, peak MB: {each}.")
    return "\n".join(lines) + "\n"


def limits(content: dict) -> list[str]:
    peak, work, parts = content["machine_peaks"], content["gflop_per_image"], content["parts"]
    cnn = content["CNN, an epoch"]
    block = content["Model_3, an epoch of last_block"]
    lines = [
        f"Measured peaks: {peak['float32_gflops']:.0f} (float32), {peak['bfloat16_gflops']:.0f} "
        f"(bfloat16) and {peak['int8_gflops']:.0f} (int8) GFLOP/s in products of large matrices, "
        f"{peak['memory_gb_s']:.0f} GB/s in copying. The floor is arithmetic alone, at that peak; "
        "an epoch's validation is taken as free.",
        "",
        "| | GFLOP an image | floor, ms an image | ours, ms an image | ours / floor |",
        "|---|---|---|---|---|",
    ]
    rows = [
        (
            "the network, batch of 16, int8",
            work["resnet_forward"],
            "int8",
            parts["ours, int8"]["network_batch_16_ms"],
        ),
        (
            "the network, batch of 16, bfloat16",
            work["resnet_forward"],
            "bfloat16",
            parts["ours, bfloat16"]["network_batch_16_ms"],
        ),
        (
            "the network, batch of 16, float32",
            work["resnet_forward"],
            "float32",
            parts["ours, float32"]["network_batch_16_ms"],
        ),
    ]
    for name in ("float32", "bfloat16"):
        ours = 1000 * cnn[f"ours, {name}"]["median"] / cnn["of_images"]
        rows.append((f"training the CNN, {name}", work["cnn_training"], name, ours))
        ours = 1000 * block[f"ours, {name}"]["median"] / cnn["of_images"]
        rows.append((f"training the last block, {name}", work["last_block_training"], name, ours))
    for title, gflop, kind, ours in rows:
        floor = 1000 * gflop / peak[f"{kind}_gflops"]
        lines.append(f"| {title} | {gflop:.2f} | {floor:.2f} | {ours:.2f} | {ours / floor:.1f} |")
    decoding = statistics.median(part["decoding_all_threads_ms"] for part in parts.values())
    lines += [
        "",
        f"Decoding and resizing a megapixel JPEG, all threads: {decoding:.1f} ms an image.",
    ]
    return lines


def grown(rows: list[dict]) -> list[str]:
    lines = [
        "| images trained on | s an epoch | ms an image | peak MB | images predicted | s | ms an "
        "image | peak MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['training_images']} | {row['epoch_s']:.2f} | "
        f"{1000 * row['epoch_s'] / row['training_images']:.1f} | {row['training_peak_mb']} | "
        f"{row['predicted_images']} | {row['prediction_s']:.2f} | "
        f"{1000 * row['prediction_s'] / row['predicted_images']:.1f} | "
        f"{row['prediction_peak_mb']} |"
        for row in rows
    ]
    return lines


if __name__ == "__main__":
    main()
