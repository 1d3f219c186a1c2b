"""Ours and what one would use instead, alternately on the same images; then the machine's limit.

    make bench                          # generated images
    make bench DATA=../shared/data      # the training images are real ones
    python benchmarks/speed.py --held-to avx2      # as on a processor without AVX-512

Every measurement is a process of its own. Contestants take turns, several times over; figures are
medians, ratios are taken within a round, and their spread over rounds is written beside them. What
cannot run here (the peer's environment is missing, the processor has no units for it) is left out,
and that is said. Each part is written when it is measured: ``--only`` measures one anew. Writes
``benchmarks/results/speed-KIND.json`` for the kind of processor, and of all that there are
``docs/results/speed.md``.
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
from cxr_transfer.files import write_json
from images import write_dicoms, write_images
from speed_page import KINDS, write_page

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CXR = Path(sys.executable).with_name("cxr")
OURS = [sys.executable, str(HERE / "ours.py")]
TORCH = [sys.executable, str(HERE / "peers/torch/peer.py")]
MONAI = [sys.executable, str(HERE / "peers/monai/peer.py")]
ONNX = [sys.executable, str(HERE / "peers/onnxruntime/peer.py")]
KERAS = [str(ROOT / ".venv-keras/bin/python"), str(HERE / "peers/keras/peer.py")]
FASTAI = [str(ROOT / ".venv-fastai/bin/python"), str(HERE / "peers/fastai/peer.py")]

HELD = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "DNNL_MAX_CPU_ISA": "AVX2",
}
"""Settings by which the libraries leave AVX-512 alone: PyTorch, TensorFlow's and OpenVINO's oneDNN.

ONNX Runtime knows no such setting, so it is left out where these are set.
"""


def kind_of_processor() -> str:
    """Return which of `KINDS` this machine's processor is."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().partition("flags")[2].split("\n")[0].split())
    except OSError:
        return "avx2"
    if "amx_tile" in flags:
        return "amx"
    return "avx512" if "avx512_vnni" in flags else "avx2"


def has_bfloat16(kind: str) -> bool:
    """Tell whether the processor multiplies in bfloat16."""
    if kind == "avx2":
        return False
    flags = Path("/proc/cpuinfo").read_text().split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


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


def seconds_of(
    command: list[str], times: int, settings: dict[str, str] | None = None
) -> list[float]:
    """Time whole processes, with further settings in their environment."""
    took, here = [], os.environ | (settings or {})
    for _ in range(times):
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=here)
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


def peaks(kind: str) -> dict[str, float]:
    """Measure what this machine can do at most: products, where it has units for them, and memory.

    Without units a product in bfloat16 takes minutes, and is nobody's limit.
    """
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
    floats = (torch.float32, torch.bfloat16) if has_bfloat16(kind) else (torch.float32,)
    for number in floats:
        a, b = torch.randn(side, side).to(number), torch.randn(side, side).to(number)
        name = str(number).removeprefix("torch.")
        found[f"{name}_gflops"] = 2 * side**3 / best(lambda a=a, b=b: a @ b) / 1e9
    if kind != "avx2":
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
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--training-images", type=int, default=150)
    parser.add_argument("--large-images", type=int, default=300)
    parser.add_argument("--held-to", choices=("avx2",), help="Leave wider units alone.")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "results" / "speed.md")
    parser.add_argument("--only", choices=tuple(PARTS), help="Measure one part; keep the others.")
    parser.add_argument(
        "--render", action="store_true", help="Write the page anew from the results at hand."
    )
    given = parser.parse_args()
    if not given.render:
        measure(given)
    write_page(given.page, results())
    print(given.page)


def results() -> dict[str, dict]:
    """Return what was measured, by the kind of processor."""
    files = {kind: HERE / "results" / f"speed-{kind}.json" for kind in KINDS}
    return {
        kind: json.loads(path.read_text(encoding="utf-8"))
        for kind, path in files.items()
        if path.is_file()
    }


def measure(given: argparse.Namespace) -> None:
    """Measure part after part, and write each when it is there."""
    kind = given.held_to or kind_of_processor()
    if given.held_to:
        os.environ.update(HELD)
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    path = HERE / "results" / f"speed-{kind}.json"
    content = json.loads(path.read_text(encoding="utf-8")) if given.only else {}
    content |= {
        "command": "python benchmarks/speed.py " + " ".join(sys.argv[1:]),
        "images": "real" if given.data else "generated",
        "held": bool(given.held_to),
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "not_measured": [
            name
            for name, command in (("Keras", KERAS), ("fastai", FASTAI))
            if not Path(command[0]).is_file()
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        print("writing images", flush=True)
        write_images(
            Path(folder),
            training=given.training_images,
            large=given.large_images,
            data=given.data,
        )
        write_dicoms(Path(folder), given.large_images // 3)
        for name, part in PARTS.items():
            if given.only in (None, name):
                load = os.getloadavg()[0]
                content |= part(Path(folder), given, kind)
                stamp = {"commit": provenance.commit(), "time": provenance.now(), "load": load}
                content["measured"] = content.get("measured", {}) | {name: stamp}
                write_json(path, content)


def there(contestants: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return those whose environment is there."""
    return {name: way for name, way in contestants.items() if Path(way[0]).is_file()}


def measure_training(folder: Path, given: argparse.Namespace, kind: str) -> dict:
    turns, content = given.repetitions, {}
    training = there(
        {
            "Keras": KERAS,
            "fastai": FASTAI,
            "MONAI": MONAI,
            "plain PyTorch": TORCH,
            "ours, float32": OURS,
        }
        | ({"ours, bfloat16": OURS} if has_bfloat16(kind) else {})
    )

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
    content["peak_mb_cnn"] = peak_of(found)
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
    content["peak_mb_resnet"] = peak_of(found)
    content["model_3_once_s"] = {
        name: statistics.median(one["once_s"] for one in each) for name, each in found.items()
    }
    return content


def peak_of(found: dict[str, list[dict]]) -> dict[str, int]:
    """Return the most memory that each contestant held, where it says so."""
    return {
        name: max(one["peak_mb"] for one in each)
        for name, each in found.items()
        if "peak_mb" in each[0]
    }


def measure_inference(folder: Path, given: argparse.Namespace, kind: str) -> dict:
    turns, content = given.repetitions, {}
    models = networks(folder)
    peers = {"Keras": KERAS, "Keras, network called directly": KERAS, "plain PyTorch": TORCH}
    words = {
        "ours, float32": ["--model", str(models["float32"])],
        "ours, bfloat16": ["--model", str(models["float32"]), "--precision", "bfloat16"],
        "ours, int8": ["--model", str(models["int8"])],
        "ONNX Runtime, float32": ["--model", str(models["onnx"])],
        "ONNX Runtime, int8": ["--model", str(models["onnx int8"])],
    }
    peers |= (
        {} if given.held_to else dict.fromkeys([name for name in words if "ONNX" in name], ONNX)
    )
    peers |= {name: OURS for name in words if name.startswith("ours")}
    if not has_bfloat16(kind):
        del peers["ours, bfloat16"]
    peers = there(peers)

    def tasks(task: str, names: list[str]) -> dict[str, list[str]]:
        return {name: [*peers[name], task, str(folder), *words.get(name, [])] for name in names}

    called = "Keras, network called directly"
    asked = tasks("one", [name for name in peers if name != called])
    if called in peers:
        asked |= tasks("one_call", [called])
    found = rounds(asked, turns, "one image")
    values = {name: [statistics.median(one["ms"]) for one in each] for name, each in found.items()}
    content["ResNet-50, one image, file to scores"] = compared(values, "Keras") | {"unit": "ms"}

    everyone = [name for name in peers if name != called]
    found = rounds(tasks("folder", everyone), turns, "a folder")
    content["ResNet-50, a folder of megapixel JPEGs"] = compared(
        {name: [1000 * one["s"] / one["images"] for one in each] for name, each in found.items()},
        "Keras",
    ) | {"unit": "ms per image", "of_images": given.large_images}
    content["peak_mb_folder"] = peak_of(found)
    with_dicom = [name for name in everyone if name.startswith(("ours", "plain"))]
    found = rounds(tasks("dicoms", with_dicom), turns, "a folder of DICOM files")
    content["ResNet-50, a folder of four-megapixel DICOMs, 12 bits, JPEG 2000"] = compared(
        {name: [1000 * one["s"] / one["images"] for one in each] for name, each in found.items()},
        "plain PyTorch",
    ) | {"unit": "ms per image", "of_images": given.large_images // 3, "beside": "plain PyTorch"}
    content["parts"] = {
        name: measured([*OURS, "parts", str(folder), *words[name]])
        for name in everyone
        if name.startswith("ours")
    }
    content["machine_peaks"] = peaks(kind)
    content["gflop_per_image"] = flops()
    return content


def measure_commands(folder: Path, given: argparse.Namespace, kind: str) -> dict:
    """Time whole commands, as they are typed."""
    models, turns = networks(folder), given.repetitions
    radiograph = str(min((folder / "megapixel").iterdir()))
    predict = [str(CXR), "predict", radiograph, "--model"]
    cold = {f"ours, {name}": [*predict, str(models[name])] for name in ("float32", "int8")}
    if Path(KERAS[0]).is_file():
        measured([*KERAS, "cold", str(folder)])
        cold = {"Keras": [*KERAS, "cold", str(folder)]} | cold
    values: dict[str, list[float]] = {name: [] for name in cold}
    for turn in range(5):
        print(f"cold start: round {turn + 1} of 5", flush=True)
        for name, command in cold.items():
            values[name] += seconds_of(command, 1)
    content = {"cold start, one image": compared(values, "Keras") | {"unit": "s"}}
    evaluate = folder / "three_hundred"
    write_images(evaluate, training=300, large=1)
    took = {}
    with tempfile.TemporaryDirectory() as cache:
        first = {"XDG_CACHE_HOME": cache}
        command = [*predict, "multi_source"]
        took["cxr predict, the first use of multi_source"] = seconds_of(command, 1, first)
        took["cxr predict, multi_source"] = seconds_of(command, 5, first)
    took["cxr --help"] = seconds_of([str(CXR), "--help"], 9)
    of_sources = ["--label", "bacterial=other_pneumonia"]
    for name, label in (("multi_source", of_sources), ("model_2", [])):
        command = [str(CXR), "evaluate", name, "--data", str(evaluate / "classes"), *label]
        took[f"cxr evaluate, {name}, 300 images"] = [
            seconds
            for turn in range(turns)
            for seconds in seconds_of([*command, "--out", str(folder / f"{name}-{turn}")], 1)
        ]
    content["commands"] = {
        name: {"median": statistics.median(each), "rounds": each} for name, each in took.items()
    }
    return content


def networks(folder: Path) -> dict[str, Path]:
    """Convert a ResNet-50 with random weights: only time is measured with it."""
    import numpy as np

    from cxr_transfer.export.formats import export
    from cxr_transfer.export.openvino import convert
    from cxr_transfer.export.self_test import drawn_images
    from cxr_transfer.models.checkpoint import save_checkpoint
    from cxr_transfer.models.registry import build
    from cxr_transfer.radiograph import Preprocessing

    found = {name: folder / f"{name}.xml" for name in ("float32", "int8")}
    found |= {"onnx": folder / "network.onnx", "onnx int8": folder / "int8.onnx"}
    if found["onnx int8"].is_file():
        return found
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
    convert(folder / "network", found["float32"])
    images = np.concatenate([drawn_images(preprocessing, 32)])
    convert(folder / "network", found["int8"], precision="int8", calibration=images)
    export(folder / "network", found["onnx"])
    measured([*ONNX, "quantise", str(folder), "--model", str(found["onnx"])])
    return found


GROWN = (1, 4, 16, 64)
"""Multiples of the fewest images at which training, inference and evaluation are measured."""


def measure_growth(folder: Path, given: argparse.Namespace, kind: str) -> dict:
    """Training and inference at 1, 4, 16 and 64 times the images."""
    found = []
    for times in GROWN:
        print(f"growth: {times} times the images", flush=True)
        with tempfile.TemporaryDirectory() as many:
            write_images(Path(many), training=75 * times, large=60)
            for path in sorted((Path(many) / "megapixel").iterdir())[:60]:
                for copy in range(1, times):
                    os.link(path, path.with_name(f"{path.stem}-{copy}.jpeg"))
            trained = measured([*OURS, "cnn_epoch", many])
            words = ["--model", str(networks(folder)["float32"])]
            answered = measured([*OURS, "folder", many, *words])
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
    return {"growth": found}


def measure_evaluation(folder: Path, given: argparse.Namespace, kind: str) -> dict:
    """`cxr evaluate` at 1, 4, 16 and 64 times the images, and a manifest of many rows."""
    found = []
    for times in GROWN:
        print(f"evaluation: {times} times the images", flush=True)
        with tempfile.TemporaryDirectory() as many:
            write_images(Path(many), training=75 * times, large=1)
            evaluate = [str(CXR), "evaluate", "model_2", "--data", f"{many}/classes"]
            seconds, peak = used([*evaluate, "--out", f"{many}/evaluated"])
        found.append(
            {
                "evaluated_images": 75 * times,
                "evaluation_s": seconds,
                "evaluation_peak_mb": peak,
            }
        )
    return {"evaluation": found, "manifest": many_rows()}


_WATCH = """
import os, subprocess, sys, time
started = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
print(time.perf_counter() - started, usage.ru_maxrss // 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A small program that starts another: Linux counts the memory of whoever forks to the child."""


def used(command: list[str]) -> tuple[float, int]:
    """Return the seconds that a command takes, and the most memory that it held, in MB."""
    watched = [sys.executable, "-S", "-c", _WATCH, *command]
    done = subprocess.run(watched, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    seconds, peak = done.stdout.split()
    return float(seconds), int(peak)


def many_rows(rows: int = 100_000) -> dict:
    """Time the reading of a manifest of so many images, which opens none of them."""
    read = (
        "import sys, pathlib; from cxr_transfer.datasets.manifest import read_listed; "
        "assert len(read_listed(pathlib.Path(sys.argv[1])).cases) == int(sys.argv[2])"
    )
    with tempfile.TemporaryDirectory() as folder:
        lines = ["path,label,source,patient"]
        for row in range(rows):
            name = f"{row}.png"
            Path(folder, name).touch()
            lines.append(f"{name},{('normal', 'covid19')[row % 2]},s{row % 5},p{row // 2}")
        table = Path(folder, "images.csv")
        table.write_text("\n".join(lines), encoding="utf-8")
        seconds, peak = used([sys.executable, "-c", read, str(table), str(rows)])
    return {"rows": rows, "seconds": seconds, "peak_mb": peak}


PARTS = {
    "training": measure_training,
    "inference": measure_inference,
    "commands": measure_commands,
    "growth": measure_growth,
    "evaluation": measure_evaluation,
}
"""What is measured, each after the other."""


if __name__ == "__main__":
    main()
