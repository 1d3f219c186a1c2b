"""Our side of the measurements, one task to a process; prints a line of JSON.

python benchmarks/ours.py cnn_epoch FOLDER --precision bfloat16
python benchmarks/ours.py resnet_epochs FOLDER --precision bfloat16
python benchmarks/ours.py one FOLDER --model model.xml --precision bfloat16
python benchmarks/ours.py folder FOLDER --model model.xml --precision bfloat16
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

TASKS = ("cnn_epoch", "resnet_epochs", "one", "folder", "dicoms", "parts")
EPOCHS = 3
"""The first is a warm-up; it is measured, and left out of the median."""


def training(folder: Path, recipe_name: str, precision: str) -> dict:
    from cxr_transfer.datasets.loading import open_dataset
    from cxr_transfer.datasets.splits import split
    from cxr_transfer.models.registry import build
    from cxr_transfer.training.device import Execution
    from cxr_transfer.training.recipe_files import load_recipe
    from cxr_transfer.training.tensors import load_tensors, select
    from cxr_transfer.training.trainer import train_stages

    recipe = load_recipe(recipe_name).limited(EPOCHS)
    dataset = split(open_dataset(folder / "classes", "dataset_1"), seed=0)
    started = time.perf_counter()
    tensors = load_tensors(dataset.cases, recipe.preprocessing, dataset.labels)
    decoded = time.perf_counter()
    network = build(recipe.network, 3, size=recipe.preprocessing.size, epsilon=1e-3)
    train, validation = (select(dataset, tensors, part)[1] for part in ("train", "validation"))
    with tempfile.TemporaryDirectory() as run:
        trained = train_stages(
            recipe,
            network,
            train,
            validation,
            folder=Path(run),
            seed=0,
            execution=Execution(device="cpu", precision=precision),
        )
    ended = time.perf_counter()
    stages = {
        stage.name: [row["seconds"] for row in trained.history if row["stage"] == stage.name]
        for stage in recipe.stages
    }
    return {
        "training_images": len(train),
        "validation_images": len(validation),
        "decoding_s": decoded - started,
        # What is done once, not in every epoch: above all the activations of the frozen part.
        "once_s": ended - decoded - sum(map(sum, stages.values())),
        "epochs_s": stages,
    }


def one(folder: Path, model: Path, precision: str) -> dict:
    from cxr_transfer.inference.predictor import Predictor

    predictor = Predictor.open(model, precision=precision)
    took = []
    for file in sorted((folder / "megapixel").iterdir())[:40]:
        started = time.perf_counter()
        predictor.predict(file)
        took.append(1000 * (time.perf_counter() - started))
    return {"ms": took[5:]}


def whole_folder(
    folder: Path, model: Path, precision: str, limit: int | None, kind: str = "megapixel"
) -> dict:
    from cxr_transfer.datasets.image_files import images_in
    from cxr_transfer.inference.predictor import Predictor

    predictor = Predictor.open(model, precision=precision)
    files = list(images_in([folder / kind]))[:limit]
    list(predictor.predict_files(files[:32]))
    started = time.perf_counter()
    answers = sum(answer.status == "ok" for answer in predictor.predict_files(files))
    return {"images": answers, "s": time.perf_counter() - started}


def parts(folder: Path, model: Path, precision: str) -> dict:
    """What one image costs in decoding, and what in the network, each alone."""
    import numpy as np

    from cxr_transfer.inference.predictor import BATCH
    from cxr_transfer.models.engine import Engine
    from cxr_transfer.parallel import in_order
    from cxr_transfer.radiograph import Preprocessing, read_radiograph

    def decode(path: Path) -> np.ndarray:
        return Preprocessing().apply(read_radiograph(path))

    files = sorted((folder / "megapixel").iterdir())[:200]
    list(in_order(decode, files[:20]))
    started = time.perf_counter()
    list(in_order(decode, files))
    decoding = 1000 * (time.perf_counter() - started) / len(files)
    engine = Engine(model, precision=precision)
    found = {}
    for batch in (1, BATCH):
        images = np.random.default_rng(0).integers(0, 256, (batch, 1, 224, 224), dtype=np.uint8)
        took = []
        for _ in range(25):
            started = time.perf_counter()
            engine.scores(images)
            took.append(1000 * (time.perf_counter() - started) / batch)
        found[f"network_batch_{batch}_ms"] = sorted(took)[len(took) // 2]
    return {"decoding_all_threads_ms": decoding} | found


def peak_mb():
    """Return the most memory that this process held; Linux' own count, which exec resets."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return round(int(line.split()[1]) / 1024)
    return None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--limit", type=int)
    given = parser.parse_args()
    if given.task in ("cnn_epoch", "resnet_epochs"):
        recipe = {"cnn_epoch": "model_1", "resnet_epochs": "model_3"}[given.task]
        found = training(given.folder, recipe, given.precision)
    elif given.task == "one":
        found = one(given.folder, given.model, given.precision)
    elif given.task == "parts":
        found = parts(given.folder, given.model, given.precision)
    else:
        kind = "dicom" if given.task == "dicoms" else "megapixel"
        found = whole_folder(given.folder, given.model, given.precision, given.limit, kind)
    print(json.dumps(found | {"peak_mb": peak_mb()}))


if __name__ == "__main__":
    main()
