"""A run with its evaluation, audit and validation, made by script: all that a report can use."""

from cxr_transfer.datasets.manifest import write_manifest
from cxr_transfer.files import write_json
from cxr_transfer.models.metadata import Checkpoint
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.statistics.metrics import TITLES
from made import case

LABELS = ("normal", "covid19")
WEIGHTS = "ab" * 32
COMMIT = "0" * 40
PARTS = ("train",) * 14 + ("validation",) * 2 + ("test",) * 4
RECIPE = {
    "name": "small",
    "title": "a <small> | one",
    "class_weights": "none",
    "sampling": "all",
    "stages": [{"name": "all", "train": ["*"], "optimizer": "adam", "learning_rate": 1e-3}],
}


def estimate(value):
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def card(**changes):
    known = {
        "name": "small",
        "architecture": "simple_cnn",
        "labels": LABELS,
        "preprocessing": Preprocessing(),
        "epsilon": 1e-3,
        "weights_sha256": WEIGHTS,
        "network": {"title": "A CNN", "licence": "Apache-2.0"},
        "recipe": RECIPE,
        "provenance": {
            "time": "2026-01-02T03:04:05+00:00",
            "commit": COMMIT,
            "seed": 7,
            "versions": {"torch": "2"},
            "machine": {"cores": 2},
            "initial": "random",
            "stages": [
                {
                    "name": "all",
                    "epochs": 3,
                    "kept_epoch": 2,
                    "monitor": "val_loss",
                    "val_loss": 0.5,
                    "improved": True,
                }
            ],
        },
        "data": {
            "name": "own",
            "data_hash": "cd" * 32,
            "split_hash": "ef" * 32,
            "split_by": "patient",
            "images": {"train": 14, "validation": 2, "test": 4},
            "left_out": {"unknown": 3},
            "damaged": 1,
        },
    }
    return Checkpoint(**known | changes)


def evaluation(weights=WEIGHTS):
    row = {name: estimate(0.8) for name in ("precision", "recall", "f1", "auroc")}
    counted = {"images": 4, "patients": 4}
    return {
        "checkpoint": {"name": "small", "weights_sha256": weights},
        "intervals": "bootstrap by patient",
        "commit": COMMIT,
        "time": "2026-01-03T00:00:00+00:00",
        "data_hash": "12" * 32,
        "seed": 0,
        "ms_per_image": estimate(5.0),
        "evaluation": {name: estimate(0.75) for name in TITLES}
        | {
            "per_class": {label: row | {"images": 2} for label in LABELS},
            "confusion": [[2, 0], [1, 1]],
            "test_images": 4,
            "test_patients": 4,
        },
        "flow": {
            "found": counted,
            "analysed": counted | {"classes": {"normal": 2, "covid19": 2}},
            "left_out": [],
            "parts": [],
        },
        "errors": {"images": 1, "shown": 1},
        "worth": None,
    }


def audit(weights=WEIGHTS):
    checks = [
        {"name": name, "title": name, "verdict": verdict, "reading": f"<{name}> was read.",
         "hard": True, "bounds": "", "measured": {}}
        for name, verdict in (
            ("robustness", "pass"), ("heat_maps", "not done"), ("occlusion", "fail"),
        )
    ]  # fmt: skip
    return {
        "checkpoint": {"name": "small", "weights_sha256": weights},
        "verdict": "fail",
        "checks": checks,
        "commit": COMMIT,
        "time": "2026-01-04T00:00:00+00:00",
    }


def validation(recipe=None):
    return {
        "kind": "recipe",
        "recipe": recipe or RECIPE | {"name": "other_name"},
        "labels": list(LABELS),
        "commit": COMMIT,
        "summary": {"worst": {"source": "nih", "auroc_macro": estimate(0.6)}},
        "sources": [{"source": "nih", "images": 50}],
    }


def make_run(folder, **changes):
    """A run folder without weights that anybody could load, and three files beside it."""
    run = folder / "runs" / "small"
    run.mkdir(parents=True)
    (run / "checkpoint.json").write_text(card(**changes).model_dump_json())
    (run / "checkpoint.safetensors").write_bytes(b"")
    cases = [
        case(f"{row}.png", LABELS[row % 2], split=part, sha256=f"{row:064x}", pixels=f"{row}",
             licence="CC BY 4.0", age=40.0 + row, sex="F", view="PA")
        for row, part in enumerate(PARTS)
    ]  # fmt: skip
    write_manifest(run / "split.csv", cases)
    for name, content in (
        ("report", evaluation()), ("audit", audit()), ("validation", validation())
    ):  # fmt: skip
        write_json(folder / f"{name}.json", content)
    return run
