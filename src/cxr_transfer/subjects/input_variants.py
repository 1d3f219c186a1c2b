"""Variants of the input that a network wants: another range, negatives, equalised grey values.

A network that is given another range than the one of its training still answers, and worse. So each
variant is tried on images with known labels: one that tells the classes apart much better is
a sign that the description is wrong. Images of one grey value tell a network that answers whatever
it is given. Knows no file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from cxr_transfer.errors import ModelError
from cxr_transfer.statistics.auroc import areas_and_covariance
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.subjects.description import IMAGENET_MEAN, IMAGENET_STD, SubjectInput

Floats = npt.NDArray[np.float64]
Images = npt.NDArray[np.uint8]
ScoreAs = Callable[[Images, SubjectInput], Floats]
"""Function that returns class scores (N, C) of grey images, brought to a network in some way."""

GREYS = {"black": 0, "grey": 128, "white": 255}
"""Images of one grey value, by name."""

_Z = 1.959963984540054


@dataclass(frozen=True)
class InputVariant:
    """A way in which an image may be brought to a network.

    Attributes:
        title: Words for people.
        input: The way.
    """

    title: str
    input: SubjectInput


def input_variants(wanted: SubjectInput) -> tuple[InputVariant, ...]:
    """Return the ways of a size and layout that are usual, the given one first where it is one.

    Args:
        wanted: Size, channels and layout; its range, means and polarity come first.
    """
    ranges: list[dict[str, Any]] = [
        {"range": (0.0, 1.0)},
        {"range": (0.0, 255.0)},
        {"range": (-1.0, 1.0)},
        {"range": (-1024.0, 1024.0)},
        {
            "range": (0.0, 1.0),
            "mean": IMAGENET_MEAN[: wanted.channels],
            "std": IMAGENET_STD[: wanted.channels],
        },
    ]
    plain: dict[str, Any] = {"mean": (), "std": ()}
    ways = [wanted]
    for of_range in ranges:
        for bright in ("dense", "air"):
            for equalise in (False, True):
                changes = plain | of_range | {"bright": bright, "equalise": equalise}
                ways.append(wanted.model_copy(update=changes))
    # Equalised images cannot be made as they were.
    fit = [way for way in ways if way.equalise >= wanted.equalise]
    unique = {_key(way): way for way in reversed(fit)}
    return tuple(InputVariant(title_of(way), way) for way in fit if unique[_key(way)] is way)


def title_of(way: SubjectInput) -> str:
    """Return a way in words.

    >>> title_of(SubjectInput(height=48, width=48, channels=1, layout="NCHW", range=(0, 255)))
    'range 0 to 255'
    """
    words = [f"range {way.range[0]:g} to {way.range[1]:g}"]
    if way.mean or way.std:
        imagenet = way.mean == IMAGENET_MEAN[: way.channels]
        words.append("ImageNet's means" if imagenet else "own means")
    if way.bright == "air":
        words.append("air bright")
    if way.equalise:
        words.append("equalised")
    return ", ".join(words)


def brought(images: Images, wanted: SubjectInput, way: SubjectInput) -> Images:
    """Return grey images for another way: equalised where that one is and the wanted is not.

    Args:
        images: Images after the wanted preprocessing, (N, 1, H, W).
        wanted: Way in which they were made.
        way: The other way.
    """
    if way.equalise == wanted.equalise:
        return images
    return np.stack([np.asarray(ImageOps.equalize(Image.fromarray(one[0]))) for one in images])[
        :, None
    ]


@dataclass(frozen=True, eq=False)
class Compared:
    """Areas under the ROC curve of several ways, and how they vary together.

    Attributes:
        areas: Mean over the classes of each way, (K,).
        covariance: Covariance of these means, (K, K).
    """

    areas: Floats
    covariance: Floats

    def difference(self, way: int, other: int) -> Estimate:
        """Return by how much one way's area is larger than another's, with its 95 % interval."""
        value = float(self.areas[way] - self.areas[other])
        variance = (
            self.covariance[way, way]
            + self.covariance[other, other]
            - 2 * self.covariance[way, other]
        )
        half = _Z * float(np.sqrt(max(variance, 0.0)))
        return Estimate(value, value - half, value + half)


def compare_scores(
    answers: Sequence[Floats], targets: npt.NDArray[np.int64], patients: Sequence[str]
) -> Compared:
    """Compare answers for the same images.

    Args:
        answers: Class scores of each way, (N, C).
        targets: Classes of the images, (N,).
        patients: Patients of the images.
    """
    present = np.unique(targets)
    classes = present[1:] if len(present) == 2 and answers[0].shape[1] == 2 else present
    scores = np.concatenate([answer[:, classes].T for answer in answers])
    positive = np.concatenate([[targets == target for target in classes]] * len(answers))
    areas, covariance = areas_and_covariance(positive, scores, patients)
    ways, number = len(answers), len(classes)
    return Compared(
        np.asarray(areas).reshape(ways, number).mean(axis=1),
        np.asarray(covariance).reshape(ways, number, ways, number).mean(axis=(1, 3)),
    )


def grey_scores(score_as: ScoreAs, wanted: SubjectInput) -> Mapping[str, list[float]]:
    """Return the scores of images of one grey value, by its name.

    A network that divides by the spread of an image's values has none for it: it is left out.
    """
    answers = {}
    for name, grey in GREYS.items():
        with suppress(ModelError):
            image = np.full((1, 1, wanted.height, wanted.width), grey, np.uint8)
            answers[name] = score_as(image, wanted)[0].tolist()
    return answers


def _key(way: SubjectInput) -> str:
    return way.model_dump_json()
