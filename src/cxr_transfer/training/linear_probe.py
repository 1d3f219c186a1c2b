"""A head fitted, not trained: logistic regression on what the frozen part makes of the images.

A convex problem has one answer, whatever the seed, found in seconds. Knows nothing of networks but
their last layer.

Source: the linear probe of Alain & Bengio 2016 ("Understanding intermediate layers using linear
classifier probes").
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cxr_transfer.errors import DataError, ModelError
from cxr_transfer.training.frozen_features import part_of
from cxr_transfer.training.losses import loss_of, share_right
from cxr_transfer.training.stage import Stored

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

_ITERATIONS = 2000

_NEGLIGIBLE = 1e-6
"""Of a feature's own size, or of the widest feature's spread: no more than rounding makes."""


@torch.no_grad()
def fit_head(
    rest: nn.Sequential,
    training: Stored,
    validation: Stored,
    *,
    swapped: Stored | None = None,
    swapped_weight: float = 1.0,
    penalty: float,
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

    Args:
        rest: What the images are fed to: what is behind what was kept, ends with the head.
        training: Features (N, F) and targets.
        validation: Features and targets of the images that are only looked at.
        swapped: Features and targets of training images whose surroundings were exchanged.
        swapped_weight: What one of those counts, beside the 1 of a training image.
        penalty: Weight of the sum of squared weights, beside the mean loss of an image.
        stage: Stands in the history.
        log: Is told when the fit was stopped before its end.

    Returns:
        The history: one row.

    Raises:
        DataError: ``empty`` without training or validation images; ``classes`` when the training
            images are of one class, or all with or all without a finding.
        ModelError: ``loss_not_finite`` when a feature is no finite number.
    """
    started = time.monotonic()
    before, head = part_of(rest, 0, -1).cpu().eval(), rest.get_submodule("head").cpu()
    given = (training, validation) if swapped is None else (training, validation, swapped)
    seen = [before(images.inputs.cpu()).float() for images in given]
    known_of = [images.targets.cpu() for images in given]
    if not isinstance(head, nn.Linear):
        raise TypeError(f"expected a linear head, got {head}")
    _check(seen, known_of)
    features, targets = seen[0].double().numpy(), known_of[0].numpy()
    counts = np.ones(len(targets))
    if swapped is not None:
        features = np.concatenate([features, seen[2].double().numpy()])
        targets = np.concatenate([targets, known_of[2].numpy()])
        counts = np.concatenate([counts, np.full(len(seen[2]), swapped_weight)])
    # The exchanged images do not move the scale of the features.
    centre, spread = _centre_and_spread(seen[0].double().numpy())
    scaled = (features - centre) / spread
    # Of classes one regression on all images; of findings one each, on those that are known.
    columns = [targets] if targets.ndim == 1 else list(targets.T)
    for place, column in enumerate(columns):
        rows = slice(None) if targets.ndim == 1 else np.flatnonzero(column >= 0)
        balanced = counts[rows] * _balance(column[rows], counts[rows])
        fitted, steps = _fitted(scaled[rows], column[rows], balanced, penalty)
        if steps is not None:
            log(
                f"{stage}: the fit was stopped after {steps} steps, before its end;"
                " a larger penalty makes it easier"
            )
        if targets.ndim == 1:
            _fill(head, fitted, centre, spread)
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
    stopped = any(issubclass(one.category, ConvergenceWarning) for one in caught)
    return fitted, int(fitted.n_iter_.max()) if stopped else None


def _fill(
    head: nn.Linear,
    fitted: LogisticRegression,
    centre: npt.NDArray[np.float64],
    spread: npt.NDArray[np.float64],
) -> None:
    """Put a regression on standardised features into a head that takes them as they are."""
    known = fitted.classes_
    weight = np.zeros((head.out_features, head.in_features))
    # A class without images: nothing is known of it, and it is practically never named.
    bias = np.full(len(weight), -30.0)
    if len(known) == 2:  # scikit-learn keeps the difference of the two
        found, level = (
            np.concatenate([-part / 2, part / 2]) for part in (fitted.coef_, fitted.intercept_)
        )
    else:
        found, level = fitted.coef_, fitted.intercept_
    weight[known] = found / spread
    bias[known] = level - weight[known] @ centre
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
    targets: npt.NDArray[np.int64], counts: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Factors (N,) with which every class counts as much as another, and all as much as before."""
    _, place = np.unique(targets, return_inverse=True)
    of_class = np.bincount(place, counts)
    factors: npt.NDArray[np.float64] = (counts.sum() / (len(of_class) * of_class))[place]
    return factors


def _judged(head: nn.Module, seen: Tensor, targets: Tensor) -> tuple[float, float]:
    logits = head(seen)
    return float(loss_of(logits, targets)), float(share_right(logits, targets))
