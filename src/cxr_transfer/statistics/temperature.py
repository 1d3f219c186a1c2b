"""The temperature at which class scores mean what they say: applied, found, and kept or not.

Works on arrays alone, so that training (which finds it), evaluation and prediction (which apply it)
share one definition of a calibrated score. Knows nothing of files or parts: who looks for a
temperature must not give test images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Floats = npt.NDArray[np.float64]
_Real = TypeVar("_Real", np.float32, np.float64)

BINS = 10
"""Bins of equal width from 0 to 1, each with its upper edge, the first with 0 too."""

DECIMALS = 6
"""Decimals of a score wherever one is given. Thresholds have as many and are compared with scores
as they are given, so that who reads both picks the same images."""

EVEN = 0.5
"""Threshold of a finding where no other could be chosen."""

SMALLEST = 1e-12
"""Taken for a smaller score wherever a logarithm is: one 0 would make every loss infinite."""

COLDEST, HOTTEST = 0.05, 20.0
"""Between these a temperature is looked for."""

FOLDS = 5
"""Parts into which validation patients are drawn to check a temperature."""

FEWEST_IMAGES = 100
"""Validation images without which no temperature is kept (docs/results/temperature.md)."""

_NEAR = 1.01  # so near to one of them, the search ended at it

NOT_CALIBRATED = "as the network gives them"

Reason = Literal["", "too_few_images", "no_errors", "undetermined", "no_improvement"]

_REASONS: dict[Reason, str] = {
    "too_few_images": f"there are fewer than {FEWEST_IMAGES} validation images",
    "no_errors": "every validation image is right, which sets no temperature",
    "undetermined": "the validation images, or four fifths of their patients, set no temperature",
    "no_improvement": "a temperature did not improve the log loss of validation patients who had "
    "no part in its fit by more than chance does",
}


class TemperatureCheck(BaseModel):
    """Result of the validation images for a temperature.

    Attributes:
        images: Number of validation images.
        patients: Number of their patients.
        temperature: Temperature that suits all of them best, kept or not; None where there is none.
        reason: Code of the reason why it is not kept; "" where it is.
        log_loss_before: Mean log loss of the network's own scores, in nats.
        log_loss_after: Mean log loss at temperatures that were fitted to the other patients; None,
            as all below, where it was not computed.
        ece_before: Expected calibration error of the network's own scores, in [0, 1].
        ece_after: Calibration error at temperatures that were fitted to the other patients.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: int = Field(ge=1)
    patients: int = Field(ge=1)
    temperature: float | None = Field(gt=0, allow_inf_nan=False)
    reason: Reason
    log_loss_before: float = Field(ge=0, allow_inf_nan=False)
    log_loss_after: float | None = Field(None, ge=0, allow_inf_nan=False)
    ece_before: float = Field(ge=0, le=1, allow_inf_nan=False)
    ece_after: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)

    def words(self) -> str:
        """Return in one sentence what was found.

        >>> TemperatureCheck(images=24, patients=24, temperature=0.6, reason="too_few_images",
        ...                  log_loss_before=0.4, ece_before=0.09).words()
        'Scores are not calibrated: there are fewer than 100 validation images (24).'
        """
        if self.reason == "too_few_images":
            return f"Scores are not calibrated: {_REASONS[self.reason]} ({self.images})."
        figures = ""
        if self.log_loss_after is not None and self.ece_after is not None:
            figures = (
                f"log loss {self.log_loss_before:.3f} before and {self.log_loss_after:.3f} after, "
                f"expected calibration error {self.ece_before:.3f} and {self.ece_after:.3f}, "
                f"cross-fitted on {self.images} validation images of {self.patients} patients"
            )
        if not self.reason:
            return f"Temperature {self.temperature:.3g}: {figures}."
        return f"Scores are not calibrated: {_REASONS[self.reason]}{figures and f' ({figures})'}."


def score_scale(temperature: float | None) -> str:
    """Name the scale of class scores: what they are divided by tells one scale from another.

    >>> score_scale(1.3666), score_scale(None)
    ('calibrated (temperature 1.37)', 'as the network gives them')
    """
    return NOT_CALIBRATED if temperature is None else f"calibrated (temperature {temperature:.3g})"


def as_given(scores: npt.NDArray[_Real]) -> Floats:
    """Return scores as tables and answers give them, rounded to `DECIMALS` decimals."""
    return np.asarray(np.round(scores.astype(np.float64), DECIMALS))


def written_score(score: float) -> str:
    """Return a score as a person reads it: of 100, with one decimal, and never certain.

    A network's score is no certainty, whatever its last digits are: none is written as 0.0 or
    100.0.

    >>> written_score(0.8704), written_score(0.99996), written_score(0.0)
    ('87.0', '>99.9', '<0.1')
    """
    written = f"{100 * score:.1f}"
    return {"100.0": ">99.9", "0.0": "<0.1"}.get(written, written)


def between(lower: Floats, higher: Floats) -> Floats:
    """Return thresholds of `DECIMALS` decimals midway between two scores, or at the higher.

    Processors do not share the last digits of a score: one that a threshold equals may be above it
    on one and below it on another.

    Args:
        lower: Scores of `DECIMALS` decimals that are to lie below, (K,).
        higher: Scores that are to reach the threshold, (K,), each above its lower one or equal.

    >>> between(np.array([0.2, 0.5]), np.array([0.3, 0.500001]))
    array([0.25    , 0.500001])
    """
    # Whole numbers of the last decimal: halves are rounded up without an error.
    unit = 10**DECIMALS
    low, high = (np.rint(unit * scores).astype(np.int64) for scores in (lower, higher))
    return np.asarray((low + high + 1) // 2 / unit)


def at_temperature(scores: npt.NDArray[_Real], temperature: float | None) -> npt.NDArray[_Real]:
    """Return scores (N, C) at another temperature: the softmax of log scores divided by it.

    The order of an image's classes stays. Scores below 1e-12 count as 1e-12, as they did when the
    temperature was found.

    Source: Guo et al. 2017, ICML 70:1321.

    Args:
        scores: Class scores, rows summing to 1.
        temperature: Temperature above 0; None leaves the scores as they are.

    >>> at_temperature(np.array([[0.8, 0.2]], np.float32), 2.0).round(3)
    array([[0.667, 0.333]], dtype=float32)
    """
    if temperature is None:
        return scores
    logs = log_scores(scores)
    # The highest becomes exp(0): whatever the temperature, nothing overflows.
    powers = np.exp((logs - logs.max(axis=1, keepdims=True)) / temperature)
    rescaled: npt.NDArray[_Real] = (powers / powers.sum(axis=1, keepdims=True)).astype(scores.dtype)
    return rescaled


def each_at_temperature(
    scores: npt.NDArray[_Real], temperature: float | None
) -> npt.NDArray[_Real]:
    """Return probabilities of findings (N, F) at another temperature: each logit divided by it.

    A finding and its absence are two classes, and each finding is taken for itself: the same as
    `at_temperature` of the two.

    Args:
        scores: Probabilities; what is nearer to 0 or 1 than 1e-12 counts as so near.
        temperature: Temperature above 0; None leaves the probabilities as they are.

    >>> each_at_temperature(np.array([[0.8, 0.5]], np.float32), 2.0).round(3)
    array([[0.667, 0.5  ]], dtype=float32)
    """
    if temperature is None:
        return scores
    kept = np.clip(scores.astype(np.float64), SMALLEST, 1 - SMALLEST)
    logits = (np.log(kept) - np.log1p(-kept)) / temperature
    rescaled: npt.NDArray[_Real] = (1 / (1 + np.exp(-logits))).astype(scores.dtype)
    return rescaled


def fit_temperature(scores: Floats, targets: npt.NDArray[np.int64]) -> float | None:
    """Find the temperature T at which softmax(log p / T) has the lowest log loss.

    T > 1 makes scores less sure, T < 1 surer; the order of an image's classes stays. It is looked
    for between 0.05 and 20. None is returned where the lowest loss lies at a bound, for then these
    images set none. So it is when every image is right (the surer the better) or when scores tell
    nothing.

    Source: Guo et al. 2017, ICML, section 4.2.

    Args:
        scores: Class scores p (N, C) of images that neither trained the model nor will test it.
            Scores below 1e-12 are taken for 1e-12.
        targets: Index of the true class of each image (N,).

    All four images score 9 to 1, but only three are right: 3 to 1 is their due, and log 9 = 2 log
    3.

    >>> round(fit_temperature(np.array([[0.9, 0.1]] * 4), np.array([0, 0, 0, 1])), 4)
    2.0
    """
    # Imported here: a prediction, which finds no temperature, starts without it.
    from scipy.optimize import minimize_scalar

    logs = log_scores(scores)
    # Against the true class: its own entry is 0, and a loss near 0 keeps its digits.
    margins = logs - np.take_along_axis(logs, targets[:, None], axis=1)

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp.reduce(margins / math.exp(log_temperature), axis=1).mean())

    # The loss is convex in 1 / T, so that it has one valley, however T is scaled.
    bounds = (math.log(COLDEST), math.log(HOTTEST))
    minimum = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-7})
    best = math.exp(float(minimum.x))
    return best if COLDEST * _NEAR < best < HOTTEST / _NEAR else None


def confidence_threshold(scores: npt.NDArray[_Real], coverage: float) -> float:
    """Return the limit that so large a share of images reach with their highest score.

    Args:
        scores: Class scores (N, C), on the scale on which they are given.
        coverage: Share of the images, above 0 and at most 1.

    >>> confidence_threshold(np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]]), 0.5)
    0.65
    """
    highest = np.sort(as_given(scores.max(axis=1)))
    last = float(np.quantile(highest, 1 - coverage, method="lower"))
    lower = highest[highest < last]
    return float(between(lower[-1:] if lower.size else np.zeros(1), np.array([last]))[0])


def choose_temperature(
    scores: Floats,
    targets: npt.NDArray[np.int64],
    patients: Sequence[str],
    *,
    fewest: int = FEWEST_IMAGES,
) -> tuple[float | None, TemperatureCheck]:
    """Fit a temperature to validation images, and keep it only if it helps patients it has not met.

    Patients are drawn into `FOLDS` parts. A temperature is fitted to the images of four. The log
    loss of the fifth's is compared with that of their scores as they are. Only if it falls, over
    all parts together and by more than its standard error, is the temperature of all images kept.
    Without that margin, one in five networks whose scores are right as they are would get one that
    makes them worse (docs/results/temperature.md).

    Args:
        scores: Class scores p (N, C) of images that neither trained the model nor will test it.
        targets: Index of the true class of each image (N,).
        patients: Patient of each image, N names; the images of a patient stay together.
        fewest: Number of images below which no temperature is kept.

    Returns:
        The temperature, or None where the scores are better left as they are; and what was found.
    """
    names, patient = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    before = _log_losses(scores, targets)
    fitted = fit_temperature(scores, targets)

    def outcome(
        reason: Reason, after: Floats | None = None
    ) -> tuple[float | None, TemperatureCheck]:
        return None if reason else fitted, TemperatureCheck(
            images=len(targets),
            patients=len(names),
            temperature=fitted,
            reason=reason,
            log_loss_before=float(before.mean()),
            log_loss_after=None if after is None else float(_log_losses(after, targets).mean()),
            ece_before=calibration_error(scores, targets),
            ece_after=None if after is None else calibration_error(after, targets),
        )

    if (scores.argmax(axis=1) == targets).all():
        return outcome("no_errors")
    if len(targets) < fewest:
        return outcome("too_few_images")
    if fitted is None or len(names) < FOLDS:
        return outcome("undetermined")
    # By the patients' names and a fixed seed: the order of the images decides nothing.
    fold = (np.random.default_rng(0).permutation(len(names)) % FOLDS)[patient]
    held_out = np.empty_like(scores)
    for number in range(FOLDS):
        inside = fold == number
        of_others = fit_temperature(scores[~inside], targets[~inside])
        if of_others is None:
            return outcome("undetermined")
        held_out[inside] = at_temperature(scores[inside], of_others)
    by_patient = np.bincount(patient, before - _log_losses(held_out, targets))
    error = by_patient.std(ddof=1) * math.sqrt(len(names))
    return outcome("" if by_patient.sum() > error else "no_improvement", held_out)


def calibration_error(scores: Floats, targets: npt.NDArray[np.int64]) -> float:
    """Return the expected calibration error of the highest score, in [0, 1] (Guo et al. 2017).

    Args:
        scores: Class scores (N, C).
        targets: Index of the true class of each image (N,).
    """
    right = (scores.argmax(axis=1) == targets).astype(np.float64)
    return float(np.abs(bin_gaps(scores.max(axis=1), right).sum(axis=0)).sum() / len(targets))


def bin_gaps(score: Floats, outcome: Floats) -> Floats:
    """Return (N, BINS): outcome less score, in the column of the score's bin; 0 elsewhere."""
    return np.asarray(np.eye(BINS)[bin_of(score)] * (outcome - score)[:, None])


def bin_of(score: Floats, bins: int = BINS) -> npt.NDArray[np.int64]:
    """Return (N,) number of the bin of each score, which holds its upper edge."""
    # A division gives the very float that a score such as 0.3 is; a sum of tenths does not.
    inner_edges = np.arange(1, bins) / bins
    return np.searchsorted(inner_edges, score, side="left").astype(np.int64)


def log_scores(scores: npt.NDArray[_Real]) -> Floats:
    """Return the logarithms of class scores (N, C), none of them infinite."""
    return np.asarray(np.log(np.maximum(scores.astype(np.float64), SMALLEST)))


def _log_losses(scores: Floats, targets: npt.NDArray[np.int64]) -> Floats:
    """Return (N,) minus the logarithm of the true class's score."""
    return np.asarray(-np.take_along_axis(log_scores(scores), targets[:, None], axis=1)[:, 0])
