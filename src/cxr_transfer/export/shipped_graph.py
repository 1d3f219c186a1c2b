"""The graph of a released model, shipped without its numbers: those are the checkpoint's own.

A model folder holds ``graph.xml``, its description ``graph.json``, and ``graph.layout.json``, which
says of each constant of the graph how it follows from the checkpoint's weights. So no weight is
shipped twice. At first use ``graph.bin`` is put together, to the bit as it was when the graph was
compared with the checkpoint: its hash stands in the description. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cxr_transfer.errors import ModelError
from cxr_transfer.export.metadata import LARGEST_GRAPH, ExportMetadata, read_export_metadata
from cxr_transfer.files import write_bytes, write_json, write_text
from cxr_transfer.models.engine import Engine
from cxr_transfer.models.folder import LARGEST_WEIGHTS, MIB, read_bytes, read_json, sha256
from cxr_transfer.models.metadata import (
    CARD,
    Checkpoint,
    check_hash,
    checkpoint_files,
    first_problem,
    read_card,
)
from cxr_transfer.models.released import weights_at_hand
from cxr_transfer.openvino_runtime import abilities

GRAPH = "graph.xml"
LAYOUT = "graph.layout.json"

Floats = npt.NDArray[np.float32]
Arrays = Mapping[str, Floats]

_LONGEST_BYTES = 256
"""Bytes of a constant that is no weight, such as a shape: it stands in the layout itself."""


class Constant(BaseModel):
    """Way in which one constant of a graph follows from the weights.

    Attributes:
        offset: Place of its first byte in the ``.bin`` file.
        kind: Name in `KINDS`, or "bytes".
        of: Path of the layer or name of the tensor; for "bytes" the bytes themselves, hexadecimal.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    offset: int = Field(ge=0)
    kind: Literal["bytes", "tensor", "summed_kernel", "scaled_kernel", "shift"]
    of: str = Field(max_length=2 * _LONGEST_BYTES)


class Layout(BaseModel):
    """All constants of a graph.

    Attributes:
        constants: Constants in the order of their bytes, without gaps.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    constants: tuple[Constant, ...] = Field(max_length=10_000)


def _scale(weights: Arrays, layer: str, epsilon: float) -> Floats:
    """Return by what a batch norm multiplies each channel, (C,)."""
    spread: Floats = np.sqrt(weights[f"{layer}_bn.running_var"] + np.float32(epsilon))
    return weights[f"{layer}_bn.weight"] / spread


def _tensor(weights: Arrays, name: str, _: float) -> Floats:
    return weights[name]


def _summed_kernel(weights: Arrays, layer: str, _: float) -> Floats:
    """Return a kernel over three equal channels as one over one of them."""
    red, green, blue = np.split(weights[f"{layer}.weight"], 3, axis=1)
    return red + green + blue


def _scaled_kernel(weights: Arrays, layer: str, epsilon: float) -> Floats:
    """Return a kernel times the scale of the batch norm behind it."""
    scale = _scale(weights, layer, epsilon)
    return weights[f"{layer}.weight"] * scale[:, None, None, None]


def _shift(weights: Arrays, layer: str, epsilon: float) -> Floats:
    """Return what is left to add of a batch norm whose scale is in the kernel."""
    mean = weights[f"{layer}_bn.running_mean"] * _scale(weights, layer, epsilon)
    return weights[f"{layer}_bn.bias"] - mean


KINDS: dict[str, Callable[[Arrays, str, float], Floats]] = {
    "tensor": _tensor,
    "summed_kernel": _summed_kernel,
    "scaled_kernel": _scaled_kernel,
    "shift": _shift,
}


def ships_graph(card_path: Path) -> bool:
    """Tell whether a graph is shipped beside a card."""
    return card_path.name == CARD and card_path.with_name(LAYOUT).is_file()


def pack(graph: Path, weights: Path, folder: Path) -> None:
    """Write a converted network into a model folder, without its ``.bin``.

    Args:
        graph: Graph (.xml) of `export.openvino.convert`, in float32.
        weights: Weights file of the checkpoint that it was made from.
        folder: Model folder.

    Raises:
        ModelError: What `read_converted` raises; ``bad_model`` for a constant that does not follow
            from the weights.
        MachineError: ``disk_full``, ``not_writable``.
    """
    converted = read_export_metadata(graph)
    content = graph.with_suffix(".bin").read_bytes()
    kind_of_bytes = _kinds_by_bytes(_read_weights(weights), converted.card.epsilon)
    constants: dict[int, Constant] = {}
    end = 0
    for offset, size in sorted(_constants(graph.read_bytes())):
        part = content[offset : offset + size]
        kind, of = kind_of_bytes.get(part, ("bytes", part.hex()))
        if offset != end or (kind == "bytes" and size > _LONGEST_BYTES):
            raise ModelError(
                "bad_model",
                f"Expected constants of {graph} that follow from the weights, but got another at "
                f"byte {offset}; add its kind to KINDS.",
            )
        constants[offset] = Constant(offset=offset, kind=kind, of=of)
        end = offset + size
    layout = Layout(constants=tuple(constants.values()))
    write_bytes(folder / GRAPH, graph.read_bytes())
    write_text(folder / LAYOUT, layout.model_dump_json() + "\n")
    described = converted.model_copy(update={"card": _without_images(converted.card)})
    write_json(folder / Path(GRAPH).with_suffix(".json"), described.model_dump(mode="json"))


def _without_images(card: Checkpoint) -> Checkpoint:
    """Return a card without the list of images that were seen: nearly all of it, and beside it."""
    return card.model_copy(update={"seen": {}})


def put_together(card: Checkpoint, folder: Path, weights: Path, out: Path) -> ExportMetadata:
    """Write the shipped graph of a model folder, whole, to ``out`` (.xml, .bin and .json).

    On a processor with other abilities than the one on which the graph was made, generated images
    are scored first; the description then names this processor, so that it is done once.

    Args:
        card: Card of the checkpoint.
        folder: Model folder with the graph and its layout.
        weights: Weights file of the checkpoint.
        out: Path of the graph.

    Raises:
        ModelError: ``corrupt_weights``, ``bad_model``, ``other_processor``, and what
            `read_converted` raises: ``wrong_hash`` above all.
        MachineError: ``disk_full``, ``not_writable``, ``forked``.
    """
    source = folder / GRAPH
    description = source.with_suffix(".json")
    try:
        layout = Layout.model_validate(read_json(folder / LAYOUT))
        converted = ExportMetadata.model_validate(read_json(description))
        arrays = _read_weights(weights)
        if converted.card != _without_images(card):
            raise ValueError("the graph of another checkpoint")
        # Kernels in float16 become twice as large; somebody else's layout may ask for anything.
        most = 4 * weights.stat().st_size + MIB
        content = _content(layout, arrays, converted.card.epsilon, most=most)
        converted = converted.model_copy(update={"card": card})
    except ValidationError as error:
        raise _bad(folder, first_problem(error)) from None
    except (ValueError, LookupError) as error:
        raise _bad(folder, str(error)) from None
    write_bytes(out.with_suffix(".bin"), content)
    write_bytes(out, read_bytes(source, most=LARGEST_GRAPH))
    write_json(out.with_suffix(".json"), converted.model_dump(mode="json"))
    converted = read_export_metadata(out)
    here = abilities()
    if converted.made_on != here:
        scores = Engine(out).scores
        converted.self_test.check_drawn(scores, card.preprocessing, converted.precision, card.name)
        converted = converted.model_copy(update={"made_on": here})
        write_json(out.with_suffix(".json"), converted.model_dump(mode="json"))
    return converted


def export_shipped(
    checkpoint: Path, out: Path, scale: Mapping[str, float | None]
) -> ExportMetadata | None:
    """Write the graph of a model that ships it; it was compared where it was released.

    Args:
        checkpoint: Model folder, card, weights file, or name of a released model.
        out: Path of the graph (.xml).
        scale: Temperature, least score and coverage for the description.

    Returns:
        The description; None where no graph is shipped with the checkpoint.

    Raises:
        ModelError, MachineError: What `put_together` and `weights_at_hand` raise.
    """
    card_path, weights = checkpoint_files(checkpoint)
    if not ships_graph(card_path):
        return None
    card = read_card(card_path)
    whole = weights_at_hand(card, weights)
    check_hash(card, sha256(whole), whole)
    converted = put_together(card, card_path.parent, whole, out).model_copy(update=dict(scale))
    write_json(out.with_suffix(".json"), converted.model_dump(mode="json"))
    return converted


def _content(layout: Layout, weights: Arrays, epsilon: float, *, most: int) -> bytes:
    """Return all constants, one after the other.

    Raises:
        ValueError: They leave gaps, or have more bytes than ``most``.
    """
    content = bytearray()
    for constant in layout.constants:
        if constant.offset != len(content) or len(content) > most:
            raise ValueError("constants with gaps, or too many")
        content += _bytes_of(constant, weights, epsilon)
    return bytes(content)


def _bytes_of(constant: Constant, weights: Arrays, epsilon: float) -> bytes:
    if constant.kind == "bytes":
        return bytes.fromhex(constant.of)
    return KINDS[constant.kind](weights, constant.of, epsilon).tobytes()


def _kinds_by_bytes(weights: Arrays, epsilon: float) -> dict[bytes, tuple[str, str]]:
    """Return what can follow from the weights, by its bytes: kind, and layer or tensor."""
    wanted = [("tensor", name) for name in weights]
    for name, tensor in weights.items():
        layer = name.removesuffix(".weight")
        if layer != name and tensor.ndim == 4:
            wanted += [("summed_kernel", layer)] if tensor.shape[1] == 3 else []
            if f"{layer}_bn.weight" in weights:
                wanted += [("scaled_kernel", layer), ("shift", layer)]
    kind_of_bytes: dict[bytes, tuple[str, str]] = {}
    for kind, of in wanted:
        kind_of_bytes.setdefault(KINDS[kind](weights, of, epsilon).tobytes(), (kind, of))
    return kind_of_bytes


def _read_weights(path: Path) -> dict[str, Floats]:
    """Return the tensors of a weights file in float32; counters are left out."""
    try:
        tensors = safetensors.numpy.load(read_bytes(path, most=LARGEST_WEIGHTS))
    except safetensors.SafetensorError as error:
        raise ModelError(
            "corrupt_weights", f"Expected safetensors in {path}, but got: {error}."
        ) from None
    return {
        name: tensor.astype(np.float32)
        for name, tensor in tensors.items()
        if not name.endswith("num_batches_tracked")
    }


def _constants(graph: bytes) -> set[tuple[int, int]]:
    """Return offset and size in bytes of each constant."""
    layers = ElementTree.fromstring(graph).findall("./layers/layer[@type='Const']/data")
    return {(int(data.attrib["offset"]), int(data.attrib["size"])) for data in layers}


def _bad(folder: Path, reason: str) -> ModelError:
    return ModelError(
        "bad_model",
        f"Expected the graph of a released model in {folder}, but got {reason}; install "
        "cxr-transfer anew.",
    )
