"""The ranks of a thumbnail in, how much of each cell is lung out: the network behind ``lungs.py``.

Fitted on lungs drawn by hand, and written beside this module, by ``benchmarks/lung_network.py``;
how well it finds them: ``docs/results/lung_mask.json``.
"""

from __future__ import annotations

import functools
import os
import threading
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from openvino import CompiledModel

NETWORK = "lungs.xml"
CELLS = 64
"""Of the thumbnail, a side."""

_OWN = threading.local()


def shares(ranked: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return for (64, 64) ranks the share of lung in each cell, (64, 64) from 0 to 1.

    A mirrored film has the mirrored shares. May be called from several threads.
    """
    # Films are decoded in threads, and a request serves one at a time.
    request = getattr(_OWN, "request", None)
    if request is None:
        request = _OWN.request = _compiled().create_infer_request()
    found: npt.NDArray[np.float32] = request.infer(ranked[None, None])[0][0, 0].copy()
    return found


@functools.cache
def _compiled() -> CompiledModel:
    import openvino  # takes a tenth of a second, and whoever crops no film does without it
    from openvino import properties
    from openvino.properties import hint

    settings = {
        # In bfloat16 two machines would find two boxes.
        hint.inference_precision: openvino.Type.f32,
        properties.inference_num_threads: os.cpu_count() or 1,
        properties.num_streams: os.cpu_count() or 1,  # one thread for each film
    }
    with resources.as_file(resources.files("cxr_transfer.radiograph")) as folder:
        return openvino.Core().compile_model(folder / NETWORK, "CPU", settings)
