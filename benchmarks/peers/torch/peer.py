"""The paper's method as a plain PyTorch script: float32, files decoded in every epoch by a
DataLoader, the whole network run forward in every step. Same tasks as ``benchmarks/ours.py``.

The networks are ours (there is no other Keras-like ResNet-50 in torch); everything around them is
what one finds in a tutorial.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pydicom
import torch
from PIL import Image
from pydicom.pixels import apply_voi_lut
from torch import nn
from torch.utils.data import DataLoader, Dataset, random_split

from cxr_transfer.models.resnet50 import resnet50
from cxr_transfer.models.simple_cnn import simple_cnn

EPOCHS = 2
CLASSES = ("normal", "bacterial", "covid19")


def opened(path):
    with Image.open(path) as radiograph:
        return torch.from_numpy(np.asarray(radiograph.convert("L").resize((224, 224))).copy())[None]


class ImageTensors(Dataset):
    def __init__(self, folder):
        self.files = [
            (path, number)
            for number, label in enumerate(CLASSES)
            for path in sorted((folder / "classes" / label).iterdir())
        ]

    def __len__(self):
        return len(self.files)

    def __getitem__(self, row):
        path, target = self.files[row]
        return opened(path), target


def fit(network, training, validation, rate):
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(learning, rate)
    seconds = []
    for _ in range(EPOCHS):
        started = time.perf_counter()
        network.train()
        for images, targets in training:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images), targets).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for images, targets in validation:
                nn.functional.cross_entropy(network(images), targets).item()
        seconds.append(time.perf_counter() - started)
    return seconds


def training(folder, task):
    whole = ImageTensors(folder)
    parts = random_split(whole, [0.84, 0.16], torch.Generator().manual_seed(0))
    train = DataLoader(parts[0], 20, shuffle=True, num_workers=1)
    validation = DataLoader(parts[1], 20, num_workers=1)
    if task == "cnn_epoch":
        stages = {
            "all": fit(
                simple_cnn(3).to(memory_format=torch.contiguous_format), train, validation, 1e-3
            )
        }
    else:
        network = resnet50(3)
        network.to(memory_format=torch.contiguous_format)
        network.requires_grad_(False)
        network.head.requires_grad_(True)
        stages = {"head": fit(network, train, validation, 1e-3)}
        network.conv5_block3.requires_grad_(True)
        stages["last_block"] = fit(network, train, validation, 1e-4)
    return {
        "training_images": len(parts[0]),
        "validation_images": len(parts[1]),
        "once_s": 0.0,
        "epochs_s": stages,
    }


def one(folder):
    network = resnet50(3).eval()
    took = []
    with torch.inference_mode():
        for file in sorted((folder / "megapixel").iterdir())[:20]:
            started = time.perf_counter()
            network(opened(file)[None]).softmax(1).numpy()
            took.append(1000 * (time.perf_counter() - started))
    return {"ms": took[5:]}


def read_dicom(path):
    """As pydicom's documentation reads an image: decoded, its window applied, scaled to 8 bits."""
    data = pydicom.dcmread(path)
    seen = apply_voi_lut(data.pixel_array, data).astype(np.float32)
    grey = (255 * (seen - seen.min()) / max(np.ptp(seen), 1)).astype(np.uint8)
    resized = Image.fromarray(grey).resize((224, 224))
    return torch.from_numpy(np.asarray(resized).copy())[None]


def whole_folder(folder, limit, kind):
    class Large(Dataset):
        files = sorted((folder / kind).iterdir())[:limit]

        def __len__(self):
            return len(self.files)

        def __getitem__(self, row):
            return read_dicom(self.files[row]) if kind == "dicom" else opened(self.files[row])

    network = resnet50(3).eval()
    data = Large()
    started = time.perf_counter()
    with torch.inference_mode():
        for images in DataLoader(data, 32, num_workers=1):
            network(images).softmax(1)
    return {"images": len(data), "s": time.perf_counter() - started}


def peak_mb():
    """Return the most memory that this process held; Linux' own count, which exec resets."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return round(int(line.split()[1]) / 1024)
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("task")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int)
    given = parser.parse_args()
    if given.task in ("cnn_epoch", "resnet_epochs"):
        found = training(given.folder, given.task)
    elif given.task == "one":
        found = one(given.folder)
    else:
        kind = "dicom" if given.task == "dicoms" else "megapixel"
        found = whole_folder(given.folder, given.limit, kind)
    print(json.dumps(found | {"peak_mb": peak_mb()}))


if __name__ == "__main__":
    main()
