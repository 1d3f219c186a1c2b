"""Make a released model of a run: weights at half the size, and its reference.

    python benchmarks/release.py runs/seed0/model_3
    cxr evaluate model_3 --data runs/seed0/model_3/split.csv --out runs/released/model_3
    cxr audit model_3 --data DATA --out runs/audit/model_3
    cxr card model_3 --evaluation runs/released/model_3/report.json \
        --audit runs/audit/model_3/audit.json --run runs/seed0/model_3 \\
        --out src/cxr_transfer/released/model_3/MODEL_CARD.md

Kernels are kept in float16, all else in float32; the network computes in float32 as before. How far
that moves a class score is measured on the run's own validation and test images and stands in the
card. Nothing of the images goes along but what the network makes of them (features in float16),
labels and sources.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import safetensors.torch

from cxr_transfer.datasets.manifest import read_manifest
from cxr_transfer.files import write_bytes, write_text
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.forward import probabilities
from cxr_transfer.models.metadata import CARD, RELEASED, WEIGHTS
from cxr_transfer.training.memory import keep_freed_memory
from cxr_transfer.training.reference import fit_reference
from cxr_transfer.training.tensors import load_tensors

LARGEST_DIFFERENCE = 0.01
"""Of a class score, between float16 and float32 kernels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="run folder with split.csv and validation.csv")
    options = parser.parse_args()

    keep_freed_memory()
    card, network = load_checkpoint(options.run)
    halved = {
        name: (tensor.half() if tensor.ndim > 1 else tensor).contiguous()
        for name, tensor in network.state_dict().items()
    }
    content = safetensors.torch.save(halved, {"labels": json.dumps(list(card.labels))})
    cases = [case for case in read_manifest(options.run / "split.csv") if case.split != "train"]
    tensors = load_tensors(cases, card.preprocessing, card.label_set)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_bytes(folder / WEIGHTS, content)
        digest = hashlib.sha256(content).hexdigest()
        released = card.model_copy(update={"weights_sha256": digest})
        write_text(folder / CARD, released.model_dump_json(indent=1) + "\n")
        before = probabilities(network, tensors.images).numpy()
        after = probabilities(load_checkpoint(folder)[1], tensors.images).numpy()
        difference = float(np.abs(before - after).max())
        if not difference <= LARGEST_DIFFERENCE:
            raise SystemExit(f"float16 kernels move a class score by {difference:.3g}: not kept")
        stored = {
            "from_weights_sha256": card.weights_sha256,
            "kernels": "float16",
            "images_compared": len(tensors.images),
            "largest_difference_of_a_score": difference,
            "images_with_another_class": int((before.argmax(1) != after.argmax(1)).sum()),
        }
        provenance = {**card.provenance, "released": stored}
        released = released.model_copy(update={"provenance": provenance})
        write_text(folder / CARD, released.model_dump_json(indent=1) + "\n")
        fit_reference(folder, manifest=options.run / "split.csv").save(folder)
        target = RELEASED / card.name
        target.mkdir(parents=True, exist_ok=True)
        for file in (WEIGHTS, CARD, "reference.safetensors"):
            shutil.copy(folder / file, target / file)
    size = sum(path.stat().st_size for path in target.iterdir())
    print(f"{target}: {size / 1e6:.1f} MB, largest difference of a score {difference:.2g}")


if __name__ == "__main__":
    main()
