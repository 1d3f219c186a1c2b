"""What `cxr export` does: a network for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_transfer.cli.options import Checkpoint
from cxr_transfer.cli.terminal import choice, log, phases

EXPORT_EXAMPLES = (
    "Examples:\n\n"
    "cxr export model_3 --out model_3.onnx\n\n"
    "cxr export runs/study/model_3 --out model_3.xml\n\n"
    "cxr export runs/study/model_3 --precision int8 --out model_3-int8.xml\n\n"
    "cxr export runs/study/model_3 --format torchscript --out model_3.pt"
)


def export(
    checkpoint: Checkpoint,
    out: Annotated[
        Path, typer.Option(help="File; a .json that says how to use it comes to lie beside it.")
    ],
    format: Annotated[  # noqa: A002
        str | None,
        typer.Option(help="openvino, onnx or torchscript; default: by the name's ending."),
    ] = None,
    precision: Annotated[str, typer.Option(help="float32; openvino also int8.")] = "float32",
    data: Annotated[
        Path | None,
        typer.Option(
            help="Manifest whose training part calibrates int8 and whose validation part is "
            "compared. Default: split.csv of the run folder."
        ),
    ] = None,
) -> None:
    """Hand a network on to other tools, compared with the checkpoint before it is kept."""
    from cxr_transfer.export.calibration_data import calibration_and_check
    from cxr_transfer.export.formats import EXPORTS, chosen_format, written_files
    from cxr_transfer.export.formats import export as run
    from cxr_transfer.files import check_new, write_bytes
    from cxr_transfer.models.metadata import checkpoint_files, read_card
    from cxr_transfer.models.reference import reference_beside

    if format is not None:
        choice("--format", format, tuple(EXPORTS))
    choice("--precision", precision, ("float32", "int8"))
    chosen = chosen_format(out, format=format, precision=precision)  # type: ignore[arg-type]
    for path in written_files(out, chosen):
        check_new(path)
    card_path, weights = checkpoint_files(checkpoint)
    kept = reference_beside(weights, read_card(card_path).weights_sha256)
    # An int8 network's features lie elsewhere: the float32 ones' reference would misjudge them.
    reference = kept if precision == "float32" else None
    with phases() as tell_phase:
        tell_phase("reading images to compare on", 0.0)
        calibration, check = calibration_and_check(checkpoint, data, calibrate=precision == "int8")
        written = run(
            checkpoint,
            out,
            format=format,  # type: ignore[arg-type]
            precision=precision,  # type: ignore[arg-type]
            calibration=calibration,
            check=check,
            temperature=reference[1].temperature if reference else None,
            confidence_threshold=reference[1].confidence_threshold if reference else None,
            coverage=reference[1].coverage if reference else None,
            thresholds=reference[1].thresholds if reference else None,
            progress=tell_phase,
        )
    done = written.check
    if reference and written.format == "openvino":
        write_bytes(out.with_suffix(".reference.safetensors"), reference[0].read_bytes())
    images = "generated images" if done["drawn"] else "images"
    log(
        f"{out}: compared with the checkpoint on {done['images']} {images}: largest difference of "
        f"a score {done['largest_difference']:.2g}, of a feature "
        f"{done['features_largest_difference']:.2g}, the same class on {done['same_class']:.1%}"
    )
