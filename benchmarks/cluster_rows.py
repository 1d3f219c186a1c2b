"""Two local workers of Ray Data and one process answer for the same images: the same rows?

    python benchmarks/cluster_rows.py --out docs/results/cluster.json

Images are generated (a few are damaged or absent), the network has random weights unless
``--model`` names another. Writes the rows that differ, largest difference of a score, and the time
of each; two workers share this machine's processors, so the times say nothing of a real cluster.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.files import write_json
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.inference.ray_backend import predict_on_cluster
from cxr_transfer.inference.table import CHUNK, predict_into
from cxr_transfer.labels import DATASET_1
from cxr_transfer.radiograph import Preprocessing

WORKERS = 2


def write_images(folder: Path, number: int) -> list[Path]:
    """Draw ``number`` images; every 97th file is damaged, every 101st absent."""
    files = []
    for seed in range(number):
        path = folder / f"{seed:05}.jpeg"
        files.append(path)
        if seed % 101 == 100:
            continue
        if seed % 97 == 96:
            path.write_bytes(b"no image at all")
            continue
        label = tuple(DATASET_1)[seed % 3]
        radiograph = draw_radiograph(label, rng=np.random.default_rng(seed))
        Image.fromarray(radiograph).save(path, quality=90)
    return files


def random_model(folder: Path) -> Path:
    """Write a checkpoint of the small network with random weights."""
    import torch

    from cxr_transfer.models.checkpoint import save_checkpoint
    from cxr_transfer.models.registry import build

    torch.manual_seed(0)
    preprocessing = Preprocessing()
    card = {
        "name": "random",
        "architecture": "simple_cnn",
        "labels": tuple(DATASET_1),
        "preprocessing": preprocessing,
        "epsilon": 1e-3,
    }
    save_checkpoint(folder, build("simple_cnn", 3, size=preprocessing.size, epsilon=1e-3), card)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--model", help="run folder, .xml or released name; default: random")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_images(folder, options.images)
        model = options.model or random_model(folder / "model")
        predictor = Predictor.open(model)
        one, many = folder / "one.csv", folder / "many.csv"
        started = time.perf_counter()
        alone = predict_into(predictor, files, one)
        seconds_one = time.perf_counter() - started
        print(f"one process: {seconds_one:.1f} s", flush=True)
        started = time.perf_counter()
        shared = predict_on_cluster(model, files, many, workers=WORKERS)
        seconds_many = time.perf_counter() - started
        print(f"{WORKERS} workers: {seconds_many:.1f} s", flush=True)
        pairs = list(zip(rows(one), rows(many), strict=True))
        same_bytes = one.read_bytes() == many.read_bytes()
    scores = [f"score_{label}" for label in predictor.card.labels]
    differences = [
        abs(float(a[score]) - float(b[score])) for a, b in pairs for score in scores if a[score]
    ]
    found = {
        "rows": len(pairs),
        "same_bytes": same_bytes,
        "rows_that_differ": sum(a != b for a, b in pairs),
        "rows_that_differ_beyond_scores": sum(
            {**a, **dict.fromkeys(scores)} != {**b, **dict.fromkeys(scores)} for a, b in pairs
        ),
        "largest_difference_of_a_score": max(differences, default=0.0),
        "one_process": asdict(alone) | {"seconds": round(seconds_one, 1)},
        "cluster": asdict(shared)
        | {"workers": WORKERS, "seconds_with_start": round(seconds_many, 1)},
    }
    write_json(
        options.out,
        {
            "intended_use": INTENDED_USE,
            "command": f"python benchmarks/cluster_rows.py --images {options.images}"
            + (f" --model {Path(options.model).name}" if options.model else "")
            + f" --out {options.out}",
            "date": provenance.now(),
            "commit": provenance.commit(),
            "machine": provenance.machine(),
            "versions": provenance.versions(),
            "images": "generated; every 97th damaged, every 101st absent",
            "model": predictor.model,
            "chunk": CHUNK,
            "results": found,
        },
    )
    print(found)


if __name__ == "__main__":
    main()
