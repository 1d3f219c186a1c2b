"""The command ``cxr``: the only place that prints and exits.

Everything that needs tensors is imported inside its command, so that ``cxr --help`` is instant.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cxr_transfer import INTENDED_USE, __version__
from cxr_transfer.errors import CxrError

if TYPE_CHECKING:
    from cxr_transfer.inference.predictor import Prediction
    from cxr_transfer.training.execution import Execution

app = typer.Typer(
    name="cxr",
    help=f"Transfer learning on chest radiographs, and how far to trust it.\n\n{INTENDED_USE}",
    epilog="Exit codes: 0 done; 1 done, some inputs failed; 2 usage; 3 data; 4 model; 5 machine.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(no_args_is_help=True, help="Look at archives, and write their manifests.")
app.add_typer(data_app, name="data")

DEVICE_HELP = "auto, cpu, cuda or mps."
PRECISION_HELP = "auto, float32, or bfloat16 (auto: where the processor has units for it)."


def main() -> None:
    """Run ``cxr``; every error is one line on standard error and an exit code."""
    try:
        app()
    except CxrError as error:
        _leave(error.message, error.code, error.exit_code)
    except MemoryError:
        _leave("Expected more memory than there is; use fewer films.", "memory", 5)
    except RuntimeError as error:
        if "out of memory" not in str(error) and "not enough memory" not in str(error):
            raise
        _leave("Expected more memory than the device has; use smaller batches.", "memory", 5)
    except OSError as error:
        reason = error.strerror or str(error)
        _leave(f"Expected to read and write, but got: {reason} {error.filename or ''}", "system", 5)
    except SystemExit as leaving:
        if leaving.code == 130:
            _leave("Stopped; the same command with the same --out goes on.", "stopped", 130)
        raise


def _leave(message: str, code: str, exit_code: int) -> NoReturn:
    sys.stderr.write(f"cxr: {message.rstrip()} [{code}]\n")
    sys.exit(exit_code)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cxr-transfer {__version__}")
        raise typer.Exit


@app.callback()
def _front(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command(
    epilog="Examples:\n\n"
    "cxr study  (generated films)\n\n"
    "cxr study --data ../data --out runs/study\n\n"
    "cxr study --data ../data --out runs/folds --folds 5\n\n"
    "cxr study --data ../data --out runs/image --split image --models model_1,model_3"
)
def study(
    data: Annotated[
        str, typer.Option(help="Folder with the archives; 'phantom' is generated films.")
    ] = "phantom",
    out: Annotated[Path, typer.Option(help="Study folder; resumes what stands there.")] = Path(
        "runs/study"
    ),
    models: Annotated[
        str, typer.Option(help="Which, with commas.")
    ] = "model_0,model_1,model_2,model_3",
    split: Annotated[str, typer.Option(help="patient, or image as in the paper (leaks).")] = (
        "patient"
    ),
    folds: Annotated[
        int | None, typer.Option(help="Cross-validate over so many parts (5 is usual).")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of split, weights, order and dropout.")
    ] = 0,
    pretraining: Annotated[
        str, typer.Option(help="clean: Model_0 sees no patient of Dataset_1; paper: it does.")
    ] = "clean",
    model_0: Annotated[
        Path | None,
        typer.Option(
            "--model-0", help="A trained Model_0 to transfer from, instead of training one."
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="File with ResNet-50's weights.")] = None,
    max_epochs: Annotated[int | None, typer.Option(min=1, help="Cut every stage short.")] = None,
    skip_unavailable: Annotated[
        bool, typer.Option(help="Leave Model_3 out where its weights cannot be had.")
    ] = False,
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "auto",
    precision: Annotated[str, typer.Option(help=PRECISION_HELP)] = "auto",
) -> None:
    """Run the paper's four models: table, figures, intervals and tests."""
    from cxr_transfer.evaluation.study import Study, model_names, run_study
    from cxr_transfer.files import owned

    asked = Study(
        models=model_names(models),
        split=_choice("--split", split, ("patient", "image")),  # type: ignore[arg-type]
        folds=folds,
        seed=seed,
        pretraining=_choice("--pretraining", pretraining, ("clean", "paper")),  # type: ignore[arg-type]
        max_epochs=max_epochs,
        skip_unavailable=skip_unavailable,
    )
    with owned(out):
        run_study(
            data,
            out,
            asked,
            execution=_execution(device, precision),
            weights=weights,
            model_0=model_0,
            say=_say,
            steps=_steps,
        )
    typer.echo((out / "report.md").read_text(encoding="utf-8").partition("\n## Model_")[0])
    _say(f"report: {out / 'report.md'}")


@app.command(
    epilog="Examples:\n\n"
    "cxr train model_1 --data ../data --out runs/mine\n\n"
    "cxr train model_2 --data films.csv --from runs/study/model_0\n\n"
    "cxr train my_recipe.toml --data ../data --devices 2"
)
def train(
    recipe: Annotated[str, typer.Argument(help="model_0 .. model_3, or a TOML file.")],
    data: Annotated[Path, typer.Option(help="Archives, a manifest (.csv), or a folder per class.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Run folder, resumed when it is there. Default: a new runs/RECIPE/TIME."),
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="Checkpoint that the recipe starts from.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="File with ResNet-50's weights.")] = None,
    split: Annotated[str, typer.Option(help="patient, or image as in the paper.")] = "patient",
    pretraining: Annotated[str, typer.Option(help="For model_0: clean or paper.")] = "clean",
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of split, weights, order and dropout.")
    ] = 0,
    max_epochs: Annotated[int | None, typer.Option(min=1, help="Cut every stage short.")] = None,
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "auto",
    precision: Annotated[str, typer.Option(help=PRECISION_HELP)] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Processes on each machine (DDP).")] = 1,
    num_nodes: Annotated[int, typer.Option(min=1, help="Machines (DDP).")] = 1,
) -> None:
    """Train one recipe; the same command goes on with a run that was stopped."""
    import os

    from cxr_transfer.collections.opening import open_dataset
    from cxr_transfer.collections.splits import split as draw
    from cxr_transfer.provenance import stamp
    from cxr_transfer.training.execution import is_main_process
    from cxr_transfer.training.films import load_films
    from cxr_transfer.training.recipe import load_recipe
    from cxr_transfer.training.run import run_recipe

    by = _choice("--split", split, ("patient", "image"))
    clean = _choice("--pretraining", pretraining, ("clean", "paper"))
    run = load_recipe(recipe).limited(max_epochs)
    # The processes of a distributed run are this command again: they inherit the folder's name,
    # and only the first of them speaks.
    named = os.environ.setdefault("CXR_RUN_FOLDER", f"runs/{run.name}/{stamp()}")
    folder = out or Path(named)
    say, steps = (_say, _steps) if is_main_process() else (_silent, _no_steps)
    with steps("reading films", 0) as step:
        dataset = open_dataset(data, run.dataset, pretraining=clean, each=step)  # type: ignore[arg-type]
    dataset = draw(dataset, by=by, seed=seed)  # type: ignore[arg-type]
    with steps("decoding films", len(dataset.cases)) as step:
        films = load_films(dataset.cases, run.preprocessing, dataset.labels, each=step)
    run_recipe(
        run,
        dataset,
        films,
        folder,
        seed=seed,
        execution=_execution(device, precision, devices, num_nodes),
        start=start,
        weights=weights,
        say=say,
    )
    say(f"checkpoint: {folder}")


@app.command(
    epilog="Examples:\n\n"
    "cxr evaluate runs/study/model_3 --data prepared/outside.csv --out runs/outside\n\n"
    "cxr evaluate runs/study/model_1 --data runs/study/model_1/split.csv --out runs/test --json"
)
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Run folder, .safetensors or its .json.")],
    data: Annotated[Path, typer.Option(help="Manifest (.csv), archives or a folder per class.")],
    out: Annotated[Path, typer.Option(help="Report folder.")],
    part: Annotated[
        str | None, typer.Option(help="Part of a manifest with parts; default: test.")
    ] = None,
    allow_seen: Annotated[
        bool, typer.Option(help="Score films whose patients training saw; do not quote them.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print report.json.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the bootstrap.")] = 0,
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "auto",
) -> None:
    """Evaluate a checkpoint: figures with intervals, and what each group of films is called."""
    from cxr_transfer.collections.opening import open_cases
    from cxr_transfer.evaluation.assessment import assess
    from cxr_transfer.files import owned
    from cxr_transfer.training.run import claim

    cases = open_cases(data, part)
    with owned(out):
        claim(out, {"evaluation_of": checkpoint.name})
        with _steps("reading films", len(cases)) as step:
            assess(
                checkpoint, cases, out, allow_seen=allow_seen, device=device, seed=seed, each=step
            )
    name = "report.json" if json else "report.md"
    typer.echo((out / name).read_text(encoding="utf-8"))


@app.command(
    epilog="Examples:\n\n"
    "cxr audit runs/study/model_3 --data ../data --out runs/audit\n\n"
    "cxr audit runs/mine --data films.csv --out runs/mine/audit || echo not to be trusted"
)
def audit(
    checkpoint: Annotated[Path, typer.Argument(help="Run folder, .safetensors or its .json.")],
    data: Annotated[
        Path, typer.Option(help="Archives, a manifest (.csv) or a folder per class: all its films.")
    ],
    out: Annotated[Path, typer.Option(help="Report folder.")],
    json: Annotated[bool, typer.Option("--json", help="Print audit.json.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the bootstrap.")] = 0,
    device: Annotated[str, typer.Option(help=DEVICE_HELP)] = "auto",
) -> None:
    """Look for reasons not to believe a model's figure; exit code 1 when a hard check fails."""
    from cxr_transfer.collections.opening import open_all
    from cxr_transfer.evaluation.audit import audit as run
    from cxr_transfer.files import owned
    from cxr_transfer.training.run import claim

    cases = open_all(data)
    with owned(out):
        claim(out, {"audit_of": checkpoint.name})
        with _steps("reading films", len(cases)) as step:
            found = run(checkpoint, cases, out, device=device, seed=seed, each=step, say=_say)
    typer.echo((out / ("audit.json" if json else "audit.md")).read_text(encoding="utf-8"))
    if found["verdict"] == "fail":
        raise typer.Exit(1)


@app.command(
    epilog="Examples:\n\n"
    "cxr predict film.png --model runs/study/model_3\n\n"
    "cxr predict films/ --model runs/study/model_3 --json > answers.jsonl\n\n"
    "cxr predict films/ --model model_3-int8.xml --csv > answers.csv"
)
def predict(
    files: Annotated[list[Path], typer.Argument(help="Films, or folders of them.")],
    model: Annotated[Path, typer.Option(help="Run folder, checkpoint, or exported .xml.")],
    json: Annotated[bool, typer.Option("--json", help="A line of JSON per film.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="A row of CSV per film.")] = False,
    precision: Annotated[
        str, typer.Option(help="float32 (the same scores everywhere), or bfloat16 (faster).")
    ] = "float32",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Decoding threads; default: processors + 1.")
    ] = None,
) -> None:
    """Answer for films, one line each; a film that cannot be read never stops the others."""
    from cxr_transfer.inference.answers import as_csv, as_json, as_lines
    from cxr_transfer.inference.predictor import Predictor, films_in

    if json and csv:
        raise typer.BadParameter("choose one of --json and --csv")
    found = list(films_in(files))
    _say(INTENDED_USE)
    predictor = Predictor.open(model, precision=precision)
    written = as_json if json else as_csv if csv else as_lines
    failed = 0
    with _steps("predicting", len(found)) as step:

        def told() -> Iterator[Prediction]:
            nonlocal failed
            for answer in predictor.predict_files(found, workers=workers):
                failed += answer.status != "ok"
                step()
                yield answer

        for line in written(told(), predictor.card.labels):
            typer.echo(line)
    if failed:
        raise typer.Exit(1)


@app.command(
    epilog="Examples:\n\n"
    "cxr export runs/study/model_3 --out model_3.xml\n\n"
    "cxr export runs/study/model_3 --precision int8 --out model_3-int8.xml"
)
def export(
    checkpoint: Annotated[Path, typer.Argument(help="Run folder, .safetensors or its .json.")],
    out: Annotated[Path, typer.Option(help="NAME.xml; .bin and .json come to lie beside it.")],
    precision: Annotated[str, typer.Option(help="float32 or int8.")] = "float32",
    data: Annotated[
        Path | None,
        typer.Option(
            help="Manifest whose training part calibrates int8 and whose validation part is "
            "compared. Default: split.csv of the run folder."
        ),
    ] = None,
) -> None:
    """Convert a checkpoint to OpenVINO, checked against the checkpoint before it is kept."""
    from cxr_transfer.inference.conversion import convert
    from cxr_transfer.inference.material import calibration_and_check

    chosen = _choice("--precision", precision, ("float32", "int8"))
    calibration, check = calibration_and_check(checkpoint, data)
    done = convert(
        checkpoint,
        out,
        precision=chosen,  # type: ignore[arg-type]
        calibration=calibration,
        check=check,
    ).check
    films = "generated films" if done["drawn"] else "films"
    _say(
        f"{out}: compared with the checkpoint on {done['films']} {films}: largest difference of a "
        f"score {done['largest_difference']:.2g}, the same class on {done['same_class']:.1%}"
    )


@data_app.command("check", epilog="Example:\n\ncxr data check ../data")
def data_check(
    folder: Annotated[Path, typer.Argument(help="Folder with archives, or a folder per class.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what is there by class, patient, source, view and size; what is missing or double."""
    import json as json_module

    from cxr_transfer.collections.archives import read_archives
    from cxr_transfer.collections.check import check

    archives = read_archives(folder)
    total = sum(len(archive.cases) for archive in archives)
    with _steps("reading films", total) as step:
        found = check(archives, each=step)
    typer.echo(json_module.dumps(found, indent=2) if json else _check_text(found))
    if found["damaged"]:
        raise typer.Exit(1)


def _check_text(found: dict[str, Any]) -> str:
    from cxr_transfer.errors import listing

    def counts(table: dict[str, int]) -> str:
        return ", ".join(f"{number} {name}" for name, number in table.items())

    lines: list[str] = []
    for table in found["archives"]:
        lines += [
            f"{table['collection']} ({table['folder']}): {table['films']} "
            f"{'generated ' if table['generated'] else ''}films of "
            f"{table['patients']} patients, {table['patients_with_several_films']} with several",
            f"  classes  {counts(table['classes'])}",
            f"  sources  {counts(table['sources'])}",
            f"  views    {counts(table['views'])}",
            f"  sizes    {table['sizes']}",
            f"  missing  {len(table['missing'])}"
            + (f": {listing(table['missing'])}" if table["missing"] else ""),
            f"  ignored  {table['ignored']} other files",
            "",
        ]
    lines.append(f"identical films: {len(found['identical'])} groups")
    lines += [f"  {' = '.join(names)}" for names in found["identical"]]
    lines.append(f"damaged films: {len(found['damaged'])}")
    lines += [f"  {name}" for name in found["damaged"]]
    return "\n".join(lines)


@data_app.command("prepare", epilog="Example:\n\ncxr data prepare ../data --out prepared")
def data_prepare(
    folder: Annotated[Path, typer.Argument(help="Folder with the archives.")],
    out: Annotated[Path, typer.Option(help="Where the manifests are written.")],
) -> None:
    """Write the manifests of Dataset_0, Dataset_1 and the films outside them, with hashes."""
    from cxr_transfer.collections.archives import read_archives
    from cxr_transfer.collections.datasets import (
        dataset_0,
        dataset_1,
        outside_cases,
        pretraining_cases,
    )
    from cxr_transfer.collections.index import data_hash, index
    from cxr_transfer.collections.manifest import write_manifest
    from cxr_transfer.files import owned, write_json

    archives = read_archives(folder)
    zero, one = dataset_0(archives), dataset_1(archives)
    outside = outside_cases(archives, one)
    with owned(out):
        summary: dict[str, Any] = {}
        found = {}
        for name, cases in {zero.name: zero.cases, one.name: one.cases, "outside": outside}.items():
            with _steps(f"reading {name}", len(cases)) as step:
                found[name] = index(cases, each=step)
            write_manifest(out / f"{name}.csv", found[name])
        clean = pretraining_cases(
            dataclasses.replace(zero, cases=found[zero.name]),
            dataclasses.replace(one, cases=found[one.name]),
        )
        write_manifest(out / "dataset_0_without_dataset_1.csv", clean.cases)
        found["dataset_0_without_dataset_1"] = clean.cases
        for name, cases in found.items():
            labels = dict.fromkeys(case.label for case in cases)
            summary[name] = {
                "films": len(cases),
                "classes": {label: sum(case.label == label for case in cases) for label in labels},
                "data_hash": data_hash(cases) if cases else "",
            }
            classes = ", ".join(f"{n} {label}" for label, n in summary[name]["classes"].items())
            typer.echo(f"{name}: {len(cases)} films ({classes}), {summary[name]['data_hash'][:12]}")
        write_json(out / "prepared.json", summary)


@app.command()
def doctor() -> None:
    """Print versions, devices and weights at hand; what is missing, and how to get it."""
    import importlib.util
    import shutil

    from cxr_transfer.models.pretrained import describe_imagenet
    from cxr_transfer.provenance import commit, machine, versions
    from cxr_transfer.training.execution import best_device

    here = machine()
    weights = describe_imagenet()
    board = importlib.util.find_spec("tensorboard") is not None
    rows = {
        **versions(),
        "commit": commit() or "installed package",
        "machine": f"{here['processor']}, {here['cores']} cores, {here['system']}",
        "device": best_device(),
        "disk": f"{shutil.disk_usage('.').free / 1e9:.1f} GB free here",
        "ResNet-50": weights.message,
        "tensorboard": "installed" if board else 'missing: pip install "cxr-transfer[tensorboard]"',
    }
    for name, value in rows.items():
        typer.echo(f"{name:<14} {value}")
    typer.echo(f"\n{INTENDED_USE}")


def _execution(device: str, precision: str, devices: int = 1, num_nodes: int = 1) -> Execution:
    import importlib.util

    from cxr_transfer.training.execution import Execution

    return Execution(
        device=device,
        precision=precision,
        devices=devices,
        num_nodes=num_nodes,
        bar=sys.stderr.isatty(),
        tensorboard=importlib.util.find_spec("tensorboard") is not None,
    )


def _choice(option: str, given: str, known: tuple[str, ...]) -> str:
    if given not in known:
        raise typer.BadParameter(
            f"expected one of {', '.join(known)}, but got {given!r}", param_hint=option
        )
    return given


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _silent(line: str) -> None:
    pass


@contextmanager
def _no_steps(_title: str, _total: int) -> Iterator[Callable[[], None]]:
    yield lambda: None


@contextmanager
def _steps(title: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar with the time left on a terminal, one line elsewhere."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal:
        _say(f"{title}: {total} films" if total else title)
        yield lambda: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(title, total=total or None)
        yield lambda: progress.advance(task)


if __name__ == "__main__":
    main()
