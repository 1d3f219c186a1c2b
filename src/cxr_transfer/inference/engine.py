"""The one place that runs OpenVINO: a converted network in, scores and features for films out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino
from openvino import properties
from openvino.properties import hint

from cxr_transfer.errors import ModelError, UsageError

PRECISIONS = {"float32": openvino.Type.f32, "bfloat16": openvino.Type.bf16}
OUTPUTS = ("scores", "features")
"""Of a converted network: class scores (N, C), and what its head saw of the films (N, F)."""


class Engine:
    """A compiled network on this machine's processor.

    Args:
        graph: ``.xml`` with its ``.bin`` beside it, or the graph itself.
        precision: "float32" gives the checkpoint's own scores on every machine (to 1e-4);
            "bfloat16" is about twice as fast where the processor has units for it.

    Where ``OMP_NUM_THREADS`` is a number, as batch systems set it, so many threads are used.

    Raises:
        UsageError: ``unknown_precision``.
        ModelError: ``bad_model`` when OpenVINO cannot read it, or it has other outputs.
    """

    def __init__(self, graph: Path | openvino.Model, *, precision: str = "float32") -> None:
        if precision not in PRECISIONS:
            raise UsageError(
                "unknown_precision",
                f"Expected a precision out of {', '.join(PRECISIONS)}, but got {precision!r}.",
            )
        core = openvino.Core()
        # Left alone, OpenVINO computes in bfloat16 wherever the processor can: the same film would
        # then score differently on two machines without anybody having asked for it.
        settings = {
            hint.inference_precision: PRECISIONS[precision],
            hint.performance_mode: hint.PerformanceMode.LATENCY,
            properties.enable_mmap: True,
        }
        if (threads := os.environ.get("OMP_NUM_THREADS", "")).isdecimal() and int(threads):
            settings[properties.inference_num_threads] = int(threads)
        try:
            self._compiled = core.compile_model(graph, "CPU", settings)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ModelError(
                "bad_model", f"Expected a network that OpenVINO can read, but got: {reason}."
            ) from None
        found = [output.get_names() for output in self._compiled.outputs]
        if found != [{name} for name in OUTPUTS]:
            raise ModelError(
                "bad_model",
                f"Expected a network with the outputs {' and '.join(OUTPUTS)}, but got "
                f"{len(found)} others; convert its checkpoint anew with 'cxr export'.",
            )
        self._request = self._compiled.create_infer_request()

    def scores(self, films: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return (N, C) scores, rows summing to 1, for films (N, 1, H, W)."""
        scores: npt.NDArray[np.float32] = self._request.infer(films)[0].copy()
        return scores

    def answer(
        self, films: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return scores as `scores` does, and (N, F) features, for films (N, 1, H, W)."""
        results = self._request.infer(films)
        return results[0].copy(), results[1].copy()
