"""Whether a model of another tool is given images as it was trained: other ways are tried.

A wrong range or polarity leaves a network answering, only worse. What would be better is measured
on the audit's own images, and never put in its place.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cxr_transfer.audits.readings import Part
from cxr_transfer.errors import ModelError
from cxr_transfer.progress import Tell, counting, of_images, tell_nobody
from cxr_transfer.subjects.input_variants import (
    brought,
    compare_scores,
    grey_scores,
    input_variants,
)
from cxr_transfer.subjects.opening import BATCH
from cxr_transfer.subjects.subject import Subject

FEWEST = 10
"""Images of each class below which nothing is compared."""

MOST = 60
"""Images of each class that are looked at; of more so many are drawn."""


def compare_input_variants(
    subject: Subject, part: Part, *, seed: int = 0, progress: Tell = tell_nobody
) -> dict[str, Any] | None:
    """Return how well the classes are told apart where images are brought in another way.

    Args:
        subject: Model that is audited.
        part: Images that are scored for its figures.
        seed: Random seed of the images' choice.
        progress: Function that is told the phase and which share of it is done.

    Returns:
        ``described`` (the way of the description), its ``auroc`` (mean over the classes),
        ``images``, ``variants`` (title, ``auroc`` and the ``difference`` to the described one, an
        `Estimate` as a dict), ``greys`` (scores of images of one grey value), ``greys_as_sure``
        (whether all of these have a highest score at least that of half the radiographs). Empty
        where there are no two classes with `FEWEST` images; None for a model that is not described.
    """
    if subject.description is None or subject.score_as is None:
        return None
    wanted, rng = subject.description.input, np.random.default_rng(seed)
    rows = [np.flatnonzero(part.targets == target) for target in range(len(subject.labels))]
    present = [of_class for of_class in rows if len(of_class) >= FEWEST]
    if len(present) < 2:
        return {}
    chosen = np.sort(np.concatenate([rng.permutation(of_class)[:MOST] for of_class in present]))
    images, targets = part.images[chosen], part.targets[chosen]
    patients = [part.cases[row].patient for row in chosen]
    ways = input_variants(wanted)
    total = len(ways) * len(images)
    count = counting(progress, of_images("other ways of bringing", len(images)), total)
    answered, answers = [], []
    for way in ways:
        inputs = brought(images, wanted, way.input)
        scores = []
        try:
            for start in range(0, len(inputs), BATCH):
                scores.append(subject.score_as(inputs[start : start + BATCH], way.input))
                count(len(scores[-1]))
        except ModelError:
            # It cannot take these values, or has no scores of them: not what it was trained with.
            if way is ways[0]:
                raise
            continue
        answered.append(way)
        answers.append(np.concatenate(scores))
    compared = compare_scores(answers, targets, patients)
    greys = grey_scores(subject.score_as, wanted)
    surest = np.array([max(scores) for scores in greys.values()])
    return {
        "described": ways[0].title,
        "auroc": float(compared.areas[0]),
        "images": len(images),
        "variants": [
            {
                "title": way.title,
                "auroc": float(compared.areas[number]),
                "difference": compared.difference(number, 0).as_dict(),
            }
            for number, way in enumerate(answered)
            if number
        ],
        "greys": greys,
        "greys_as_sure": bool(greys and (surest >= np.median(answers[0].max(axis=1))).all()),
    }
