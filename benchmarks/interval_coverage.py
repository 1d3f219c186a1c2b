"""How often intervals of AUROC hold the truth, and how wide they are: ours, and what could be had.

    python benchmarks/interval_coverage.py

Draws data sets whose AUROC is known and computes every interval of each. Writes
``docs/results/interval_coverage.json`` and ``interval_coverage.md``. No image is read.

Scores are normal, N(0, 1) without the finding and N(d, s^2) with it, so that the AUROC is
Phi(d / sqrt(1 + s^2)). Patients have one image, or one to three whose scores correlate by a half;
all images of a patient are of one class. In *two kinds* some positives look like the others and the
rest do not: what makes a high AUROC in practice, and what no method can see in a few positives.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm

from cxr_transfer import provenance
from cxr_transfer.files import write_json, write_text
from cxr_transfer.labels import DATASET_1
from cxr_transfer.statistics.auroc import areas_and_covariance, auroc_intervals
from cxr_transfer.statistics.intervals import (
    Estimate,
    patient_weights,
    percentile_interval,
    value_and_resamples,
    wilson,
)
from cxr_transfer.statistics.metrics import statistics
from cxr_transfer.statistics.scores import Scores

Z = float(norm.ppf(0.975))
AREAS = (0.7, 0.9, 0.97, 0.99)
METHODS = {
    "ours": "clustered DeLong on the logit scale, its variance held against that of normal scores",
    "delong": "clustered DeLong (Obuchowski 1997) on the logit scale; Wilson over patients at 1",
    "before": "bootstrap by patient, its spread taken on the logit scale: what was used before",
    "percentile": "bootstrap by patient, percentiles",
    "bca": "bootstrap by patient, bias-corrected and accelerated (Efron 1987)",
}
RESAMPLED = ("before", "percentile", "bca")


@dataclass(frozen=True)
class Kind:
    """Data sets of one kind: the ROC curve's area and shape, numbers of images and patients."""

    area: float
    positives: int
    clustered: bool
    others: int = 200
    shape: str = "1"

    def draw(self, rng: np.random.Generator):
        """Which images are positive, their scores, and their patients' numbers."""
        if self.clustered:
            first = _patients(rng, self.positives)
            patient = np.r_[first, _patients(rng, self.others) + first.max() + 1]
        else:
            patient = np.arange(self.positives + self.others)
        positive = np.arange(len(patient)) < self.positives
        own, shared = rng.normal(size=len(patient)), rng.normal(size=patient.max() + 1)[patient]
        noise = (own + shared) / np.sqrt(2) if self.clustered else own
        if self.shape == "two kinds":
            alike = rng.random(patient.max() + 1)[patient] < 2 * (1 - self.area)
            return positive, noise + np.where(positive & ~alike, 20.0, 0.0), patient
        spread = float(self.shape)
        distance = norm.ppf(self.area) * np.sqrt(1 + spread**2)
        return positive, np.where(positive, distance + spread * noise, noise), patient


def _patients(rng, images):
    sizes = rng.integers(1, 4, size=images)
    return np.repeat(np.arange(images), sizes)[:images]


def estimates(positive, score, patient, methods, resamples, seed) -> dict[str, Estimate]:
    names = [f"{number:06}" for number in patient]
    (ours,), _ = auroc_intervals(positive[None], score[None], names)
    (area,), ((variance,),) = areas_and_covariance(positive[None], score[None], names)
    fewest = min(len(set(patient[positive])), len(set(patient[~positive])))
    found = {"ours": ours}
    if area == 1:
        found["delong"] = wilson(fewest, fewest)
    else:
        half = Z * np.sqrt(variance) / (area * (1 - area))
        found["delong"] = Estimate(area, *expit(logit(area) + np.array([-half, half])))
    if not set(methods) & set(RESAMPLED):
        return found
    weights = patient_weights(names, resamples=resamples, seed=seed)
    replicates = _areas(positive, score, weights)
    replicates = replicates[~np.isnan(replicates)]
    found["percentile"] = percentile_interval(area, replicates, units=fewest)
    found["before"] = _before(area, replicates, fewest)
    found["bca"] = _bca(area, replicates, _left_out(positive, score, patient))
    return found


def _areas(positive, score, weights):
    """The area for each row of image weights; scores are all different."""
    order = np.argsort(score)
    ranked, of_class = weights[:, order].astype(float), positive[order].astype(float)
    below = (ranked * (1 - of_class)).cumsum(axis=1)
    pairs = (ranked * of_class).sum(axis=1) * below[:, -1]
    with np.errstate(invalid="ignore"):
        return (ranked * of_class * below).sum(axis=1) / pairs


def _before(area, replicates, units):
    """The interval that this replaced: the spread of the replicates' logits around the value's."""
    inside = replicates[(replicates > 0) & (replicates < 1)]
    if not 0 < area < 1 or replicates.size < 2 or not inside.size:
        return percentile_interval(area, replicates, units=units)
    nearest = min(inside.min(), 1 - inside.max()) / 2
    spread = logit(np.clip(replicates, nearest, 1 - nearest)).std(ddof=1)
    return Estimate(area, *expit(logit(area) + np.array([-Z, Z]) * spread))


def _bca(area, replicates, left_out):
    below = np.mean(replicates < area) + np.mean(replicates == area) / 2
    if not 0 < below < 1:
        return Estimate(area, float(replicates.min()), float(replicates.max()))
    bias, away = norm.ppf(below), left_out.mean() - left_out
    squares = (away**2).sum()
    speed = (away**3).sum() / (6 * squares**1.5) if squares else 0.0
    shifted = bias + np.array([-Z, Z])
    levels = norm.cdf(bias + shifted / (1 - speed * shifted))
    return Estimate(area, *np.quantile(replicates, levels))


def _left_out(positive, score, patient):
    """The area without each patient."""
    wins = (score[positive][:, None] > score[~positive][None]).astype(float)
    patients = patient.max() + 1
    above = np.bincount(patient[positive], wins.sum(axis=1), patients)
    below = np.bincount(patient[~positive], wins.sum(axis=0), patients)
    m, n = wins.shape
    kept_m = m - np.bincount(patient[positive], minlength=patients)
    kept_n = n - np.bincount(patient[~positive], minlength=patients)
    found = (wins.sum() - above - below) / (kept_m * kept_n)
    return found[np.unique(patient)]


def truth_of(kind: Kind) -> float:
    if kind.shape != "two kinds":
        return kind.area
    alike = 2 * (1 - kind.area)
    return alike / 2 + (1 - alike) * float(norm.cdf(20 / np.sqrt(2)))


def measured(kind: Kind, sets: int, resampled: int, resamples: int) -> dict[str, Any]:
    """Coverage and width of every method over so many data sets, of resampling over fewer."""
    rng, truth = np.random.default_rng(1), truth_of(kind)
    found: dict[str, list[Estimate]] = {name: [] for name in METHODS}
    for seed in range(sets):
        methods = METHODS if seed < resampled else ("ours", "delong")
        drawn = kind.draw(rng)
        for name, one in estimates(*drawn, methods, resamples, seed).items():
            found[name].append(one)
    return asdict(kind) | {
        "exactly_1": float(np.mean([one.value == 1 for one in found["ours"]])),
        "methods": {
            name: {
                "sets": len(each),
                "coverage": float(np.mean([one.low <= truth <= one.high for one in each])),
                "truth_below": float(np.mean([truth < one.low for one in each])),
                "truth_above": float(np.mean([truth > one.high for one in each])),
                "width": float(np.mean([one.high - one.low for one in each])),
            }
            for name, each in found.items()
            if each
        },
    }


def macro(sets: int) -> list[dict[str, Any]]:
    """The mean of three classes' areas, one against the rest: coverage of its interval."""
    rows = []
    for gain, images in product((1.0, 2.0, 4.0), (60, 300)):
        truth = _drawn_macro(np.random.default_rng(0), gain, 200_000)[1].value
        rng = np.random.default_rng(2)
        found = [_drawn_macro(rng, gain, images)[1] for _ in range(sets)]
        rows.append(
            {
                "area": truth,
                "images": images,
                "sets": sets,
                "coverage": float(np.mean([one.low <= truth <= one.high for one in found])),
                "width": float(np.mean([one.high - one.low for one in found])),
            }
        )
    return rows


def _drawn_macro(rng, gain, images):
    targets = rng.integers(3, size=images)
    logits = rng.normal(size=(images, 3))
    logits[np.arange(images), targets] += gain
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    positive = targets == np.arange(3)[:, None]
    return auroc_intervals(positive, scores.T, [f"{number:06}" for number in range(images)])


def timed(images: int = 3000) -> dict[str, float]:
    """Seconds for the areas of three classes of 3,000 images, ours and 2,000 resamples."""
    rng = np.random.default_rng(0)
    targets = rng.integers(3, size=images)
    logits = rng.normal(size=(images, 3))
    logits[np.arange(images), targets] += 2
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    patients = tuple(f"p{number // 2}" for number in range(images))
    given = Scores(DATASET_1, targets, scores, patients, tuple(map(str, range(images))))
    took = {}
    for name, compute in (
        ("ours", lambda: auroc_intervals(targets == np.arange(3)[:, None], scores.T, patients)),
        ("bootstrap", lambda: statistics(given, value_and_resamples(patients))),
    ):
        started = time.perf_counter()
        compute()
        took[name] = time.perf_counter() - started
    return took


def page(content: dict[str, Any]) -> str:
    lines = [
        "# Intervals of AUROC: do they hold the truth?",
        "",
        "Written by `benchmarks/interval_coverage.py`, whose head says how; numbers in "
        f"[interval_coverage.json](interval_coverage.json). 95 % intervals; {content['sets']} "
        f"data sets a row, of which {content['resampled']} are resampled ({content['resamples']} "
        "times; of other shapes half as many). Each cell is the share of intervals that hold the "
        "truth, in percent, and their mean width in points of AUROC. Where 95 % is the truth, "
        "chance alone gives 94 to 96 % over 2,000 data sets and 93 to 97 % over 600.",
        "",
        *(f"* **{name}**: {words}" for name, words in METHODS.items()),
    ]
    for title, key, methods in (
        ("Normal scores, 200 others", "grid", tuple(METHODS)),
        ("Fewer positives, fewer and more others", "sizes", ("ours", "delong")),
        ("Other shapes of the ROC curve", "shapes", ("ours", "delong", "before", "percentile")),
    ):
        lines += [
            "",
            f"## {title}",
            "",
            "| AUROC | positives | others | patients | shape | exactly 1, % | "
            + " | ".join(methods)
            + " |",
            f"|---|---|---|---|---|---|{'---|' * len(methods)}",
        ]
        for row in content[key]:
            cells = [
                f"{100 * one['coverage']:.1f} ({100 * one['width']:.1f})"
                for one in (row["methods"][name] for name in methods)
            ]
            images = "1 to 3 images" if row["clustered"] else "1 image"
            shape = row["shape"] if row["shape"] == "two kinds" else f"s = {row['shape']}"
            lines.append(
                f"| {row['area']} | {row['positives']} | {row['others']} | {images} | {shape} | "
                f"{100 * row['exactly_1']:.1f} | {' | '.join(cells)} |"
            )
    lines += [
        "",
        "## The mean over three classes",
        "",
        "| AUROC (macro) | images | coverage, % | width, points |",
        "|---|---|---|---|",
        *(
            f"| {row['area']:.3f} | {row['images']} | {100 * row['coverage']:.1f} | "
            f"{100 * row['width']:.1f} |"
            for row in content["macro"]
        ),
        "",
        f"Three classes of 3,000 images take {1000 * content['seconds']['ours']:.0f} ms; 2,000 "
        f"resamples of all figures of merit {1000 * content['seconds']['bootstrap']:.0f} ms.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sets", type=int, default=2000, help="Data sets of each kind.")
    parser.add_argument("--resampled", type=int, default=600, help="Of these, resampled ones.")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    given = parser.parse_args()
    both = (False, True)

    def rows(kinds, resampled=0):
        return [measured(kind, given.sets, resampled, given.resamples) for kind in kinds]

    content = {
        "command": f"python benchmarks/interval_coverage.py --sets {given.sets} --resampled "
        f"{given.resampled} --resamples {given.resamples}",
        "commit": provenance.commit(),
        "time": provenance.now(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "sets": given.sets,
        "resampled": given.resampled,
        "resamples": given.resamples,
        "methods": METHODS,
        "grid": rows(
            (Kind(area, number, of) for of, number, area in product(both, (20, 100), AREAS)),
            given.resampled,
        ),
        "sizes": rows(
            Kind(area, positives, of, others)
            for (positives, others), of, area in product(
                ((10, 200), (20, 30), (100, 30), (100, 1000)), both, AREAS
            )
        ),
        "shapes": rows(
            (
                Kind(area, number, of, shape=shape)
                for shape, of, number, area in product(
                    ("0.5", "1.5", "2", "two kinds"), both, (20, 100), AREAS
                )
            ),
            given.resampled // 2,
        ),
        "macro": macro(given.sets),
        "seconds": timed(),
    }
    write_json(given.out / "interval_coverage.json", content)
    write_text(given.out / "interval_coverage.md", page(content))


if __name__ == "__main__":
    main()
