"""The ranks of a thumbnail in, how much of each cell is lung out: the network behind ``lungs.py``.

Fitted on lungs drawn by hand, and written beside this module, by ``benchmarks/lung_network.py``;
how well it finds them: ``docs/results/lung_mask.json``.
"""

from __future__ import annotations

import os
from importlib import resources

import numpy as np
import numpy.typing as npt

from cxr_transfer.openvino_runtime import Network, exclusive

NETWORK = "lungs.xml"
CELLS = 64
"""Of the thumbnail, a side."""

_network: Network | None = None


def shares(ranked: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return for (64, 64) ranks the share of lung in each cell, (64, 64) from 0 to 1.

    A mirrored image has the mirrored shares. May be called from several threads.

    Raises:
        MachineError: ``forked`` in a child of a process that had used OpenVINO.
    """
    (batch,) = _opened()(ranked[None, None])
    cells: npt.NDArray[np.float32] = batch[0, 0]
    return cells


def _opened() -> Network:
    global _network
    if _network is None:
        with exclusive():  # which also imports OpenVINO: who crops no image does without it
            if _network is None:
                _network = _compiled()
    return _network


def _compiled() -> Network:
    with resources.as_file(resources.files("cxr_transfer.radiograph")) as folder:
        # In float32: in bfloat16 two machines would find two boxes. One thread for each image.
        return Network(folder / NETWORK, streams=os.cpu_count() or 1)
