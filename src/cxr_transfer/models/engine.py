"""A converted network in, scores and features for images out. Any number of threads may ask it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt

from cxr_transfer.errors import ModelError, UsageError
from cxr_transfer.openvino_runtime import Graph, Network, Precision

PRECISIONS: tuple[str, ...] = get_args(Precision)
OUTPUTS = ("scores", "features")
"""Outputs of a converted network: class scores (N, C), and the features of its head (N, F)."""

AT_ONCE = 4
"""Images of a batch where there are many: what a cache of a few megabytes holds is quickest."""


class Engine:
    """A compiled network on this machine's processor.

    Threads that ask at the same time are answered one after the other: each answer takes all
    cores, and is the same as if its thread were alone.

    Args:
        graph: ``.xml`` with its ``.bin`` beside it, or the graph itself.
        precision: "float32" gives the checkpoint's own scores on every machine (to 1e-4);
            "bfloat16" is about twice as fast where the processor has units for it.
        outputs: Names of the graph's outputs, in order.

    Where ``OMP_NUM_THREADS`` is a number, as batch systems set it, so many threads are used.

    Raises:
        UsageError: ``unknown_precision``.
        ModelError: ``bad_model`` when OpenVINO cannot read it, or it has other outputs.
        MachineError: ``forked`` in a child of a process that had used OpenVINO.
    """

    def __init__(
        self,
        graph: Path | Graph,
        *,
        precision: str = "float32",
        outputs: tuple[str, ...] = OUTPUTS,
    ) -> None:
        if precision not in PRECISIONS:
            raise UsageError(
                "unknown_precision",
                f"Expected a precision out of {', '.join(PRECISIONS)}, but got {precision!r}.",
            )
        setting = os.environ.get("OMP_NUM_THREADS", "")
        threads = int(setting) if setting.isdecimal() and int(setting) else None
        try:
            self._network = Network(graph, precision=precision, threads=threads)  # type: ignore[arg-type]
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ModelError(
                "bad_model", f"Expected a network that OpenVINO can read, but got: {reason}."
            ) from None
        if self._network.outputs != [{name} for name in outputs]:
            raise ModelError(
                "bad_model",
                f"Expected a network with the outputs {' and '.join(outputs)}, but got "
                f"{len(self._network.outputs)} others; convert its checkpoint anew with "
                "'cxr export'.",
            )

    def scores(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return (N, C) scores, rows summing to 1, for images (N, 1, H, W).

        Raises:
            MachineError: ``forked``.
        """
        return self.answer(images)[0]

    def answer(
        self, images: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return scores as `scores` does, and (N, F) features, for images (N, 1, H, W).

        Raises:
            MachineError: ``forked``.
        """
        scores, features = self._network(images)
        return scores, features

    def answer_all(
        self, images: npt.NDArray[np.uint8], on_image: Callable[[int], None]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return what `answer` does for any number of images, a few at a time.

        Args:
            images: Images, (N, 1, H, W); at least one.
            on_image: Function that is called with the number of images after every batch.

        Raises:
            MachineError: ``forked``.
        """
        parts = []
        for start in range(0, len(images), AT_ONCE):
            batch = images[start : start + AT_ONCE]
            parts.append(self.answer(batch))
            on_image(len(batch))
        scores, features = (np.concatenate(column) for column in zip(*parts, strict=True))
        return scores, features

    def outputs(self, images: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], ...]:
        """Return all outputs, in order, for images (N, 1, H, W).

        Raises:
            MachineError: ``forked``.
        """
        return self._network(images)
