"""What `cxr predict` does: answers for images, a line or a row each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxr_transfer.about import DEFAULT_MODEL, INTENDED_USE
from cxr_transfer.cli.options import CHECKPOINT_HELP
from cxr_transfer.cli.screen import SCREEN
from cxr_transfer.cli.terminal import log, progress, warn

if TYPE_CHECKING:
    from cxr_transfer.datasets.image_files import LeftOut
    from cxr_transfer.inference.explain import Explanation
    from cxr_transfer.inference.prediction import Prediction
    from cxr_transfer.inference.predictor import Predictor
    from cxr_transfer.inference.prepare import Prepared
    from cxr_transfer.storage import Location


PREDICT_EXAMPLES = (
    "Examples:\n\n"
    "cxr predict image.dcm\n\n"
    "cxr predict images/ --json > answers.jsonl\n\n"
    "cxr predict 'images/*.png' --model runs/study/model_1 --heatmaps maps\n\n"
    "cxr predict image.dcm --dicom-out objects\n\n"
    "cxr predict archive/ --out answers.parquet  (goes on where it was stopped)\n\n"
    "cxr predict s3://bucket/images --out s3://bucket/answers.csv\n\n"
    "find archive -name '*.dcm' | cxr predict - --csv > answers.csv"
)


def predict(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Images, folders, patterns, addresses (s3://, gs://); '-' takes an image, or "
            "names of images (a line each, or as find -print0 gives them) from standard input."
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help=f"{CHECKPOINT_HELP} Or an exported .xml. Default: the released {DEFAULT_MODEL}."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON per image.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="A row of CSV per image.")] = False,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Table (.csv or .parquet, here or s3://, gs://) with a row per image; resumed "
            "when stopped.",
        ),
    ] = None,
    heatmaps: Annotated[
        Path | None, typer.Option(help="Folder for a heat map of each image that got a class.")
    ] = None,
    dicom_out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for a structured report and a picture of each DICOM image's answer."
        ),
    ] = None,
    any_modality: Annotated[
        bool,
        typer.Option(
            help="Take DICOM images whatever modality or body part they name, and FOR PROCESSING."
        ),
    ] = False,
    precision: Annotated[
        str, typer.Option(help="float32 (the same scores everywhere), or bfloat16 (faster).")
    ] = "float32",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Decoding threads; default: processors + 1. With --cluster: processes of each "
            "stage, 2.",
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Spread the images over Ray's machines: 'local' starts some processes here, "
            "'auto' or an address is a cluster that runs (needs --out)."
        ),
    ] = None,
) -> None:
    """Answer for images, one line each; an image that cannot be read never stops the others."""
    from cxr_transfer.inference.part_store import partial_folder
    from cxr_transfer.inference.predictor import Predictor
    from cxr_transfer.inference.writers import as_csv, as_json, as_lines
    from cxr_transfer.storage import location

    if json and csv:
        raise typer.BadParameter("choose one of --json and --csv")
    if cluster and not out:
        raise typer.BadParameter("--cluster writes a table: give --out TABLE.parquet too")
    if out and (json or csv or heatmaps or dicom_out):
        raise typer.BadParameter(
            "--out writes a table: leave --json, --csv, --heatmaps and --dicom-out out"
        )
    folders: list[Location] = [folder for folder in (heatmaps, dicom_out) if folder]
    table = location(out) if out else None
    written = [table, partial_folder(table)] if table else folders
    inputs, left_out = _asked(files, written)
    warn(INTENDED_USE)
    for notice in left_out.notices():
        warn(notice)
    if table:
        images = [image for image in inputs if not isinstance(image, bytes)]
        if len(images) < len(inputs):
            raise typer.BadParameter("--out takes files, not an image on standard input")
        options = {"precision": precision, "any_modality": any_modality}
        _table(images, table, model, options, workers, cluster)
        return
    if heatmaps and model and model.endswith(".xml"):
        raise typer.BadParameter("an exported network is not explained: give its checkpoint")
    predictor = Predictor.open(model, precision=precision, any_modality=any_modality)
    _log_notes(predictor, precision)
    failed = 0
    with progress("predicting", len(inputs)) as step:
        kept_by = _keepers(model, predictor, heatmaps, dicom_out, any_modality)

        def told() -> Iterator[Prediction]:
            nonlocal failed
            if not kept_by:
                for answer in predictor.predict_files(inputs, workers=workers):
                    failed += answer.status != "ok"
                    step()
                    yield answer
                return
            kept = predictor.predict_and_keep(inputs, workers=workers)
            for image, (answer, prepared) in zip(inputs, kept, strict=True):
                failed += answer.status != "ok"
                kept_by(image, answer, prepared)
                step()
                yield answer

        # A terminal is read by a person; a pipe by a program, which wants the very names.
        rows = partial(as_csv, seen=sys.stdout.isatty())
        as_text = as_json if json else rows if csv else as_lines
        for line in as_text(told(), predictor.card.labels):
            SCREEN.answer(line)
    if failed:
        raise typer.Exit(1)


def _asked(
    arguments: Sequence[str], written: Sequence[Location]
) -> tuple[list[Location | bytes], LeftOut]:
    """Return the images that arguments stand for, and what of folders was passed over.

    Args:
        arguments: Files, folders, patterns, addresses; "-" is standard input: an image, or names of
            images.
        written: Files, folders and objects that this command writes: they are no images.
    """
    import glob
    import os

    from cxr_transfer.datasets.image_files import LeftOut, images_in
    from cxr_transfer.datasets.stored_images import images_at
    from cxr_transfer.errors import UsageError
    from cxr_transfer.storage import is_address, location

    inputs: list[Location | bytes] = []
    left_out = LeftOut()
    stored = [name for name in written if is_address(name)]
    local = [Path(name) for name in written if not is_address(name)]
    for argument in arguments:
        place = location(argument)
        if argument == "-":
            inputs += _given_on_input(sys.stdin.buffer.read())
        elif is_address(place):
            inputs += images_at(place, leave_out=stored, left_out=left_out)
        elif not os.path.lexists(place) and glob.has_magic(str(place)):
            matching = sorted(glob.glob(str(place), recursive=True)) or [str(place)]
            paths = [Path(path) for path in matching]
            inputs += images_in(paths, leave_out=local, left_out=left_out)
        else:
            inputs += images_in([Path(place)], leave_out=local, left_out=left_out)
    if not inputs:
        passed_over = "".join(f" ({notice})" for notice in left_out.notices())
        raise UsageError(
            "no_images",
            f"Expected images, but got none in what was given{passed_over}; give other paths.",
        )
    return inputs, left_out


def _given_on_input(content: bytes) -> list[Location | bytes]:
    """Return the images that standard input names, or the one that it is."""
    import os

    from cxr_transfer.storage import location

    if b"\0" not in content:  # Every picture holds one, and no name can.
        return [location(name) for name in os.fsdecode(content).splitlines() if name]
    names = content.split(b"\0")
    # As "find -print0" gives them; no picture begins with the name of a file.
    if names[0] and not names[-1] and os.path.lexists(names[0]):
        return [Path(os.fsdecode(name)) for name in names if name]
    return [content]


def _log_notes(predictor: Predictor, precision: str) -> None:
    """Say once what holds of all answers, and where the network could not be kept."""
    SCREEN.detail(f"{predictor.model}: answers on the processor in {precision}")
    for note in (*predictor.notes, predictor.cache_note):
        if note:
            warn(note)


def _table(
    images: Sequence[Location],
    out: Location,
    model: str | None,
    options: dict[str, Any],
    workers: int | None,
    cluster: str | None,
) -> None:
    """Write a row for each image to ``out``, here or on Ray's machines."""
    from cxr_transfer.inference.predictor import Predictor
    from cxr_transfer.inference.ray_backend import predict_on_cluster
    from cxr_transfer.inference.table import predict_into
    from cxr_transfer.models.metadata import RELEASED

    with progress("predicting", len(images)) as step:
        if cluster:
            done = predict_on_cluster(
                model or RELEASED / DEFAULT_MODEL,
                images,
                out,
                workers=workers or 2,
                address=None if cluster == "local" else cluster,
                options=options,
                on_image=step,
            )
        else:
            predictor = Predictor.open(model, **options)
            _log_notes(predictor, options["precision"])
            done = predict_into(
                predictor, images, out, workers=workers, settings=options, on_image=step
            )
    resumed = f" ({done.resumed} answered before)" if done.resumed else ""
    log(
        f"{out}: {done.files} images{resumed}: {done.ok} got a class, {done.cannot_assess} cannot "
        f"be assessed, {done.error} could not be read"
    )
    if done.ok < done.files:
        raise typer.Exit(1)


def _keepers(
    model: str | None,
    predictor: Predictor,
    heat_maps: Path | None,
    dicom_out: Path | None,
    any_modality: bool,
) -> Callable[[Location | bytes, Prediction, Prepared], None] | None:
    """Return what writes heat maps and DICOM objects of an answer; None where none are wanted."""
    from cxr_transfer.datasets.image_files import stem_of
    from cxr_transfer.errors import ImageError
    from cxr_transfer.inference.explain import Explainer, write_explanation
    from cxr_transfer.inference.prediction import explained_label

    if heat_maps is None and dicom_out is None:
        return None
    explains = not (model and model.endswith(".xml"))
    explainer = Explainer.open(model, any_modality=any_modality) if explains else None
    write_objects = _dicom_writer(model, predictor, dicom_out) if dicom_out else None

    def explained(stem: str, answer: Prediction, prepared: Prepared) -> Explanation | None:
        if explainer is None or answer.status != "ok":
            return None
        try:
            return explainer.explain(prepared, label=explained_label(answer.as_dict()))
        except ImageError as error:  # At the border of what is familiar two precisions may differ.
            log(f"no heat map of {stem}: {error.message} [{error.code}]")
            return None

    def keep(image: Location | bytes, answer: Prediction, prepared: Prepared) -> None:
        stem = "image" if isinstance(image, bytes) else stem_of(image)
        explanation = explained(stem, answer, prepared)
        if heat_maps and explanation:
            assert prepared.radiograph is not None, "it was asked for"
            write_explanation(explanation, prepared.radiograph, heat_maps, stem)
        if write_objects:
            write_objects(stem, image, (answer, prepared), explanation)

    return keep


def _dicom_writer(
    model: str | None, predictor: Predictor, folder: Path
) -> Callable[[str, Location | bytes, tuple[Prediction, Prepared], Explanation | None], None]:
    """Return what writes the DICOM objects of an answer."""
    from datetime import datetime

    from cxr_transfer.errors import ImageError
    from cxr_transfer.extras import require
    from cxr_transfer.models.metadata import RELEASED
    from cxr_transfer.radiograph.reading import read_content

    require("highdicom", "--dicom-out")
    from cxr_transfer.pacs.answer_files import write_answer
    from cxr_transfer.pacs.answered_image import AnsweringModel

    facts = AnsweringModel.opened(predictor, model or RELEASED / DEFAULT_MODEL)

    def write(
        stem: str,
        image: Location | bytes,
        answered: tuple[Prediction, Prepared],
        explanation: Explanation | None,
    ) -> None:
        now = datetime.now().astimezone()
        try:
            content = image if isinstance(image, bytes) else read_content(image)
            write_answer(folder, content, answered, explanation, model=facts, now=now, stem=stem)
        except ImageError as error:
            log(f"no DICOM objects of {stem}: {error.message} [{error.code}]")

    return write
