"""The next hospital: a leaderboard of recipes, each judged in sources that it was not trained on.

    python benchmarks/next_hospital.py multi_source --data ../data
    python benchmarks/next_hospital.py benchmarks/next_hospital/linear_probe.toml --data ../data
    python benchmarks/next_hospital.py multi_source --data ../data --check

An entry is a recipe: the name of one of the package, or a TOML file. Each source that holds two
classes is left out of a training and then met, as `cxr validate` does it: the same parts, the same
images, the same figures for every entry. A command that was stopped goes on with ``--runs``. The
entries that were run stay in ``next-hospital.json``, and ``next-hospital.md`` is written of all of
them. ``--check`` runs an entry and says whether every figure is the one that stands there.
Trainings are in float32 with one seed: it is, to the digit, on one kind of processor.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cxr_transfer import INTENDED_USE
from cxr_transfer.datasets.multi_source import added_source
from cxr_transfer.files import LOG, write_json, write_text
from cxr_transfer.own_folder import lock_folder
from cxr_transfer.runs.predictions import PREDICTIONS
from cxr_transfer.statistics.intervals import INTERVALS, Estimate
from cxr_transfer.studies.external_figures import POINTS, point_of
from cxr_transfer.studies.external_validation import validate_recipe
from cxr_transfer.studies.one_recipe import TrainingPlan
from cxr_transfer.text import markdown
from cxr_transfer.training.device import Execution
from cxr_transfer.training.recipe_files import load_recipe

OWN = Path(__file__).parent / "next_hospital"
NAME = "next-hospital"
PASSING = ("minutes", "commit", "time", "machine", "versions")
"""What of an entry may differ where it is run again."""


def all_entries() -> list[str]:
    """Return the entries that are run where none is named."""
    return ["multi_source", "conv3_tuned", *(str(path) for path in sorted(OWN.glob("*.toml")))]


def run_entry(
    entry: str,
    data: Path,
    runs: Path,
    *,
    seed: int,
    resamples: int,
    added: Iterable[str] = (),
    weights: Path | None = None,
) -> dict[str, Any]:
    """Validate an entry, or take what is done of it, and return its row."""
    recipe = load_recipe(entry)
    plan = TrainingPlan(
        recipe=recipe,
        sources=tuple(added_source(source) for source in added),
        seed=seed,
        execution=Execution(device="cpu", precision="float32", say_epochs=False),
        weights=weights if recipe.initial in ("imagenet", "file") else None,
    )
    folder = runs / recipe.name
    with lock_folder(folder):
        found = validate_recipe(plan, data, folder, resamples=resamples, log=print)
    words = ["python", "benchmarks/next_hospital.py", entry, "--data", "../data"]
    return {
        "title": recipe.title,
        "recipe": found["recipe"],
        "command": shlex.join(words + (["--seed", str(seed)] if seed else [])),
        "minutes": round(sum(minutes(folder / one["run"]) for one in found["sources"]), 1),
        "predictions_sha256": hashlib.sha256((folder / PREDICTIONS).read_bytes()).hexdigest(),
        **{name: found[name] for name in ("data_hash", "labels", "seed", "resamples", "skipped")},
        **{name: found[name] for name in PASSING if name in found},
        "summary": found["summary"],
        "sources": {one["source"]: row_of(one, found["labels"]) for one in found["sources"]},
    }


def row_of(one: Mapping[str, Any], labels: Iterable[str]) -> dict[str, Any]:
    """Return what the leaderboard keeps of a source."""
    return {
        **{name: one[name] for name in ("images", "patients", "auroc_macro", "auroc")},
        **{
            measured: {label: point_of(one, label, measured) for label in labels}
            for measured in POINTS
        },
        "without_class": one["abstention"]["without_class"],
        "accuracy": one["abstention"]["accuracy"],
        "aurc": one["abstention"]["aurc"],
        "ece": one["calibration"]["after"]["ece"],
        "shortcut_ratio": (one["without_lungs"] or {}).get("shortcut_ratio"),
    }


def minutes(run: Path) -> float:
    """Return how long a training took, from the first line of its log to the last."""
    lines = (run / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    stamps = [datetime.fromisoformat(line.split(" ", 1)[0]) for line in lines]
    return (stamps[-1] - stamps[0]).total_seconds() / 60


def differing(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the names of what is another figure now; what may differ is put aside."""
    names = (there.keys() | now.keys()) - set(PASSING)
    again = json.loads(json.dumps(now))
    return sorted(name for name in names if there.get(name) != again.get(name))


def leaderboard(entries: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page: the entry with the best worst source first."""
    first = next(iter(entries.values()))
    labels = first["labels"]
    sources = sorted({source for entry in entries.values() for source in entry["sources"]})
    ranked = sorted(
        entries.items(), key=lambda item: -(worst_of(item[1])["auroc_macro"]["value"] or 0.0)
    )
    per_class = " / ".join(labels)
    columns = [
        *("entry", "worst source", "its AUROC", "mean AUROC"),
        *sources,
        f"sensitivity set for 90 %: {per_class}",
        f"specificity set for 95 %: {per_class}",
        *("answered", "right of these", "training, min"),
    ]
    lines = [
        "# The next hospital: a leaderboard",
        "",
        "Written by `benchmarks/next_hospital.py`; numbers in "
        f"[{NAME}.json]({NAME}.json). Each entry was trained without each source that holds two "
        "classes, and then met that source. AUROC: the mean over classes within the source, "
        "percent; 95 % intervals: "
        f"{INTERVALS}. Sensitivity and specificity are means over the sources, at thresholds that "
        "the training sources' validation parts set. The entry with the best worst source comes "
        "first. See [the guide](../guides/next-hospital.md) for what each figure means.",
        "",
        INTENDED_USE,
        "",
        f"| {' | '.join(columns)} |",
        "|" + "---|" * len(columns),
        *(f"| {' | '.join(cells(name, entry, sources))} |" for name, entry in ranked),
        "",
        f"Data `{first['data_hash'][:12]}`. Not judged: "
        + "; ".join(f"{source}, since {why}" for source, why in first["skipped"].items())
        + ".",
        "",
        "Three or four sources say little of how far hospitals differ: an entry that is ahead by "
        "less than its intervals is not ahead.",
        "",
        "## Make an entry",
        "",
        "An entry is a recipe. Write a TOML file ('cxr recipe new'), and give the command with it; "
        "`--check` says whether an entry comes out the same, to the digit.",
        "",
        "```text",
        *(str(entry["command"]) for _, entry in ranked),
        "```",
        "",
    ]
    return "\n".join(lines)


def worst_of(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the worst source of an entry."""
    worst: Mapping[str, Any] = entry["summary"]["worst"]
    return worst


def cells(name: str, entry: Mapping[str, Any], sources: Iterable[str]) -> list[str]:
    """Return the cells of an entry's row."""
    mean, worst = entry["summary"]["mean"], worst_of(entry)
    answered = None if mean["without_class"] is None else 1 - mean["without_class"]
    return [
        f"{markdown(name)}: {markdown(entry['title'])}",
        markdown(worst["source"]),
        Estimate.from_dict(worst["auroc_macro"]).percent(),
        percent(mean["auroc_macro"]),
        *(
            Estimate.from_dict(entry["sources"][source]["auroc_macro"]).percent()
            if source in entry["sources"]
            else "not judged"
            for source in sources
        ),
        *(
            " / ".join(percent(mean[measured][label]) for label in entry["labels"])
            for measured in POINTS
        ),
        percent(answered),
        percent(mean["accuracy_answered"]),
        f"{entry['minutes']:.0f}",
    ]


def percent(value: float | None) -> str:
    """Return a share in percent with one decimal."""
    return "-" if value is None else f"{100 * value:.1f}"


def main() -> None:
    """Run entries, and write the leaderboard."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("entries", nargs="*", metavar="ENTRY", help="recipes; default: all")
    parser.add_argument("--data", type=Path, required=True, help="archives, or a manifest")
    parser.add_argument("--runs", type=Path, default=Path("runs/next_hospital"))
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--weights", type=Path, help="ImageNet weights, where not at hand")
    parser.add_argument("--add-source", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--check", action="store_true", help="compare with what stands there")
    given = parser.parse_args()
    table = given.out / f"{NAME}.json"
    entries: dict[str, Any] = {}
    if table.is_file():
        entries = json.loads(table.read_text(encoding="utf-8"))["entries"]
    for entry in given.entries or all_entries():
        name = load_recipe(entry).name
        row = run_entry(
            entry,
            given.data,
            given.runs,
            seed=given.seed,
            resamples=given.resamples,
            added=given.add_source,
            weights=given.weights,
        )
        if given.check:
            different = differing(entries.get(name, {}), row)
            print(f"{name}: {'the same' if not different else 'other ' + ', '.join(different)}")
            if different:
                raise SystemExit(1)
            continue
        others = {one: each["data_hash"] for one, each in entries.items() if one != name}
        if any(digest != row["data_hash"] for digest in others.values()):
            raise SystemExit(
                f"Expected the images of the other entries ({', '.join(others)}), but {name} was "
                "run on others; run all entries on the same, or choose another --out."
            )
        entries[name] = row
        write_json(table, {"intended_use": INTENDED_USE, "entries": entries})
        write_text(given.out / f"{NAME}.md", leaderboard(entries))


if __name__ == "__main__":
    main()
