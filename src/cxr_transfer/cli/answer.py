"""Commands that answer for films, and that hand a network on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxr_transfer import DEFAULT_MODEL, INTENDED_USE
from cxr_transfer.cli.terminal import CHECKPOINT_HELP, choice, say, steps, tell

if TYPE_CHECKING:
    from cxr_transfer.datasets.image_files import LeftOut
    from cxr_transfer.inference.predictor import Prediction, Predictor


PREDICT_EXAMPLES = (
    "Examples:\n\n"
    "cxr predict film.dcm\n\n"
    "cxr predict films/ --json > answers.jsonl\n\n"
    "cxr predict 'films/*.png' --model runs/study/model_1 --heatmaps maps\n\n"
    "cxr predict archive/ --out answers.parquet  (goes on where it was stopped)\n\n"
    "find archive -name '*.dcm' | cxr predict - --csv > answers.csv"
)


def predict(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Films, folders, patterns; '-' takes a film, or names of films (a line each, or "
            "as find -print0 gives them) from standard input."
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help=f"{CHECKPOINT_HELP} Or an exported .xml. Default: the released {DEFAULT_MODEL}."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="A line of JSON per film.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="A row of CSV per film.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Table (.csv or .parquet) with a row per film; resumed when stopped."),
    ] = None,
    heatmaps: Annotated[
        Path | None, typer.Option(help="Folder for a heat map of each film that got a class.")
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
            help="Decoding threads; default: processors + 1. With --cluster: processes, 2.",
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Spread the films over Ray's machines: 'local' starts some processes here, "
            "'auto' or an address is a cluster that runs (needs --out)."
        ),
    ] = None,
) -> None:
    """Answer for films, one line each; a film that cannot be read never stops the others."""
    from cxr_transfer.inference.predictor import Predictor
    from cxr_transfer.inference.table import partial_folder
    from cxr_transfer.inference.writers import as_csv, as_json, as_lines

    if json and csv:
        raise typer.BadParameter("choose one of --json and --csv")
    if cluster and not out:
        raise typer.BadParameter("--cluster writes a table: give --out TABLE.parquet too")
    if out and (json or csv or heatmaps):
        raise typer.BadParameter("--out writes a table: leave --json, --csv and --heatmaps out")
    written = [out, partial_folder(out)] if out else [heatmaps] if heatmaps else []
    found, left_out = _asked(files, written)
    say(INTENDED_USE)
    for notice in left_out.notices():
        say(notice)
    if out:
        films = [film for film in found if isinstance(film, Path)]
        if len(films) < len(found):
            raise typer.BadParameter("--out takes files, not a film on standard input")
        options = {"precision": precision, "any_modality": any_modality}
        _table(films, out, model, options, workers, cluster)
        return
    if heatmaps and model and model.endswith(".xml"):
        raise typer.BadParameter("a converted network has no gradients: give its checkpoint")
    predictor = Predictor.open(model, precision=precision, any_modality=any_modality)
    _say_notes(predictor)
    failed = 0
    with steps("predicting", len(found)) as step:
        drawn = _heat_maps(model, heatmaps, any_modality) if heatmaps else None

        def told() -> Iterator[Prediction]:
            nonlocal failed
            for film, answer in zip(
                found, predictor.predict_files(found, workers=workers), strict=True
            ):
                failed += answer.status != "ok"
                if drawn and answer.status == "ok":
                    drawn(film, answer.label)
                step()
                yield answer

        # A terminal is read by a person; a pipe by a program, which wants the very names.
        rows = partial(as_csv, seen=sys.stdout.isatty())
        as_text = as_json if json else rows if csv else as_lines
        for line in as_text(told(), predictor.card.labels):
            # As it is: Click would take what looks like a colour out of a file's name.
            typer.echo(line, color=True)
    if failed:
        raise typer.Exit(1)


def _asked(given: Sequence[str], written: Sequence[Path]) -> tuple[list[Path | bytes], LeftOut]:
    """Return the films that arguments stand for, and what of folders was passed over.

    Args:
        given: Files, folders and patterns; "-" is standard input: a film, or names of films.
        written: Files and folders that this command writes: they are no films.
    """
    import glob
    import os

    from cxr_transfer.datasets.image_files import LeftOut, films_in
    from cxr_transfer.errors import UsageError

    found: list[Path | bytes] = []
    left_out = LeftOut()
    for one in given:
        if one == "-":
            found += _given_on_input(sys.stdin.buffer.read())
        elif not os.path.lexists(one) and glob.has_magic(one):
            matching = sorted(glob.glob(one, recursive=True)) or [one]
            paths = [Path(path) for path in matching]
            found += films_in(paths, leave_out=written, left_out=left_out)
        else:
            found += films_in([Path(one)], leave_out=written, left_out=left_out)
    if not found:
        passed_over = "".join(f" ({notice})" for notice in left_out.notices())
        raise UsageError(
            "no_films",
            f"Expected films, but there are none in what was given{passed_over}; give other paths.",
        )
    return found, left_out


def _given_on_input(content: bytes) -> list[Path | bytes]:
    """Return the films that standard input names, or the one that it is."""
    import os

    if b"\0" not in content:  # Every picture holds one, and no name can.
        return [Path(name) for name in os.fsdecode(content).splitlines() if name]
    names = content.split(b"\0")
    # As "find -print0" gives them; no picture begins with the name of a file.
    if names[0] and not names[-1] and os.path.lexists(names[0]):
        return [Path(os.fsdecode(name)) for name in names if name]
    return [content]


def _say_notes(predictor: Predictor) -> None:
    """Say once what holds of all answers, and where the network could not be kept."""
    for note in (*predictor.notes, predictor.cache_note):
        if note:
            say(note)


def _table(
    films: Sequence[Path],
    out: Path,
    model: str | None,
    options: dict[str, Any],
    workers: int | None,
    cluster: str | None,
) -> None:
    """Write a row for each film to ``out``, here or on Ray's machines."""
    from cxr_transfer.inference.predictor import Predictor
    from cxr_transfer.inference.ray_backend import predict_on_cluster
    from cxr_transfer.inference.table import predict_into
    from cxr_transfer.models.metadata import RELEASED

    with steps("predicting", len(films)) as step:
        if cluster:
            done = predict_on_cluster(
                model or RELEASED / DEFAULT_MODEL,
                films,
                out,
                workers=workers or 2,
                address=None if cluster == "local" else cluster,
                options=options,
                each=step,
            )
        else:
            predictor = Predictor.open(model, **options)
            _say_notes(predictor)
            done = predict_into(predictor, films, out, workers=workers, settings=options, each=step)
    resumed = f" ({done.resumed} answered before)" if done.resumed else ""
    say(
        f"{out}: {done.files} films{resumed}: {done.ok} got a class, {done.cannot_assess} cannot "
        f"be assessed, {done.error} could not be read"
    )
    if done.ok < done.files:
        raise typer.Exit(1)


def _heat_maps(
    model: str | None, folder: Path, any_modality: bool
) -> Callable[[Path | bytes, str | None], None]:
    from cxr_transfer.datasets.image_files import stem_of
    from cxr_transfer.errors import FilmError
    from cxr_transfer.inference.explain import Explainer, write_explanation
    from cxr_transfer.radiograph import decode, read_film

    explainer = Explainer.open(model, any_modality=any_modality)

    def draw(film: Path | bytes, label: str | None) -> None:
        if isinstance(film, bytes):
            radiograph, stem = decode(film, any_modality=any_modality), "film"
        else:
            radiograph, stem = read_film(film, any_modality=any_modality), stem_of(film)
        try:
            explanation = explainer.explain(radiograph, label=label)
        except FilmError as error:  # At the border of what is familiar two precisions may differ.
            say(f"no heat map of {stem}: {error.message} [{error.code}]")
            return
        write_explanation(explanation, radiograph, folder, stem)

    return draw


EXPLAIN_EXAMPLES = (
    "Examples:\n\n"
    "cxr explain film.dcm --out why\n\n"
    "cxr explain film.png --model runs/mine --label covid19 --out why --json"
)


def explain(
    file: Annotated[Path, typer.Argument(help="A film.")],
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
    """Show what raised a film's score: a heat map, and the training films most like it."""
    import json as json_module

    from cxr_transfer.datasets.image_files import stem_of
    from cxr_transfer.inference.explain import Explainer, write_explanation
    from cxr_transfer.radiograph import read_film

    say(INTENDED_USE)
    film = read_film(file, any_modality=any_modality)
    explanation = Explainer.open(model, any_modality=any_modality).explain(film, label=label)
    sheet = write_explanation(explanation, film, out, stem_of(file))
    if json:
        typer.echo(json_module.dumps(explanation.as_dict(), indent=2))
        return
    scores = ", ".join(f"{name} {100 * p:.1f}" for name, p in explanation.probabilities.items())
    meaning = "" if explanation.calibrated else "; not calibrated"
    tell(f"{explanation.label} ({scores}{meaning})")
    if explanation.lung_share is not None:
        tell(
            f"{100 * explanation.lung_share:.0f} % of the heat map lies in the lungs, which are "
            f"{100 * explanation.lung_area:.0f} % of what the model sees"
        )
    for one in explanation.neighbours:
        tell(f"like a training film of {one.source}: {one.label} ({one.distance:.2f})")
    for warning in explanation.warnings:
        tell(warning)
    say(f"sheet: {sheet}")


EXPORT_EXAMPLES = (
    "Examples:\n\n"
    "cxr export model_3 --out model_3.onnx\n\n"
    "cxr export runs/study/model_3 --out model_3.xml\n\n"
    "cxr export runs/study/model_3 --precision int8 --out model_3-int8.xml\n\n"
    "cxr export runs/study/model_3 --format torchscript --out model_3.pt"
)


def export(
    checkpoint: Annotated[Path, typer.Argument(help=CHECKPOINT_HELP)],
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
    from cxr_transfer.export.formats import chosen_format, written_files
    from cxr_transfer.export.formats import export as run
    from cxr_transfer.files import check_new, write_bytes
    from cxr_transfer.models.metadata import checkpoint_files, read_card
    from cxr_transfer.models.reference import reference_beside

    if format is not None:
        choice("--format", format, ("openvino", "onnx", "torchscript"))
    choice("--precision", precision, ("float32", "int8"))
    chosen = chosen_format(out, format=format, precision=precision)  # type: ignore[arg-type]
    for path in written_files(out, chosen):
        check_new(path)
    card_path, weights = checkpoint_files(checkpoint)
    found = reference_beside(weights, read_card(card_path).weights_sha256)
    # An int8 network's features lie elsewhere: the float32 ones' reference would misjudge them.
    reference = found if precision == "float32" else None
    calibration, check = calibration_and_check(checkpoint, data, calibrate=precision == "int8")
    written = run(
        checkpoint,
        out,
        format=format,  # type: ignore[arg-type]
        precision=precision,  # type: ignore[arg-type]
        calibration=calibration,
        check=check,
        temperature=reference[1].temperature if reference else None,
        least_score=reference[1].least_score if reference else None,
        coverage=reference[1].coverage if reference else None,
    )
    done = written.check
    if reference and written.format == "openvino":
        write_bytes(out.with_suffix(".reference.safetensors"), reference[0].read_bytes())
    films = "generated films" if done["drawn"] else "films"
    say(
        f"{out}: compared with the checkpoint on {done['films']} {films}: largest difference of a "
        f"score {done['largest_difference']:.2g}, of a feature "
        f"{done['features_largest_difference']:.2g}, the same class on {done['same_class']:.1%}"
    )
