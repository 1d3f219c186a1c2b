"""What images of one's own bring: a recipe trained on all other sources and ever more of these.

Order: images, opened once -> the local source's patients in two halves, one of which tests -> draws
of each size from the other half, by patient and balanced over classes -> a run on all other sources
with each draw -> its scores on the test half, at thresholds that its validation part sets. Each run
is a run folder; a curve that was stopped goes on.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cxr_transfer import provenance
from cxr_transfer.datasets.damaged import DAMAGED_FILE, damaged_line, write_damaged
from cxr_transfer.datasets.decode import Records
from cxr_transfer.datasets.draws import check_sizes
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.splits import folds, split
from cxr_transfer.errors import Notice, UsageError
from cxr_transfer.evaluation.scoring import score
from cxr_transfer.labels import refuse_findings
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.metadata import CARD, WEIGHTS
from cxr_transfer.models.reference import temperature_of
from cxr_transfer.progress import Show
from cxr_transfer.runs.run_folder import validation_scores
from cxr_transfer.statistics.calibration import apply_temperature
from cxr_transfer.studies.cluster_runs import Training, away, is_trained, run_on_cluster
from cxr_transfer.studies.local_curve_report import LocalRun, write_local_curve
from cxr_transfer.studies.local_parts import LocalParts, local_dataset, per_class
from cxr_transfer.studies.one_recipe import (
    TrainingPlan,
    facts_of,
    open_data,
    say_notices,
    settings_of,
)
from cxr_transfer.studies.progress import REPORT, StudyProgress, plan_runs
from cxr_transfer.text import for_terminal
from cxr_transfer.training.device import resolve_device
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.run import run_recipe
from cxr_transfer.training.settings import check_settings
from cxr_transfer.training.start import check_run
from cxr_transfer.training.tensors import ImageTensors, load_tensors

Log = Callable[[str], None]

_MOST_DRAWS = 100


@dataclass(frozen=True)
class LocalCurve:
    """Settings of a local curve.

    Attributes:
        local: Name of the local source.
        sizes: Numbers of its images, over all classes together, rising; 0 is none.
        draws: Number of draws of each size.
        resamples: Number of resamples of the bootstrap.
    """

    local: str
    sizes: tuple[int, ...]
    draws: int = 3
    resamples: int = 2000

    def __post_init__(self) -> None:
        if (
            len(self.sizes) < 2
            or min(self.sizes) < 0
            or list(self.sizes) != sorted(set(self.sizes))
        ):
            raise UsageError(
                "bad_sizes",
                "Expected two or more rising numbers of local images, 0 for none, but got "
                f"{', '.join(map(str, self.sizes)) or 'none'}; 0,25,50,100,200 is usual.",
            )
        if not 1 <= self.draws <= _MOST_DRAWS:
            raise UsageError(
                "bad_draws",
                f"Expected 1 to {_MOST_DRAWS} draws of each size, but got {self.draws}; 3 is "
                "usual.",
            )

    @property
    def runs(self) -> list[tuple[int, int]]:
        """Size and number of each draw, in their order; without local images there is one."""
        numbers = range(1, self.draws + 1)
        return [
            (size, number) for size in self.sizes for number in (numbers if size else range(1, 2))
        ]


def local_source(local: str | None, added: Sequence[str]) -> str:
    """Return the name of the local source: the one that is named, or the only one that is added.

    Args:
        local: Name that was given; None where none was.
        added: Names of the sources that were added.

    Raises:
        UsageError: ``no_local_source``.
    """
    if local is not None:
        return local
    if len(added) == 1:
        return added[0]
    raise UsageError(
        "no_local_source",
        f"Expected one source whose images are added step by step, but {len(added)} were given "
        "with --add-source; name one with --local SOURCE.",
    )


def read_local_sizes(text: str) -> tuple[int, ...]:
    """Read sizes as a person types them.

    Raises:
        UsageError: ``bad_sizes``.

    >>> read_local_sizes("0, 25,50")
    (0, 25, 50)
    """
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise UsageError(
            "bad_sizes",
            f"Expected numbers of local images with commas, but got {text!r}; 0,25,50,100,200 is "
            "usual.",
        ) from None


def measure_local_curve(
    plan: TrainingPlan,
    curve: LocalCurve,
    data: Path,
    out: Path,
    *,
    log: Log = lambda line: None,
    show: Show = lambda progress: None,
) -> dict[str, Any]:
    """Measure what images of the local source bring the recipe of ``plan``, there.

    Args:
        plan: Recipe, data and execution.
        curve: Local source, sizes and draws.
        data: Archives, a manifest (.csv), or a folder per class.
        out: Folder, owned by the caller (`own_folder.lock_folder`).
        log: Function that is told what happens.
        show: Function that is given how far it is, many times.

    Returns:
        The content of ``out/local_curve.json``.

    Raises:
        UsageError: ``unknown_source``, ``bad_sizes``, ``several_findings``, ``other_run``; what
            `check_run` raises.
        DataError: ``too_few``, ``too_few_to_draw``, ``classes``; what `open_dataset` raises.
        CxrError: What a run raises.
    """
    provenance.commit()  # Asked now and kept: the source may change while this process runs.
    recipe = plan.recipe.relabelling(plan.mapping)
    records = Records(recipe.preprocessing)
    begun: list[tuple[StudyProgress, Callable[[], None]]] = []

    def before(read: Dataset) -> None:
        begun.append(_planned(plan, curve, recipe, read, out, log, show))

    dataset = open_data(plan, data, records, before=before, on_image=lambda: begun[0][1]())
    if dataset.damaged:
        log(damaged_line(dataset.damaged, str(out / DAMAGED_FILE)))
    dataset = split(dataset, by="patient", seed=plan.seed)
    parts = LocalParts.of(dataset, curve.local, plan)
    check_sizes(parts.local, [per_class(size, parts.local) for size in curve.sizes])
    _check_folder(plan, curve, dataset, out)
    write_damaged(out, dataset.damaged)
    tensors = load_tensors(dataset.cases, recipe.preprocessing, dataset.labels, records=records)
    progress, _ = begun[0]
    works = [
        Training(
            _title(curve, size, number),
            recipe,
            *parts.drawn(dataset, size, number, plan.seed),
            _folder(out, size, number),
            plan.begin | {"execution": away(plan.execution)},
        )
        for size, number in (curve.runs if plan.execution.cluster else ())
        if not is_trained(_folder(out, size, number))
    ]
    images = {recipe.preprocessing: tensors}
    ended = run_on_cluster(plan.execution, works, images, done=progress.begin)
    runs = []
    for size, number in curve.runs:
        if _title(curve, size, number) not in ended:
            progress.begin(_title(curve, size, number))
        execution = dataclasses.replace(
            plan.execution, progress=progress.within, is_one_of_many=True
        )
        begin = plan.begin | {"execution": execution}
        drawn, rows = parts.drawn(dataset, size, number, plan.seed)
        folder = _folder(out, size, number)
        run_recipe(recipe, drawn, tensors.only(rows), folder, log=log, **begin)
        runs.append(_scored(folder, out, parts, dataset, tensors, plan, size, number, drawn))
    progress.begin(REPORT)
    return write_local_curve(out, _content(plan, curve, dataset, parts), runs)


def _planned(
    plan: TrainingPlan,
    curve: LocalCurve,
    recipe: Recipe,
    read: Dataset,
    out: Path,
    log: Log,
    show: Show,
) -> tuple[StudyProgress, Callable[[], None]]:
    """Check all before an image is opened; return the progress, and what is called after each."""
    refuse_findings(read.labels, "external validation")
    check_run(recipe, read.labels, **plan.begin)
    own, left_out = local_dataset(read, curve.local)
    half = folds(own, 2, by="patient", seed=plan.seed)[0]
    check_sizes(half, [per_class(size, half) for size in curve.sizes])
    say_notices(plan, read, log)
    for label, number in left_out.items():
        log(Notice(f"not in the curve, since too rare there: {number} images of {label}"))
    phases: dict[str, Recipe | None] = {}
    for size, number in curve.runs:
        folder = _folder(out, size, number)
        is_done = (folder / CARD).is_file() and (folder / WEIGHTS).is_file()
        phases[_title(curve, size, number)] = None if is_done else recipe
    return plan_runs(len(read.cases), phases, show)


def _title(curve: LocalCurve, size: int, number: int) -> str:
    title = f"{size} images of {for_terminal(curve.local)}"
    return f"{title}, draw {number} of {curve.draws}" if size else title


def _folder(out: Path, size: int, number: int) -> Path:
    return out / f"images_{size}" / f"draw_{number}"


def _scored(
    folder: Path,
    out: Path,
    parts: LocalParts,
    dataset: Dataset,
    tensors: ImageTensors,
    plan: TrainingPlan,
    size: int,
    number: int,
    drawn: Dataset,
) -> LocalRun:
    """Score the test half of the local source with a run."""
    tested = {case.path for case in parts.tested}
    rows = np.array([case.path in tested for case in dataset.cases], dtype=np.bool_)
    cases = [case for case, inside in zip(dataset.cases, rows, strict=True) if inside]
    network, heat = load_checkpoint(folder)[1], temperature_of(folder)
    scores = score(
        network,
        tensors.only(rows),
        cases,
        dataset.labels,
        temperature=heat,
        device=resolve_device(plan.execution.device),
    )
    validation = validation_scores(folder, dataset.labels)
    local = parts.local.cases[0].source
    return LocalRun(
        size=size,
        number=number,
        run=folder.relative_to(out).as_posix(),
        drawn=sum(case.source == local for case in drawn.cases),
        scores=scores,
        validation=apply_temperature(validation, heat) if validation and heat else validation,
    )


def _check_folder(plan: TrainingPlan, curve: LocalCurve, dataset: Dataset, out: Path) -> None:
    """Refuse a folder of another curve; sizes and draws may be added later.

    Raises:
        UsageError: ``other_run``.
    """
    own = {"local_curve_of": plan.recipe.name, "local": curve.local}
    check_settings(out, own | settings_of(plan, dataset))


def _content(
    plan: TrainingPlan, curve: LocalCurve, dataset: Dataset, parts: LocalParts
) -> dict[str, Any]:
    """Return what stands in ``local_curve.json`` of the protocol, the data and where it ran."""
    others = Counter(case.source for case in dataset.cases if case.path in parts.others)
    return {
        "local": curve.local,
        "sizes": list(curve.sizes),
        "draws": curve.draws,
        "resamples": curve.resamples,
        "local_classes": list(parts.local.labels),
        "left_out": parts.left_out,
        "images_of_others": dict(sorted(others.items())),
        "test_images": len(parts.tested),
        "test_patients": len({case.patient for case in parts.tested}),
        **facts_of(plan, dataset),
    }
