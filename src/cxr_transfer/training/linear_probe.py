"""A head fitted, not trained: logistic regression on what the frozen part makes of the images.

A convex problem has one answer, whatever the seed, found in seconds. Knows nothing of networks but
their last layer.

Source: the linear probe of Alain & Bengio 2016 ("Understanding intermediate layers using linear
classifier probes").
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cxr_transfer.errors import DataError, ModelError
from cxr_transfer.training.frozen_features import part_of
from cxr_transfer.training.losses import loss_of, share_right
from cxr_transfer.training.stage import Stored
from cxr_transfer.training.strata import shared_intercept, strata_columns

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

_ITERATIONS = 2000

_NEGLIGIBLE = 1e-6
"""Of a feature's own size, or of the widest feature's spread: no more than rounding makes."""


@dataclass(frozen=True)
class _Samples:
    """Table that a regression is fitted to.

    Attributes:
        features: Standardised features, (N, F).
        targets: Targets, (N,); of findings (N, findings).
        counts: Weight of each image before classes are balanced, (N,).
        sources: Number of each image's source, (N,); all 0 where none was given.
        swapped: Whether an image's surroundings were exchanged, (N,).
    """

    features: npt.NDArray[np.float64]
    targets: npt.NDArray[np.int64]
    counts: npt.NDArray[np.float64]
    sources: npt.NDArray[np.int64]
    swapped: npt.NDArray[np.bool_]


@torch.no_grad()
def fit_head(
    network_end: nn.Sequential,
    training: Stored,
    validation: Stored,
    *,
    swapped: Stored | None = None,
    swapped_weight: float = 1.0,
    penalty: float,
    strata_penalty: float | None = None,
    balance: Literal["by_class", "by_source"] = "by_class",
    stage: str,
    log: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Fit the head in place by multinomial logistic regression with a quadratic penalty.

    Of findings, one regression for each, on the images whose label is known: there the two classes
    are the images with it and those without.

    Features are standardised for the fit (the head then takes them as they are), and every class
    counts as much as another, however many images it has. A class without images in training gets
    weights of 0 and a bias of -30: it is practically never named. Where two classes alone have
    images, scikit-learn fits the difference of their logits and puts the penalty on that: twice
    what the multinomial one would be for the same head.

    With strata every source has an intercept of its own for each class in the fit (see `strata`),
    and so have its images with exchanged surroundings, which differ from the others in what all of
    them have in common: they were glued together. The head keeps the shared weights, and as its
    bias the `shared_intercept` of the images as they were.

    Args:
        network_end: Children behind what was kept, to the head, which images are fed to.
        training: Features (N, F) and targets; with sources where they matter.
        validation: Features and targets of the images that are only looked at.
        swapped: Features and targets of training images whose surroundings were exchanged; their
            sources are those of the lungs.
        swapped_weight: Weight of one of those, beside the 1 of a training image.
        penalty: Weight of the sum of squared weights, beside the mean loss of an image.
        strata_penalty: Weight of the sum of squared intercepts of the sources; None fits without
            strata.
        balance: Whether the classes have the same sum of counts, or also each source in a class.
        stage: Name of the stage in the history.
        log: Function that gets a line when the fit was stopped before its end.

    Returns:
        History: one row.

    Raises:
        DataError: ``empty`` without training or validation images; ``classes`` when the training
            images are of one class, or all with or all without a finding.
        ModelError: ``loss_not_finite`` when a feature is no finite number.
        ValueError: Without sources where they matter.
    """
    started = time.monotonic()
    before, head = part_of(network_end, 0, -1).cpu().eval(), network_end.get_submodule("head").cpu()
    image_sets = (training, validation) if swapped is None else (training, validation, swapped)
    seen = [before(images.inputs.cpu()).float() for images in image_sets]
    known_of = [images.targets.cpu() for images in image_sets]
    if not isinstance(head, nn.Linear):
        raise TypeError(f"expected a linear head, got {head}")
    _check(seen, known_of)
    # The exchanged images do not move the scale of the features.
    centre, spread = _centre_and_spread(seen[0].double().numpy())
    samples = _samples(image_sets, seen, (centre, spread), swapped_weight)
    if strata_penalty is not None or balance == "by_source":
        _check_sources(training, swapped)
    of_balance = samples.sources if balance == "by_source" else None
    columns = samples.features
    if strata_penalty is not None:
        columns = np.hstack([columns, _columns_of_sources(samples, penalty / strata_penalty)])
    # Of classes one regression on all images; of findings one each, on those that are known.
    exclusive = samples.targets.ndim == 1
    for place, targets in enumerate([samples.targets] if exclusive else list(samples.targets.T)):
        rows = slice(None) if exclusive else np.flatnonzero(targets >= 0)
        sources = None if of_balance is None else of_balance[rows]
        balanced = samples.counts[rows] * _balance(targets[rows], samples.counts[rows], sources)
        fitted, steps = _fitted(columns[rows], targets[rows], balanced, penalty)
        if steps is not None:
            log(
                f"{stage}: the fit was stopped after {steps} steps, before its end;"
                " a larger penalty makes it easier"
            )
        if exclusive:
            level = None if strata_penalty is None else _level_of(fitted, samples)
            _fill(head, fitted, centre, spread, level)
        else:
            _fill_finding(head, place, fitted, centre, spread)
    loss, accuracy = _judged(head, seen[0], known_of[0])
    val_loss, val_accuracy = _judged(head, seen[1], known_of[1])
    return [
        {
            "stage": stage,
            "epoch": 1,
            "loss": loss,
            "accuracy": accuracy,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "learning_rate": 0.0,
            "seconds": time.monotonic() - started,
        }
    ]


def _samples(
    image_sets: Sequence[Stored],
    seen: Sequence[Tensor],
    scale: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
    swapped_weight: float,
) -> _Samples:
    """Put training images, and those with exchanged surroundings behind them, into one table."""
    parts = [0, 2][: len(image_sets) - 1]
    centre, spread = scale
    features = np.concatenate([seen[part].double().numpy() for part in parts])
    sizes = [len(seen[part]) for part in parts]
    swapped = np.repeat([False, True][: len(parts)], sizes)
    sources = [image_sets[part].sources for part in parts]
    codes = [
        np.zeros(size, np.int64) if of is None else of.cpu().numpy()
        for of, size in zip(sources, sizes, strict=True)
    ]
    return _Samples(
        features=(features - centre) / spread,
        targets=np.concatenate([image_sets[part].targets.cpu().numpy() for part in parts]),
        counts=np.where(swapped, swapped_weight, 1.0),
        sources=np.concatenate(codes),
        swapped=swapped,
    )


def _columns_of_sources(samples: _Samples, ratio: float) -> npt.NDArray[np.float64]:
    """Return the columns whose weights are the sources' intercepts.

    Args:
        samples: Images with their sources.
        ratio: Penalty of the weights over that of the intercepts.
    """
    apart = samples.sources + samples.swapped * (samples.sources.max() + 1)
    return strata_columns(apart, scale=math.sqrt(ratio))


def _level_of(fitted: LogisticRegression, samples: _Samples) -> npt.NDArray[np.float64]:
    """Return the intercept that takes the place of those of the sources, of each fitted class."""
    plain = ~samples.swapped
    weights, _ = _by_class(fitted)
    features = samples.features[plain]
    targets = np.searchsorted(fitted.classes_, samples.targets[plain])
    logits = features @ weights[:, : features.shape[1]].T
    return shared_intercept(logits, targets, samples.sources[plain])


def _fitted(
    features: npt.NDArray[np.float64],
    targets: npt.NDArray[np.int64],
    counts: npt.NDArray[np.float64],
    penalty: float,
) -> tuple[LogisticRegression, int | None]:
    """Fit a logistic regression; return it, and its number of steps where it did not end."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression  # a second; for this stage alone
    from threadpoolctl import threadpool_limits

    # scikit-learn adds half the squared weights to C times the summed loss.
    regression = LogisticRegression(
        C=1 / (2 * penalty * counts.sum()),
        max_iter=_ITERATIONS,
        tol=1e-6,
    )
    # One thread: on two cores two took twice as long for 3,414 x 1,536, and ten times as long
    # beside other work.
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(1, "blas"):
        warnings.simplefilter("always", ConvergenceWarning)
        fitted = regression.fit(features, targets, sample_weight=counts)
    stopped = any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    return fitted, int(fitted.n_iter_.max()) if stopped else None


def _by_class(
    fitted: LogisticRegression,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return a regression's weights, (classes, columns), and intercepts, (classes,)."""
    if len(fitted.classes_) > 2:
        return fitted.coef_, fitted.intercept_
    # scikit-learn keeps the difference of the two
    weights, level = (
        np.concatenate([-part / 2, part / 2]) for part in (fitted.coef_, fitted.intercept_)
    )
    return weights, level


def _fill(
    head: nn.Linear,
    fitted: LogisticRegression,
    centre: npt.NDArray[np.float64],
    spread: npt.NDArray[np.float64],
    level: npt.NDArray[np.float64] | None,
) -> None:
    """Put a regression on standardised features into a head that takes them as they are.

    Args:
        head: Head that is filled.
        fitted: Regression; its columns behind the features are those of strata.
        centre: Mean of each feature.
        spread: Spread of each feature.
        level: Intercept of each fitted class; None takes the regression's own.
    """
    fitted_classes = fitted.classes_
    weight = np.zeros((head.out_features, head.in_features))
    # A class without images: nothing is known of it, and it is practically never named.
    bias = np.full(len(weight), -30.0)
    coefficients, own = _by_class(fitted)
    weight[fitted_classes] = coefficients[:, : head.in_features] / spread
    bias[fitted_classes] = (own if level is None else level) - weight[fitted_classes] @ centre
    head.weight.copy_(torch.from_numpy(weight))
    head.bias.copy_(torch.from_numpy(bias))


def _fill_finding(
    head: nn.Linear,
    place: int,
    fitted: LogisticRegression,
    centre: npt.NDArray[np.float64],
    spread: npt.NDArray[np.float64],
) -> None:
    """Put one finding's regression on standardised features into its row of a head."""
    weight = fitted.coef_[0] / spread
    head.weight[place].copy_(torch.from_numpy(weight))
    head.bias[place] = float(fitted.intercept_[0] - weight @ centre)


def _check_sources(training: Stored, swapped: Stored | None) -> None:
    """Refuse images without their sources where these matter."""
    if any(images is not None and images.sources is None for images in (training, swapped)):
        raise ValueError("expected the source of each training image, got none")


def _check(seen: list[Tensor], known_of: list[Tensor]) -> None:
    """Refuse, before any fit, images from which no head or no figure follows."""
    for name, features in zip(("training", "validation", "exchanged"), seen, strict=False):
        if not len(features):
            raise DataError(
                "empty",
                f"Expected {name} images to fit a head, but got none; give that part some images.",
            )
        unfit = int((~features.isfinite()).flatten(1).any(dim=1).sum())
        if unfit:
            raise ModelError(
                "loss_not_finite",
                f"Expected finite features of the {name} images, but got NaN or infinity for "
                f"{unfit} of {len(features)}; check the weights that the recipe starts from.",
            )
    of_training = known_of[0]
    if of_training.ndim == 2:
        both = [((column == 0).any() and (column == 1).any()) for column in of_training.T]
        if not all(both):
            raise DataError(
                "classes",
                "Expected training images with and without each finding to fit a head, but "
                f"{both.count(False)} of {len(both)} findings lack one of them; leave these out "
                "(--label FINDING=).",
            )
        return
    if not (of_training != of_training[0]).any():
        raise DataError(
            "classes",
            f"Expected training images of at least two classes to fit a head, but all "
            f"{len(of_training)} are of one; give the training part images of another.",
        )


def _centre_and_spread(
    features: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and spread of each feature; 1 where it hardly varies, so that it stays next to 0."""
    centre, spread = features.mean(axis=0), features.std(axis=0)
    negligible = spread <= _NEGLIGIBLE * np.maximum(np.abs(centre), spread.max())
    return centre, np.where(negligible, 1.0, spread + 1e-6)


def _balance(
    targets: npt.NDArray[np.int64],
    counts: npt.NDArray[np.float64],
    sources: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.float64]:
    """Return factors (N,) with which every class counts as much as another, and all as before.

    With sources each source within a class counts as much as another of that class, too.
    """
    _, place = np.unique(targets, return_inverse=True)
    of_class = np.bincount(place, counts)
    factors: npt.NDArray[np.float64] = (counts.sum() / (len(of_class) * of_class))[place]
    if sources is None:
        return factors
    cells, cell = np.unique(np.column_stack([place, sources]), axis=0, return_inverse=True)
    cell = cell.reshape(-1)  # numpy 2.0 gave it two dimensions
    share = of_class / np.bincount(cells[:, 0])
    within: npt.NDArray[np.float64] = share[place] / np.bincount(cell, counts)[cell]
    return factors * within


def _judged(head: nn.Module, seen: Tensor, targets: Tensor) -> tuple[float, float]:
    logits = head(seen)
    return float(loss_of(logits, targets)), float(share_right(logits, targets))
