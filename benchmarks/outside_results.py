"""How far the recipe `multi_source` carries: images of sources that it has not met.

    python benchmarks/outside_results.py --data DATA --out docs/results

What cannot be won by knowing where an image is from: COVID-19 against another finding inside
Cohen's collection, out of fold and by patient; and, trained without two sources, the COVID-19
images of the one against the others of the other. Then Dataset_1 in five folds, what is left
without the lungs, what each choice of the recipe brings, and how it grows with images and with
sources. Only the head differs between trainings, so what the frozen part makes of the images is
computed once for each choice (kept in ``--cache``). Writes ``outside.json`` and ``outside.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.datasets.index import data_hash
from cxr_transfer.datasets.loading import open_dataset
from cxr_transfer.datasets.splits import folds
from cxr_transfer.files import write_json, write_text
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.forward import features
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.radiograph.lung_segmentation import lungs_blacked
from cxr_transfer.statistics.intervals import INTERVALS, Estimate, share
from cxr_transfer.statistics.metrics import evaluate
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.training.background_swap import swap_backgrounds
from cxr_transfer.training.device import resolve_precision
from cxr_transfer.training.linear_probe import fit_head
from cxr_transfer.training.memory import keep_freed_memory
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.recipe_files import load_recipe
from cxr_transfer.training.reference import learn_reference
from cxr_transfer.training.stage import Stored
from cxr_transfer.training.start import initial
from cxr_transfer.training.tensors import ImageTensors, load_tensors
from cxr_transfer.training.trainer import train_stages

COVID = 2
PAIRS = (("valencia", "rsna"), ("valencia", "nih"), ("cohen", "rsna"), ("cohen", "nih"))
SENSITIVITY = 0.8
COVERAGE = 0.9
RESAMPLES = 2000
VALIDATION = 300  # images looked at beside those of the timed training, which learns from all
SHARES = (0.1, 0.25, 0.5, 1.0)
DRAWS = 5
GOALS = {
    "within": ">= 0.80",
    "valencia|rsna": ">= 0.93; healthy <= 5 %",
    "valencia|nih": "pneumonia <= 10 %",
    "cohen|rsna": "healthy <= 5 %",
    "cohen|nih": "pneumonia <= 10 %",
    "dataset_1": ">= 98 %",
    "shortcut": "<= 0.3",
}


class Known(NamedTuple):
    """What is known of the images, a row each."""

    targets: np.ndarray
    sources: np.ndarray
    patients: np.ndarray
    folds: np.ndarray


class Seen(NamedTuple):
    """What the frozen part makes of the images, and of what was made of them.

    ``exchanged`` has, for each image and each source, the image's lungs in the surroundings of one
    image of that source, whose row is in ``partners``: a training takes one whose partner it has.
    """

    whole: np.ndarray
    lungless: np.ndarray
    swapped: np.ndarray
    partners: np.ndarray


def variants(recipe: Recipe) -> dict[str, Recipe]:
    """Return the recipe, it without exchange, and that without each of its other choices.

    With exchange each would take three times as long; and without a crop there is none.
    """
    without = recipe.stages[0].model_copy(update={"background_swap": 0.0})
    alone = recipe.model_copy(update={"stages": (without,)})

    def other(network: str = recipe.network, **changes: object) -> Recipe:
        prepared = recipe.preprocessing.model_copy(update=changes)
        return alone.model_copy(update={"network": network, "preprocessing": prepared})

    return {
        "the recipe": recipe,
        "surroundings not exchanged": alone,
        "nor cropped to the lungs": other(crop="none"),
        "nor brought to one sharpness": other(detail=None),
        "nor equalised": other(equalise=False),
        "nor stopped early: all of ResNet-50": other(network="resnet50"),
        "all of ResNet-50, images as Model_3 takes them": alone.model_copy(
            update={"network": "resnet50", "preprocessing": Preprocessing()}
        ),
    }


def frozen(network: nn.Sequential, images: torch.Tensor) -> np.ndarray:
    """Return what the head sees, in the precision in which training computes it."""
    precision = resolve_precision("auto", "cpu")
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        return features(network, images).numpy()


def seen_by(recipe: Recipe, dataset, known: Known, cache: Path) -> Seen:
    exchange = recipe.stages[0].background_swap > 0
    start = initial(recipe, dataset.labels, seed=0)
    key = json.dumps(
        [
            recipe.network,
            recipe.preprocessing.model_dump(),
            exchange,
            start.sha256,
            data_hash(dataset.cases),
        ]
    )
    path = cache / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    if not path.is_file():
        started = time.monotonic()
        network = start.network
        tensors = load_tensors(dataset.cases, recipe.preprocessing, dataset.labels)
        lungless = torch.from_numpy(lungs_blacked(tensors.images.numpy()))
        found = [frozen(network, images) for images in (tensors.images, lungless)]
        names = np.unique(known.sources) if exchange else np.empty(0)
        partners = np.full((len(known.targets), len(names)), -1)
        made = np.zeros((*partners.shape, found[0].shape[1]), np.float32)
        for place, name in enumerate(names):
            rows = np.flatnonzero(known.sources != name)
            of = np.flatnonzero(known.sources == name)
            partners[rows, place] = np.random.default_rng(place).choice(of, len(rows))
            surroundings = np.arange(len(known.targets))
            surroundings[rows] = partners[rows, place]
            made[rows, place] = frozen(
                network, swap_backgrounds(tensors.images, surroundings, tensors.lungs)[rows]
            )
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(path, whole=found[0], lungless=found[1], swapped=made, partners=partners)
        print(f"{recipe.network}, {recipe.preprocessing}: {time.monotonic() - started:.0f} s")
    stored = np.load(path)
    return Seen(*(stored[name] for name in Seen._fields))


def exchanged_of(seen: Seen, known: Known, rows: np.ndarray) -> Stored | None:
    """Return one exchanged image for each of ``rows`` that has a partner among them.

    Training draws partners from its images alone and so has one for each; here they were drawn once
    from all images, so that a part of the patients has exchanged images for a part of its own.
    """
    there = np.zeros(len(known.targets), bool)
    there[rows] = True
    usable = (seen.partners[rows] >= 0) & there[seen.partners[rows]]
    if not usable.any():
        return None
    drawn = np.where(usable, np.random.default_rng(0).random(usable.shape), -1).argmax(axis=1)
    kept = np.flatnonzero(usable.any(axis=1))
    made = seen.swapped[rows[kept], drawn[kept]]
    return Stored(torch.from_numpy(made), torch.from_numpy(known.targets[rows[kept]]))


def fitted(recipe: Recipe, seen: Seen, known: Known, rows: np.ndarray) -> Callable:
    """Fit the head on ``rows`` as training does; return what scores others."""
    stage = recipe.stages[0]
    head = nn.Linear(seen.whole.shape[1], 3)
    training = Stored(torch.from_numpy(seen.whole[rows]), torch.from_numpy(known.targets[rows]))
    fit_head(
        nn.Sequential(OrderedDict(head=head)),
        training,
        training,
        swapped=exchanged_of(seen, known, rows) if stage.background_swap else None,
        swapped_weight=stage.background_swap,
        penalty=stage.penalty,
        stage="head",
    )

    @torch.inference_mode()
    def score(others: np.ndarray) -> np.ndarray:
        return head(torch.from_numpy(others)).double().softmax(dim=1).numpy()

    return score


def area(positive: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> Estimate:
    """Return the AUROC with its interval by patient."""
    both = Scores(
        LabelSet(("other", "covid19")),
        positive.astype(np.int64),
        np.column_stack([1 - scores, scores]),
        tuple(patients),
        tuple(map(str, range(len(scores)))),
    )
    return evaluate(both, resamples=RESAMPLES).per_class["covid19"]["auroc"]


def out_of_fold(recipe: Recipe, seen: Seen, known: Known) -> tuple[np.ndarray, np.ndarray]:
    whole, lungless = (np.zeros((len(known.targets), 3)) for _ in range(2))
    for fold in np.unique(known.folds):
        tested = known.folds == fold
        score = fitted(recipe, seen, known, np.flatnonzero(~tested))
        whole[tested], lungless[tested] = score(seen.whole[tested]), score(seen.lungless[tested])
    return whole, lungless


def pair(recipe: Recipe, seen: Seen, known: Known, one: str, other: str, least: float) -> dict:
    """Train without both; tell the COVID-19 images of the one from the other's."""
    out = np.isin(known.sources, (one, other))
    score = fitted(recipe, seen, known, np.flatnonzero(~out))
    sick = (known.sources == one) & (known.targets == COVID)
    well = (known.sources == other) & (known.targets != COVID)
    rows = np.flatnonzero(sick | well)
    found = score(seen.whole[rows])
    positive = sick[rows]
    threshold = np.quantile(found[positive, COVID], 1 - SENSITIVITY)
    called = found[~positive, COVID] >= threshold
    named = found.argmax(axis=1) == COVID
    sure = found.max(axis=1) >= least
    patients = known.patients[rows]
    return {
        "images": [int(positive.sum()), int((~positive).sum())],
        "auroc": area(positive, found[:, COVID], patients).as_dict(),
        "called_at_sensitivity": share(called, patients[~positive]).as_dict(),
        "named": share(named[~positive], patients[~positive]).as_dict(),
        "sensitivity_named": share(named[positive], patients[positive]).as_dict(),
        "answered": [float(sure[positive].mean()), float(sure[~positive].mean())],
        "named_of_answered": float(named[~positive & sure].mean()),
    }


def within_unseen(recipe: Recipe, seen: Seen, known: Known) -> dict:
    """Train without Cohen; tell COVID-19 from other findings inside it: one new place."""
    out = known.sources == "cohen"
    score = fitted(recipe, seen, known, np.flatnonzero(~out))
    rows = np.flatnonzero(out & (known.targets != 0))
    found = score(seen.whole[rows])[:, COVID]
    return area(known.targets[rows] == COVID, found, known.patients[rows]).as_dict()


def unfamiliar(seen: Seen, known: Known) -> dict[str, list[float]]:
    """Of each source, known from the others alone: shares called unusual or more, and refused."""
    shares = {}
    for source in np.unique(known.sources):
        out = known.sources == source
        train, held_out = (
            np.flatnonzero(~out & part) for part in (known.folds > 0, known.folds == 0)
        )
        reference = learn_reference(
            seen.whole[train],
            labels=[str(target) for target in known.targets[train]],
            sources=[str(one) for one in known.sources[train]],
            held_out=seen.whole[held_out],
            weights_sha256="",
        )
        judged = np.array(reference.ood_status(seen.whole[out]))
        shares[str(source)] = [
            float((judged != "in_distribution").mean()),
            float((judged == "out_of_distribution").mean()),
        ]
    return shares


def figures(recipe: Recipe, seen: Seen, known: Known) -> dict:
    whole, lungless = out_of_fold(recipe, seen, known)
    least = float(np.quantile(whole.max(axis=1), 1 - COVERAGE))
    cohen = (known.sources == "cohen") & (known.targets != 0)
    first = (known.sources == "kermany") | ((known.sources == "cohen") & (known.targets == COVID))
    right = whole.argmax(axis=1) == known.targets
    positive = known.targets == COVID
    areas = [area(positive, scores[:, COVID], known.patients) for scores in (whole, lungless)]
    shares = {}
    for source in np.unique(known.sources):
        for label, name in enumerate(("normal", "other_pneumonia", "covid19")):
            these = (known.sources == source) & (known.targets == label)
            if these.any():
                said = np.bincount(whole[these].argmax(axis=1), minlength=3)
                shares[f"{source} {name}"] = [int(count) for count in said]
    return {
        "within": area(
            known.targets[cohen] == COVID, whole[cohen, COVID], known.patients[cohen]
        ).as_dict(),
        "within_unseen": within_unseen(recipe, seen, known),
        "dataset_1": share(right[first], known.patients[first]).as_dict(),
        "accuracy": share(right, known.patients).as_dict(),
        "auroc": areas[0].as_dict(),
        "auroc_without_lungs": areas[1].as_dict(),
        "shortcut": (areas[1].value - 0.5) / (areas[0].value - 0.5),
        "confidence_threshold": least,
        "pairs": {
            f"{one}|{other}": pair(recipe, seen, known, one, other, least) for one, other in PAIRS
        },
        "named": shares,
    }


def curves(recipe: Recipe, seen: Seen, known: Known) -> dict:
    """How the figures grow with patients, and with sources."""

    def auroc(rows: np.ndarray, one: str, other: str) -> float:
        tested = np.flatnonzero(
            ((known.sources == one) & (known.targets == COVID)) | (known.sources == other)
        )
        found = fitted(recipe, seen, known, rows)(seen.whole[tested])[:, COVID]
        return area(known.targets[tested] == COVID, found, known.patients[tested]).value

    grown: dict[str, dict] = {}
    for one, other in (("valencia", "rsna"), ("cohen", "nih")):
        rows = np.flatnonzero(~np.isin(known.sources, (one, other)))
        people = np.unique(known.patients[rows])
        found = {}
        for part in SHARES:
            tries = []
            for seed in range(DRAWS if part < 1 else 1):
                drawn = np.random.default_rng(seed).permutation(people)[: int(part * len(people))]
                tries.append(auroc(rows[np.isin(known.patients[rows], drawn)], one, other))
            found[f"{part:.0%}"] = {"patients": int(part * len(people)), "auroc": tries}
        grown[f"{one}|{other}"] = found
    first = (known.sources == "kermany") | ((known.sources == "cohen") & (known.targets == COVID))
    sets = {
        "Dataset_1": first,
        "and Cohen's other findings": first | (known.sources == "cohen"),
        "and NIH": first | np.isin(known.sources, ("cohen", "nih")),
    }
    by_sources = {
        name: auroc(np.flatnonzero(kept), "valencia", "rsna") for name, kept in sets.items()
    }
    return {"patients": grown, "sources_valencia|rsna": by_sources}


def written(found: dict, places: int = 2) -> str:
    return Estimate.from_dict(found).written(places)


def percent(found: dict) -> str:
    return Estimate.from_dict(found).percent() + " %"


def page(content: dict) -> str:
    rows = content["variants"]
    own = rows["the recipe"]
    lines = [
        "# Images of sources that it has not met",
        "",
        "Written by `benchmarks/outside_results.py`; numbers in [outside.json](outside.json). "
        f"{content['images']} images of five sources; 95 % intervals: {INTERVALS}. `A|B`: trained "
        "without A and B, the COVID-19 images of A against the images of B.",
        "",
        INTENDED_USE,
        "",
        "| figure | goal | measured |",
        "|---|---|---|",
        f"| within Cohen, out of fold, COVID-19 against other findings, AUROC | {GOALS['within']} "
        f"| {written(own['within'])} |",
        "| the same, trained without Cohen | - | " + written(own["within_unseen"]) + " |",
    ]
    for name, one in own["pairs"].items():
        called = percent(one["called_at_sensitivity"])
        lines.append(
            f"| {name}, AUROC; called COVID-19 where 80 % of A are | {GOALS[name]} | "
            f"{written(one['auroc'])}; {called} |"
        )
    lines += [
        f"| Dataset_1, five folds, accuracy | {GOALS['dataset_1']} | {percent(own['dataset_1'])} |",
        f"| lungs blacked out: shortcut ratio | {GOALS['shortcut']} | {own['shortcut']:.2f} (AUROC "
        f"{written(own['auroc'])} and {written(own['auroc_without_lungs'])} without lungs) |",
        f"| time to train, two cores | <= 60 minutes | {content['training_s'] / 60:.1f} minutes |",
        "",
        "## Named COVID-19 by the highest score, and with abstention",
        "",
        f"Abstaining below a highest score of {own['confidence_threshold']:.2f}, which "
        f"{100 * COVERAGE:.0f} % of the out-of-fold images reach.",
        "",
        "| pair | A named so | B named so | answered of A, of B | of answered B named so |",
        "|---|---|---|---|---|",
    ]
    for name, one in own["pairs"].items():
        sick, well = (f"{100 * part:.0f} %" for part in one["answered"])
        lines.append(
            f"| {name} | {percent(one['sensitivity_named'])} | {percent(one['named'])} | {sick}, "
            f"{well} | {100 * one['named_of_answered']:.1f} % |"
        )
    lines += [
        "",
        "## Images of a source that was not trained on: is it like images that are known?",
        "",
        "Asked of the features of all other sources; beyond the limits as `cxr train` sets them.",
        "",
        "| source | unusual (a warning) or beyond | unfamiliar (refused) |",
        "|---|---|---|",
        *(
            f"| {name} | {100 * odd:.1f} % | {100 * refused:.1f} % |"
            for name, (odd, refused) in content["out_of_distribution"].items()
        ),
        "",
        "## What each choice brings",
        "",
        "From the second row on nothing is exchanged. The next four are the second with one "
        "change; the last shares the images with it.",
        "",
        "| recipe | " + " | ".join(own["pairs"]) + " | within Cohen | Dataset_1 | ratio |",
        "|---|" + "---|" * (len(own["pairs"]) + 3),
    ]
    for name, row in rows.items():
        cells = [written(one["auroc"]) for one in row["pairs"].values()]
        cells += [written(row["within"]), percent(row["dataset_1"]), f"{row['shortcut']:.2f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "## With more patients, and with more sources",
        "",
        "Partners were drawn from all images: of fewer patients' images fewer have exchanged ones.",
        "",
        "| trained on | " + " | ".join(content["curves"]["patients"]) + " |",
        "|---|" + "---|" * len(content["curves"]["patients"]),
    ]
    curves_of = content["curves"]["patients"].values()
    for part in next(iter(content["curves"]["patients"].values())):
        cells = [f"{np.mean(one[part]['auroc']):.2f}" for one in curves_of]
        lines.append(f"| {part} of the patients (mean of draws) | " + " | ".join(cells) + " |")
    lines += ["", "| trained on | valencia\\|rsna |", "|---|---|"]
    lines += [
        f"| {name} | {value:.2f} |"
        for name, value in content["curves"]["sources_valencia|rsna"].items()
    ]
    lines += [
        "",
        "## What is called what, out of fold",
        "",
        "| source and class | normal | other pneumonia | COVID-19 |",
        "|---|---|---|---|",
        *(f"| {name} | {a} | {b} | {c} |" for name, (a, b, c) in own["named"].items()),
    ]
    return "\n".join(lines).replace("valencia|", "valencia\\|").replace("cohen|", "cohen\\|") + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--cache", type=Path, default=Path("runs/outside_features"))
    parser.add_argument("--recipe", default="multi_source")
    parser.add_argument("--only", type=int, default=99, help="So many of the variants.")
    given = parser.parse_args()
    keep_freed_memory()
    recipe = load_recipe(given.recipe)
    dataset = open_dataset(given.data, "multi_source")
    started = time.monotonic()
    tensors: ImageTensors = load_tensors(dataset.cases, recipe.preprocessing, dataset.labels)
    fold_of = {}
    for number, drawn in enumerate(folds(dataset, 5)):
        fold_of |= {case.path: number for case in drawn.cases if case.split == "test"}
    known = Known(
        tensors.targets.numpy(),
        np.array([case.source for case in dataset.cases]),
        np.array([case.patient for case in dataset.cases]),
        np.array([fold_of[case.path] for case in dataset.cases]),
    )
    with tempfile.TemporaryDirectory() as folder:
        train_stages(
            recipe,
            initial(recipe, dataset.labels, seed=0).network,
            tensors,
            tensors.only(np.arange(VALIDATION)),
            sources=list(known.sources),
            folder=Path(folder),
            seed=0,
        )
    training_s = time.monotonic() - started
    rows = {}
    for name, variant in list(variants(recipe).items())[: given.only]:
        rows[name] = figures(variant, seen_by(variant, dataset, known, given.cache), known)
        one = rows[name]
        said = " ".join(f"{k} {v['auroc']['value']:.3f}" for k, v in one["pairs"].items())
        print(f"{name}: {said} within {one['within']['value']:.3f}", flush=True)
    content = {
        "intended_use": INTENDED_USE,
        "command": "python benchmarks/outside_results.py --data DATA",
        "images": len(dataset.cases),
        "training_s": training_s,
        "goals": GOALS,
        "variants": rows,
        "out_of_distribution": unfamiliar(seen_by(recipe, dataset, known, given.cache), known),
        "curves": curves(recipe, seen_by(recipe, dataset, known, given.cache), known),
        "recipe": recipe.model_dump(mode="json"),
        "data_hash": data_hash(dataset.cases),
        "seed": 0,
        "measured": {
            "time": provenance.now(),
            "commit": provenance.commit(),
            "machine": provenance.machine(),
            "versions": provenance.versions(),
        },
    }
    write_json(given.out / "outside.json", content)
    write_text(given.out / "outside.md", page(content))


if __name__ == "__main__":
    main()
