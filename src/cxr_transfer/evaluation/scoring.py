"""A network and images in, class scores out, and how long one image takes.

The only forward pass of an evaluation. Knows nothing of metrics or reports.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cxr_transfer.datasets.case import Case
from cxr_transfer.errors import CxrError
from cxr_transfer.files import write_csv
from cxr_transfer.inference.kept_conversions import converted_network
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.engine import Engine
from cxr_transfer.models.forward import (
    OnImages,
    features,
    probabilities,
    probabilities_and_features,
)
from cxr_transfer.runs.predictions import NAMING, score_columns, score_row
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.statistics.temperature import at_temperature
from cxr_transfer.training.device import resolve_precision
from cxr_transfer.training.memory import keep_freed_memory
from cxr_transfer.training.tensors import ImageTensors

_log = logging.getLogger(__name__)

TIMED_IMAGES = 100

CALLED_OTHERWISE = 0.01
"""Largest share of images that a quicker precision may call another class; one image it may."""


class Converted(Protocol):
    """A converted network as a `Scorer` asks it; `Engine` is one."""

    def answer_all(
        self, images: npt.NDArray[np.uint8], on_image: Callable[[int], None]
    ) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.float32]]:
        """Return scores (N, C), and what the head sees (N, F), of images (N, 1, H, W)."""
        ...


class Scorer:
    """One network on one device: class scores in float32, and quicker ones of changed images.

    Attributes:
        network: Network in inference mode.
        device: Device as torch names it, resolved.
        converted: The network as `cxr predict` asks it, several times as fast on a processor in
            float32 (see `as_predicted`); None asks ``network`` itself.
        in_bfloat16: Function that opens it in bfloat16, for `quick` where that is settled.
        exclusive: Whether the labels are classes; else they are findings, and each has a
            probability of its own.
        temperature: Temperature at which all its scores are given; None leaves them as they are.
        precision: Precision of `quick` and `features`: "float32" until `settle` finds another good
            enough.
        on_image: Function that is called with the number of images after every batch.
    """

    def __init__(
        self,
        network: nn.Sequential,
        device: str,
        temperature: float | None = None,
        *,
        converted: Converted | None = None,
        in_bfloat16: Callable[[], Converted | None] = lambda: None,
        exclusive: bool = True,
    ) -> None:
        keep_freed_memory()  # one batch's activations lie where the last one's did
        self.network, self.device, self.precision = network, device, "float32"
        self.converted, self.exclusive = converted, exclusive
        self.in_bfloat16 = in_bfloat16
        self._rounded: Converted | None = None
        self.temperature = temperature
        self.on_image: OnImages = lambda images: None

    def exact(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return class scores (N, C) of images (N, 1, H, W), computed in float32."""
        return self._scored(images, quick=False)

    def exact_with_features(
        self, images: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
        """Return class scores (N, C), and what the head sees (N, F), of one pass in float32."""
        if self.converted is not None:
            scores, seen = self.converted.answer_all(images, self.on_image)
        else:
            outputs = probabilities_and_features(
                self.network, torch.from_numpy(images), device=self.device, on_image=self.on_image
            )
            scores, seen = (output.numpy() for output in outputs)
        return at_temperature(scores.astype(np.float64), self.temperature), seen

    def quick(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return class scores (N, C) of images (N, 1, H, W) in the precision that was settled."""
        return self._scored(images, quick=True)

    def features(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return what the head sees, (N, F), in the precision that was settled."""
        engine = self._engine(quick=True)
        if engine is not None:
            return engine.answer_all(images, self.on_image)[1].astype(np.float64)
        with self._cast(quick=True):
            head_features = features(
                self.network, torch.from_numpy(images), device=self.device, on_image=self.on_image
            )
        return head_features.double().numpy()

    def settle(
        self,
        images: npt.NDArray[np.uint8],
        exact: npt.NDArray[np.float64],
        precision: str = "auto",
    ) -> dict[str, Any]:
        """Choose how `quick` computes: bfloat16 where it is fast and changes hardly a label.

        Args:
            images: Images to try it on, (N, 1, H, W).
            exact: Scores of the images in float32.
            precision: Precision: "auto", "float32" or "bfloat16" (only where it is good enough).

        Returns:
            For the report: ``quoted_scores``, ``changed_images``, and where bfloat16 was tried the
            ``largest_difference`` of a score and ``called_otherwise``, images of ``tensors``.

        Raises:
            UsageError: ``unknown_precision``.
        """
        record: dict[str, Any] = {"quoted_scores": "float32", "changed_images": "float32"}
        if resolve_precision(precision, self.device) != "bfloat16":
            return record
        self.precision = "bfloat16"
        if self.converted is not None and self._rounded is None:
            self._rounded = self.in_bfloat16()
        quick_scores = self.quick(images)
        otherwise = int((quick_scores.argmax(axis=1) != exact.argmax(axis=1)).sum())
        if otherwise > max(1, CALLED_OTHERWISE * len(images)):
            self.precision = "float32"
        return record | {
            "changed_images": self.precision,
            "largest_difference": float(np.abs(quick_scores - exact).max()),
            "called_otherwise": otherwise,
            "images": len(images),
        }

    def _scored(self, images: npt.NDArray[np.uint8], *, quick: bool) -> npt.NDArray[np.float64]:
        engine = self._engine(quick=quick)
        if engine is not None:
            converted_scores = engine.answer_all(images, self.on_image)[0]
            return at_temperature(converted_scores.astype(np.float64), self.temperature)
        with self._cast(quick=quick):
            scores = probabilities(
                self.network,
                torch.from_numpy(images),
                device=self.device,
                exclusive=self.exclusive,
                on_image=self.on_image,
            )
        return at_temperature(scores.double().numpy(), self.temperature)

    def _engine(self, *, quick: bool) -> Converted | None:
        """Return the converted network that answers; None where the network itself does."""
        return self._rounded if quick and self.precision == "bfloat16" else self.converted

    def _cast(self, *, quick: bool) -> torch.autocast:
        # Softmax and features are taken in float32 behind it, by `models.registry`.
        lower = quick and self.precision == "bfloat16"
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=lower)


def as_predicted(checkpoint: Path, device: str, precision: str = "float32") -> Engine | None:
    """Return a checkpoint's network as `cxr predict` asks it.

    None where another device than the processor is asked, or the network cannot be converted: then
    it is asked as it is.
    """
    if device != "cpu":
        return None
    try:
        return Engine(converted_network(checkpoint)[0], precision=precision)
    except CxrError as error:
        _log.debug("%s: not converted, and so asked as it is: %s", checkpoint.name, error)
        return None


def score(
    network: nn.Module,
    tensors: ImageTensors,
    cases: Sequence[Case],
    labels: LabelSet,
    *,
    temperature: float | None = None,
    device: str = "cpu",
) -> Scores:
    """Return the class scores of images, as a person is given them.

    Args:
        network: Network in inference mode.
        tensors: Decoded images.
        cases: Cases of the images, in their order, all with known labels.
        labels: Classes of the network.
        temperature: Temperature of the network's reference; None leaves scores as they are.
        device: Device as torch names it.
    """
    scored = probabilities(network, tensors.images, device=device).double().numpy()
    given_scores = at_temperature(scored, temperature)
    return Scores.of(labels, tensors.targets.numpy(), given_scores, cases)


def time_per_image(
    ask: Callable[[npt.NDArray[np.uint8]], object], images: npt.NDArray[np.uint8]
) -> Estimate:
    """Measure the classification of one decoded image at a time, in milliseconds.

    The paper's figure 6 gives an average time per image without saying of what; this is the
    network alone, an image at a time, after a warm-up.

    Args:
        ask: Function that returns the scores of images (1, 1, H, W).
        images: Images, (N, 1, H, W); at least one.

    Returns:
        The median over up to 100 images, with the 2.5 and 97.5 % quantiles of single images.
    """
    timed = images[:TIMED_IMAGES]
    warm_up = min(5, len(timed))
    times: list[float] = []
    for number, image in enumerate([*timed[:warm_up], *timed]):
        started = time.perf_counter()
        ask(image[None])
        if number >= warm_up:
            times.append(1000 * (time.perf_counter() - started))
    low, middle, high = np.quantile(times, [0.025, 0.5, 0.975])
    return Estimate(float(middle), float(low), float(high))


def write_scores(
    path: Path,
    labels: LabelSet,
    scored: npt.NDArray[np.float64],
    cases: Sequence[Case],
    *,
    temperature: float | None = None,
    numbered: bool = False,
) -> None:
    """Write a row per image: what names it, its label, what it is called, and each class's score.

    Args:
        path: The CSV file.
        labels: The network's.
        scored: (N, C) class scores, on the scale on which they are given.
        cases: N cases.
        temperature: Temperature of that scale, written in the last column; None leaves it empty.
        numbered: Whether a first column, ``number``, counts the rows from 1.
    """
    columns = [*NAMING, "predicted", *score_columns(labels), "temperature"]
    write_csv(
        path,
        ["number", *columns] if numbered else columns,
        (
            ({"number": number} if numbered else {})
            | score_row(labels, case, row)
            | ({} if temperature is None else {"temperature": temperature})
            for number, (case, row) in enumerate(zip(cases, scored, strict=True), start=1)
        ),
    )
