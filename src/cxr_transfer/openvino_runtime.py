"""The one place that runs OpenVINO: a graph in, a network out that any thread may ask.

What is made on first use in here (the library itself, its conversion to numpy, a compiled network)
is made by one thread while all others wait, and with one inference. OpenVINO's Python part holds
locks of C++ while it waits for Python's. Two threads in it for the first time can so wait for each
other without an end. Every import, every compilation and every conversion therefore goes through
`exclusive`, and a `Network` has answered once before anybody has it. Knows no images and no classes
(docs/decisions/0011-first-use-and-threads.md).
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from cxr_transfer import forks
from cxr_transfer.provenance import processor_abilities

if TYPE_CHECKING:
    import openvino

Graph: TypeAlias = "openvino.Model"
Precision = Literal["float32", "bfloat16"]

_EXCLUSIVE = threading.RLock()
_TELEMETRY = "openvino_telemetry"
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Variables by which OpenVINO is kept from some of a processor's instruction sets."""


def check_process() -> None:
    """Refuse a process that was forked after OpenVINO was used: nothing in here would answer it.

    Raises:
        MachineError: ``forked``.
    """
    forks.use("OpenVINO")


@contextmanager
def exclusive() -> Iterator[ModuleType]:
    """Give OpenVINO to this thread alone, for what is not an inference.

    Raises:
        MachineError: ``forked``.
    """
    check_process()  # before the lock: a forked child may have inherited it held
    with _EXCLUSIVE, _unreported():
        import openvino

        yield openvino


@contextmanager
def _unreported() -> Iterator[None]:
    """Keep OpenVINO and NNCF from reporting imports and conversions to their makers.

    They do so over the internet, through a package of its own, and do without it where it cannot be
    imported. A hospital's images, or the fact that there are any, are nobody's business. Whether
    somebody else in this process reports is not ours to say.
    """
    if _TELEMETRY in sys.modules:
        yield
        return
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules.pop(_TELEMETRY, None)


def abilities() -> tuple[str, ...]:
    """Return what decides the arithmetic of networks here: processor, limits, OpenVINO's version.

    Raises:
        MachineError: ``forked``.
    """
    with exclusive() as library:
        version = f"openvino {library.get_version()}"
    limits = (f"{name} {os.environ[name]}" for name in _LIMITS if name in os.environ)
    return (*processor_abilities(), *limits, version)


def extended_graph(
    graph: Path, layer: str, output: str
) -> tuple[Graph | None, list[npt.NDArray[np.float32]]]:
    """Read a graph and let it also put out what one of its layers gives.

    Args:
        graph: Path of an ``.xml`` with its ``.bin`` beside it.
        layer: Name of the layer, as the converted network's modules are named.
        output: Name of the new output, behind those that there are.

    Returns:
        The graph, None where it has no such layer; and the weights (out, in) of its dense layers
        in the order of the data.

    Raises:
        MachineError: ``forked``.
    """
    with exclusive() as library:
        network = library.Core().read_model(graph)
        # In the order of the data: the last operation of a layer gives what the layer gives.
        operations = [
            operation
            for operation in network.get_ordered_ops()
            if operation.get_type_name() != "Constant"
        ]
        matrices = [
            np.array(operation.input_value(1).get_node().data, np.float32)
            for operation in operations
            if operation.get_type_name() == "MatMul"
        ]
        names = (f"{layer}/", f"{layer}.")
        of_layer = [
            operation for operation in operations if operation.get_friendly_name().startswith(names)
        ]
        if not of_layer:
            return None, matrices
        network.add_outputs(of_layer[-1].output(0))
        network.outputs[-1].get_tensor().set_names({output})
        return network, matrices


def graph_facts(graph: Path) -> dict[str, Any]:
    """Return what a graph says of its inputs and outputs.

    Args:
        graph: Path of an ``.xml`` or ``.onnx``.

    Returns:
        ``tool``; ``input`` (shape, null for any number), its ``type`` ("f32") and ``dtype``
        ("float32"), ``outputs`` (shapes), ``activation`` (name of the operation that gives the
        first output, such as "Softmax").

    Raises:
        MachineError: ``forked``.
        RuntimeError: OpenVINO cannot read the graph.
    """
    with exclusive() as library:
        network = library.Core().read_model(graph)
        if len(network.inputs) != 1:
            raise RuntimeError(f"it has {len(network.inputs)} inputs instead of one")
        last = network.outputs[0].get_node().input_value(0).get_node()
        return {
            "tool": f"a graph, opened with OpenVINO {library.get_version()}",
            "input": _sides(network.inputs[0]),
            "type": network.inputs[0].element_type.get_type_name(),
            "dtype": network.inputs[0].element_type.to_dtype().name,
            "outputs": [_sides(output) for output in network.outputs],
            "activation": last.get_type_name(),
        }


def _sides(port: Any) -> list[int | None]:  # noqa: ANN401 - openvino's, which is untyped
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return []
    return [None if side.is_dynamic else side.get_length() for side in shape]


def converted(module: Any, example: Any) -> Graph:  # noqa: ANN401 - torch's, which is no need of this
    """Return the graph of a module of torch, of one input whose first side may be any.

    Args:
        module: Module in inference mode.
        example: Tensor that it takes; its sides but the first are those of every input.

    Raises:
        MachineError: ``forked``.
    """
    with exclusive() as openvino, warnings.catch_warnings():
        # Tracing warns that it is to be given up, and of checks on the input's shape, which is
        # fixed further down.
        warnings.simplefilter("ignore")
        graph: Graph = openvino.convert_model(module, example_input=example)
    graph.reshape([-1, *example.shape[1:]])
    return graph


class Network:
    """A compiled network that has answered once, and that any number of threads may ask.

    Args:
        graph: Path of an ``.xml`` with its ``.bin`` beside it, or the graph itself.
        precision: Precision that is computed in.
        threads: Threads of one inference; None is OpenVINO's choice.
        streams: Inferences that are computed side by side, with one thread each; None computes one
            after the other, on all threads.
        tried: Whether it answers once before anybody has it; else one thread alone may ask it.

    Attributes:
        outputs: Names of each output.

    Raises:
        MachineError: ``forked``.
        RuntimeError: OpenVINO cannot read, compile or run the graph.
    """

    def __init__(
        self,
        graph: Path | Graph,
        *,
        precision: Precision = "float32",
        threads: int | None = None,
        streams: int | None = None,
        tried: bool = True,
    ) -> None:
        with exclusive() as library:
            hint, properties = library.properties.hint, library.properties
            # Left alone, OpenVINO computes in bfloat16 wherever the processor can: one image would
            # then have two answers on two machines without anybody having asked for it.
            precisions = {"float32": library.Type.f32, "bfloat16": library.Type.bf16}
            settings: dict[Any, Any] = {
                hint.inference_precision: precisions[precision],
                properties.enable_mmap: True,
            }
            if streams is None:
                settings[hint.performance_mode] = hint.PerformanceMode.LATENCY
            else:
                settings[properties.num_streams] = streams
                threads = streams
            if threads is not None:
                settings[properties.inference_num_threads] = threads
            compiled = library.Core().compile_model(graph, "CPU", settings)
            self.outputs = [output.get_names() for output in compiled.outputs]
            self._sides = _sides(compiled.inputs[0])
            if len(compiled.inputs) != 1:
                raise RuntimeError(f"it has {len(compiled.inputs)} inputs instead of one")
            requests = [compiled.create_infer_request() for _ in range(streams or 1)]
            if tried:
                blank = _blank(compiled.inputs[0])
                for request in requests:
                    self._answer(request, blank)
            self._requests = [(threading.Lock(), request) for request in requests]
            self._turns = itertools.count()

    def __call__(self, images: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:
        """Return the outputs for images, in order, as arrays that stay as they are.

        Waits where as many threads ask as inferences are computed side by side.

        Args:
            images: Value of the one input.

        Raises:
            MachineError: ``forked``.
            RuntimeError: They have another shape than the network takes.
        """
        check_process()
        # With one thread, OpenVINO 2026.4 gives the answer for the images before instead.
        fits = len(images.shape) == len(self._sides) and all(
            wanted in (None, side) for wanted, side in zip(self._sides, images.shape, strict=True)
        )
        if self._sides and not fits:
            shape = " x ".join("any" if side is None else str(side) for side in self._sides)
            raise RuntimeError(f"it takes images of the shape {shape}, and got {images.shape}")
        # In turns, and not whichever is free: taken out of a queue, one could be lost to Ctrl-C.
        lock, request = self._requests[next(self._turns) % len(self._requests)]
        with lock:
            return self._answer(request, images)

    def _answer(self, request: Any, images: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], ...]:  # noqa: ANN401
        results = request.infer(images)
        return tuple(results[number].copy() for number in range(len(self.outputs)))


def _blank(network_input: Any) -> npt.NDArray[Any]:  # noqa: ANN401 - openvino's, which is untyped
    """Return zeros of the least shape that an input takes."""
    shape = [1 if side.is_dynamic else side.get_length() for side in network_input.partial_shape]
    return np.zeros(shape, network_input.element_type.to_dtype())
