"""A checkpoint becomes a converted network, compared with the checkpoint before it is kept.

The only room of inference that needs torch (and, for int8, NNCF); everything is imported where it
is needed. What travels in the graph: scaling (the networks' first layer) and softmax, so that grey
8-bit films go in and class scores come out. Decoding and resizing are ``radiograph``'s.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.collections.phantom import draw_film
from cxr_transfer.errors import MachineError, ModelError, UsageError
from cxr_transfer.files import write_bytes, write_json
from cxr_transfer.inference.converted import Converted, Weights, sha256
from cxr_transfer.radiograph import Preprocessing, Radiograph

if TYPE_CHECKING:
    import openvino
    from torch import nn

Films = npt.NDArray[np.uint8]

LARGEST_DIFFERENCE = 1e-4
"""Of a float32 conversion's score from the checkpoint's."""

LARGEST_MEAN_DIFFERENCE = 0.02
"""Of an int8 conversion's scores, over films and classes."""

CALIBRATION_FILMS = 300


def convert(
    checkpoint: Path,
    out: Path,
    *,
    precision: Weights = "float32",
    calibration: Films | None = None,
    check: Films | None = None,
) -> Converted:
    """Convert ``checkpoint`` into ``out`` (.xml, with .bin and .json beside it).

    Args:
        checkpoint: Run folder, weights file or card.
        out: Path of the graph; written only when the check has passed.
        precision: "float32", or "int8" (quantized after training).
        calibration: (N, 1, H, W) training films from which int8's ranges are taken.
        check: (N, 1, H, W) other films on which both networks are compared; None draws some.

    Raises:
        UsageError: ``not_an_xml``, ``no_calibration``.
        ModelError: ``conversion_differs``, and what `load_checkpoint` raises.
        MachineError: ``missing_package`` (NNCF, for int8), ``disk_full``, ``not_writable``.
    """
    import openvino
    import torch

    from cxr_transfer.inference.engine import Engine
    from cxr_transfer.models.checkpoint import load_checkpoint
    from cxr_transfer.models.networks import probabilities

    if out.suffix != ".xml":
        raise UsageError("not_an_xml", f"Expected a name that ends in .xml, but got {out}.")
    card, network = load_checkpoint(checkpoint)
    graph = _graph(network, card.preprocessing)
    if precision == "int8":
        if calibration is None or not len(calibration):
            raise UsageError(
                "no_calibration",
                "Expected training films to take int8's ranges from, but got none; give --data "
                "MANIFEST.csv with a part 'train'.",
            )
        graph = _quantized(graph, calibration)
    films = drawn_films(card.preprocessing) if check is None else check
    expected = probabilities(network, torch.from_numpy(films)).numpy()
    found = Engine(graph).scores(films)
    difference = np.abs(found - expected)
    report: dict[str, Any] = {
        "films": len(films),
        "drawn": check is None,
        "largest_difference": float(difference.max()),
        "mean_difference": float(difference.mean()),
        "same_class": float((found.argmax(1) == expected.argmax(1)).mean()),
    }
    _refuse_a_difference(report, precision)
    # OpenVINO writes where it is told, part by part; what stands at `out` must be whole.
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / out.name
        openvino.save_model(graph, written, compress_to_fp16=False)
        hashes = {name: sha256(written.with_suffix(f".{name}")) for name in ("xml", "bin")}
        converted = Converted(precision=precision, check=report, sha256=hashes, card=card)
        for suffix in (".bin", ".xml"):
            write_bytes(out.with_suffix(suffix), written.with_suffix(suffix).read_bytes())
    write_json(out.with_suffix(".json"), converted.model_dump(mode="json"))
    return converted


def drawn_films(preprocessing: Preprocessing, number: int = 8) -> Films:
    """Return ``number`` generated films, (N, 1, H, W), the same ones every time."""
    findings = ("normal", "bacterial", "viral", "covid19")
    drawn = [
        draw_film(findings[seed % 4], rng=np.random.default_rng(seed)) for seed in range(number)
    ]
    return np.stack([preprocessing.apply(Radiograph(film, "PNG"))[None] for film in drawn])


def _graph(network: nn.Sequential, preprocessing: Preprocessing) -> openvino.Model:
    import openvino
    import torch
    from torch import nn

    scored = nn.Sequential(network, nn.Softmax(dim=1)).eval()
    example = torch.zeros((2, 1, *preprocessing.size), dtype=torch.uint8)
    with warnings.catch_warnings():
        # Tracing warns of checks on the input's shape, which is fixed in the next line.
        warnings.simplefilter("ignore")
        graph = openvino.convert_model(scored, example_input=example)
    graph.reshape([-1, 1, *preprocessing.size])
    return graph


def _quantized(graph: openvino.Model, calibration: Films) -> openvino.Model:
    try:
        import nncf
    except ImportError:
        raise MachineError(
            "missing_package",
            "Expected NNCF for an int8 conversion, but it is not installed: "
            'pip install "cxr-transfer[int8]".',
        ) from None
    nncf.set_log_level(logging.ERROR)
    # Evenly over what is given, which often stands in the order of its classes.
    picked = np.linspace(0, len(calibration) - 1, min(CALIBRATION_FILMS, len(calibration)))
    films = [calibration[int(row)][None] for row in picked]
    quantized: openvino.Model = nncf.quantize(
        graph, nncf.Dataset(films), subset_size=len(films), preset=nncf.QuantizationPreset.MIXED
    )
    return quantized


def _refuse_a_difference(report: dict[str, Any], precision: Weights) -> None:
    name, bound = {
        "float32": ("largest_difference", LARGEST_DIFFERENCE),
        "int8": ("mean_difference", LARGEST_MEAN_DIFFERENCE),
    }[precision]
    if not report[name] <= bound:
        raise ModelError(
            "conversion_differs",
            f"Expected the converted network's scores within {bound:g} of the checkpoint's "
            f"({name.replace('_', ' ')}), but got {report[name]:.3g} over {report['films']} films; "
            "nothing was written.",
        )
