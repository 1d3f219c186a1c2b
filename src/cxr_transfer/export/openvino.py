"""A checkpoint becomes a converted network, compared with the checkpoint before it is kept.

Needs torch (and, for int8, NNCF); everything is imported where it is needed. What travels in the
graph: scaling (the networks' first layer) and softmax (of findings: sigmoid), so that grey 8-bit
images go in, and scores and the features behind them come out. Decoding and resizing are
``radiograph``'s, and are described in the JSON beside the graph.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.errors import MachineError, ModelError, UsageError
from cxr_transfer.export.metadata import ExportMetadata, described
from cxr_transfer.export.self_test import (
    LARGEST_DIFFERENCE,
    LARGEST_MEAN_DIFFERENCE,
    ImageTensors,
    SelfTest,
    Weights,
    drawn_images,
    self_test_image,
)
from cxr_transfer.files import write_bytes, write_json
from cxr_transfer.models.folder import sha256
from cxr_transfer.models.metadata import Checkpoint, checkpoint_files
from cxr_transfer.openvino_runtime import Graph, abilities, converted, exclusive
from cxr_transfer.progress import Tell, counting, of_images, tell_nobody
from cxr_transfer.quiet import quiet
from cxr_transfer.radiograph import Preprocessing, decode

if TYPE_CHECKING:
    from torch import nn

Answer = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""Scores (N, C) and features (N, F)."""

LARGEST_FEATURE_DIFFERENCE = 1e-4
"""Of a float32 conversion's feature from the checkpoint's, as a share of the largest feature."""

CONVERTING = "converting the network"
"""Phase of an export; how long it takes depends on the network alone, and cannot be told."""

CALIBRATION_IMAGES = 300
COMPARED_AT_ONCE = 16


def convert(
    checkpoint: Path,
    out: Path,
    *,
    precision: Weights = "float32",
    calibration: ImageTensors | None = None,
    check: ImageTensors | None = None,
    temperature: float | None = None,
    confidence_threshold: float | None = None,
    coverage: float | None = None,
    thresholds: Sequence[float] | None = None,
    progress: Tell = tell_nobody,
) -> ExportMetadata:
    """Convert ``checkpoint`` into ``out`` (.xml, with .bin and .json beside it).

    Args:
        checkpoint: Run folder, weights file or card.
        out: Path of the graph; written only when the check has passed.
        precision: "float32", or "int8" (quantized after training).
        calibration: (N, 1, H, W) training images from which int8's ranges are taken.
        check: (N, 1, H, W) other images on which both networks are compared; None draws some.
        temperature: Temperature with which scores are calibrated afterwards, for the description;
            None where none is known, or none could be fitted.
        confidence_threshold: Highest calibrated score below which no class is to be given, for the
            description; None where every image is to get one, or none is known.
        coverage: Share of the images by which that was chosen whose highest score reaches it.
        thresholds: Probability from which on each finding is named, for the description.
        progress: Function that is told the phase and which share of it is done.

    Raises:
        UsageError: ``not_an_xml``, ``overwrites_checkpoint``, ``no_calibration``.
        ModelError: ``conversion_differs``, ``self_test``, and what `load_checkpoint` raises.
        MachineError: ``missing_package`` (NNCF, for int8), ``disk_full``, ``not_writable``,
            ``forked``.
    """
    from cxr_transfer.models.checkpoint import load_checkpoint
    from cxr_transfer.models.engine import Engine

    if out.suffix != ".xml":
        raise UsageError("not_an_xml", f"Expected a name that ends in .xml, but got {out}.")
    if out.with_suffix(".json").resolve() == checkpoint_files(checkpoint)[0].resolve():
        raise UsageError(
            "overwrites_checkpoint",
            f"Expected another name than the checkpoint's, but got {out}: its description would "
            "take the place of the checkpoint's card.",
        )
    card, network = load_checkpoint(checkpoint)
    is_exclusive = card.label_set.exclusive
    progress(CONVERTING, 0.0)
    graph = _graph(network, card.preprocessing, is_exclusive)
    if precision == "int8":
        if calibration is None or not len(calibration):
            raise UsageError(
                "no_calibration",
                "Expected training images to take int8's ranges from, but got none; give --data "
                "MANIFEST.csv with a part 'train'.",
            )
        progress("quantizing", 0.0)
        graph = _quantized(graph, calibration)
    engine = Engine(graph)
    report = compared(
        network,
        engine.answer,
        card.preprocessing,
        check,
        precision,
        progress=progress,
        is_exclusive=is_exclusive,
    )
    self_test = run_self_test(network, engine.answer, card, report, precision)
    # OpenVINO writes where it is told, part by part; what stands at `out` must be whole.
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / out.name
        with exclusive() as openvino:
            openvino.save_model(graph, written, compress_to_fp16=False)
        hashes = {name: sha256(written.with_suffix(f".{name}")) for name in ("xml", "bin")}
        converted = described(
            card,
            format="openvino",
            precision=precision,
            check=report,
            self_test=self_test,
            made_on=abilities(),
            sha256=hashes,
            temperature=temperature,
            confidence_threshold=confidence_threshold,
            coverage=coverage,
            thresholds=thresholds,
        )
        for suffix in (".bin", ".xml"):
            write_bytes(out.with_suffix(suffix), written.with_suffix(suffix).read_bytes())
    write_json(out.with_suffix(".json"), converted.model_dump(mode="json"))
    return converted


def answering(network: nn.Sequential, is_exclusive: bool = True) -> nn.Module:
    """Return ``network`` as a module that gives scores and what its head saw of the images.

    Args:
        network: The checkpoint's own.
        is_exclusive: Whether its labels are classes; else each finding has its own probability.
    """
    from torch import Tensor, nn

    from cxr_transfer.models.forward import scores_of

    class Answering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = network[:-1], network[-1]

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            features = self.body(images).flatten(1)
            return scores_of(self.head(features), is_exclusive), features

    return Answering().eval()


def compared(
    network: nn.Sequential,
    other: Callable[[ImageTensors], Answer],
    preprocessing: Preprocessing,
    images: ImageTensors | None,
    precision: Weights = "float32",
    *,
    progress: Tell = tell_nobody,
    is_exclusive: bool = True,
) -> dict[str, Any]:
    """Return by how much another form of a network differs from it, or refuse it.

    Args:
        network: Network of the checkpoint itself.
        other: Other form of it: images (N, 1, H, W) in, scores and features out.
        preprocessing: Preprocessing of the network.
        images: Images that both see, (N, 1, H, W) uint8; None draws some.
        precision: Precision of the other form; it decides what is tolerated.
        progress: Function that is called with the phase and the share of it that is done.
        is_exclusive: Whether the network's labels are classes.

    Raises:
        ModelError: ``conversion_differs``.
    """
    import torch

    from cxr_transfer.models.forward import features, probabilities

    drawn = images is None
    images = drawn_images(preprocessing) if images is None else images
    step = counting(progress, of_images("comparing", len(images)), 2 * len(images))
    seen_by_head = features(network, torch.from_numpy(images), on_image=step)
    scores = probabilities(network[-1:], seen_by_head, exclusive=is_exclusive).numpy()
    seen = seen_by_head.numpy()
    parts = []
    for start in range(0, len(images), COMPARED_AT_ONCE):
        batch = images[start : start + COMPARED_AT_ONCE]
        parts.append(other(batch))
        step(len(batch))
    found_scores, found_features = (np.concatenate(column) for column in zip(*parts, strict=True))
    difference = np.abs(found_scores - scores)
    of_features = np.abs(found_features - seen) / max(float(np.abs(seen).max()), 1e-12)
    report: dict[str, Any] = {
        "images": len(images),
        "drawn": drawn,
        "largest_difference": float(difference.max()),
        "mean_difference": float(difference.mean()),
        "same_class": float(_same(found_scores, scores, is_exclusive).mean()),
        "features_largest_difference": float(of_features.max()),
        "features_mean_difference": float(of_features.mean()),
    }
    bounds = {
        "float32": {
            "largest_difference": LARGEST_DIFFERENCE,
            "features_largest_difference": LARGEST_FEATURE_DIFFERENCE,
        },
        "int8": {"mean_difference": LARGEST_MEAN_DIFFERENCE},
    }
    for name, bound in bounds[precision].items():
        # Not `>`: what is no number must not pass.
        if not report[name] <= bound:
            what = "features" if name.startswith("features") else "scores"
            raise ModelError(
                "conversion_differs",
                f"Expected the converted network's {what} within {bound:g} of the checkpoint's "
                f"({name.replace('_', ' ')}), but got {report[name]:.3g} over {len(images)} "
                "images; nothing was written.",
            )
    return report


def _same(
    converted_scores: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], is_exclusive: bool
) -> npt.NDArray[np.bool_]:
    """Tell which images (N,) get the same class; of findings, the same at a probability of 0.5."""
    if is_exclusive:
        return np.asarray(converted_scores.argmax(1) == scores.argmax(1))
    return np.asarray(((converted_scores >= 0.5) == (scores >= 0.5)).all(axis=1))


def run_self_test(
    network: nn.Sequential,
    other: Callable[[ImageTensors], Answer],
    card: Checkpoint,
    report: Mapping[str, Any],
    precision: Weights = "float32",
) -> SelfTest:
    """Return what a network makes of generated images, by which its other form is known again.

    Args:
        network: Network of the checkpoint itself, whose scores are kept.
        other: Other form of it, which must score alike; see `compared`.
        card: Card of the checkpoint.
        report: Report of `compared` on the two.
        precision: Precision of the other form. Int8 is off already here: as far again as int8 may
            be off on average is tolerated elsewhere.

    Raises:
        ModelError: ``self_test``.
    """
    import torch

    from cxr_transfer.models.forward import probabilities

    radiograph = card.preprocessing.apply(decode(self_test_image()))[None, None]
    scores, other_scores = (
        probabilities(network, torch.from_numpy(radiograph), exclusive=card.label_set.exclusive)[
            0
        ].numpy(),
        other(radiograph)[0][0],
    )
    tolerance = LARGEST_DIFFERENCE
    drawn_tolerance = LARGEST_DIFFERENCE - report["largest_difference"]
    if precision == "int8":
        tolerance = LARGEST_MEAN_DIFFERENCE + float(np.abs(other_scores - scores).max())
        drawn_tolerance = LARGEST_MEAN_DIFFERENCE - report["mean_difference"]
    expected = dict(zip(card.labels, map(float, scores), strict=True))
    drawn = other(drawn_images(card.preprocessing))[0].tolist()
    self_test = SelfTest(
        scores=expected, tolerance=tolerance, drawn=drawn, drawn_tolerance=drawn_tolerance
    )
    self_test.check(other_scores, card.name)
    return self_test


def _graph(network: nn.Sequential, preprocessing: Preprocessing, is_exclusive: bool) -> Graph:
    import torch

    from cxr_transfer.models.engine import OUTPUTS

    example = torch.zeros((2, 1, *preprocessing.size), dtype=torch.uint8)
    graph = converted(answering(network, is_exclusive), example)
    for output, name in zip(graph.outputs, OUTPUTS, strict=True):
        output.get_tensor().set_names({name})
    return graph


def _quantized(graph: Graph, calibration: ImageTensors) -> Graph:
    # Evenly over what is given, which often stands in the order of its classes.
    picked = np.linspace(0, len(calibration) - 1, min(CALIBRATION_IMAGES, len(calibration)))
    images = [calibration[int(row)][None] for row in picked]
    with exclusive():
        try:
            import nncf
        except ImportError:
            raise MachineError(
                "missing_package",
                "Expected NNCF for an int8 conversion, but it is not installed: "
                'pip install "cxr-transfer[int8]".',
            ) from None
        # Weights of 7 bits. Processors without VNNI add two products of 8 bits in 16, where those
        # of 8-bit weights are cut off: the same network would score otherwise on each of them.
        settings = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)
        # The head takes no time, and may weigh small differences of features (multi_source's does).
        head = nncf.IgnoredScope(patterns=[r".*\.head/.*"])
        with quiet("nncf"):
            quantized: Graph = nncf.quantize(
                graph,
                nncf.Dataset(images),
                subset_size=len(images),
                preset=nncf.QuantizationPreset.MIXED,
                ignored_scope=head,
                advanced_parameters=settings,
            )
    return quantized
