"""Images of several sources: what a validation needs, and no more."""

import shutil

from cxr_transfer.studies.one_recipe import TrainingPlan
from cxr_transfer.training.device import Execution
from cxr_transfer.training.recipe_files import parse_recipe
from made import write_image

LABELS = ("clear", "cloudy")


def recipe(**settings):
    """A head that is fitted to random features: trained in a moment."""
    content = {
        "name": "small",
        "title": "a head on random features",
        "network": "simple_cnn",
        "dataset": "dataset_1",
        "coverage": 0.8,
        "preprocessing": {"height": 48, "width": 48},
        "stages": [{"name": "head", "fit": "logistic", "train": ["head"]}],
    } | settings
    kept = {key: value for key, value in content.items() if value is not None}
    return parse_recipe(kept, origin="test")


def plan_of(own=None, **settings):
    """How a validation of that recipe is run."""
    known = {
        "recipe": own or recipe(),
        "seed": 1,
        "execution": Execution(device="cpu", precision="float32"),
    }
    return TrainingPlan(**known | settings)


def write_sources(root, numbers, copied=None):
    """Write images and their manifest.

    Args:
        root: Folder.
        numbers: By source, the number of images of each of `LABELS`; two images a patient.
        copied: Source that has a copy of another's first cloudy image, as somebody else's, and
            that other source.
    """
    lines, seed = ["path,label,patient,source"], 0
    for source, of_labels in numbers.items():
        for label, number in zip(LABELS, of_labels, strict=True):
            for row in range(number):
                path = write_image(
                    root / source / label / f"{row:02}.png", seed=3 * seed + LABELS.index(label)
                )
                seed += 1
                patient = f"{source}-{label}-{row // 2}"
                lines.append(f"{path.relative_to(root)},{label},{patient},{source}")
    if copied:
        shutil.copy(root / copied[1] / "cloudy" / "00.png", root / "copy.png")
        lines.append(f"copy.png,cloudy,somebody,{copied[0]}")
    (root / "images.csv").write_text("\n".join(lines) + "\n")
    return root / "images.csv"
