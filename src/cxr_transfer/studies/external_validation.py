"""A recipe where it was not trained: for each source that holds two classes, trained without it.

Order: images, opened once -> parts by patient, the same for all -> for each source a run on all
others -> all images of the source that the run has not met, scored -> figures within the source,
at thresholds that the other sources set. Each run has a folder of its own, so that a validation
that was stopped goes on. Which figures are made: ``external_figures``.

Leave-one-source-out: Zech et al. 2018 (PLoS Med. 15:e1002683); DeGrave et al. 2021 (Nat. Mach.
Intell. 3:610).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer import provenance
from cxr_transfer.audits.baselines import source_classifier
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.damaged import DAMAGED_FILE, damaged_line, write_damaged
from cxr_transfer.datasets.decode import Records
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.splits import split
from cxr_transfer.errors import DataError, Notice, UsageError
from cxr_transfer.evaluation.evaluated import seen_in_training
from cxr_transfer.evaluation.scoring import Scorer
from cxr_transfer.labels import refuse_findings
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.forward import OnImages
from cxr_transfer.models.metadata import checkpoint_files
from cxr_transfer.models.reference import reference_beside
from cxr_transfer.progress import Show
from cxr_transfer.radiograph.lung_segmentation import lungs_blacked
from cxr_transfer.runs.run_folder import validation_scores
from cxr_transfer.statistics.calibration import apply_temperature
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.studies.cluster_runs import Training, away, is_trained, run_on_cluster
from cxr_transfer.studies.external_figures import ScoredSource
from cxr_transfer.studies.external_report import write_validation_report
from cxr_transfer.studies.external_sources import (
    SourcesToJudge,
    folder_name,
    sources_to_judge,
    too_small,
)
from cxr_transfer.studies.one_recipe import (
    TrainingPlan,
    facts_of,
    open_data,
    say_notices,
    settings_of,
)
from cxr_transfer.studies.progress import REPORT, StudyProgress, plan_runs
from cxr_transfer.studies.scored_run import scored_run
from cxr_transfer.text import for_terminal
from cxr_transfer.training.device import resolve_device
from cxr_transfer.training.recipe import Recipe
from cxr_transfer.training.run import run_recipe
from cxr_transfer.training.settings import check_settings
from cxr_transfer.training.start import check_run
from cxr_transfer.training.tensors import ImageTensors, load_tensors, select

Log = Callable[[str], None]


def validate_recipe(
    plan: TrainingPlan,
    data: Path,
    out: Path,
    *,
    resamples: int = 2000,
    log: Log = lambda line: None,
    show: Show = lambda progress: None,
) -> dict[str, Any]:
    """Train the recipe of ``plan`` without each source in turn, and judge it there.

    Args:
        plan: Recipe, data and execution.
        data: Archives, a manifest (.csv), or a folder per class.
        out: Folder, owned by the caller (`own_folder.lock_folder`).
        resamples: Number of resamples of the bootstrap.
        log: Function that is told what happens.
        show: Function that is given how far it is, many times.

    Returns:
        The content of ``out/validation.json``.

    Raises:
        UsageError: ``unused_option``, ``several_findings``, ``other_run``; what `check_run` raises.
        DataError: ``one_source``, ``no_source_to_leave_out``, ``seen_images``; what `open_dataset`
            and `split` raise.
        CxrError: What a run raises.
    """
    provenance.commit()  # Asked now and kept: the source may change while this process runs.
    validating = _Validating(plan, out, resamples, log, show)
    dataset, tensors = validating.read(data)
    if plan.execution.cluster:
        validating.train_on_cluster(dataset, tensors)
    scored = [validating.judged(source, dataset, tensors) for source in validating.sources.judged]
    judged = [source_scores for source_scores in scored if source_scores]
    if not judged:
        raise DataError(
            "seen_images",
            "Expected images that the training without their source has not seen, but it met all "
            "of them; leave --from out, or give images of other patients.",
        )
    validating.progress.begin(REPORT)
    content = _content(plan, dataset, resamples)
    return write_validation_report(out, content, judged, validating.sources.skipped)


@dataclass
class _Validating:
    """A validation on its way.

    Attributes:
        plan: Plan of the training.
        out: Folder of the validation.
        resamples: Number of resamples of the bootstrap.
        log: Function that is told what happens.
        show: Function that is given how far it is.
    """

    plan: TrainingPlan
    out: Path
    resamples: int
    log: Log
    show: Show
    sources: SourcesToJudge = dataclasses.field(init=False)
    progress: StudyProgress = dataclasses.field(init=False)
    _titles: dict[str, str] = dataclasses.field(init=False, default_factory=dict)
    _ended: set[str] = dataclasses.field(init=False, default_factory=set)

    @property
    def recipe(self) -> Recipe:
        """The recipe with what the person says of labels."""
        return self.plan.recipe.relabelling(self.plan.mapping)

    def read(self, data: Path) -> tuple[Dataset, ImageTensors]:
        """Refuse what can be refused, then decode every image once."""
        records = Records(self.recipe.preprocessing)
        steps: list[Callable[[], None]] = []

        def before(read: Dataset) -> None:
            steps.append(self._planned(read))

        dataset = open_data(self.plan, data, records, before=before, on_image=lambda: steps[0]())
        if dataset.damaged:
            self.log(damaged_line(dataset.damaged, str(self.out / DAMAGED_FILE)))
        dataset = split(dataset, by="patient", seed=self.plan.seed)
        # Once more: files that cannot be read are gone now, and parts are drawn.
        planned = self.sources
        self.sources = sources_to_judge(dataset.cases, dataset.labels, has_parts=True)
        for line in self.sources.lines():
            if line not in planned.lines():
                self.log(Notice(line))
        _check_folder(self.plan, dataset, self.out)
        write_damaged(self.out, dataset.damaged)
        tensors = load_tensors(
            dataset.cases, self.recipe.preprocessing, dataset.labels, records=records
        )
        return dataset, tensors

    def _planned(self, read: Dataset) -> Callable[[], None]:
        """Check all before an image is opened; return what is called after each image."""
        refuse_findings(read.labels, "external validation")
        if self.plan.execution.processes > 1:
            raise UsageError(
                "unused_option",
                f"Expected one process for an external validation, but got "
                f"{self.plan.execution.processes}; leave --devices and --num-nodes out.",
            )
        check_run(self.recipe, read.labels, **self.plan.begin)
        self.sources = sources_to_judge(read.cases, read.labels)
        say_notices(self.plan, read, self.log)
        for line in self.sources.lines():
            self.log(Notice(line))
        phases: dict[str, Recipe | None] = {}
        number = len(self.sources.judged)
        for place, source in enumerate(self.sources.judged, start=1):
            self._titles[source] = f"without {for_terminal(source)} ({place} of {number})"
            folder = self.out / folder_name(source)
            phases[self._titles[source]] = None if is_trained(folder) else self.recipe
            phases[_scoring(source)] = None
        self.progress, step = plan_runs(len(read.cases), phases, self.show)
        return step

    def train_on_cluster(self, dataset: Dataset, tensors: ImageTensors) -> None:
        """Train without each source on a cluster, where that is not done."""
        execution = away(self.plan.execution)
        works = []
        for source in self.sources.judged:
            folder = self.out / folder_name(source)
            if not is_trained(folder):
                remaining, others = _without(source, dataset)
                begin = self.plan.begin | {"execution": execution}
                title = self._titles[source]
                works.append(Training(title, self.recipe, remaining, others, folder, begin))
        images = {self.recipe.preprocessing: tensors}
        self._ended = run_on_cluster(self.plan.execution, works, images, done=self.progress.begin)

    def judged(self, source: str, dataset: Dataset, tensors: ImageTensors) -> ScoredSource | None:
        """Train without a source and score it; None where training met all of its images."""
        remaining, others = _without(source, dataset)
        images, folder = tensors.only(others), self.out / folder_name(source)
        if self._titles[source] not in self._ended:
            self.progress.begin(self._titles[source])
        execution = dataclasses.replace(
            self.plan.execution, progress=self.progress.within, is_one_of_many=True
        )
        begin = self.plan.begin | {"execution": execution}
        run_recipe(self.recipe, remaining, images, folder, log=self.log, **begin)
        cases = [case for case in dataset.cases if case.source == source]
        # Whole, and without the lungs; then the features of the validation images.
        count = self.progress.count(_scoring(source), 2 * len(cases) + len(remaining.validation))
        scored = scored_source(
            source,
            folder,
            (remaining, images),
            cases,
            tensors.only(~others),
            on_image=count,
            device=resolve_device(self.plan.execution.device),
            resamples=self.resamples,
            seed=self.plan.seed,
        )
        if isinstance(scored, str):
            self.sources.skipped[source] = scored
            self.log(Notice(f"{for_terminal(source)} is not judged: {scored}"))
            return None
        return scored


def _without(source: str, dataset: Dataset) -> tuple[Dataset, npt.NDArray[np.bool_]]:
    """Return the data set without a source, and which of its cases are left, (N,)."""
    others = np.array([case.source != source for case in dataset.cases], dtype=np.bool_)
    kept = tuple(case for case, other in zip(dataset.cases, others, strict=True) if other)
    return dataclasses.replace(dataset, cases=kept), others


def scored_source(
    source: str,
    folder: Path,
    training: tuple[Dataset, ImageTensors],
    cases: Sequence[Case],
    tensors: ImageTensors,
    *,
    device: str,
    resamples: int,
    seed: int,
    on_image: OnImages,
) -> ScoredSource | str:
    """Score a source with a run that was trained without it.

    Args:
        source: Name of the source.
        folder: Run folder.
        training: Data set of the run, with its parts, and its images.
        cases: Images of the source.
        tensors: Decoded images of the cases, in the same order.
        device: Device as torch names it.
        resamples: Number of resamples of the bootstrap of the source probe.
        seed: Random seed of that bootstrap.
        on_image: Function that is called with the number of images after every batch.

    Returns:
        The scores; a sentence why there are none, where training met all images.
    """
    checkpoint, network = load_checkpoint(folder)
    beside = reference_beside(checkpoint_files(folder)[1], checkpoint.weights_sha256)
    reference = beside[1] if beside else None
    heat = reference.temperature if reference else None
    labels, (dataset, images) = checkpoint.label_set, training
    # Copies in other sources, a patient of two sources, and what its start was trained on.
    met = np.array(seen_in_training(checkpoint, cases), dtype=np.bool_)
    unmet = tuple(case for case, was_met in zip(cases, met, strict=True) if not was_met)
    if why := too_small(source, Counter(case.label for case in unmet)) if unmet else "none is left":
        return f"training met {met.sum()} of its {len(met)} images or their patients ({why})"
    part, scorer = tensors.only(~met), Scorer(network, device)
    scorer.on_image = on_image
    targets = part.targets.numpy()
    whole, seen_by_head = scorer.exact_with_features(part.images.numpy())
    own = Scores.of(labels, targets, whole, unmet)
    blacked = lungs_blacked(part.images.numpy(), part.lungs.masks())
    statuses = reference.ood_status(seen_by_head) if reference else None
    validation = validation_scores(folder, labels)
    inside = None
    if dataset.test:
        inside = scored_run(folder, dataset, images, command="validate", device=device).scores
    return ScoredSource(
        source=source,
        run=folder.name,
        cases=unmet,
        scores=_given(own, heat),
        own=own,
        temperature=heat,
        confidence_threshold=reference.confidence_threshold if reference else None,
        statuses=statuses,
        elsewhere=validation and _given(validation, heat),
        without_lungs=_given(Scores.of(labels, targets, scorer.exact(blacked), unmet), heat),
        inside=inside,
        probe=_probe(scorer, dataset, images, resamples, seed),
        met=int(met.sum()),
        trained_on=dict(
            sorted(Counter(case.source for case in dataset.cases if case.split != "test").items())
        ),
    )


def _given(scores: Scores, temperature: float | None) -> Scores:
    return apply_temperature(scores, temperature) if temperature else scores


def _probe(
    scorer: Scorer, dataset: Dataset, images: ImageTensors, resamples: int, seed: int
) -> dict[str, Any] | None:
    """Return how well the features tell the training sources apart, on validation images."""
    cases, validation = select(dataset, images, "validation")
    try:
        features = scorer.features(validation.images.numpy())
        return source_classifier(features, cases, resamples=resamples, seed=seed)
    except DataError:
        return None  # Too few patients of a source.


def _scoring(source: str) -> str:
    return f"scoring {for_terminal(source)}"


def _check_folder(plan: TrainingPlan, dataset: Dataset, out: Path) -> None:
    """Refuse a folder of another validation.

    Raises:
        UsageError: ``other_run``.
    """
    check_settings(out, {"external_validation_of": plan.recipe.name} | settings_of(plan, dataset))


def _content(plan: TrainingPlan, dataset: Dataset, resamples: int) -> dict[str, Any]:
    """Return what stands in ``validation.json`` of the protocol, the data and where it ran."""
    return {
        "kind": "recipe",
        "thresholds_from": "the validation parts of the sources that the model was trained on",
        "resamples": resamples,
        "images_by_source": dict(sorted(Counter(case.source for case in dataset.cases).items())),
        **facts_of(plan, dataset),
    }
