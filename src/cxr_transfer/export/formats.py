"""A checkpoint leaves for other tools: OpenVINO, ONNX or TorchScript, and a JSON that explains it.

Every form takes grey 8-bit images (N, 1, H, W), any number of them, and gives class scores and
features. Each is compared with the checkpoint's own network before a byte of it stands at its
place. Knows nothing of how such files are read back: a TorchScript file, which may hold code, is
never opened here.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, cast
from zipfile import ZipFile

import numpy as np

from cxr_transfer.errors import MachineError, UsageError
from cxr_transfer.export.metadata import ExportMetadata, Format, described
from cxr_transfer.export.openvino import (
    CONVERTING,
    Answer,
    answering,
    compared,
    convert,
    run_self_test,
)
from cxr_transfer.export.self_test import ImageTensors, Weights
from cxr_transfer.export.shipped_graph import export_shipped
from cxr_transfer.extras import require
from cxr_transfer.files import write_bytes, write_json
from cxr_transfer.progress import Tell, tell_nobody
from cxr_transfer.provenance import processor_abilities
from cxr_transfer.quiet import quiet
from cxr_transfer.tables import Table

if TYPE_CHECKING:
    from torch import Tensor, nn

Written = Callable[["nn.Module", tuple[int, int]], tuple[bytes, Callable[[ImageTensors], Answer]]]
"""Function (network, (height, width)) that returns the bytes of a file, and what they answer."""


@dataclass(frozen=True)
class ExportFormat:
    """A form in which a network leaves for other tools.

    Attributes:
        title: Name for people.
        suffixes: Suffixes of files of this form.
        written: Suffixes of all files that an export leaves, beside or after the name of the first.
        precisions: Precisions of the weights that it can have.
        write: Function that makes the file; None for OpenVINO's two files, which `convert` makes.
    """

    title: str
    suffixes: tuple[str, ...]
    written: tuple[str, ...]
    precisions: tuple[Weights, ...] = ("float32",)
    write: Written | None = None


def export(
    checkpoint: Path,
    out: Path,
    *,
    format: Format | None = None,  # noqa: A002
    precision: Weights = "float32",
    calibration: ImageTensors | None = None,
    check: ImageTensors | None = None,
    temperature: float | None = None,
    confidence_threshold: float | None = None,
    coverage: float | None = None,
    thresholds: Sequence[float] | None = None,
    progress: Tell = tell_nobody,
) -> ExportMetadata:
    """Write ``checkpoint`` in another form to ``out``, and its description beside it.

    The description is ``NAME.onnx.json`` for ``NAME.onnx``; for OpenVINO, ``NAME.json``.

    Args:
        checkpoint: Run folder, weights file or card.
        out: Path of the export, written only when the check has passed.
        format: Format; None takes it from the suffix of ``out``.
        precision: Precision: "float32"; for OpenVINO also "int8" (quantized after training).
        calibration: (N, 1, H, W) training images from which int8's ranges are taken.
        check: (N, 1, H, W) other images on which both networks are compared; None draws some.
        temperature: Temperature with which scores are calibrated afterwards, for the description;
            None where none is known, or none could be fitted.
        confidence_threshold: Highest calibrated score below which no class is to be given, for the
            description; None where every image is to get one, or none is known.
        coverage: Share of the images by which that was chosen whose highest score reaches it.
        thresholds: Probability from which on each finding is named, for the description.
        progress: Function that is told the phase and which share of it is done.

    Returns:
        What stands in the JSON; ``check`` has the differences that were found.

    Raises:
        UsageError: ``unknown_format``, ``unknown_precision``, and what `convert` raises.
        ModelError: ``conversion_differs``, ``self_test``, and what `load_checkpoint` raises.
        MachineError: ``missing_package``, ``disk_full``, ``not_writable``.
    """
    chosen = chosen_format(out, format=format, precision=precision)
    write = EXPORTS[chosen].write
    if write is None and precision == "float32" and check is None:
        scale = {
            "temperature": temperature,
            "confidence_threshold": confidence_threshold,
            "coverage": coverage,
        }
        shipped = export_shipped(checkpoint, out, scale)
        if shipped:
            return shipped
    require("torch", "an export that has to be compared with its checkpoint")
    from cxr_transfer.models.checkpoint import load_checkpoint

    if write is None:
        return convert(
            checkpoint,
            out,
            precision=precision,
            calibration=calibration,
            check=check,
            temperature=temperature,
            confidence_threshold=confidence_threshold,
            coverage=coverage,
            thresholds=thresholds,
            progress=progress,
        )
    card, network = load_checkpoint(checkpoint)
    is_exclusive = card.label_set.exclusive
    progress(CONVERTING, 0.0)
    content, answer = write(answering(network, is_exclusive), card.preprocessing.size)
    report = compared(
        network,
        answer,
        card.preprocessing,
        check,
        progress=progress,
        is_exclusive=is_exclusive,
    )
    converted = described(
        card,
        format=chosen,
        precision=precision,
        check=report,
        self_test=run_self_test(network, answer, card, report),
        made_on=processor_abilities(),
        sha256={out.suffix.removeprefix("."): sha256(content).hexdigest()},
        temperature=temperature,
        confidence_threshold=confidence_threshold,
        coverage=coverage,
        thresholds=thresholds,
    )
    write_bytes(out, content)
    write_json(out.with_name(f"{out.name}.json"), converted.model_dump(mode="json"))
    return converted


def chosen_format(
    out: Path,
    *,
    format: Format | None = None,  # noqa: A002
    precision: Weights = "float32",
) -> Format:
    """Return the form in which ``out`` is to be written, before anything is read or converted.

    Args:
        out: Path of the export.
        format: Format; None takes it from the suffix of ``out``.
        precision: Precision: "float32"; for OpenVINO also "int8".

    Raises:
        UsageError: ``unknown_format``; ``unknown_precision`` for one that the form cannot have.
    """
    by_suffix = {suffix: name for name, row in EXPORTS.items() for suffix in row.suffixes}
    chosen = format or by_suffix.get(out.suffix)
    if chosen is None or chosen not in EXPORTS:
        raise UsageError(
            "unknown_format",
            f"Expected a format out of {', '.join(sorted(EXPORTS))}, or a name that ends in one of "
            f"{', '.join(by_suffix)}, but got {format or out.name!r}.",
        )
    if out.suffix in (".json", ".safetensors"):
        raise UsageError(
            "unknown_format",
            f"Expected another name than a checkpoint's files have, but got {out}.",
        )
    if precision not in (possible := EXPORTS[chosen].precisions):
        others = [name for name, row in EXPORTS.items() if precision in row.precisions]
        instead = f"; {precision} is for {', '.join(others)}" if others else ""
        raise UsageError(
            "unknown_precision",
            f"Expected {' or '.join(possible)} for {chosen}, but got {precision!r}{instead}.",
        )
    return cast("Format", chosen)


def written_files(out: Path, format: Format) -> tuple[Path, ...]:  # noqa: A002
    """Return all files that an export to ``out`` leaves."""
    row = EXPORTS[format]
    if row.write is None:
        return tuple(out.with_suffix(suffix) for suffix in row.written)
    return tuple(out.with_name(f"{out.name}{suffix}") for suffix in row.written)


def _onnx(
    network: nn.Module, size: tuple[int, int]
) -> tuple[bytes, Callable[[ImageTensors], Answer]]:
    """Return the network as ONNX, and as ONNX Runtime reads these bytes."""
    import torch

    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  (torch's exporter is built on it)
    except ImportError as error:
        raise MachineError(
            "missing_package",
            f"Expected the packages for an ONNX export, but {error.name} is not installed: "
            'pip install "cxr-transfer[export]".',
        ) from None
    # Its log tells of every operator of a package that has no part in this.
    with quiet("torch.onnx"), warnings.catch_warnings():
        # The exporter's own affairs; what it wrote is compared below.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (_example(size),),
            dynamo=True,
            input_names=["images"],
            output_names=["scores", "features"],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            verbose=False,
        )
    assert program is not None  # with dynamo there is one
    model = program.model_proto
    # Where each operator stands in the source, with the paths of this machine: nobody's business.
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    content: bytes = model.SerializeToString()
    onnx.checker.check_model(content)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def answer(images: ImageTensors) -> Answer:
        scores, features = session.run(["scores", "features"], {"images": images})
        return np.asarray(scores), np.asarray(features)

    return content, answer


def _torchscript(
    network: nn.Module, size: tuple[int, int]
) -> tuple[bytes, Callable[[ImageTensors], Answer]]:
    """Return the network as TorchScript, and as it runs before it is written."""
    import torch

    with warnings.catch_warnings(), torch.inference_mode():
        # Torch means to give TorchScript up, and says so; tracing warns of checks on the shape.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, _example(size))  # type: ignore[no-untyped-call]
        written = io.BytesIO()
        torch.jit.save(traced, written)

    @torch.inference_mode()
    def answer(images: ImageTensors) -> Answer:
        scores, features = traced(torch.from_numpy(images))
        return scores.numpy(), features.numpy()

    return _without_places(written.getvalue()), answer


def _without_places(archive: bytes) -> bytes:
    """Return a TorchScript archive without the records of where in the source each line stands.

    They hold paths of this machine, and nothing but messages of errors needs them.
    """
    kept = io.BytesIO()
    with ZipFile(io.BytesIO(archive)) as old, ZipFile(kept, "w") as new:
        for entry in old.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                new.writestr(entry, old.read(entry))
    return kept.getvalue()


def _example(size: tuple[int, int]) -> Tensor:
    import torch

    return torch.zeros((2, 1, *size), dtype=torch.uint8)


EXPORTS = Table(
    "export format",
    ExportFormat,
    {
        "openvino": ExportFormat(
            "OpenVINO",
            (".xml",),
            (".xml", ".bin", ".json", ".reference.safetensors"),
            ("float32", "int8"),
        ),
        "onnx": ExportFormat("ONNX", (".onnx",), ("", ".json"), write=_onnx),
        "torchscript": ExportFormat(
            "TorchScript", (".pt", ".torchscript"), ("", ".json"), write=_torchscript
        ),
    },
)
"""Forms of a network for other tools, by name."""
