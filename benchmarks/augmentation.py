"""Time random changes of training images: ours, a batch at a time, beside MONAI's transforms.

    python benchmarks/augmentation.py --out docs/results/augmentation.json

Both make the same changes of the same 8-bit images: turn, move, scale, gamma, noise, blur. They
take turns in one process with one thread; the figure is milliseconds per image, the median of the
rounds.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from cxr_transfer import provenance
from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.files import write_json
from cxr_transfer.radiograph import Preprocessing, Radiograph
from cxr_transfer.training.augmented_images import augmented

STRENGTHS = {
    "rotation": 10.0,
    "translation": 0.05,
    "scale": 0.1,
    "gamma": 0.2,
    "blur": 1.0,
    "noise": 5.0,
}


def monai_transform() -> Callable[[torch.Tensor], torch.Tensor]:
    """Return MONAI's transforms for the same changes, for one image (1, H, W)."""
    from monai.data import set_track_meta
    from monai.transforms import (
        Compose,
        RandAdjustContrast,
        RandAffine,
        RandGaussianNoise,
        RandGaussianSmooth,
    )

    set_track_meta(False)
    return Compose(
        [
            RandAffine(
                prob=1.0,
                rotate_range=np.radians(10),
                translate_range=11,
                scale_range=0.1,
                padding_mode="border",
            ),
            RandAdjustContrast(prob=1.0, gamma=(0.8, 1.25)),
            RandGaussianSmooth(sigma_x=(0.01, 1.0), sigma_y=(0.01, 1.0), prob=1.0),
            RandGaussianNoise(prob=1.0, std=5.0),
        ]
    ).set_random_state(seed=0)


def main() -> None:
    """Time both, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(1)
    prepared = Preprocessing()
    images = torch.from_numpy(
        np.stack(
            [
                prepared.apply(
                    Radiograph(draw_radiograph("normal", rng=np.random.default_rng(seed)), "PNG")
                )[None]
                for seed in range(given.batch)
            ]
        )
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = monai_transform()
        seconds: dict[str, list[float]] = {"ours": [], "monai": []}
        for turn in range(given.rounds + 1):
            started = time.perf_counter()
            augmented(images, STRENGTHS, seed=turn)
            between = time.perf_counter()
            torch.stack(
                [theirs(image.float()).round().clamp(0, 255).to(torch.uint8) for image in images]
            )
            ended = time.perf_counter()
            if turn:  # the first turn imports and allocates
                seconds["ours"].append(between - started)
                seconds["monai"].append(ended - between)
    milliseconds = {
        name: {
            "median": round(1000 * median(each) / given.batch, 3),
            "lowest": round(1000 * min(each) / given.batch, 3),
            "highest": round(1000 * max(each) / given.batch, 3),
        }
        for name, each in seconds.items()
    }
    ratio = milliseconds["monai"]["median"] / milliseconds["ours"]["median"]
    write_json(
        given.out,
        {
            "time": provenance.now(),
            "command": "python benchmarks/augmentation.py --out docs/results/augmentation.json",
            "commit": provenance.commit(),
            "versions": provenance.versions(),
            "machine": provenance.machine(),
            "images": f"{given.batch} generated images of 224 x 224, seeds 0 to {given.batch - 1}",
            "strengths": STRENGTHS,
            "milliseconds_per_image": milliseconds,
            "ratio_of_medians": round(ratio, 2),
        },
    )
    print(milliseconds, f"MONAI takes {ratio:.1f} times as long")


if __name__ == "__main__":
    main()
