"""An exported network asked with ONNX Runtime, as its own documentation does it.

Same tasks as ``benchmarks/ours.py``; imports nothing of ours. ``--model`` is an ONNX file for grey
images (N, 1, 224, 224), uint8; `quantise` writes an int8 one beside it, calibrated on images.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

BATCH = 16


def opened(path):
    with Image.open(path) as radiograph:
        return np.asarray(radiograph.convert("L").resize((224, 224)))[None]


def session(model):
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def one(folder, model):
    asked, took = session(model), []
    (images,) = asked.get_inputs()
    for file in sorted((folder / "megapixel").iterdir())[:40]:
        started = time.perf_counter()
        asked.run(None, {images.name: opened(file)[None]})
        took.append(1000 * (time.perf_counter() - started))
    return {"ms": took[5:]}


def whole_folder(folder, model, limit):
    asked = session(model)
    (images,) = asked.get_inputs()
    files = sorted((folder / "megapixel").iterdir())[:limit]
    started = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        ahead = pool.map(opened, files)
        for first in range(0, len(files), BATCH):
            batch = [next(ahead) for _ in files[first : first + BATCH]]
            asked.run(None, {images.name: np.stack(batch)})
    return {"images": len(files), "s": time.perf_counter() - started}


def quantise(folder, model):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    (images,) = session(model).get_inputs()

    class Images(CalibrationDataReader):
        def __init__(self):
            files = sorted((folder / "megapixel").iterdir())[:20]
            self.batches = iter([{images.name: opened(file)[None]} for file in files])

        def get_next(self):
            return next(self.batches, None)

    whole = model.with_name("prepared.onnx")
    quant_pre_process(model, whole)
    quantised = model.with_name("int8.onnx")
    quantize_static(whole, quantised, Images(), quant_format=QuantFormat.QDQ, per_channel=True)
    return {"saved": str(quantised)}


def peak_mb():
    """Return the most memory that this process held; Linux' own count, which exec resets."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return round(int(line.split()[1]) / 1024)
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=("one", "folder", "quantise"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    given = parser.parse_args()
    if given.task == "one":
        found = one(given.folder, given.model)
    elif given.task == "folder":
        found = whole_folder(given.folder, given.model, given.limit)
    else:
        found = quantise(given.folder, given.model)
    print(json.dumps(found | {"peak_mb": peak_mb()}))


if __name__ == "__main__":
    main()
