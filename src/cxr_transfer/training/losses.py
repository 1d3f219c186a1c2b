"""What a training minimises and tells of itself: of classes, and of findings with missing labels.

Which of the two is meant is seen by the targets: (N,) of classes, (N, F) of findings. Knows no
network and no epoch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def loss_of(
    logits: Tensor, targets: Tensor, *, weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Return the mean loss of a batch: cross entropy of classes, binary cross entropy of findings.

    The mean of findings is over the labels that are known, under their weights; without any it is
    0 and has no gradient.

    Args:
        logits: Logits, (N, C) of classes or (N, F) of findings.
        targets: Targets, (N,) of classes; (N, F) of findings, -1 where a label is missing.
        weights: Weight of each class, (C,); of each finding (2, F), absent and present.
        smoothing: Share of a target that is spread evenly over all classes, or over absent and
            present.
    """
    weights = None if weights is None else weights.to(logits.device)
    if targets.ndim == 1:
        return functional.cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing)
    present = targets == 1
    smoothed = present.float() * (1 - smoothing) + smoothing / 2
    # Where a label is missing its target is that of an absent finding, and weighs nothing.
    losses = functional.binary_cross_entropy_with_logits(logits, smoothed, reduction="none")
    counts = (targets >= 0).float()
    if weights is not None:
        counts = counts * torch.where(present, weights[1], weights[0])
    return (counts * losses).sum() / counts.sum().clamp(min=torch.finfo(counts.dtype).tiny)


def share_right(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the share of images of the right class, or of known labels of findings that are right.

    Args:
        logits: Logits, as `loss_of` takes them.
        targets: Targets, as `loss_of` takes them.
    """
    if targets.ndim == 1:
        return (logits.argmax(dim=1) == targets).float().mean()
    has_label = targets >= 0
    right = ((logits > 0) == (targets == 1)) & has_label
    return right.sum().float() / has_label.sum().clamp(min=1)


def counted(targets: Tensor) -> int:
    """Return over how many a batch's figures are means: images, or known labels of findings."""
    return len(targets) if targets.ndim == 1 else int((targets >= 0).sum())


def balanced_weights(targets: Tensor, classes: int = 0) -> Tensor:
    """Return weights under which every class, or either side of a finding, has the same sum.

    Args:
        targets: Targets of the training images, as `loss_of` takes them.
        classes: Number of classes, also of those that no training image has.

    Returns:
        (C,) float32 of classes; (2, F) of findings, absent and present.
    """
    if targets.ndim == 1:
        counts = torch.bincount(targets, minlength=max(classes, int(targets.max()) + 1)).double()
        # A class without images is never met: its weight has no effect.
        return (len(targets) / (counts > 0).sum() / counts.clamp(min=1)).float()
    counts = torch.stack([(targets == value).sum(dim=0) for value in (0, 1)]).double()
    return (counts.sum(dim=0) / 2 / counts.clamp(min=1)).float()


def mean_auroc(scores: Tensor, targets: Tensor) -> float:
    """Return the mean area under the ROC curve, class by class against the rest, or by finding.

    Args:
        scores: Class scores, (N, classes), or probabilities of findings, (N, F).
        targets: Target of each image, (N,), or targets of findings, (N, F).

    Returns:
        Mean over the classes (findings) that some images have and some have not; 0.5 where there
        is none.
    """
    from sklearn.metrics import roc_auc_score

    areas = []
    for column in range(scores.shape[1]):
        of_column = targets == column if targets.ndim == 1 else targets[:, column] == 1
        has_label = torch.ones_like(of_column) if targets.ndim == 1 else targets[:, column] >= 0
        positive = of_column[has_label].numpy()
        if positive.any() and not positive.all():
            areas.append(float(roc_auc_score(positive, scores[has_label, column].numpy())))
    return sum(areas) / len(areas) if areas else 0.5
