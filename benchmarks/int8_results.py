"""What int8 costs, and whether it is the same network on a processor without VNNI.

    python benchmarks/int8_results.py --data DATA

Each released model is quantized on 300 images and compared with itself in float32 on 300 others, of
the archives that it was trained on (not of its own parts: some of both it may have seen). As it is
exported (weights of 7 bits, the head in float32), and as NNCF would do it by itself (8 bits); with
all that this processor can, and with OpenVINO kept from VNNI (``ONEDNN_MAX_CPU_ISA=AVX2``). Writes
``docs/results/int8.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.multi_source import multi_source
from cxr_transfer.datasets.paper import dataset_1
from cxr_transfer.export import openvino as conversion
from cxr_transfer.export.self_test import LARGEST_MEAN_DIFFERENCE
from cxr_transfer.files import write_json
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.engine import Engine
from cxr_transfer.models.forward import probabilities
from cxr_transfer.models.metadata import RELEASED, released_models
from cxr_transfer.openvino_runtime import abilities, exclusive
from cxr_transfer.parallel import in_order
from cxr_transfer.radiograph import read_radiograph

IMAGES = 300
INSTRUCTION_SETS = ("ALL", "AVX2")


def images_of(model: str, data: Path, preprocessing) -> np.ndarray:
    archives = read_archives(data)
    of = multi_source if model == "multi_source" else dataset_1
    cases = sorted(of(archives).cases, key=lambda case: str(case.path))
    drawn = np.random.default_rng(0).permutation(len(cases))[: 2 * IMAGES]
    paths = [cases[row].path for row in drawn]
    return np.stack(
        list(in_order(lambda path: preprocessing.apply(read_radiograph(path))[None], paths))
    )


def by_itself(graph, calibration: np.ndarray):
    """NNCF's own choice for a processor of which nothing is known."""
    import nncf

    with exclusive():
        return nncf.quantize(
            graph,
            nncf.Dataset([radiograph[None] for radiograph in calibration]),
            subset_size=len(calibration),
            preset=nncf.QuantizationPreset.MIXED,
        )


def scored(graph: Path, images: Path, out: Path) -> None:
    engine, given = Engine(graph), np.load(images)
    scores = np.concatenate([engine.scores(given[at : at + 16]) for at in range(0, IMAGES, 16)])
    np.savez(out, scores=scores)


def measured(model: str, data: Path, folder: Path) -> list[dict]:
    card, network = load_checkpoint(RELEASED / model)
    given = images_of(model, data, card.preprocessing)
    np.save(folder / "images.npy", given[IMAGES:])
    import torch

    own = probabilities(network, torch.from_numpy(given[IMAGES:])).numpy()
    ways = {
        "float32": lambda graph, _: graph,
        "int8, 8-bit weights": by_itself,
        "int8, as exported": conversion._quantized,
    }
    rows = []
    for way, make in ways.items():
        graph = make(conversion._graph(network, card.preprocessing), given[:IMAGES])
        with exclusive() as openvino:
            openvino.save_model(graph, folder / "network.xml", compress_to_fp16=False)
        for instructions in INSTRUCTION_SETS:
            command = [sys.executable, __file__, "--score", str(folder)]
            environment = os.environ | {"ONEDNN_MAX_CPU_ISA": instructions}
            subprocess.run(command, check=True, env=environment)
            with np.load(folder / "scores.npz") as found:
                apart = np.abs(found["scores"] - own)
                other = int((found["scores"].argmax(1) != own.argmax(1)).sum())
            rows.append(
                {
                    "model": model,
                    "way": way,
                    "instructions": instructions,
                    "images": IMAGES,
                    "mean_difference": round(float(apart.mean()), 6),
                    "largest_difference": round(float(apart.max()), 6),
                    "other_class": other,
                    "within_bound": bool(apart.mean() <= LARGEST_MEAN_DIFFERENCE),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/int8.json"))
    parser.add_argument("--score", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.score:
        scored(given.score / "network.xml", given.score / "images.npy", given.score / "scores.npz")
        return
    rows = []
    for model in released_models():
        with tempfile.TemporaryDirectory() as folder:
            rows += measured(model, given.data, Path(folder))
    write_json(
        given.out,
        {
            "intended_use": INTENDED_USE,
            "command": "python benchmarks/int8_results.py --data DATA",
            "time": provenance.now(),
            "commit": provenance.commit(),
            "machine": provenance.machine() | {"abilities": list(abilities())},
            "versions": provenance.versions(),
            "bound": LARGEST_MEAN_DIFFERENCE,
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()
