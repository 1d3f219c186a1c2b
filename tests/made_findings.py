"""A small collection of images that have any number of two findings, some labels missing."""

import numpy as np
from PIL import Image

from cxr_transfer.datasets.phantom import draw_radiograph

FINDINGS = ("dense", "marker")

RECIPE = """
name = "findings"
task = "multi_label"
network = "simple_cnn"
class_weights = "balanced"

[preprocessing]
height = 48
width = 48

[[stages]]
name = "all"
train = ["*"]
learning_rate = 1e-3
max_epochs = 12
batch_size = 10
"""


def label_of(number, rng):
    """What the image of this number has, and what of it the table says."""
    dense, marker = rng.random() < 0.4, rng.random() < 0.35
    said = ["dense"] * dense + (["marker?"] if number % 9 == 0 else ["marker"] * marker)
    return dense, marker, "|".join(said) or "No Finding"


def write_findings(root, number=150, seed=7):
    """Write a manifest and a recipe: "dense" is a density of the lungs, "marker" a bright corner.

    Every tenth image is a second one of the patient before.
    """
    rng = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    lines = ["path,label,patient"]
    for row in range(number):
        dense, marker, label = label_of(row, rng)
        drawn = np.random.default_rng(row)
        image = draw_radiograph("bacterial" if dense else "normal", rng=drawn, pixels=140)
        if marker:
            image[:20, :28] = 255
        Image.fromarray(image).save(root / "images" / f"{row:03}.png")
        lines.append(f"images/{row:03}.png,{label},p{row - (row % 10 == 9)}")
    (root / "images.csv").write_text("\n".join(lines) + "\n")
    (root / "findings.toml").write_text(RECIPE)
    return root / "images.csv"
