"""How many validation images a temperature needs, and what asking other patients of it is worth.

    python benchmarks/temperature_results.py

Draws networks whose miscalibration is known, gives each a validation part of so many images, finds
a temperature there, and applies it to 40,000 new images. Writes ``docs/results/temperature.json``
and ``temperature.md``. No image is read.

Logits are normal and classes are drawn by their softmax, so that logits divided by 1 are right; the
network's scores are the softmax of logits times T, for which T is the right temperature. The spread
of the logits sets the accuracy. Patients have one image, or two that are copies of each other, with
their class: the most that two images of a patient can have in common.
"""

from __future__ import annotations

import argparse
import functools
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from cxr_transfer import provenance
from cxr_transfer.files import write_json, write_text
from cxr_transfer.statistics.temperature import (
    FEWEST_IMAGES,
    at_temperature,
    calibration_error,
    choose_temperature,
    log_scores,
)

SPREADS = (2.0, 4.0, 10.0)
TEMPERATURES = (1.0, 1.3, 2.0, 0.7)
COPIES = (1, 2)
IMAGES = (24, 50, 75, 100, 150, 200, 300, 500)
NEW_IMAGES = 40_000
CLASSES = 3
HARM = 0.01
"""Rise of the calibration error on new images that counts as harm."""

GRID = np.geomspace(0.05, 20, 240)
RULES = {
    "always": "the temperature that fits best, whatever it does to others",
    "any": "kept if the cross-fitted log loss falls at all",
    "ours": "kept if it falls by more than its standard error",
}


def drawn(rng, images, spread, factor, copies=1):
    """Scores (N, C), targets (N,) and patients of images."""
    patients = -(-images // copies)
    logits = spread * rng.normal(size=(patients, CLASSES))
    chances = softmax(logits, axis=1)
    targets = (chances.cumsum(axis=1) < rng.random((patients, 1))).sum(axis=1)
    patient = np.repeat(np.arange(patients), copies)[:images]
    return softmax(factor * logits, axis=1)[patient], targets[patient], patient


def log_loss(scores, targets):
    return float(-log_scores(scores)[np.arange(len(targets)), targets].mean())


@functools.cache
def on_new_images(spread, factor):
    """Accuracy, log loss and calibration error of new images, and the latter two by temperature."""
    new, truth, _ = drawn(np.random.default_rng(99), NEW_IMAGES, spread, factor)
    by_temperature = np.array(
        [
            (log_loss(found, truth), calibration_error(found, truth))
            for temperature in GRID
            for found in [at_temperature(new, temperature)]
        ]
    )
    right = float((new.argmax(axis=1) == truth).mean())
    return right, log_loss(new, truth), calibration_error(new, truth), by_temperature.T


def measured(spread, factor, copies, images, networks) -> dict[str, Any]:
    """What each rule does to new images, over so many networks of one kind."""
    accuracy, loss, error, (losses, errors) = on_new_images(spread, factor)
    rng = np.random.default_rng(images)
    rows = []
    for _ in range(networks):
        scores, targets, patient = drawn(rng, images, spread, factor, copies)
        kept, check = choose_temperature(scores, targets, patient.astype(str), fewest=1)
        after = check.log_loss_after
        chosen = {
            "always": check.temperature,
            "any": check.temperature
            if after is not None and after < check.log_loss_before
            else None,
            "ours": kept,
        }
        for rule, temperature in chosen.items():
            at = None if temperature is None else int(np.abs(np.log(GRID / temperature)).argmin())
            rows.append(
                (
                    rule,
                    at is not None,
                    0.0 if at is None else losses[at] - loss,
                    0.0 if at is None else errors[at] - error,
                )
            )
    found: dict[str, Any] = {}
    for rule in RULES:
        of_rule = np.array([row[1:] for row in rows if row[0] == rule], dtype=float)
        found[rule] = {
            "kept": of_rule[:, 0].mean(),
            "log_loss_change": of_rule[:, 1].mean(),
            "ece_change": of_rule[:, 2].mean(),
            "harmed": (of_rule[:, 2] > HARM).mean(),
        }
    return {
        "accuracy": accuracy,
        "temperature": factor,
        "images_per_patient": copies,
        "images": images,
        "ece_before": error,
        "log_loss_before": loss,
        "rules": found,
    }


def page(content: dict[str, Any]) -> str:
    cells = content["cells"]
    lines = [
        "# A temperature: when it is kept",
        "",
        "Written by `benchmarks/temperature_results.py`, whose head says how; numbers in "
        f"[temperature.json](temperature.json). {content['networks']} networks a cell, each with "
        f"its own validation images; {NEW_IMAGES:,} new images. *Harmed* is a network whose "
        f"expected calibration error on new images rises by more than {HARM}.",
        "",
        *(f"* **{rule}**: {words}" for rule, words in RULES.items()),
        "",
        f"Kept is *ours*, from {FEWEST_IMAGES} validation images on. Below are the worst cells "
        "over accuracies "
        + ", ".join(f"{100 * a:.0f} %" for a in sorted({cell["accuracy"] for cell in cells}))
        + " and one or two images a patient, and the mean change of the calibration error over "
        "them.",
    ]
    for factor in TEMPERATURES:
        kind = (
            "right as they are" if factor == 1 else "too sure" if factor > 1 else "not sure enough"
        )
        lines += [
            "",
            f"## Right temperature {factor:g}: scores are {kind}",
            "",
            "| images | "
            + " | ".join(f"{rule}: kept, %; harmed at worst, %; ECE" for rule in RULES)
            + " |",
            f"|---|{'---|' * len(RULES)}",
        ]
        for images in IMAGES:
            some = [c for c in cells if (c["temperature"], c["images"]) == (factor, images)]
            row = [f"{images}"]
            for rule in RULES:
                kept = [100 * cell["rules"][rule]["kept"] for cell in some]
                worst = max(100 * cell["rules"][rule]["harmed"] for cell in some)
                change = np.mean([cell["rules"][rule]["ece_change"] for cell in some])
                row.append(f"{min(kept):.0f} to {max(kept):.0f}; {worst:.1f}; {change:+.3f}")
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", type=int, default=1000, help="Networks of each kind.")
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    given = parser.parse_args()
    content = {
        "command": f"python benchmarks/temperature_results.py --networks {given.networks}",
        "commit": provenance.commit(),
        "time": provenance.now(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "networks": given.networks,
        "new_images": NEW_IMAGES,
        "harm": HARM,
        "rules": RULES,
        "cells": [
            measured(*kind, given.networks)
            for kind in product(SPREADS, TEMPERATURES, COPIES, IMAGES)
        ],
    }
    write_json(given.out / "temperature.json", content)
    write_text(given.out / "temperature.md", page(content))


if __name__ == "__main__":
    main()
