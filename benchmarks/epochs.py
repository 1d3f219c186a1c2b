"""Training time per epoch, ours and what one would use instead, in turns on the same images.

    python benchmarks/epochs.py --out docs/results/epochs.json [--data ../shared/data]

Contestants: Keras, fastai, MONAI, plain PyTorch, and ours in float32. Each measurement is a process
of its own; figures are medians over the rounds, ratios are taken within a round. An epoch has its
validation in it. What is done once (decoding, activations of the frozen part) stands apart. A
contestant whose environment is absent is said to be not measured. ``--images`` of each class.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from cxr_transfer import provenance
from cxr_transfer.files import write_json, write_text
from images import write_images
from speed import FASTAI, KERAS, MONAI, OURS, TORCH, compared, rounds, warm

TASKS = {"cnn_epoch": ("all",), "resnet_epochs": ("head", "last_block")}
TITLES = {
    "all": "the CNN, all layers",
    "head": "ResNet-50, head alone",
    "last_block": "ResNet-50, head and last block",
}


def main() -> None:
    """Measure, and write numbers and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--data", type=Path, help="Real archives; default: generated images.")
    given = parser.parse_args()
    everyone = {"Keras": KERAS, "fastai": FASTAI, "MONAI": MONAI, "plain PyTorch": TORCH}
    there = {name: command for name, command in everyone.items() if Path(command[0]).exists()}
    content: dict = {
        "time": provenance.now(),
        "command": "python benchmarks/epochs.py " + " ".join(sys.argv[1:]),
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "load_before": os.getloadavg()[0],
        "not_measured": sorted(set(everyone) - set(there)),
        "stages": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), training=3 * given.images, large=0, data=given.data)
        for task, stages in TASKS.items():
            contestants = {name: [*command, task, folder] for name, command in there.items()}
            contestants["ours"] = [*OURS, task, folder, "--precision", "float32"]
            measured = rounds(contestants, given.rounds, task)
            for stage in stages:
                seconds = {
                    name: [warm(one["epochs_s"][stage]) for one in each]
                    for name, each in measured.items()
                }
                content["stages"][stage] = {
                    "seconds_per_epoch": compared(seconds, "Keras"),
                    "training_images": measured["ours"][0]["training_images"],
                    "once_s": {
                        name: [one["once_s"] + one.get("decoding_s", 0) for one in each]
                        for name, each in measured.items()
                    },
                }
    content["load_after"] = os.getloadavg()[0]
    write_json(given.out, content)
    write_text(given.out.with_suffix(".md"), page(content))


def page(content: dict) -> str:
    """Return the page for people."""
    machine = content["machine"]
    lines = [
        "# Training time per epoch",
        "",
        "Written by `benchmarks/epochs.py`, whose head says how. "
        f"{content['time'][:10]}, commit `{content['commit'][:12]}`, {machine['processor']}, "
        f"{machine['cores']} cores, load {content['load_before']:.1f} at the beginning and "
        f"{content['load_after']:.1f} at the end: trust the ratios more than the times.",
    ]
    for stage, found in content["stages"].items():
        lines += [
            "",
            f"## {TITLES[stage]}, {found['training_images']} training images",
            "",
            "| | s per epoch | times faster than Keras | done once, s |",
            "|---|---|---|---|",
        ]
        for name, one in found["seconds_per_epoch"].items():
            ratio = (
                f"{one['times_faster']:.1f} ({one['times_faster_lowest']:.1f} to "
                f"{one['times_faster_highest']:.1f})"
                if "times_faster" in one
                else ""
            )
            once = sorted(found["once_s"][name])[len(found["once_s"][name]) // 2]
            lines.append(f"| {name} | {one['median']:.3g} | {ratio} | {once:.3g} |")
    if content["not_measured"]:
        lines += ["", f"Not measured: {', '.join(content['not_measured'])}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
