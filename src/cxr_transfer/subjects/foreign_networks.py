"""Files of networks of other tools, opened: OpenVINO, ONNX, TorchScript, Keras.

Each gives a `ForeignNetwork`: what the file says of its input and output, and a function of arrays.
Runs in the confined process alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.extras import require
from cxr_transfer.subjects.arrays import as_type, real_numbers
from cxr_transfer.text import for_terminal

Call = Callable[[npt.NDArray[np.float32]], object]
Opened = tuple[dict[str, Any], Call]
Answer = Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class ForeignNetwork:
    """A network of another tool.

    Attributes:
        answer: Function of float32 images to numbers (N, ...).
        facts: What the file says: ``input`` (shape with null for any number) and ``outputs``
            (shapes), ``activation`` of the last layer, ``tool``; each only where it is known.
    """

    answer: Answer
    facts: dict[str, Any] = field(default_factory=dict)


def open_foreign(kind: str, path: str, output: int | None = None) -> ForeignNetwork:
    """Open a network.

    Args:
        kind: Key of `KINDS`.
        path: Path of its file.
        output: Number of the output that is read; None for a network with one.

    Raises:
        Exception: Whatever its library raises.
    """
    facts, call = KINDS[kind](Path(path))
    return ForeignNetwork(lambda images: _output(call(images), output), facts)


def _graph(path: Path) -> Opened:
    from cxr_transfer.openvino_runtime import Network, graph_facts

    facts = graph_facts(path)
    wanted = np.dtype(facts["dtype"])
    threads = os.environ.get("OMP_NUM_THREADS", "")
    number = int(threads) if threads.isdecimal() and int(threads) else None
    network = Network(path, threads=number, tried=False)
    return facts, lambda images: network(as_type(images, wanted))


def _torchscript(path: Path) -> Opened:
    require("torch", "TorchScript files")
    import warnings

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls TorchScript deprecated
        network = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def answer(images: npt.NDArray[np.float32]) -> object:
        return network(torch.from_numpy(images))

    return {"tool": f"TorchScript, opened with torch {torch.__version__}"}, answer


def _keras(path: Path) -> Opened:
    require("keras", "Keras files")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras
    import torch

    network = keras.saving.load_model(path, compile=False, safe_mode=True)
    if not network.built:
        raise ValueError("it was saved before its input was known: call it once, and save it then")
    if len(network.inputs) != 1:
        raise ValueError(f"it has {len(network.inputs)} inputs instead of one")
    last = network.layers[-1]
    activation = getattr(getattr(last, "activation", None), "__name__", None)
    facts = {
        "tool": f"Keras, opened with keras {keras.__version__}",
        "input": list(network.input_shape),
        "outputs": [list(output.shape) for output in network.outputs],
        "activation": activation,
    }

    @torch.inference_mode()
    def answer(images: npt.NDArray[np.float32]) -> object:
        return network(images, training=False)

    return facts, answer


def _output(outputs: Any, number: int | None) -> npt.NDArray[Any]:  # noqa: ANN401 - of any library
    """Return one output of a network that may give them in a tuple, list or dictionary."""
    if isinstance(outputs, dict):
        outputs = tuple(outputs.values())
    if isinstance(outputs, list | tuple):
        if number is None and len(outputs) != 1:
            raise ValueError(
                f"it has {len(outputs)} outputs: say which is read: number = 0 in [output], or "
                "--output 0 of 'cxr audit inspect'"
            )
        if (number or 0) >= len(outputs):
            raise ValueError(f"it has {len(outputs)} outputs, none with the number {number}")
        outputs = outputs[number or 0]
    elif number:
        raise ValueError(f"it has one output, none with the number {number}")
    if hasattr(outputs, "detach"):
        outputs = outputs.detach().cpu()
        outputs = (outputs if outputs.is_complex() else outputs.float()).numpy()
    return real_numbers(outputs)


def checked_facts(facts: object) -> dict[str, Any]:
    """Return what a file says of itself, as far as this package knows the words.

    Args:
        facts: Facts as another process sent them.

    Raises:
        ValueError: They are no facts.
    """
    if not isinstance(facts, dict):
        raise ValueError("no table")
    for sides in (facts.get("input", []), *facts.get("outputs", [])):
        if not isinstance(sides, list) or not all(
            side is None or (type(side) is int and side > 0) for side in sides
        ):
            raise ValueError(f"a shape of {for_terminal(str(sides))[:80]}")
    words = {name: facts[name] for name in ("tool", "activation", "type") if facts.get(name)}
    if not all(isinstance(word, str) for word in words.values()):
        raise ValueError("a word that is none")
    shapes = {name: facts[name] for name in ("input", "outputs") if name in facts}
    return {name: for_terminal(word)[:200] for name, word in words.items()} | shapes


KINDS: dict[str, Callable[[Path], Opened]] = {
    "openvino": _graph,
    "onnx": _graph,
    "torchscript": _torchscript,
    "keras": _keras,
}
"""Functions that open a file, by its kind."""

SUFFIXES = {
    ".xml": "openvino",
    ".onnx": "onnx",
    ".pt": "torchscript",
    ".torchscript": "torchscript",
    ".ts": "torchscript",
    ".keras": "keras",
    ".h5": "keras",
    ".hdf5": "keras",
}
"""Kind of a file by its ending."""
