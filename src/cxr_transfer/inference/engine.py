"""The one place that runs OpenVINO: a converted network in, class scores for films out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import openvino
from openvino import properties
from openvino.properties import hint

from cxr_transfer.errors import ModelError, UsageError

PRECISIONS = {"float32": openvino.Type.f32, "bfloat16": openvino.Type.bf16}


class Engine:
    """A compiled network on this machine's processor.

    Args:
        graph: ``.xml`` with its ``.bin`` beside it, or the graph itself.
        precision: "float32" gives the checkpoint's own scores on every machine (to 1e-4);
            "bfloat16" is about twice as fast where the processor has units for it.

    Raises:
        UsageError: ``unknown_precision``.
        ModelError: ``bad_model`` when OpenVINO cannot read it.
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
        try:
            self._compiled = core.compile_model(graph, "CPU", settings)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ModelError(
                "bad_model", f"Expected a network that OpenVINO can read, but got: {reason}."
            ) from None
        self._request = self._compiled.create_infer_request()

    def scores(self, films: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return (N, classes) scores, rows summing to 1, for films (N, 1, H, W)."""
        result: npt.NDArray[np.float32] = self._request.infer(films)[0].copy()
        return result
