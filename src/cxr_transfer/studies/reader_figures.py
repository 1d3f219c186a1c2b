"""The figures of a reader study: of readers, of the model, what one gains on another, agreement.

In come readings whose truth is known; out go estimates as JSON holds them. Opens no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from cxr_transfer.statistics.agreement import agreement
from cxr_transfer.statistics.auroc import areas_and_covariance, auroc_intervals
from cxr_transfer.statistics.delong import difference_of_areas
from cxr_transfer.statistics.intervals import NOT_DEFINED, Estimate, mean, share
from cxr_transfer.statistics.multi_reader import FEWEST, differences, mean_over_readers
from cxr_transfer.studies.reader_tables import CANNOT_SAY, CONDITIONS, Reading, Truth, identity

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
Figures = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Read:
    """Readings of images whose truth is known.

    Attributes:
        images: Identities of the images, N of them.
        patients: Patient of each image.
        positive: Flags of the images that truly are of the target, (N,).
        target: Classes that were looked for.
        readers: Names of the readers, in the order in which they came.
        table: Reading by reader, condition and image.
        model_scores: Model's score of the target for each image, (N,); NaN where it gave none.
        model_calls: Whether the model named the target, (N,).
    """

    images: tuple[str, ...]
    patients: tuple[str, ...]
    positive: Flags
    target: tuple[str, ...]
    readers: tuple[str, ...]
    table: Mapping[tuple[str, str, str], Reading]
    model_scores: Floats
    model_calls: Flags

    @classmethod
    def of(
        cls,
        readings: Sequence[Reading],
        truths: Mapping[str, Truth],
        target: tuple[str, ...],
        by: str,
    ) -> Self:
        """Return readings as a table of their images."""
        images = tuple(sorted({identity(reading, by) for reading in readings}))
        answered = {identity(each, by): each for each in readings if each.model_scores}
        scores = [
            sum(answered[name].model_scores.get(label, 0.0) for label in target)
            if name in answered
            else np.nan
            for name in images
        ]
        # Of several findings a model names any number, joined.
        calls = [
            name in answered and not set(target).isdisjoint(answered[name].model_label.split("|"))
            for name in images
        ]
        return cls(
            images=images,
            patients=tuple(truths[name].patient for name in images),
            positive=np.array([truths[name].label in target for name in images]),
            target=target,
            readers=tuple(dict.fromkeys(reading.reader for reading in readings)),
            table={(each.reader, each.condition, identity(each, by)): each for each in readings},
            model_scores=np.array(scores, dtype=np.float64),
            model_calls=np.array(calls, dtype=bool),
        )

    def rows(self, *ways: tuple[str, str]) -> Rows:
        """Return the images that have a reading in each of the ways: pairs of reader, condition."""
        return np.array(
            [
                row
                for row, name in enumerate(self.images)
                if all((*way, name) in self.table for way in ways)
            ],
            dtype=np.int64,
        )

    def readings(self, way: tuple[str, str], rows: Rows) -> list[Reading]:
        """Return the readings of a reader in a condition, row for row."""
        return [self.table[*way, self.images[row]] for row in rows]

    def confidence(self, way: tuple[str, str], rows: Rows) -> Floats:
        """Return how sure a reader was of the target, (rows,)."""
        return np.array([each.confidence for each in self.readings(way, rows)], dtype=np.float64)

    def calls(self, way: tuple[str, str], rows: Rows) -> Rows:
        """Return 1 for images that were called the target, 0 for others, 2 for "cannot say"."""
        labels = (each.label for each in self.readings(way, rows))
        return np.array([2 if x == CANNOT_SAY else int(x in self.target) for x in labels], np.int64)

    def patients_of(self, rows: Rows) -> list[str]:
        """Return the patients of some images."""
        return [self.patients[row] for row in rows]


def reader_figures(read: Read, reader: str, **again: int) -> Figures:
    """Return the figures of a reader in each condition; None where nothing was read so."""
    figures: Figures = {}
    for condition in CONDITIONS:
        way = (reader, condition)
        rows = read.rows(way)
        if not len(rows):
            figures[condition] = None
            continue
        readings = read.readings(way, rows)
        seconds = np.array([each.seconds for each in readings])
        timed = seconds[~np.isnan(seconds)]
        figures[condition] = {
            "images": len(rows),
            "cannot_say": int((read.calls(way, rows) == 2).sum()),
            "seconds_median": float(np.median(timed)) if timed.size else None,
            **_rates(read, rows, read.calls(way, rows), **again),
            "auroc": _area(read, rows, read.confidence(way, rows)).as_dict(),
        }
    return figures


def model_figures(read: Read, **again: int) -> Figures:
    """Return the figures of the model on the images that it scored, and what readers gain on it."""
    rows = np.flatnonzero(~np.isnan(read.model_scores))
    calls = read.model_calls[rows].astype(np.int64)
    return {
        "images": len(rows),
        "without_score": len(read.images) - len(rows),
        **_rates(read, rows, calls, **again),
        "auroc": _area(read, rows, read.model_scores[rows]).as_dict(),
        "readers_less_model": {name: _on_model(read, (name, "without")) for name in read.readers},
    }


def gains(read: Read, reader: str, **again: int) -> Figures | None:
    """Return what a reader gains from the model's answer; None where nothing was read both ways."""
    ways = [(reader, condition) for condition in CONDITIONS]
    rows = read.rows(*ways)
    if not len(rows):
        return None
    positive = read.positive[rows]
    without, with_it = (read.calls(way, rows) for way in ways)
    gained: Figures = {
        "images": len(rows),
        "changed": int((without != with_it).sum()),
        **_area_gained(read, rows, *(read.confidence(way, rows) for way in ways)),
    }
    for name, flags, wanted in (("sensitivity", positive, 1), ("specificity", ~positive, 0)):
        change = (with_it == wanted).astype(float) - (without == wanted)
        gained[name] = _mean_change(change[flags], read.patients_of(rows[flags]), **again)
    return gained


def agreements(read: Read, condition: str, **again: int) -> Figures | None:
    """Return how well readers agree on the target; None for fewer than two, or no common image."""
    ways = [(name, condition) for name in read.readers]
    ways = [way for way in ways if len(read.rows(way))]
    rows = read.rows(*ways)
    if len(ways) < FEWEST or not len(rows):
        return None
    calls = {name: read.calls((name, condition), rows) for name, _ in ways}
    patients = read.patients_of(rows)
    found: Figures = {
        "images": len(rows),
        "readers": list(calls),
        "all": _as_dicts(agreement(list(calls.values()), 3, patients, **again)),
        "pairs": [
            {"a": a, "b": b, **_as_dicts(agreement([calls[a], calls[b]], 3, patients, **again))}
            for a, b in combinations(calls, 2)
        ],
    }
    return found


def means(read: Read) -> Figures:
    """Return means over readers, for other readers and other images; None where there are too few.

    ``without`` and ``with`` are mean areas, ``gain`` the difference of the two, ``on_model`` what
    the mean reader has over the model. Each is of the images that all readers read so.
    """
    found: Figures = {}
    for condition in CONDITIONS:
        ways = [(name, condition) for name in read.readers]
        found[condition] = _mean(read, [way for way in ways if len(read.rows(way))])
    both = [name for name in read.readers if len(read.rows(*((name, c) for c in CONDITIONS)))]
    found["gain"] = _mean_gain(read, both)
    found["on_model"] = _mean_on_model(
        read, [(name, "without") for name in read.readers if len(read.rows((name, "without")))]
    )
    return found


def _mean(read: Read, ways: Sequence[tuple[str, str]]) -> Figures | None:
    rows = read.rows(*ways)
    if len(ways) < FEWEST or not _has_curve(read, rows):
        return None
    areas, covariance = _areas(read, rows, [read.confidence(way, rows) for way in ways])
    found = mean_over_readers(areas, covariance)
    estimate = found.estimate
    return {
        "readers": len(ways),
        "images": len(rows),
        # An area cannot leave its scale; the interval is symmetric and may.
        "auroc": Estimate(
            estimate.value, max(estimate.low, 0.0), min(estimate.high, 1.0)
        ).as_dict(),
        "degrees_of_freedom": _finite(found.degrees_of_freedom),
    }


def _mean_gain(read: Read, names: Sequence[str]) -> Figures | None:
    ways = [(name, condition) for condition in CONDITIONS for name in names]
    rows = read.rows(*ways)
    if len(names) < FEWEST or not _has_curve(read, rows):
        return None
    areas, covariance = _areas(read, rows, [read.confidence(way, rows) for way in ways])
    return _mean_difference(len(rows), *differences(areas.reshape(2, len(names)), covariance))


def _mean_on_model(read: Read, ways: Sequence[tuple[str, str]]) -> Figures | None:
    rows = read.rows(*ways)
    rows = rows[~np.isnan(read.model_scores[rows])]
    if len(ways) < FEWEST or not _has_curve(read, rows):
        return None
    scores = [read.model_scores[rows], *(read.confidence(way, rows) for way in ways)]
    areas, covariance = _areas(read, rows, scores)
    contrast = np.hstack([-np.ones((len(ways), 1)), np.eye(len(ways))])
    return _mean_difference(len(rows), contrast @ areas, contrast @ covariance @ contrast.T)


def _mean_difference(images: int, figures: Floats, covariance: Floats) -> Figures:
    found = mean_over_readers(figures, covariance)
    return {
        "readers": len(figures),
        "images": images,
        "auroc": found.estimate.as_dict(),
        "p": found.p,
        "degrees_of_freedom": _finite(found.degrees_of_freedom),
    }


def _finite(freedom: float) -> float | None:
    return float(freedom) if np.isfinite(freedom) else None


def _on_model(read: Read, way: tuple[str, str]) -> Figures | None:
    rows = read.rows(way)
    rows = rows[~np.isnan(read.model_scores[rows])] if len(rows) else rows
    if not len(rows):
        return None
    return {
        "images": len(rows),
        **_area_gained(read, rows, read.model_scores[rows], read.confidence(way, rows)),
    }


def _area_gained(read: Read, rows: Rows, first: Floats, second: Floats) -> Figures:
    if not _has_curve(read, rows):
        return {"auroc": NOT_DEFINED.as_dict(), "p": None}
    difference, p = difference_of_areas(*_areas(read, rows, [first, second]))
    return {"auroc": difference.as_dict(), "p": p}


def _areas(read: Read, rows: Rows, scores: Sequence[Floats]) -> tuple[Floats, Floats]:
    flags = np.broadcast_to(read.positive[rows], (len(scores), len(rows)))
    return areas_and_covariance(flags, np.stack(scores), read.patients_of(rows))


def _area(read: Read, rows: Rows, scores: Floats) -> Estimate:
    if not len(rows):
        return NOT_DEFINED
    estimates, _ = auroc_intervals(read.positive[rows][None], scores[None], read.patients_of(rows))
    return estimates[0]


def _has_curve(read: Read, rows: Rows) -> bool:
    """Tell whether a variance follows: of two patients with the target, and of two without."""
    positive, patients = read.positive[rows], np.array(read.patients_of(rows), dtype=str)
    return all(len(set(patients[flags])) >= 2 for flags in (positive, ~positive))


def _rates(read: Read, rows: Rows, calls: Rows, **again: int) -> Figures:
    """Return sensitivity and specificity; who cannot say has found nothing and cleared nobody."""
    positive = read.positive[rows]
    rates: Figures = {}
    for name, flags, wanted in (("sensitivity", positive, 1), ("specificity", ~positive, 0)):
        of_these = rows[flags]
        rates[name] = (
            share(calls[flags] == wanted, read.patients_of(of_these), **again)
            if len(of_these)
            else NOT_DEFINED
        ).as_dict()
    return rates


def _mean_change(change: Floats, patients: Sequence[str], **again: int) -> Figures:
    if not len(change):
        return NOT_DEFINED.as_dict()
    if (change == change[0]).all():  # no resample differs: that is no interval without width
        return Estimate(float(change[0]), np.nan, np.nan).as_dict()
    return mean(change, patients, **again).as_dict()


def _as_dicts(estimates: Mapping[str, Estimate]) -> Figures:
    return {name: estimate.as_dict() for name, estimate in estimates.items()}
