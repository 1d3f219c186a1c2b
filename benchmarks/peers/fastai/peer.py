"""The paper's method in fastai: `ImageDataLoaders`, `Learner`, `vision_learner`.

Same tasks as ``benchmarks/ours.py``, in an environment of its own (``requirements.txt``). Images
are decoded in every epoch, as fastai does it. The CNN has the layers of ours, ResNet-50 is
torchvision's without weights: they change no time.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from fastai.callback.core import Callback
from fastai.callback.progress import ProgressCallback
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.vision.augment import Resize
from fastai.vision.core import PILImageBW
from fastai.vision.data import CategoryBlock, DataBlock, ImageBlock
from torch import nn
from torchvision.models import resnet50

EPOCHS = 2
CLASSES = ("normal", "bacterial", "covid19")


class Times(Callback):
    """Note how long each epoch takes, its validation included."""

    def before_fit(self):
        self.seconds = []

    def before_epoch(self):
        self.started = time.perf_counter()

    def after_epoch(self):
        self.seconds.append(time.perf_counter() - self.started)


def simple_cnn():
    layers, width = [], 1
    for channels in (32, 64, 128, 128):
        layers += [nn.Conv2d(width, channels, 3), nn.ReLU(), nn.MaxPool2d(2)]
        width = channels
    layers += [nn.Flatten(), nn.Linear(128 * 12 * 12, 128), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(128, 3))


class Grey(nn.Module):
    """ResNet-50 on grey images."""

    def __init__(self):
        super().__init__()
        self.network = resnet50(weights=None, num_classes=3)

    def forward(self, images):
        return self.network(images.expand(-1, 3, -1, -1))


def loaders(folder):
    files = [path for label in CLASSES for path in sorted((folder / "classes" / label).iterdir())]
    block = DataBlock(
        blocks=(ImageBlock(PILImageBW), CategoryBlock(vocab=list(CLASSES))),
        get_items=lambda _: files,
        get_y=lambda path: path.parent.name,
        item_tfms=Resize(224, method="squish"),
    )
    return block.dataloaders(folder, bs=20, num_workers=1)


def fit(data, network, rate):
    times = Times()
    learner = Learner(data, network, loss_func=CrossEntropyLossFlat(), cbs=[times], lr=rate)
    # Importing it gives a Learner its bar, and `no_bar`; the output is one line of JSON.
    bars = learner.cbs.filter(lambda one: isinstance(one, ProgressCallback))
    with learner.removed_cbs(bars), learner.no_logging():
        learner.fit(EPOCHS, rate)
    return times.seconds


def training(folder, task):
    data = loaders(folder)
    if task == "cnn_epoch":
        stages = {"all": fit(data, simple_cnn(), 1e-3)}
    else:
        network = Grey()
        network.requires_grad_(False)
        network.network.fc.requires_grad_(True)
        stages = {"head": fit(data, network, 1e-3)}
        network.network.layer4[-1].requires_grad_(True)
        stages["last_block"] = fit(data, network, 1e-4)
    return {
        "training_images": len(data.train_ds),
        "validation_images": len(data.valid_ds),
        "once_s": 0.0,
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
