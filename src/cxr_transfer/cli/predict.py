"""What `cxr predict` does: answers for images, a line or a row each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxr_transfer import DEFAULT_MODEL, INTENDED_USE
from cxr_transfer.cli.terminal import CHECKPOINT_HELP, say, steps

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
