"""Models of this package as subjects: a checkpoint, several as one, or an exported network.

In comes a path; out go class scores and features of images, and what the model declares of the
images that it was trained on. Trains nothing and knows no metric.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from cxr_transfer.evaluation.evaluated import Member, open_evaluated
from cxr_transfer.evaluation.scoring import Scorer
from cxr_transfer.export.metadata import ExportMetadata, read_export_metadata, read_onnx_metadata
from cxr_transfer.models.engine import Engine
from cxr_transfer.models.forward import OnImages
from cxr_transfer.models.reference import reference_beside
from cxr_transfer.runs.run_folder import parts, run_folder
from cxr_transfer.statistics.temperature import at_temperature, each_at_temperature
from cxr_transfer.subjects.subject import Images, NetworkScores, Subject

_BATCH = 32


def open_own(path: Path, device: str) -> Subject:
    """Open a model of this package.

    Args:
        path: Run folder, checkpoint, folder of several, or name of a released model.
        device: Device as torch names it.

    Raises:
        ModelError: What `open_evaluated` raises.
    """
    evaluated = open_evaluated(path)
    reference = evaluated.reference
    # One alone is opened once; all networks of an ensemble may not fit into memory.
    opened = lru_cache(maxsize=1)(lambda member: member.scorer(device))
    return Subject(
        kind="ensemble" if evaluated.is_ensemble else "checkpoint",
        name=evaluated.name,
        labels=evaluated.label_set,
        preprocessing=evaluated.preprocessing,
        sha256=tuple(member.checkpoint.weights_sha256 for member in evaluated.members),
        cards=tuple(member.checkpoint for member in evaluated.members),
        path=path,
        network=None if evaluated.is_ensemble else evaluated.members[0].network,
        temperature=reference.temperature if reference else None,
        confidence_threshold=reference.confidence_threshold if reference else None,
        reference=reference,
        trained_on=_trained_on(evaluated.members),
        thresholds=evaluated.thresholds,
        score_networks=lambda images, with_features, on_image: [
            _network_scores(opened(member), member, images, with_features, on_image)
            for member in evaluated.members
        ],
    )


def _network_scores(
    scorer: Scorer, member: Member, images: Images, with_features: bool, on_image: OnImages
) -> NetworkScores:
    scorer.on_image = on_image
    own, seen = (
        scorer.exact_with_features(images) if with_features else (scorer.exact(images), None)
    )
    calibrate = at_temperature if scorer.exclusive else each_at_temperature
    return NetworkScores(own, calibrate(own, member.temperature), seen)


def _trained_on(members: Sequence[Member]) -> dict[str, int]:
    """Return the images of training and validation by source, over all members."""
    counts: Counter[str] = Counter()
    for member in members:
        counts |= Counter(
            row.source for row in parts(run_folder(member.path)) if row.split != "test"
        )
    return dict(sorted(counts.items()))


def is_own_export(path: Path) -> bool:
    """Tell whether the JSON that 'cxr export' writes stands beside a network."""
    beside = path.with_name(f"{path.name}.json") if path.suffix == ".onnx" else path
    return beside.with_suffix(".json").is_file()


def open_export(path: Path) -> Subject:
    """Open a network that 'cxr export' wrote.

    Raises:
        ModelError: What `read_export_metadata`, `read_onnx_metadata` and `Engine` raise.
    """
    converted: ExportMetadata = (
        read_onnx_metadata(path) if path.suffix == ".onnx" else read_export_metadata(path)
    )
    engine, labels = Engine(path), converted.card.label_set
    reference = None
    # An int8 network's features lie elsewhere: that reference would misjudge them.
    if converted.precision == "float32":
        beside = reference_beside(path, converted.card.weights_sha256)
        reference = beside[1] if beside else None

    def score_networks(
        images: Images, with_features: bool, on_image: OnImages
    ) -> list[NetworkScores]:
        scores, features = engine.answer_all(images, on_image)
        own, seen = scores.astype(np.float64), features if with_features else None
        calibrate = at_temperature if labels.exclusive else each_at_temperature
        return [NetworkScores(own, calibrate(own, converted.temperature), seen)]

    return Subject(
        kind="export",
        name=converted.card.name,
        labels=labels,
        preprocessing=converted.card.preprocessing,
        sha256=(converted.card.weights_sha256,),
        cards=(converted.card,),
        path=path,
        temperature=converted.temperature,
        confidence_threshold=converted.confidence_threshold,
        reference=reference,
        thresholds=converted.thresholds,
        score_networks=score_networks,
    )
