"""Studies as public functions: each does what `cxr study` does, through the same code."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from cxr_transfer.api import Log, PathLike, Report, path_of
from cxr_transfer.errors import check_seed
from cxr_transfer.own_folder import lock_folder


def learning_curve(
    data: PathLike,
    sizes: Sequence[int],
    *,
    out: PathLike,
    recipes: Sequence[PathLike] = ("model_1", "model_2", "model_3", "linear_probe"),
    draws: int = 5,
    start: PathLike | None = None,
    weights: PathLike | None = None,
    input_size: int | None = None,
    max_epochs: int | None = None,
    skip_damaged: bool = False,
    device: str = "auto",
    precision: str = "auto",
    cluster: str | None = None,
    workers: int = 2,
    seed: int = 0,
    log: Log = lambda line: None,
) -> Report:
    """Measure how many images are enough; the same call goes on with one that was stopped.

    Args:
        data: Folder with the public archives, manifest (.csv), folder with a sub-folder per class,
            or "phantom" for generated images.
        sizes: Numbers of images per class, training and validation together, rising.
        out: Study folder, made where it is absent.
        recipes: Names of recipes of the package, or paths of others (.toml).
        draws: Number of random draws of each size, by patient.
        start: Checkpoint for the recipes that start from one; None trains it where archives are
            given.
        weights: File with ResNet-50's ImageNet weights, where they are not at hand.
        input_size: Height and width of the model input in pixels; None is the recipes' own.
        max_epochs: Number of epochs at which every stage is cut short.
        skip_damaged: Whether files that cannot be read are left out.
        device: Device: "auto", "cpu", "cuda" or "mps".
        precision: Precision: "auto", "float32" or "bfloat16".
        cluster: Ray cluster that does many runs at a time: "local" starts one here, "auto" or an
            address is one that runs; None does them here, one after the other.
        workers: Number of runs at a time there, with a processor each.
        seed: Random seed of split, draws, weights, order and dropout.
        log: Function that is told what happens, a line at a time.

    Returns:
        The content of ``curve.json``; as a table, a row per recipe and size.

    Raises:
        TypeError: An argument is of another type.
        CxrError: What `cxr study --learning-curve` says; see its codes.
    """
    from cxr_transfer.studies.curve_plan import LearningCurve
    from cxr_transfer.studies.learning_curve import run_learning_curve
    from cxr_transfer.training.device import Cluster, Execution

    curve = LearningCurve(
        _whole_numbers(sizes),
        models=tuple(str(path_of(recipe, "recipe")) for recipe in recipes),
        draws=draws,
        seed=seed,
        max_epochs=max_epochs,
        input_size=input_size,
        skip_damaged=skip_damaged,
    )
    folder = path_of(out, "out")
    with lock_folder(folder):
        content = run_learning_curve(
            str(path_of(data, "data")),
            folder,
            curve,
            execution=Execution(
                device=device, precision=precision, cluster=Cluster.named(cluster, workers)
            ),
            weights=None if weights is None else path_of(weights, "weights"),
            start=None if start is None else path_of(start, "start"),
            log=log,
        )
    text = (folder / "report.md").read_text(encoding="utf-8", errors="surrogateescape")
    return Report(content, text, _curve_rows(content), folder)


def local_curve(
    recipe: PathLike,
    data: PathLike,
    local: str,
    sizes: Sequence[int],
    *,
    out: PathLike,
    draws: int = 3,
    labels: Mapping[str, str] | None = None,
    seed: int = 0,
    start: PathLike | None = None,
    weights: PathLike | None = None,
    max_epochs: int | None = None,
    overrides: Mapping[str, object] | None = None,
    resamples: int = 2000,
    skip_damaged: bool = False,
    device: str = "auto",
    precision: str = "auto",
    cluster: str | None = None,
    workers: int = 2,
    log: Log = lambda line: None,
) -> Report:
    """Measure what images of one source bring there; the same call goes on where it was stopped.

    Args:
        recipe: Name of a recipe of the package, or path of one (.toml).
        data: Manifest (.csv) with sources, folder with the public archives, or folder per class.
        local: Name of the source; half of its patients test.
        sizes: Numbers of its images, over all classes together, rising; 0 is none.
        out: Report folder, made where it is absent.
        draws: Number of random draws of each size, by patient.
        labels: Label of the data to class; "" as a class leaves its images out.
        seed: Random seed of parts, draws, weights, order, dropout and bootstrap.
        start: Checkpoint that the recipe starts from, where it starts from one.
        weights: File with weights, where the recipe starts from one.
        max_epochs: Number of epochs at which every stage is cut short.
        overrides: Values of keys of the recipe by their paths, as `train` takes them.
        resamples: Number of resamples of the bootstrap over draws and patients.
        skip_damaged: Whether to leave out files that cannot be read.
        device: Device: "auto", "cpu", "cuda" or "mps".
        precision: Precision: "auto", "float32" or "bfloat16".
        cluster: Ray cluster that does many runs at a time: "local" starts one here, "auto" or an
            address is one that runs; None does them here, one after the other.
        workers: Number of runs at a time there, with a processor each.
        log: Function that is told what happens, a line at a time.

    Returns:
        The content of ``local_curve.json``; as a table, a row per size.

    Raises:
        TypeError: An argument is of another type.
        CxrError: What `cxr validate --curve` says; see its codes.
    """
    from cxr_transfer.studies.local_curve import LocalCurve, measure_local_curve
    from cxr_transfer.studies.one_recipe import TrainingPlan
    from cxr_transfer.training.device import Cluster, Execution
    from cxr_transfer.training.recipe_files import load_recipe

    check_seed(seed)
    plan = TrainingPlan(
        recipe=load_recipe(str(path_of(recipe, "recipe")), overrides or {}).limited(max_epochs),
        mapping=labels or {},
        skip_damaged=skip_damaged,
        seed=seed,
        execution=Execution(
            device=device, precision=precision, cluster=Cluster.named(cluster, workers)
        ),
        start=None if start is None else path_of(start, "start"),
        weights=None if weights is None else path_of(weights, "weights"),
    )
    curve = LocalCurve(local, _whole_numbers(sizes), draws=draws, resamples=resamples)
    source, folder = path_of(data, "data"), path_of(out, "out")
    with lock_folder(folder):
        content = measure_local_curve(plan, curve, source, folder, log=log)
    text = (folder / "report.md").read_text(encoding="utf-8", errors="surrogateescape")
    rows = [
        {name: point[name] for name in ("images", "drawn", "draws")}
        | {
            f"{figure}_{bound}": (point[figure] or {}).get(bound)
            for figure in ("auroc_macro", "gained")
            for bound in ("value", "low", "high")
        }
        for point in content["points"]
    ]
    return Report(content, text, rows, folder)


def _whole_numbers(sizes: Sequence[int]) -> tuple[int, ...]:
    """Return sizes as whole numbers.

    Raises:
        TypeError: They are none.
    """
    try:
        return tuple(map(operator.index, sizes))
    except TypeError:
        raise TypeError(f"Expected whole numbers as sizes, but got {sizes!r}.") from None


def _curve_rows(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each recipe and size, an estimate's bounds beside its value."""
    return [
        {name: row[name] for name in ("model", "images_per_class", "drawn_per_class", "draws")}
        | {
            f"{measure}_{bound}": row[measure][bound]
            for measure in ("accuracy", "auroc_macro")
            for bound in ("value", "low", "high")
        }
        for row in content["points"]
    ]
