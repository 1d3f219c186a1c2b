"""A head fitted, not trained: logistic regression on what the frozen part makes of the films.

A convex problem has one answer, whatever the seed, found in seconds. Knows nothing of networks but
their last layer.

Source: the linear probe of Alain & Bengio 2016 ("Understanding intermediate layers using linear
classifier probes").
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cxr_transfer.training.prefix import part_of
from cxr_transfer.training.stage import Stored

_ITERATIONS = 2000


@torch.no_grad()
def fit_head(
    rest: nn.Sequential, training: Stored, validation: Stored, *, penalty: float, stage: str
) -> list[dict[str, Any]]:
    """Fit the head in place by multinomial logistic regression with a quadratic penalty.

    Features are standardised for the fit (the head then takes them as they are), and every class
    counts as much as another, however many films it has.

    Args:
        rest: What the films are fed to: what is behind what was kept, ends with the head.
        training: Features (N, F) and targets.
        validation: The same of the films that are only looked at.
        penalty: Of the sum of squared weights, beside the mean loss of a film.
        stage: Stands in the history.

    Returns:
        The history: one row.
    """
    from sklearn.linear_model import LogisticRegression  # a second; for this stage alone

    started = time.monotonic()
    before, head = part_of(rest, 0, -1).cpu().eval(), rest.get_submodule("head").cpu()
    seen = [before(films.inputs.cpu()).float() for films in (training, validation)]
    known_of = [films.targets.cpu() for films in (training, validation)]
    if not isinstance(head, nn.Linear):
        raise TypeError(f"expected a linear head, got {head}")
    features, targets = seen[0].double().numpy(), known_of[0].numpy()
    centre, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    # scikit-learn adds half the squared weights to C times the summed loss.
    fitted = LogisticRegression(
        C=1 / (2 * penalty * len(targets)),
        class_weight="balanced",
        max_iter=_ITERATIONS,
        tol=1e-6,
    ).fit((features - centre) / spread, targets)
    known = fitted.classes_
    weight = np.zeros((head.out_features, head.in_features))
    # A class without films: nothing is known of it, and it is never named.
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


def _judged(head: nn.Module, seen: Tensor, targets: Tensor) -> tuple[float, float]:
    logits = head(seen)
    loss = functional.cross_entropy(logits, targets)
    return float(loss), float((logits.argmax(dim=1) == targets).float().mean())
