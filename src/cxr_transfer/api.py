"""The public functions: a data set, a run trained on it, its evaluation and its audit.

Each does what the command of its name does, through the same code. Imported lazily: `import
cxr_transfer` alone imports nothing heavy.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxr_transfer.data_frame import data_frame
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.loading import DatasetName, open_dataset
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.splits import SplitBy, split
from cxr_transfer.errors import check_list, check_seed, kind_of
from cxr_transfer.labels import Task
from cxr_transfer.own_folder import lock_folder

if TYPE_CHECKING:
    import pandas

PathLike = str | os.PathLike[str]
Log = Callable[[str], None]


class Report(Mapping[str, Any]):
    """Results of an evaluation or an audit, as they stand in its JSON; also as a table.

    Attributes:
        folder: Folder with the report, its figures and tables; None where none was asked for.
        text: Report for people, Markdown.
    """

    def __init__(
        self, content: Mapping[str, Any], text: str, rows: list[dict[str, Any]], folder: Path | None
    ) -> None:
        self._content, self._rows = dict(content), rows
        self.text, self.folder = text, folder

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - JSON's kinds of values
        return self._content[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def __repr__(self) -> str:
        return f"Report({', '.join(self._content)})"

    def _repr_markdown_(self) -> str:  # Jupyter shows this
        return self.text

    def to_frame(self) -> pandas.DataFrame:
        """Return the figures of an evaluation, or the checks of an audit, a row each.

        Raises:
            MachineError: ``missing_package`` without pandas.
        """
        return data_frame(self._rows)


def load_dataset(
    data: PathLike,
    name: DatasetName = "dataset_1",
    *,
    labels: Mapping[str, str] | None = None,
    sources: Sequence[str] = (),
    task: Task = "multi_class",
    split_by: SplitBy = "patient",
    seed: int = 0,
    skip_damaged: bool = False,
    on_image: Callable[[], None] = lambda: None,
) -> Dataset:
    """Load images with their labels, patients and sources, each in its part.

    Args:
        data: Folder with a sub-folder per class, manifest (.csv), or folder with the public
            archives.
        name: Data set to make of the archives; for own images "multi_source" asks for its three
            classes, and the others change nothing.
        labels: Label of the data to class; "" as a class leaves its images out. "*" in a label
            stands for any letters: ``{"*": ""}`` leaves out all that is not named.
        sources: Sources whose images alone are taken, with their own labels, such as "nih" of the
            adult images.
        task: Task of the labels: "multi_label" where they join findings (``Edema|Mass?``) of which
            an image has any number; for recipes of that task.
        split_by: Unit that stays together where parts are drawn: "patient", or "image" as in the
            paper. Parts that the data give are kept.
        seed: Random seed of the split.
        skip_damaged: Whether files that cannot be read are left out (`Dataset.damaged` lists them)
            instead of raising.
        on_image: Function that is called after every image.

    Returns:
        The data set; `Dataset.train`, `Dataset.validation` and `Dataset.test` are its parts.

    Raises:
        TypeError: ``data`` is no path.
        DataError: ``classes``, ``damaged_images``, ``unknown_label`` and what the readers raise.
        UsageError: ``unused_option`` for ``labels`` where they have no effect.
    """
    check_list(sources, "sources")
    dataset = open_dataset(
        path_of(data, "data"),
        name,
        mapping=labels,
        sources=sources,
        task=task,
        skip_damaged=skip_damaged,
        on_image=on_image,
    )
    return split(dataset, by=split_by, seed=seed)


def train(
    recipe: PathLike,
    dataset: Dataset,
    *,
    out: PathLike,
    seed: int = 0,
    start: PathLike | None = None,
    weights: PathLike | None = None,
    max_epochs: int | None = None,
    network: str | None = None,
    overrides: Mapping[str, object] | None = None,
    device: str = "auto",
    precision: str = "auto",
    log: Log = lambda line: None,
) -> Path:
    """Train a recipe; the same call goes on with a run that was stopped.

    >>> train("transfer", dataset, out="runs/mine", network="monai:DenseNet121",
    ...       overrides={"initial": "pretrained"})  # doctest: +SKIP

    Args:
        recipe: Name of a recipe of the package ("model_1", ...), or path of one (.toml).
        dataset: Data set of `load_dataset`.
        out: Run folder, made where it is absent.
        seed: Random seed of weights, order and dropout.
        start: Checkpoint that the recipe starts from, where it starts from one.
        weights: File with ResNet-50's ImageNet weights, where the recipe starts from them and
            they are not at hand; or the file of weights that it starts from.
        max_epochs: Number of epochs at which every stage is cut short.
        network: Name of an architecture, in place of the recipe's.
        overrides: Values of keys of the recipe by their paths, as ``cxr train -o`` takes them:
            ``{"train.learning_rate": 3e-4, "augmentation.rotation": 10}``.
        device: Device: "auto", "cpu", "cuda" or "mps".
        precision: Precision: "auto", "float32" or "bfloat16".
        log: Function that is told what happens, a line at a time.

    Returns:
        The run folder, with its checkpoint and its reference.

    Raises:
        TypeError: An argument is of another type.
        CxrError: What `cxr train` says; see its codes.
    """
    from cxr_transfer.training.device import Execution
    from cxr_transfer.training.recipe_files import load_recipe
    from cxr_transfer.training.run import run_recipe

    _check_dataset(dataset)
    check_seed(seed)
    changed = dict(overrides or {}) | ({} if network is None else {"network": network})
    return run_recipe(
        load_recipe(str(path_of(recipe, "recipe")), changed).limited(max_epochs),
        dataset,
        None,
        path_of(out, "out"),
        seed=seed,
        execution=Execution(device=device, precision=precision),
        start=None if start is None else path_of(start, "start"),
        weights=None if weights is None else path_of(weights, "weights"),
        log=log,
    )


def evaluate(
    run: PathLike,
    cases: Dataset | Sequence[Case],
    *,
    out: PathLike | None = None,
    allow_seen: bool = False,
    subgroups: Sequence[str] = (),
    device: str = "auto",
    seed: int = 0,
    on_image: Callable[[], None] = lambda: None,
    log: Log = lambda line: None,
) -> Report:
    """Evaluate a checkpoint on images that it was not trained on.

    Args:
        run: Run folder, checkpoint, or name of a released model; or a folder of several runs, such
            as a cross-validation, evaluated as one by the mean of their calibrated scores.
        cases: Cases, for example `Dataset.test`; of a data set all its cases.
        out: Report folder; None keeps no files.
        allow_seen: Whether to score images whose patients training saw, too; do not quote them.
        subgroups: Further columns of the manifest by which groups are formed, beside source, view,
            sex and age.
        device: Device: "auto", "cpu", "cuda" or "mps".
        seed: Random seed of the bootstrap.
        on_image: Function that is called after every image.
        log: Function that is told what is left out.

    Returns:
        The content of ``report.json``; as a table, statistics with their intervals.

    Raises:
        TypeError: An argument is of another type.
        DataError: ``seen_images`` for images that training saw.
    """
    from cxr_transfer.evaluation.evaluate import evaluate_checkpoint
    from cxr_transfer.evaluation.evaluated import card_of

    check_list(subgroups, "columns")
    checkpoint, checked_cases = path_of(run, "run"), cases_of(cases)

    def into(folder: Path) -> dict[str, Any]:
        return evaluate_checkpoint(
            checkpoint,
            checked_cases,
            folder,
            allow_seen=allow_seen,
            columns=subgroups,
            device=device,
            seed=seed,
            on_image=on_image,
            log=log,
        )

    card = card_of(checkpoint)
    return reported(into, out, {"evaluation_of": card.name}, "report.md", _statistics)


def reported(
    into: Callable[[Path], dict[str, Any]],
    out: PathLike | None,
    settings: dict[str, Any],
    page: str,
    rows_of: Callable[[Mapping[str, Any]], list[dict[str, Any]]],
) -> Report:
    """Return what writes a report into a folder, kept there or nowhere.

    Args:
        into: Function that writes into a folder and returns the content.
        out: Folder; None keeps no files.
        settings: Settings by which the folder belongs to one report.
        page: Name of the page for people.
        rows_of: Function that makes rows of a table of the content.
    """
    from cxr_transfer.training.settings import settings_checked

    with tempfile.TemporaryDirectory(prefix="cxr-") as temporary:
        folder = Path(temporary) if out is None else path_of(out, "out")
        with lock_folder(folder), settings_checked(folder, settings):
            content = into(folder)
        text = (folder / page).read_text(encoding="utf-8", errors="surrogateescape")
    return Report(content, text, rows_of(content), None if out is None else folder)


def _statistics(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each statistic that is a number with an interval."""
    figures = content["evaluation"] or {}
    rows = [
        {"statistic": name, "class": None, **value}
        for name, value in figures.items()
        if isinstance(value, Mapping) and "low" in value
    ]
    return rows + [
        {"statistic": name, "class": label, **value}
        for label, of_class in figures.get("per_class", {}).items()
        for name, value in of_class.items()
        if isinstance(value, Mapping) and "low" in value
    ]


def path_of(value: object, name: str) -> Path:
    """Return a path that was given as an argument.

    Raises:
        TypeError: It is none; ``name`` names the argument.
    """
    if isinstance(value, str | os.PathLike):
        return Path(value)
    raise TypeError(f"Expected a path as {name}, but got {kind_of(value)}.")


def subject_of(value: object, name: str) -> str:
    """Return what names a subject: a path, an address, or a function as ``python:module:function``.

    Raises:
        TypeError: It is none; ``name`` names the argument.
    """
    return value if isinstance(value, str) else str(path_of(value, name))


def _check_dataset(value: object) -> None:
    if not isinstance(value, Dataset):
        raise TypeError(
            f"Expected a data set of load_dataset, but got {kind_of(value)}; load it first."
        )


def cases_of(value: object) -> tuple[Case, ...]:
    """Return the cases that were given as an argument.

    Raises:
        TypeError: It is neither a data set nor a list of its cases.
    """
    if isinstance(value, Dataset):
        return value.cases
    if isinstance(value, Sequence) and all(isinstance(case, Case) for case in value):
        return tuple(value)
    raise TypeError(
        f"Expected a data set of load_dataset or a list of its cases, but got {kind_of(value)}; "
        "load it first."
    )
