"""Random changes of training images: what each is, how strong it may be, and the table of them.

All are off unless a recipe names them. What is computed stands in `augmented_images`; nothing here
needs torch, so that a recipe is read and checked without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cxr_transfer.errors import UsageError
from cxr_transfer.tables import Table


@dataclass(frozen=True)
class Augmentation:
    """One kind of random change of an image.

    Attributes:
        title: Name of the change, for people.
        unit: Unit of its strength.
        most: Largest strength that leaves a radiograph a radiograph.
        kind: ``geometry`` moves what is on the image (all such changes are one resampling),
            ``grey`` changes grey values.
        note: Line on what to know before it is used.
    """

    title: str
    unit: str
    most: float
    kind: Literal["geometry", "grey"]
    note: str = ""


AUGMENTATIONS = Table(
    "augmentation",
    Augmentation,
    {
        "flip": Augmentation(
            "mirror left and right",
            "probability",
            1.0,
            "geometry",
            "The heart lies on the left: a mirrored image shows a body that is rare, and side "
            "markers are mirrored, too.",
        ),
        "rotation": Augmentation(
            "turn about the centre", "largest angle in degrees", 45, "geometry"
        ),
        "translation": Augmentation(
            "move in both directions", "largest share of a side", 0.5, "geometry"
        ),
        "scale": Augmentation("enlarge or reduce", "largest change, as a share", 0.5, "geometry"),
        "shear": Augmentation("shear", "largest angle in degrees", 30, "geometry"),
        "gamma": Augmentation(
            "darken or brighten by a power",
            "largest change of the power's natural logarithm",
            1.5,
            "grey",
        ),
        "contrast": Augmentation(
            "spread grey values about their mean, or draw them together",
            "largest change, as a share",
            0.9,
            "grey",
        ),
        "clahe": Augmentation(
            "contrast-limited adaptive histogram equalisation (Zuiderveld 1994)",
            "probability",
            1.0,
            "grey",
        ),
        "blur": Augmentation(
            "blur by a Gaussian", "largest standard deviation in pixels", 10, "grey"
        ),
        "noise": Augmentation(
            "add Gaussian noise", "largest standard deviation in grey values of 255", 100, "grey"
        ),
        "jpeg": Augmentation(
            "store as JPEG and read again",
            "largest loss: 100 less the lowest quality",
            95,
            "grey",
            "Takes marks of compression away where classes were stored differently.",
        ),
        "cutout": Augmentation(
            "cover a square with the image's mean (DeVries & Taylor 2017, arXiv 1708.04552)",
            "largest side, as a share of the image's",
            0.9,
            "grey",
        ),
    },
)
"""Random changes by the name that a recipe gives them, in the order in which they are made."""


def checked_augmentation(strengths: Mapping[str, float]) -> dict[str, float]:
    """Return the strengths that change something, in the order of the table.

    Args:
        strengths: Name of an augmentation to its strength.

    Raises:
        ValueError: Every name that is not in the table, and every strength outside its bounds.

    >>> checked_augmentation({"noise": 5, "rotation": 10, "flip": 0})
    {'rotation': 10.0, 'noise': 5.0}
    """
    problems = []
    for name, strength in strengths.items():
        try:
            row = AUGMENTATIONS[name]
        except UsageError as error:
            problems.append(error.message.rstrip("."))
            continue
        if not 0 <= strength <= row.most:
            problems.append(
                f"{name} is a strength from 0 to {row.most:g} ({row.unit}), not {strength:g}"
            )
    if problems:
        raise ValueError("; ".join(problems))
    return {name: float(strengths[name]) for name in AUGMENTATIONS if strengths.get(name)}
