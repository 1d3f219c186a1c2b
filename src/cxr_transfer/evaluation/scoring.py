"""A network and films in, class scores out, and how long one film takes.

The only forward pass of an evaluation. Knows nothing of metrics or reports.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cxr_transfer.collections.case import Case
from cxr_transfer.evaluation.intervals import Estimate
from cxr_transfer.evaluation.metrics import Scores
from cxr_transfer.files import write_csv
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.networks import probabilities
from cxr_transfer.training.films import Films

TIMED_FILMS = 100


def score(
    network: nn.Module,
    films: Films,
    cases: Sequence[Case],
    labels: LabelSet,
    *,
    device: str = "cpu",
) -> Scores:
    """Return the class scores of ``films``, whose cases are ``cases``, all with known labels."""
    return Scores(
        labels=labels,
        targets=films.targets.numpy(),
        probabilities=probabilities(network, films.images, device=device).double().numpy(),
        patients=tuple(case.patient for case in cases),
        files=tuple(case.path.name for case in cases),
    )


@torch.inference_mode()
def time_per_image(network: nn.Module, films: Films, *, device: str = "cpu") -> Estimate:
    """Measure the classification of one decoded film at a time, in milliseconds.

    The paper's figure 6 gives an average time per image without saying of what; this is the
    network alone, a film at a time, after a warm-up.

    Returns:
        The median over up to 100 films, with the 2.5 and 97.5 % quantiles of single films.
    """
    network.eval().to(device)
    images = films.images[:TIMED_FILMS]
    took: list[float] = []
    for number, image in enumerate([*images[:5], *images]):
        started = time.perf_counter()
        network(image[None].to(device)).softmax(dim=1).cpu()
        if number >= min(5, len(images)):
            took.append(1000 * (time.perf_counter() - started))
    low, middle, high = np.quantile(took, [0.025, 0.5, 0.975])
    return Estimate(float(middle), float(low), float(high))


def write_scores(
    path: Path, labels: LabelSet, scored: npt.NDArray[np.float64], cases: Sequence[Case]
) -> None:
    """Write a row per film: file, source, label, predicted, and the score of each class.

    Args:
        path: The CSV file.
        labels: The network's.
        scored: (N, C) class scores.
        cases: N cases.
    """
    columns = ["file", "source", "label", "predicted", *(f"score_{name}" for name in labels)]
    write_csv(
        path,
        columns,
        (
            {
                "file": case.path.name,
                "source": case.source,
                "label": case.label,
                "predicted": labels.names[int(row.argmax())],
            }
            | {f"score_{name}": f"{value:.6f}" for name, value in zip(labels, row, strict=True)}
            for case, row in zip(cases, scored, strict=True)
        ),
    )
