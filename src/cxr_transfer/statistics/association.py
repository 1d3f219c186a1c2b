"""How far an image's source gives its class away before anyone looks at the image.

In come cases; out goes the table of source by class and one number for it, Cramér's V: 0 where
the source says nothing of the class, 1 where it says all. This module knows no image, model or
score, and does not know whether a network makes use of what the table offers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import contingency

from cxr_transfer.datasets.case import Case
from cxr_transfer.statistics.intervals import Estimate, patient_weights, percentile_interval
from cxr_transfer.statistics.subgroups import NOT_STATED

Floats = npt.NDArray[np.float64]


def source_by_class(
    cases: Sequence[Case], *, resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Return how many images of each class each source holds, and how strongly the two go together.

    The interval is that of the plain V, and no test of independence: V is never negative, and
    drawing patients again adds chance association of its own. Where source and class are close to
    independent the whole interval lies too high; the corrected V says how much of V is chance.

    Args:
        cases: Images with label, source and patient.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed; the same seed and cases give the same interval.

    Returns:
        - ``images``, ``patients``: how many;
        - ``sources``: in the order of their names, "not stated" last; ``labels``: likewise;
        - ``counts``: images by source and label, zeros written;
        - ``cramers_v``: corrected for bias (`corrected_cramers_v`), in [0, 1];
        - ``cramers_v_plain``: `cramers_v` with its 95 % interval by patient, as a dict.

        Both V are null with fewer than two sources or classes. The bounds are null where all
        resamples agree, as they do where each source has one class: V is 1 then, and the images
        cannot say how rare an exception would be.

    Raises:
        DataError: ``no_images`` without a case.
        UsageError: ``resamples`` below 1.
    """
    # One column of weights a patient, drawn as for images: `patient_weights` goes by sorted names.
    patients, patient_of = np.unique([case.patient for case in cases], return_inverse=True)
    weights = patient_weights(patients.tolist(), resamples=resamples, seed=seed)
    source_names = [case.source or NOT_STATED for case in cases]
    sources = sorted(set(source_names), key=lambda name: (name == NOT_STATED, name))
    labels = sorted({case.label for case in cases})
    row = np.array([sources.index(source) for source in source_names])
    column = np.array([labels.index(case.label) for case in cases])
    # (patients, sources, labels): how many images of each kind a patient has.
    images = np.zeros((len(patients), len(sources), len(labels)))
    np.add.at(images, (patient_of, row, column), 1)

    table = images.sum(axis=0).astype(np.int64)
    replicates = _plain(np.tensordot(weights.astype(np.float64), images, axes=1))
    corrected = corrected_cramers_v(table)
    return {
        "images": len(cases),
        "patients": len(patients),
        "sources": sources,
        "labels": labels,
        "counts": {
            source: dict(zip(labels, counts, strict=True))
            for source, counts in zip(sources, table.tolist(), strict=True)
        },
        "cramers_v": None if math.isnan(corrected) else corrected,
        "cramers_v_plain": _estimate(cramers_v(table), replicates).as_dict(),
    }


def cramers_v(table: npt.ArrayLike) -> float:
    """Return Cramér's V of a table of counts; NaN with fewer than two rows or columns.

    V is the square root of chi-squared over N (min(R, C) - 1), without Yates's correction.

    Source: Cramér 1946, Mathematical Methods of Statistics, page 282.

    Args:
        table: (R, C) counts, N in all; rows and columns of zeros count as absent.

    >>> cramers_v([[30, 10], [10, 30]])
    0.5
    >>> round(cramers_v([[5, 0, 0], [0, 7, 0], [0, 0, 0]]), 9)
    1.0
    """
    counts = _filled(table)
    if min(counts.shape) < 2:
        return math.nan
    return float(contingency.association(counts, method="cramer", correction=False))


def corrected_cramers_v(table: npt.ArrayLike) -> float:
    """Return Cramér's V corrected for bias, which is about 0 where nothing goes together.

    Even independent rows and columns have a plain V above 0, the more so the larger the table and
    the fewer the images: the mean of chi-squared over N is then (R - 1)(C - 1) / (N - 1). That is
    taken off, no further than to 0, and the number of rows and columns is shrunk to match.

    Source: Bergsma 2013, J. Korean Stat. Soc. 42:323, the estimator with tilde.

    Args:
        table: (R, C) counts, N in all; rows and columns of zeros count as absent.

    Returns:
        V in [0, 1]; NaN with fewer than two rows or columns, or with a row or column per image.

    >>> round(corrected_cramers_v([[30, 10], [10, 30]]), 4)  # sqrt((1/4 - 1/79) / (1 - 1/79))
    0.4903
    >>> corrected_cramers_v([[10, 10], [10, 10]])
    0.0
    """
    counts = _filled(table)
    rows, columns = counts.shape
    plain = cramers_v(counts)
    if math.isnan(plain):
        return math.nan
    beyond_one = counts.sum() - 1
    squared = plain**2 * (min(rows, columns) - 1)
    squared = max(0.0, squared - (rows - 1) * (columns - 1) / beyond_one)
    most = min(size - 1 - (size - 1) ** 2 / beyond_one for size in (rows, columns))
    return math.sqrt(squared / most) if most > 0 else math.nan


def _plain(tables: Floats) -> Floats:
    """Plain V of every table (K, R, C), all at once; sources and labels not drawn are absent."""
    of_row, of_column = tables.sum(axis=2), tables.sum(axis=1)
    expected = of_row[:, :, None] * of_column[:, None, :]
    shares = np.divide(tables**2, expected, out=np.zeros_like(tables), where=expected > 0)
    most = np.minimum((of_row > 0).sum(axis=1), (of_column > 0).sum(axis=1)) - 1.0
    # Chi-squared over N; rounding must not carry V out of [0, 1].
    squared = (shares.sum(axis=(1, 2)) - 1).clip(0.0, most)
    ratios: Floats = np.full_like(squared, np.nan)
    np.divide(squared, most, out=ratios, where=most > 0)
    return np.sqrt(ratios)


def _estimate(value: float, replicates: Floats) -> Estimate:
    defined = replicates[~np.isnan(replicates)]
    # Not Wilson's interval, as for proportions: V is none.
    if not defined.size or np.ptp(defined) < 1e-9:
        return Estimate(value, math.nan, math.nan)
    return percentile_interval(value, defined)


def _filled(table: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return a table without its rows and columns of zeros, of which nothing can be expected."""
    counts = np.asarray(table, dtype=np.int64)
    return counts[counts.any(axis=1)][:, counts.any(axis=0)]
