"""What the checks that change pictures look at, measured one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.audits.counterfactual import counterfactual
from cxr_transfer.audits.drawn import MOST
from cxr_transfer.audits.drift import drift
from cxr_transfer.audits.markers import markers
from cxr_transfer.audits.mask_shape import mask_shape
from cxr_transfer.audits.readings import Readings
from cxr_transfer.audits.reencoding import MOST as MOST_SAVED
from cxr_transfer.audits.reencoding import reencoding
from cxr_transfer.audits.robustness import MOST_CHANGED, PASSES, robustness_evidence
from cxr_transfer.audits.scorers import ImageScorer
from cxr_transfer.evaluation.decoding import Decoded
from cxr_transfer.progress import Tell, counting
from cxr_transfer.subjects.subject import Subject

PHASE = "changing letters, surroundings and files"

_PASSES = 8 * MOST + MOST_SAVED + MOST_CHANGED * PASSES
"""Most images that are asked for: four swaps, three masks, letters, other files, and changes."""


def picture_evidence(
    subject: Subject,
    asked: ImageScorer | None,
    decoded: Decoded,
    readings: Readings,
    again: dict[str, int],
    progress: Tell,
) -> dict[str, Any]:
    """Return the evidence of each such check by its name; only letters of a model not asked.

    Args:
        subject: Model.
        asked: Model as it is asked; None of a table of scores.
        decoded: Images of the audit.
        readings: What the model makes of them.
        again: ``resamples`` and ``seed`` of the bootstrap.
        progress: Function that is told the phase and which share of it is done.
    """
    part, whole = readings.part, readings.whole
    count = counting(progress, PHASE, _PASSES)
    score = None
    if asked is not None:
        asked.on_image, score = count, asked.exact
    evidence: dict[str, Any] = {
        "markers": markers(
            score,
            decoded.unfinished[part.rows],
            part.tensors.lungs,
            part.cases,
            whole,
            subject.preprocessing,
            most=MOST,
            **again,
        )
    }
    if asked is not None:
        # Compared among themselves, as other changed images are: in the quicker precision.
        quick = asked.quick
        evidence["robustness"] = robustness_evidence(
            quick, decoded.unfinished[part.rows], whole, subject.preprocessing, **again
        )
        evidence["counterfactual"] = counterfactual(quick, part, whole, **again)
        evidence["mask_shape"] = mask_shape(quick, part, whole, **again)
        forms = reencoding(
            quick,
            subject.preprocessing,
            decoded.unfinished[part.rows],
            [case.patient for case in part.cases],
            **again,
        )
        evidence["reencoding"] = forms
        asked.on_image = lambda images: None
    progress(PHASE, 1.0)
    return evidence


def drift_evidence(
    subject: Subject,
    asked: ImageScorer | None,
    decoded: Decoded,
    scored: npt.NDArray[np.float64],
    reference: Decoded,
    table: npt.NDArray[np.float64] | None,
    seed: int,
) -> dict[str, Any]:
    """Return how far the images that training has not seen differ from a reference.

    Args:
        subject: Model.
        asked: Model as it is asked; None of a table of scores.
        decoded: Images of the audit.
        scored: Their scores; NaN for those that training saw, which are left out.
        reference: Images that they are compared with, all of them.
        table: Scores of these in a table of scores; None of a model that is asked.
        seed: Random seed of the folds.
    """
    rows = np.flatnonzero(~np.isnan(scored).any(axis=1))
    theirs = asked.exact(reference.tensors.images.numpy()) if asked is not None else table
    both = None
    if theirs is not None and not np.isnan(theirs).any():
        both = scored[rows], theirs
    cases = [decoded.cases[row] for row in rows]
    return drift(
        (cases, reference.cases),
        ([decoded.files[row] for row in rows], reference.files),
        both,
        subject.labels,
        seen=int(subject.seen(reference.cases).sum()),
        seed=seed,
    )
