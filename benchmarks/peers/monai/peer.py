"""The paper's method as MONAI's tutorials write it: transforms, a cached data set, a plain loop.

Same tasks as ``benchmarks/ours.py``. Images are decoded and resized once and kept (`CacheDataset`);
the whole network runs forward in every step. The CNN is ours, ResNet-50 is MONAI's.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from monai.data import CacheDataset, DataLoader, set_track_meta
from monai.networks.nets import resnet50
from monai.transforms import Compose, EnsureChannelFirstd, Lambdad, LoadImaged, Resized
from torch import nn

from cxr_transfer.models.simple_cnn import simple_cnn

EPOCHS = 2
CLASSES = ("normal", "bacterial", "covid19")


def rows(folder):
    return [
        {"image": str(path), "target": number}
        for number, label in enumerate(CLASSES)
        for path in sorted((folder / "classes" / label).iterdir())
    ]


def grey(image):
    return image.mean(dim=0, keepdim=True) if image.shape[0] > 1 else image


def fit(network, training, validation, rate):
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(learning, rate)
    seconds = []
    for _ in range(EPOCHS):
        started = time.perf_counter()
        network.train()
        for batch in training:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(batch["image"]), batch["target"]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            for batch in validation:
                nn.functional.cross_entropy(network(batch["image"]), batch["target"]).item()
        seconds.append(time.perf_counter() - started)
    return seconds


class ThreeChannels(nn.Module):
    """MONAI's ResNet-50 on grey images, scaled to [0, 1]."""

    def __init__(self):
        super().__init__()
        # MONAI's own first stride is 1: four times the work of the network that all others train.
        self.network = resnet50(
            pretrained=False, spatial_dims=2, n_input_channels=3, num_classes=3, conv1_t_stride=2
        )

    def forward(self, images):
        return self.network((images / 255).expand(-1, 3, -1, -1))


def training(folder, task):
    set_track_meta(False)
    steps = Compose(
        [
            LoadImaged("image", reader="PILReader", dtype=np.float32),
            EnsureChannelFirstd("image", channel_dim="no_channel"),
            Lambdad("image", grey),
            Resized("image", (224, 224)),
        ]
    )
    order = torch.randperm(len(rows(folder)), generator=torch.Generator().manual_seed(0)).tolist()
    shuffled = [rows(folder)[row] for row in order]
    cut = round(0.84 * len(shuffled))
    started = time.perf_counter()
    parts = [
        CacheDataset(part, steps, num_workers=2, progress=False)
        for part in (shuffled[:cut], shuffled[cut:])
    ]
    decoded = time.perf_counter() - started
    train, validation = (
        DataLoader(part, batch_size=20, shuffle=shuffle)
        for part, shuffle in zip(parts, (True, False), strict=True)
    )
    if task == "cnn_epoch":
        network = simple_cnn(3).to(memory_format=torch.contiguous_format)
        stages = {"all": fit(network, train, validation, 1e-3)}
    else:
        network = ThreeChannels()
        network.requires_grad_(False)
        network.network.fc.requires_grad_(True)
        stages = {"head": fit(network, train, validation, 1e-3)}
        network.network.layer4[-1].requires_grad_(True)
        stages["last_block"] = fit(network, train, validation, 1e-4)
    return {
        "training_images": len(parts[0]),
        "validation_images": len(parts[1]),
        "once_s": decoded,
        "epochs_s": stages,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=("cnn_epoch", "resnet_epochs"))
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    print(json.dumps(training(given.folder, given.task)))


if __name__ == "__main__":
    main()
