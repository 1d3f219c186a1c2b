"""Gather finished studies and evaluations into docs/results/study.json and study.md.

    cxr study --data DATA --out runs/seed0 --seed 0
    cxr study --data DATA --out runs/seedN --seed N --models model_1,model_2,model_3 \
        --model-0 runs/seed0/model_0
    cxr study --data DATA --out runs/paper0 --seed 0 --pretraining paper --models model_0,model_2
    cxr study --data DATA --out runs/image --split image --seed 0 \
        --models model_1,model_2,model_3 --model-0 runs/seed0/model_0
    cxr data prepare DATA --out runs/prepared
    cxr evaluate runs/seed0/model_3 --data runs/prepared/outside.csv --out runs/outside
    python benchmarks/study_results.py --runs runs --out docs/results

What is not there is said to be not measured. Nothing is computed here but differences between
runs on the same test images.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.evaluation.report import PAPER, TITLES
from cxr_transfer.files import write_json, write_text
from cxr_transfer.labels import DATASET_1
from cxr_transfer.statistics.comparison import mcnemar, paired_difference
from cxr_transfer.statistics.intervals import INTERVALS, Estimate
from cxr_transfer.statistics.scores import Scores

METRICS = ("precision_macro", "recall_macro", "accuracy", "f1_macro")
SEEDS = range(5)


def read(path: Path) -> dict | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def read_study(folder: Path) -> dict | None:
    """Read a study's report, and add how long each run was and on how many images."""
    found = read(folder / "report.json")
    for name, model in found["models"].items() if found else ():
        history = folder / name / "history.csv"
        if history.is_file():
            with history.open(newline="") as handle:
                stages = [row["stage"] for row in csv.DictReader(handle)]
            model["epochs"] = {stage: stages.count(stage) for stage in dict.fromkeys(stages)}
            card = read(folder / name / "checkpoint.json")
            model["images"] = card["data"]["images"] if card else {}
    return found


def scores_of(run: Path) -> Scores | None:
    """Read back what a run scored on its test part."""
    table, split = run / "predictions.csv", run / "split.csv"
    if not table.is_file() or not split.is_file():
        return None
    with table.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    if rows and "patient" in rows[0]:
        patients = [row["patient"] for row in rows]
    else:  # a run of before this column came
        with split.open(newline="") as handle:
            parts = list(csv.DictReader(handle))
        patients = [row["patient"] for row in parts if row["split"] == "test"]
    found = np.array([[float(row[f"score_{name}"]) for name in DATASET_1] for row in rows])
    return Scores(
        DATASET_1,
        np.array([DATASET_1.target(row["label"]) for row in rows]),
        found / found.sum(axis=1, keepdims=True),
        tuple(patients),
        tuple(row["file"] for row in rows),
    )


def compared(a: Path, b: Path) -> dict | None:
    """Compare two runs on the same test images; None where one of them is not there."""
    first, second = scores_of(a), scores_of(b)
    if first is None or second is None:
        return None
    test = mcnemar(first.targets, first.predicted, second.predicted)
    return {
        "only_first_right": test.only_a_right,
        "only_second_right": test.only_b_right,
        "p_mcnemar_exact": test.p,
        "accuracy_second_minus_first": paired_difference(first, second).as_dict(),
    }


def over_seeds(reports: dict[int, dict]) -> dict:
    """Mean and range over seeds of each model's figures."""
    models: dict[str, dict] = {}
    for name in ("model_1", "model_2", "model_3"):
        of = {
            seed: found["models"][name]
            for seed, found in reports.items()
            if name in found["models"]
        }
        if not of:
            continue
        models[name] = {"seeds": sorted(of)} | {
            metric: {
                "mean": float(np.mean(values)),
                "lowest": float(min(values)),
                "highest": float(max(values)),
                "by_seed": values,
            }
            for metric in METRICS
            if (values := [of[seed][metric]["value"] for seed in sorted(of)])
        }
    return models


def table(report: dict) -> list[str]:
    lines = [
        "| | precision | recall | accuracy | F1 | wrong | ms per image |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, model in report["models"].items():
        if name == "model_0":
            continue
        cells = [Estimate(**model[metric]).percent() for metric in METRICS]
        confusion = np.array(model["confusion"])
        wrong = f"{confusion.sum() - confusion.trace()} of {confusion.sum()}"
        ms = Estimate(**model["ms_per_image"]).written(1)
        lines.append(f"| {TITLES[name]} | {' | '.join(cells)} | {wrong} | {ms} |")
        paper = " | ".join(f"*{PAPER[name][metric]:.2f}*" for metric in METRICS)
        lines.append(f"| *the paper's* | {paper} | | |")
    return lines


def difference(title: str, found: dict | None) -> str:
    if found is None:
        return f"* {title}: not measured."
    gain = Estimate(**found["accuracy_second_minus_first"]).percent()
    return (
        f"* {title}: {gain} points of accuracy; only the first right {found['only_first_right']}, "
        f"only the second {found['only_second_right']}, exact McNemar p "
        f"{found['p_mcnemar_exact']:.3g}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    arguments = parser.parse_args()
    runs = arguments.runs
    reports = {seed: found for seed in SEEDS if (found := read_study(runs / f"seed{seed}"))}
    main_report, image, paper = (read_study(runs / name) for name in ("seed0", "image", "paper0"))
    outside = read(runs / "outside" / "report.json")
    if main_report is None:
        raise SystemExit(f"Expected a finished study in {runs / 'seed0'}; run the commands above.")
    gains = {
        seed: compared(runs / f"seed{seed}" / "model_1", runs / f"seed{seed}" / "model_2")
        for seed in reports
    }
    leak = compared(runs / "seed0" / "model_2", runs / "paper0" / "model_2")
    content = {
        "intended_use": INTENDED_USE,
        "command": "python benchmarks/study_results.py --runs runs --out docs/results",
        "seed_0": main_report,
        "over_seeds": over_seeds(reports),
        "transfer_gain_by_seed": {str(seed): gain for seed, gain in gains.items() if gain},
        "pretraining_clean_to_paper": leak,
        "paper_pretraining": paper,
        "image_split": image,
        "outside": outside,
    }
    write_json(arguments.out / "study.json", content)
    write_text(arguments.out / "study.md", text(content, gains))


def text(content: dict, gains: dict) -> str:
    first = content["seed_0"]
    counts = " / ".join(str(number) for number in first["datasets"]["dataset_1"].values())
    lines = [
        "# The paper's study on real images",
        "",
        f"**{INTENDED_USE}**",
        "",
        "Written by `benchmarks/study_results.py`, whose head lists the commands; the numbers "
        "stand in [study.json](study.json), with versions, machine, hashes and commits.",
        "",
        f"Dataset_1: {counts} normal / bacterial / covid19 images. Seed 0: data "
        f"`{first['data_hash'][:12]}`, commit `{provenance.short(first['commit'])}`, "
        f"{first['time']}, {first['machine']['processor']}, {first['machine']['cores']} cores.",
        "",
        "## Split by patient, seed 0",
        "",
        f"Percent, macro averages, 95 % intervals: {INTERVALS}.",
        "",
        *table(first),
    ]
    if zero := first["models"].get("model_0"):
        accuracy = Estimate(**zero["accuracy"]).percent()
        lines += ["", f"Model_0, on its own test part ({zero['test_images']} images): {accuracy}."]
    lines += ["", "Exact McNemar, Holm over the pairs:", ""]
    lines += [
        f"* {pair['a']} to {pair['b']}: p {pair['p_holm']:.3g}, accuracy gained "
        f"{Estimate(**pair['accuracy_b_minus_a']).percent()}."
        for pair in first["comparisons"]
    ]
    lines += [
        "",
        "## Over seeds",
        "",
        "Each seed draws its own split and weights; Model_0 is the one of seed 0, which has seen "
        "no patient of Dataset_1.",
        "",
        "| | seeds | accuracy: mean (range) | macro F1: mean (range) |",
        "|---|---|---|---|",
    ]
    for name, model in content["over_seeds"].items():
        cells = [
            f"{100 * model[m]['mean']:.1f} ({100 * model[m]['lowest']:.1f} - "
            f"{100 * model[m]['highest']:.1f})"
            for m in ("accuracy", "f1_macro")
        ]
        seeds = ", ".join(map(str, model["seeds"]))
        lines.append(f"| {TITLES[name]} | {seeds} | {' | '.join(cells)} |")
    lines += ["", "The gain of transfer, Model_1 to Model_2, on the same test images:", ""]
    lines += [difference(f"seed {seed}", gain) for seed, gain in gains.items()]
    lines += [
        "",
        "## The paper's leak",
        "",
        "The paper's Model_0 has seen, with their labels, images on which its Model_2 is tested. "
        "Model_2 from a clean Model_0, to Model_2 from the paper's:",
        "",
        difference("seed 0", content["pretraining_clean_to_paper"]),
        "",
        "## Split by image, as the paper does",
        "",
    ]
    image = content["image_split"]
    if image:
        lines += [
            f"{image['patients_in_two_parts']} patients stand in more than one part.",
            "",
            *table(image),
        ]
    else:
        lines.append("Not measured.")
    lines += ["", "## What Model_3 calls images from elsewhere", ""]
    outside = content["outside"]
    if outside:
        lines += [
            "The Model_3 of seed 0, on images of no class, place or age that it was taught. None "
            "of these groups but valencia's `covid19` has COVID-19 (`unknown` is not known to), "
            "and no patient of Dataset_1 is among them. Percent called COVID-19, 95 % by patient.",
            "",
            "| source | label | images | called covid19 |",
            "|---|---|---|---|",
        ]
        for group in outside["groups"]:
            called = group["called"]["covid19"]
            share = Estimate(called["value"], called["low"], called["high"]).percent()
            lines.append(f"| {group['source']} | {group['label']} | {group['images']} | {share} |")
        others = [group for group in outside["groups"] if group["source"] == "cohen"]
        called = sum(group["called"]["covid19"]["images"] for group in others)
        images = sum(group["images"] for group in others)
        lines += ["", f"Cohen's images of other findings together: {called} of {images}."]
    else:
        lines.append("Not measured.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
