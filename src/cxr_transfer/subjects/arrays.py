"""From grey images of 8 bits to what a network of another tool is given, and from its numbers back.

All kinds of networks of others share these two steps. Knows no network and no library but numpy
and scipy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from cxr_transfer.errors import ModelError
from cxr_transfer.subjects.description import Description, SubjectInput

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

SUM = 0.01
"""How far from 1 the probabilities of an image may sum."""


def network_input(images: Images, wanted: SubjectInput) -> npt.NDArray[np.float32]:
    """Return images as a network wants them.

    Args:
        images: Grey images after `SubjectInput.preprocessing`, (N, 1, H, W).
        wanted: What the network is given.

    Returns:
        (N, channels, H, W), or (N, H, W, channels), float32.

    >>> grey = np.array([[[[0, 255]]]], np.uint8)
    >>> wanted = SubjectInput(height=48, width=48, channels=1, layout="NHWC", range=(-1, 1))
    >>> network_input(grey, wanted).ravel().tolist()
    [-1.0, 1.0]
    """
    shades = images if wanted.bright == "dense" else 255 - images
    black, white = wanted.range
    values = np.float32(black) + shades.astype(np.float32) * np.float32((white - black) / 255)
    values = np.repeat(values, wanted.channels, axis=1)
    per_channel = (1, wanted.channels, 1, 1)
    if wanted.mean:
        values -= np.asarray(wanted.mean, np.float32).reshape(per_channel)
    if wanted.std:
        values /= np.asarray(wanted.std, np.float32).reshape(per_channel)
    if wanted.layout == "NHWC":
        values = values.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(values)


def real_numbers(values: object) -> Floats:
    """Return values as numbers.

    Raises:
        ValueError: They are no array of real numbers.
        TypeError: They are no numbers.

    >>> real_numbers([[1, 2]]).tolist()
    [[1.0, 2.0]]
    """
    numbers = np.asarray(values)
    if np.iscomplexobj(numbers):
        raise ValueError("its numbers are complex")
    return numbers.astype(np.float64)


def as_type(images: npt.NDArray[np.float32], wanted: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return images as numbers of another type.

    Args:
        images: Images as a network wants them.
        wanted: Type, such as uint8.

    Raises:
        ValueError: The type holds whole numbers, and the images are fractions or outside of it.

    >>> as_type(np.float32([0, 255]), np.uint8).tolist()
    [0, 255]
    """
    kind = np.dtype(wanted)
    if kind.kind in "iu":
        span = np.iinfo(kind)
        if (images != np.round(images)).any() or images.min() < span.min or images.max() > span.max:
            raise ValueError(
                f"it takes whole numbers from {span.min} to {span.max} ({kind}), and it was given "
                "others: mend range, mean and std"
            )
    return images.astype(kind)


def of_images_alone(outputs: npt.NDArray[np.generic], images: int) -> Floats:
    """Return numbers (N, K) of a network: a row for each image.

    Args:
        outputs: What the network gave: (N,), (N, 1) or (N, ...).
        images: Number of images that were asked for.

    Raises:
        ModelError: ``bad_scores`` for another number of rows, or numbers that are not finite.
    """
    values = np.asarray(outputs, np.float64)
    why = ""
    if values.ndim < 1 or len(values) != images or not values.size:
        why = f"numbers of the shape {values.shape} for {images} images"
    elif not np.isfinite(values).all():
        why = "numbers that are not finite"
    if why:
        raise ModelError(
            "bad_scores",
            f"Expected finite numbers of the network, a row for each image, but got {why}; see "
            "what it is given ([input]) and which output is read ([output]).",
        )
    return values.reshape(images, -1)


def class_scores(outputs: npt.NDArray[np.generic], subject: Description, images: int) -> Floats:
    """Return class scores (N, C), rows summing to 1, of a network's numbers.

    Args:
        outputs: What the network gave: (N,), (N, 1) or (N, K); axes of one element are left out.
        subject: What its numbers mean.
        images: Number of images that were asked for.

    Raises:
        ModelError: ``bad_scores`` where they are not what the description says.

    >>> from cxr_transfer.subjects.description import SubjectOutput
    >>> of_two = Description(name="x", labels=("normal", "covid19"),
    ...     input=SubjectInput(height=48, width=48, channels=1, layout="NCHW", range=(0, 1)),
    ...     output=SubjectOutput(values="probabilities"))
    >>> class_scores(np.array([[0.25]]), of_two, 1).tolist()
    [[0.75, 0.25]]
    """
    values = of_images_alone(outputs, images)
    classes = len(subject.labels)
    output = subject.output
    if output.column is not None:
        if output.column >= values.shape[1]:
            raise _bad(
                subject, f"it gives {values.shape[1]} numbers, none in column {output.column}"
            )
        values = values[:, [output.column]]
    if values.shape[1] == 1 and classes == 2:
        return _of_two(values[:, 0], subject)
    if values.shape[1] != classes:
        raise _bad(
            subject,
            f"it gives {values.shape[1]} numbers for an image, and the description has {classes} "
            "labels",
        )
    if output.swapped:
        raise _bad(subject, "it gives a number for each class, of which none can be swapped")
    if output.values == "logits":
        return np.asarray(special.softmax(values, axis=1))
    sums = values.sum(axis=1, keepdims=True)
    if (values < -1e-6).any() or (abs(sums - 1) > SUM).any():
        raise _bad(subject, "its numbers for an image are no probabilities that sum to 1")
    positive = values.clip(min=0)
    return np.asarray(positive / positive.sum(axis=1, keepdims=True))


def _of_two(values: npt.NDArray[np.float64], subject: Description) -> Floats:
    """Return scores of two classes from the score of one of them."""
    if subject.output.values == "logits":
        values = special.expit(values)
    elif (values < -1e-6).any() or (values > 1 + 1e-6).any():
        raise _bad(subject, "a number is no probability: it is not between 0 and 1")
    values = values.clip(0, 1)
    columns = (values, 1 - values) if subject.output.swapped else (1 - values, values)
    return np.stack(columns, axis=1)


def _bad(subject: Description, why: str) -> ModelError:
    return ModelError(
        "bad_scores",
        f"Expected scores of {', '.join(subject.labels)} from {subject.name} as its description "
        f"says, but {why}; mend [output] or labels, or let them be guessed: 'cxr audit inspect'.",
    )
