"""A GPU tried and measured, in eight minutes: first that it computes what the processor does.

    python benchmarks/gpu.py --out docs/results/gpu.json                   # on a machine with one
    python benchmarks/gpu.py --device cpu --images 32 --out /tmp/gpu.json  # the script alone

Parts: the self-test of ``cxr doctor``; the whole study on generated images; answering images that
lie decoded in memory, by the ResNet-50, in float32, in bfloat16 and compiled; a training step of
its last block; the limit of the card in products of matrices. Writes the page beside the numbers.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.files import write_json, write_text
from cxr_transfer.models.resnet50 import resnet50
from cxr_transfer.studies.device_check import check_device
from cxr_transfer.training.device import resolve_device

CXR = Path(sys.executable).with_name("cxr")
BATCH = 256
STUDY_GOAL_S, IMAGES_GOAL = 60, 5000
GFLOP = 7.71
"""Multiplications and additions of the ResNet-50 for one image, in billions: see ``speed.md``."""


def seconds(device: str, work: Callable[[], Any], times: int = 5) -> float:
    """Return the best time of some work, when the device has ended it."""

    def once() -> float:
        started = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    once()
    return min(once() for _ in range(times))


@torch.inference_mode()
def inference(device: str, images: int) -> dict[str, float]:
    """Return images per second, from decoded images on the device to scores."""
    network = resnet50(3).eval().to(device)
    batch = torch.randint(0, 256, (min(BATCH, images), 1, 224, 224), dtype=torch.uint8).to(device)
    turns = max(1, images // len(batch))

    def answered(asked: Any, kind: torch.dtype) -> float:
        def all_images() -> None:
            with torch.autocast(device, dtype=kind, enabled=kind is not torch.float32):
                for _ in range(turns):
                    asked(batch)

        return turns * len(batch) / seconds(device, all_images, 3)

    found = {
        "float32": answered(network, torch.float32),
        "bfloat16": answered(network, torch.bfloat16),
    }
    try:
        found["bfloat16, compiled"] = answered(torch.compile(network), torch.bfloat16)
    except Exception as error:  # torch needs a compiler of the machine's
        print(f"not compiled: {type(error).__name__}", flush=True)
    return found


def training_step(device: str) -> float:
    """Return the milliseconds of a step of the last block, for 20 images."""
    network = resnet50(3).to(device)
    block = network[-3:]
    optimizer = torch.optim.Adam(block.parameters(), 1e-4)
    inputs = torch.rand(20, 2048, 7, 7, device=device)
    targets = torch.randint(0, 3, (20,), device=device)

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(block(inputs), targets).backward()
        optimizer.step()

    return 1000 * seconds(device, step, 20)


def peaks(device: str, side: int) -> dict[str, float]:
    """Return the most that the device multiplies, in TFLOP/s."""
    found = {}
    for kind in (torch.float32, torch.bfloat16):
        a = torch.randn(side, side, device=device).to(kind)
        took = seconds(device, lambda a=a: a @ a)
        found[str(kind).removeprefix("torch.")] = 2 * side**3 / took / 1e12
    return found


def study(device: str) -> dict[str, float]:
    """Return the seconds of the whole study on generated images, from the command to its page."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(CXR), "study", "--data", "phantom", "--out", f"{folder}/study"]
        command += ["--device", device, "--skip-unavailable", "--max-epochs", "15"]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
    return {"seconds": time.perf_counter() - started}


def main() -> None:
    """Try, measure, and write numbers and page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--without", nargs="*", default=[], choices=("selftest", "study"))
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    device = resolve_device(given.device)
    torch.manual_seed(0)
    content: dict[str, Any] = {
        "intended_use": INTENDED_USE,
        "command": "python benchmarks/gpu.py " + " ".join(sys.argv[1:]),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "commit": provenance.commit(),
        "time": provenance.now(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "seed": 0,
    }
    if "selftest" not in given.without:
        content["selftest"] = check_device(device, lambda phase, _: print(phase, flush=True))
        write_json(given.out, content)  # what is there stays, whatever comes
    content["peaks_tflops"] = peaks(device, 8192 if device == "cuda" else 1024)
    content["images_per_second"] = inference(device, given.images)
    content["last_block_step_ms"] = training_step(device)
    if "study" not in given.without:
        content["study"] = study(device)
    write_json(given.out, content)
    write_text(given.out.with_suffix(".md"), page(content))
    print(given.out.with_suffix(".md"))


def page(content: dict[str, Any]) -> str:
    """Return the page for people."""
    rate = content["images_per_second"]
    lines = [
        "# On a GPU",
        "",
        f"**{INTENDED_USE}**",
        "",
        f"Written by `{content['command']}` on {content['device']}, {content['time'][:10]}, commit "
        f"`{provenance.short(content['commit'])}`.",
        "",
        "| what | goal | measured |",
        "|---|---|---|",
    ]
    if "study" in content:
        taken = content["study"]["seconds"]
        lines.append(f"| the study on generated images, s | {STUDY_GOAL_S} | {taken:.1f} |")
    for name, images in rate.items():
        kind = name.partition(",")[0]
        share = images * GFLOP / 1000 / content["peaks_tflops"][kind]
        lines.append(
            f"| ResNet-50, images a second from decoded memory, {name} | {IMAGES_GOAL} | "
            f"{images:.0f}: {100 * share:.0f} % of the peak in products of matrices |"
        )
    lines.append(
        f"| a step of the last block, 20 images, ms | | {content['last_block_step_ms']:.2f} |"
    )
    if "selftest" in content:
        lines += ["", "## Compared with the processor", "", "| path | apart | allowed | holds |"]
        lines.append("|---|---|---|---|")
        lines += [
            f"| {row['path']} | {row['difference']:.2g} | {row['bound']:g} | "
            f"{'yes' if row['holds'] else '**no**'} |"
            for row in content["selftest"]["checks"]
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
