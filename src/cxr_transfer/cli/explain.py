"""What `cxr explain` does: why one image got its class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_transfer.about import DEFAULT_MODEL, INTENDED_USE
from cxr_transfer.cli.options import CHECKPOINT_HELP
from cxr_transfer.cli.terminal import log, tell, warn

EXPLAIN_EXAMPLES = (
    "Examples:\n\n"
    "cxr explain image.dcm --out why\n\n"
    "cxr explain image.png --model runs/mine --label covid19 --out why --json"
)


def explain(
    file: Annotated[Path, typer.Argument(help="An image.")],
    out: Annotated[Path, typer.Option(help="Folder for the sheet (.png) and its .json.")],
    model: Annotated[
        str | None,
        typer.Option(help=f"{CHECKPOINT_HELP} Default: the released {DEFAULT_MODEL}."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Class whose score is explained; default: the highest.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the JSON.")] = False,
    any_modality: Annotated[
        bool,
        typer.Option(
            help="Take a DICOM image whatever modality or body part it names, and FOR PROCESSING."
        ),
    ] = False,
) -> None:
    """Show what raised an image's score: a heat map, and the training images most like it."""
    import json as json_module

    from cxr_transfer.datasets.image_files import stem_of
    from cxr_transfer.inference.explain import Explainer, write_explanation
    from cxr_transfer.radiograph import read_radiograph
    from cxr_transfer.statistics.temperature import written_score

    warn(INTENDED_USE)
    radiograph = read_radiograph(file, any_modality=any_modality)
    explanation = Explainer.open(model, any_modality=any_modality).explain(radiograph, label=label)
    sheet = write_explanation(explanation, radiograph, out, stem_of(file))
    if json:
        tell(json_module.dumps(explanation.as_dict(), indent=2))
        return
    scores = ", ".join(
        f"{name} {written_score(score)}" for name, score in explanation.probabilities.items()
    )
    meaning = "" if explanation.calibrated else "; not calibrated"
    tell(f"{explanation.label} ({scores}{meaning})")
    if explanation.lung_share is not None:
        tell(
            f"{100 * explanation.lung_share:.0f} % of the heat map lies in the lungs, which are "
            f"{100 * explanation.lung_area:.0f} % of what the model sees"
        )
    for neighbour in explanation.neighbours:
        tell(
            f"like a training image of {neighbour.source}: {neighbour.label} "
            f"({neighbour.distance:.2f})"
        )
    for warning in explanation.warnings:
        tell(warning)
    log(f"sheet: {sheet}")
