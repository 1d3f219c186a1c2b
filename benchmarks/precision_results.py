"""What bfloat16 and int8 change: accuracy, AUROC, calibration on real test parts, over seeds.

    cxr study --data DATA --out runs/seedN --seed N --precision bfloat16 ...   (study_results.py)
    cxr study --data DATA --out runs/float32_seedN --seed N --models model_1,model_3 \
        --precision float32
    python benchmarks/precision_results.py --runs runs

Training: the same seed and split, trained in float32 and in bfloat16, both scored in float32.
Inference: one checkpoint, scored in float32, in bfloat16, and in int8 (calibrated on its training
images). Writes ``docs/results/precision.json`` and ``precision.md``.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path

import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.datasets.manifest import read_manifest
from cxr_transfer.export.calibration_data import calibration_and_check
from cxr_transfer.export.openvino import convert
from cxr_transfer.files import write_json, write_text
from cxr_transfer.labels import DATASET_1
from cxr_transfer.models.engine import Engine
from cxr_transfer.parallel import in_order
from cxr_transfer.radiograph import Preprocessing, read_radiograph

SEEDS = range(5)
FIGURES = ("accuracy", "auroc", "log_loss", "calibration_error")


def figures(targets: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Accuracy, macro AUROC (one against the rest), log loss, expected calibration error."""
    scores = scores.astype(np.float64)
    scores /= scores.sum(axis=1, keepdims=True)
    best, right = scores.max(axis=1), scores.argmax(axis=1) == targets
    # Ten bins of equal width by the highest score (Guo et al. 2017).
    bins = np.minimum((best * 10).astype(int), 9)
    gaps = [
        (bins == each).mean() * abs(right[bins == each].mean() - best[bins == each].mean())
        for each in np.unique(bins)
    ]
    return {
        "accuracy": float(right.mean()),
        "auroc": float(roc_auc_score(targets, scores, multi_class="ovr", average="macro")),
        "log_loss": float(log_loss(targets, scores)),
        "calibration_error": float(sum(gaps)),
    }


def predictions(run: Path) -> tuple[np.ndarray, np.ndarray] | None:
    table = run / "predictions.csv"
    if not table.is_file():
        return None
    with table.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    scores = [[float(row[f"score_{name}"]) for name in DATASET_1] for row in rows]
    return np.array([DATASET_1.target(row["label"]) for row in rows]), np.array(scores)


def training(runs: Path) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for model in ("model_1", "model_3"):
        for seed in SEEDS:
            exact = predictions(runs / f"float32_seed{seed}" / model)
            rounded = predictions(runs / f"seed{seed}" / model)
            if exact and rounded:
                found.setdefault(model, []).append(
                    {"seed": seed, "float32": figures(*exact), "bfloat16": figures(*rounded)}
                )
    return found


def inference(runs: Path) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for model in ("model_1", "model_3"):
        for seed in SEEDS:
            run = runs / f"seed{seed}" / model
            if not (run / "checkpoint.json").is_file():
                continue
            cases = [case for case in read_manifest(run / "split.csv") if case.split == "test"]
            targets = np.array([DATASET_1.target(case.label) for case in cases])
            images = np.stack(list(in_order(decoded, [case.path for case in cases])))
            calibration, check = calibration_and_check(run)
            row: dict = {"seed": seed}
            with tempfile.TemporaryDirectory() as folder:
                exact, small = Path(folder) / "float32.xml", Path(folder) / "int8.xml"
                convert(run, exact, check=check)
                convert(run, small, precision="int8", calibration=calibration, check=check)
                ways = {
                    "float32": Engine(exact),
                    "bfloat16": Engine(exact, precision="bfloat16"),
                    "int8": Engine(small),
                }
                scores = {
                    name: np.concatenate(
                        [engine.scores(images[at : at + 16]) for at in range(0, len(images), 16)]
                    )
                    for name, engine in ways.items()
                }
            for name, each in scores.items():
                row[name] = figures(targets, each) | {
                    "largest_difference": float(np.abs(each - scores["float32"]).max()),
                    "other_class": int((each.argmax(1) != scores["float32"].argmax(1)).sum()),
                }
            found.setdefault(model, []).append(row | {"images": len(images)})
            print(model, seed, flush=True)
    return found


def decoded(path: Path) -> np.ndarray:
    return Preprocessing().apply(read_radiograph(path))[None]


def mean(rows: list[dict], way: str, figure: str) -> str:
    values = [row[way][figure] for row in rows]
    spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
    scale = 100 if figure in ("accuracy", "auroc") else 1
    return f"{scale * np.mean(values):.3g} ± {scale * spread:.2g}"


def table(rows: list[dict], ways: tuple[str, ...]) -> list[str]:
    lines = [
        "| | accuracy, % | AUROC, % | log loss | calibration error |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {way} | {' | '.join(mean(rows, way, each) for each in FIGURES)} |" for way in ways
    ]
    for way in ways[1:]:
        change = [
            f"{np.mean([row[way][each] - row[ways[0]][each] for row in rows]):+.4f}"
            for each in FIGURES
        ]
        lines.append(f"| {way} - {ways[0]} | {' | '.join(change)} |")
    return lines


def page(content: dict) -> str:
    lines = [
        "# What bfloat16 and int8 change",
        "",
        f"**{INTENDED_USE}**",
        "",
        "Written by `benchmarks/precision_results.py`, whose head lists the commands; numbers in "
        "[precision.json](precision.json). Real images, test parts by patient; mean ± standard "
        "deviation over seeds, then the mean difference (as shares, not percent).",
    ]
    for title, key, ways in (
        ("Training in bfloat16, scored in float32", "training", ("float32", "bfloat16")),
        (
            "One checkpoint, scored in three precisions",
            "inference",
            ("float32", "bfloat16", "int8"),
        ),
    ):
        for model, rows in content[key].items():
            seeds = ", ".join(str(row["seed"]) for row in rows)
            lines += ["", f"## {title}: {model}, seeds {seeds}", "", *table(rows, ways)]
            if key == "inference":
                images = sum(row["images"] for row in rows)
                others = {
                    way: sum(row[way]["other_class"] for row in rows)
                    for way in ("bfloat16", "int8")
                }
                largest = {
                    way: max(row[way]["largest_difference"] for row in rows) for way in others
                }
                said = "; ".join(
                    f"{way}: another class than float32 on {others[way]} of {images} images, "
                    f"largest difference of a score {largest[way]:.2g}"
                    for way in others
                )
                lines += ["", f"{said}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument(
        "--keep-inference", action="store_true", help="Read only the trainings anew."
    )
    given = parser.parse_args()
    results = given.out / "precision.json"
    kept = json.loads(results.read_text(encoding="utf-8")) if given.keep_inference else {}
    stamp = {"commit": provenance.commit(), "time": provenance.now()}
    content = {
        "command": "python benchmarks/precision_results.py --runs runs",
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "training_gathered": stamp,
        "inference_measured": kept.get("inference_measured", stamp),
        "training": training(given.runs),
        "inference": kept.get("inference") or inference(given.runs),
    }
    write_json(results, content)
    write_text(given.out / "precision.md", page(content))


if __name__ == "__main__":
    main()
