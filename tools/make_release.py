"""Make a released model of a run: weights at half the size, its reference, its graph.

    python tools/make_release.py runs/seed0/model_3
    cxr evaluate model_3 --data runs/seed0/model_3/split.csv --out runs/released/model_3
    cxr audit model_3 --data DATA --out runs/audit/model_3
    cxr card model_3 --evaluation runs/released/model_3/report.json \
        --audit runs/audit/model_3/audit.json --run runs/seed0/model_3 \\
        --out src/cxr_transfer/released/model_3/MODEL_CARD.md

Kernels are kept in float16, all else in float32; the network computes in float32 as before. How far
that moves a class score is measured on the run's own validation and test images and stands in the
card. Nothing of the images goes along but what the network makes of them (features in float16),
labels and sources.

The graph is shipped without its numbers, which are the checkpoint's (`export.shipped_graph`), and a
ResNet-50 without ImageNet's (`models.released`). That part can be done again by itself, of a folder
with a whole checkpoint:

    python tools/make_release.py --ship src/cxr_transfer/released/model_2
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
from cxr_transfer.export.openvino import convert
from cxr_transfer.export.shipped_graph import GRAPH, pack
from cxr_transfer.files import write_bytes, write_text
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.forward import probabilities
from cxr_transfer.models.metadata import CARD, CHANGED, RELEASED, WEIGHTS, read_card
from cxr_transfer.models.pretrained import npm_weights
from cxr_transfer.models.released import changed_weights, with_imagenet
from cxr_transfer.training.memory import keep_freed_memory
from cxr_transfer.training.reference import fit_reference
from cxr_transfer.training.tensors import load_tensors

LARGEST_DIFFERENCE = 0.01
"""Of a class score, between float16 and float32 kernels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="run folder with split.csv and validation.csv")
    parser.add_argument("--ship", action="store_true", help="RUN is a released folder: see above")
    options = parser.parse_args()
    target = options.run if options.ship else release(options.run)
    ship(target)
    size = sum(path.stat().st_size for path in target.iterdir())
    print(f"{target}: {size / 1e6:.1f} MB")


def ship(folder: Path) -> None:
    """Put the graph into a folder with a whole checkpoint; leave out ImageNet's weights."""
    card, weights = read_card(folder / CARD), folder / WEIGHTS
    with tempfile.TemporaryDirectory() as name:
        graph = Path(name) / GRAPH
        convert(folder, graph)
        pack(graph, weights, folder)
    if card.architecture == "resnet50":
        content, base = weights.read_bytes(), npm_weights().tensors
        changed = changed_weights(content, base)
        if with_imagenet(changed, base) != content:
            raise SystemExit("what is put together is not what was released: not kept")
        write_bytes(folder / CHANGED, changed)
        weights.unlink()


def release(run: Path) -> Path:
    """Write weights at half the size, their card and their reference; return the folder."""
    keep_freed_memory()
    card, network = load_checkpoint(run)
    halved = {
        name: (tensor.half() if tensor.ndim > 1 else tensor).contiguous()
        for name, tensor in network.state_dict().items()
    }
    content = safetensors.torch.save(halved, {"labels": json.dumps(list(card.labels))})
    cases = [case for case in read_manifest(run / "split.csv") if case.split != "train"]
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
        fit_reference(folder, manifest=run / "split.csv").save(folder)
        target = RELEASED / card.name
        target.mkdir(parents=True, exist_ok=True)
        for file in (WEIGHTS, CARD, "reference.safetensors"):
            shutil.copy(folder / file, target / file)
    print(f"largest difference of a score {difference:.2g}")
    return target


if __name__ == "__main__":
    main()
