"""What is evaluated: one checkpoint, or an ensemble whose members' calibrated scores are averaged.

In comes whatever names a checkpoint, or a folder with several; out go the scores of images. Knows
no metric.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from cxr_transfer.datasets.case import Case
from cxr_transfer.errors import ModelError
from cxr_transfer.evaluation.scoring import Scorer, as_predicted, time_per_image
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.checkpoint import load_checkpoint
from cxr_transfer.models.forward import pass_over
from cxr_transfer.models.metadata import Checkpoint, checkpoint_files, fingerprint, read_card
from cxr_transfer.models.reference import TrainingReference, reference_beside
from cxr_transfer.progress import Tell, counting, of_images, tell_nobody
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.runs.members import member_folders
from cxr_transfer.runs.run_folder import record_test_set_access, run_folder, validation_scores
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.statistics.temperature import at_temperature, each_at_temperature, score_scale
from cxr_transfer.text import for_terminal
from cxr_transfer.training.tensors import ImageTensors

ENSEMBLE = "ensemble"
"""Name of several checkpoints that are evaluated as one."""

Floats = npt.NDArray[np.float64]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Member:
    """A checkpoint that is evaluated, alone or with others.

    Attributes:
        path: Path that names it.
        title: Name of the checkpoint; for a member of an ensemble, its place in the folder.
        checkpoint: Metadata of the checkpoint.
        reference: Reference beside it; None where there is none.
        network: Network in inference mode; None where it is loaded when it scores, since the
            networks of a whole ensemble may not fit into memory.
    """

    path: Path
    title: str
    checkpoint: Checkpoint
    reference: TrainingReference | None
    network: nn.Sequential | None

    @property
    def temperature(self) -> float | None:
        """Temperature at which its scores are given."""
        return self.reference.temperature if self.reference else None

    def scorer(self, device: str) -> Scorer:
        """Return what asks its network, loaded where it is not yet, at no temperature.

        Args:
            device: Device as torch names it.
        """
        return Scorer(
            self.network or load_checkpoint(self.path)[1],
            device,
            converted=as_predicted(self.path, device),
            exclusive=self.checkpoint.label_set.exclusive,
        )


@dataclass(frozen=True, eq=False)
class ScoredImages:
    """Class scores (N, C) of N images.

    Attributes:
        own: Scores as the network gives them; an ensemble has none but those that are given.
        given: Scores at the network's temperature; for an ensemble the mean of its members'.
        ms_per_image: Milliseconds per image; for an ensemble the sum over its members.
    """

    own: Floats
    given: Floats
    ms_per_image: Estimate


@dataclass(frozen=True, eq=False)
class Evaluated:
    """One checkpoint, or several as one.

    Attributes:
        members: Checkpoints of the same classes and the same preprocessing.
    """

    members: tuple[Member, ...]

    @property
    def is_ensemble(self) -> bool:
        """Whether there are several checkpoints."""
        return len(self.members) > 1

    @property
    def name(self) -> str:
        """Name of the checkpoint, or `ENSEMBLE` for several."""
        return ENSEMBLE if self.is_ensemble else self.members[0].checkpoint.name

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes in index order."""
        return self.members[0].checkpoint.labels

    @property
    def label_set(self) -> LabelSet:
        """Classes in index order."""
        return self.members[0].checkpoint.label_set

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing of all members."""
        return self.members[0].checkpoint.preprocessing

    @property
    def reference(self) -> TrainingReference | None:
        """Reference of the only checkpoint; None for an ensemble, whose members differ in it."""
        return None if self.is_ensemble else self.members[0].reference

    @property
    def thresholds(self) -> tuple[float, ...] | None:
        """Threshold of each finding: the mean of the members'; None where one has none."""
        each = [
            member.reference.thresholds if member.reference else None for member in self.members
        ]
        known = [thresholds for thresholds in each if thresholds is not None]
        return tuple(np.mean(known, axis=0).tolist()) if len(known) == len(each) else None

    @property
    def score_scale(self) -> str:
        """Scale of the scores that are given."""
        if not self.is_ensemble:
            return score_scale(self.members[0].temperature)
        calibrated = sum(member.temperature is not None for member in self.members)
        return f"the mean of {len(self.members)} models, {calibrated} of them calibrated"

    @cached_property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights; of an ensemble that of its members' hashes, in their order."""
        hashes = [member.checkpoint.weights_sha256 for member in self.members]
        return (
            hashlib.sha256("\n".join(hashes).encode()).hexdigest()
            if self.is_ensemble
            else hashes[0]
        )

    def described(self) -> dict[str, Any]:
        """Return what a report says of it: name, hash, and an ensemble's members."""
        description: dict[str, Any] = {"name": self.name, "weights_sha256": self.weights_sha256}
        if self.is_ensemble:
            description["members"] = [
                {
                    "run": member.title,
                    "name": member.checkpoint.name,
                    "weights_sha256": member.checkpoint.weights_sha256,
                    "temperature": member.temperature,
                }
                for member in self.members
            ]
        return description

    def seen(self, cases: Sequence[Case]) -> list[bool]:
        """Return for every (indexed) case whether the training of any member saw it."""
        by_member = [seen_in_training(member.checkpoint, cases) for member in self.members]
        return [any(of_case) for of_case in zip(*by_member, strict=True)]

    def scored(
        self, images: ImageTensors, device: str, progress: Tell = tell_nobody
    ) -> ScoredImages:
        """Score images, member by member.

        Args:
            images: Decoded images.
            device: Device as torch names it.
            progress: Function that is called with the phase and the share of it that is done.
        """
        own, given_scores, times = [], [], []
        _log.debug("%s: scoring on %s in float32", self.name, device)
        passes = len(images) * len(self.members)
        step = counting(progress, of_images("scoring", len(images)), passes)
        for member in self.members:
            scorer = member.scorer(device)
            scorer.on_image = step
            own.append(of_member := scorer.exact(images.images.numpy()))
            calibrate = at_temperature if self.label_set.exclusive else each_at_temperature
            given_scores.append(calibrate(of_member, member.temperature))
            scorer.on_image = pass_over
            timed = time_per_image(scorer.exact, images.images.numpy())
            times.append(dataclasses.astuple(timed))
        ms_per_image = Estimate(*(sum(column) for column in zip(*times, strict=True)))
        if not self.is_ensemble:
            return ScoredImages(own[0], given_scores[0], ms_per_image)
        mean = np.mean(given_scores, axis=0)
        return ScoredImages(mean, mean, ms_per_image)

    def validation(self) -> Scores | None:
        """Return the scores of the validation images; None of an ensemble.

        What one member was validated on another one may have been trained on.
        """
        if self.is_ensemble:
            return None
        return validation_scores(run_folder(self.members[0].path), self.label_set)

    def record_access(self, cases: Sequence[Case]) -> dict[str, Any] | None:
        """Record that images of a test part were scored; return what is on record.

        Of an ensemble it is the record of the member that was tested most often.
        """
        records = [
            record_test_set_access(
                run_folder(member.path), "evaluate", cases, member.checkpoint.weights_sha256
            )
            for member in self.members
        ]
        return max(filter(None, records), key=lambda record: record["times"], default=None)


def card_of(path: Path) -> Checkpoint:
    """Return the metadata of a checkpoint; of several that of the first."""
    return read_card(checkpoint_files(member_folders(path)[0])[0])


def open_evaluated(path: Path) -> Evaluated:
    """Open a checkpoint, or all checkpoints in a folder.

    Raises:
        ModelError: ``other_members`` for checkpoints of other classes or preprocessings; what
            `member_folders`, `load_checkpoint` and `reference_beside` raise.
    """
    paths = member_folders(path)
    cards = [read_card(checkpoint_files(folder)[0]) for folder in paths]
    for folder, card in zip(paths, cards, strict=True):
        if (card.label_set, card.preprocessing) != (cards[0].label_set, cards[0].preprocessing):
            raise ModelError(
                "other_members",
                f"Expected checkpoints of the same classes and the same preprocessing in {path}, "
                f"but {folder.name} has others than {paths[0].name}; give one of them, or a folder "
                "whose checkpoints are alike.",
            )
    return Evaluated(tuple(_member(folder, path, keep=len(paths) == 1) for folder in paths))


def _member(path: Path, root: Path, *, keep: bool) -> Member:
    # Every network is loaded, and so checked, before an image is opened.
    checkpoint, network = load_checkpoint(path)
    beside = reference_beside(checkpoint_files(path)[1], checkpoint.weights_sha256)
    return Member(
        path=path,
        title=checkpoint.name if keep else for_terminal(path.relative_to(root).as_posix()),
        checkpoint=checkpoint,
        reference=beside[1] if beside else None,
        network=network if keep else None,
    )


def seen_in_training(checkpoint: Checkpoint, cases: Sequence[Case]) -> list[bool]:
    """Return for every (indexed) case whether training saw its image or its patient."""
    images = set(checkpoint.seen.get("images", ()))
    patients = set(checkpoint.seen.get("patients", ()))
    return [
        fingerprint(case.pixels) in images or fingerprint(case.patient) in patients
        for case in cases
    ]
