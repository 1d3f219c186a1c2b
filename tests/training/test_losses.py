"""Losses of classes are torch's; of findings what is missing changes nothing."""

import pytest
import torch
from torch.nn import functional

from cxr_transfer.training.losses import (
    balanced_weights,
    counted,
    loss_of,
    mean_auroc,
    share_right,
)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn((12, 4), generator=generator)
    targets = torch.randint(-1, 2, (12, 4), generator=generator)
    return logits, targets


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 0.5, 1.5])])
def test_of_classes_it_is_cross_entropy_to_the_bit(batch, smoothing, weights):
    logits, _ = batch
    targets = torch.arange(12) % 4
    expected = functional.cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing)
    assert torch.equal(loss_of(logits, targets, weights=weights, smoothing=smoothing), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_finding_is_two_classes(batch, smoothing):
    logits, targets = batch
    known = targets >= 0
    # Logits of a finding and of its absence that differ by its logit.
    both = torch.stack([torch.zeros(int(known.sum())), logits[known]], dim=1)
    expected = functional.cross_entropy(both, targets[known], label_smoothing=smoothing)
    assert torch.allclose(loss_of(logits, targets, smoothing=smoothing), expected)


def test_a_missing_label_changes_nothing_and_gets_no_gradient(batch):
    logits, targets = batch
    weights = balanced_weights(targets)
    missing = targets < 0
    logits = logits.clone().requires_grad_()
    loss = loss_of(logits, targets, weights=weights, smoothing=0.1)
    loss.backward()
    assert torch.equal(logits.grad[missing], torch.zeros(int(missing.sum())))
    assert (logits.grad[~missing] != 0).all()
    other = torch.where(missing, logits.detach() + 50, logits.detach())
    assert torch.equal(loss_of(other, targets, weights=weights, smoothing=0.1), loss.detach())
    assert torch.equal(share_right(other, targets), share_right(logits.detach(), targets))
    further = torch.cat([targets, torch.full((5, 4), -1)])
    assert torch.equal(balanced_weights(further), weights)
    assert counted(further) == counted(targets) == int((~missing).sum())


def test_a_batch_of_which_nothing_is_known_has_no_loss_and_no_gradient():
    logits = torch.ones((3, 2), requires_grad=True)
    loss = loss_of(logits, torch.full((3, 2), -1))
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(logits.grad, torch.zeros((3, 2)))


def test_balanced_weights_give_either_side_of_a_finding_the_same_sum():
    targets = torch.tensor([[1, 0], [0, 0], [0, 1], [0, -1], [-1, 1]])
    absent, present = balanced_weights(targets)
    counts = [(targets == value).sum(dim=0) for value in (0, 1)]
    assert torch.allclose(absent * counts[0], present * counts[1])
    assert torch.allclose(absent * counts[0] + present * counts[1], torch.tensor([4.0, 4.0]))


def test_the_area_of_findings_is_over_the_labels_that_are_known():
    scores = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    targets = torch.tensor([[1, -1], [0, 1], [-1, 0]])
    assert mean_auroc(scores, targets) == 1
    assert mean_auroc(scores, torch.where(targets < 0, targets, 1 - targets)) == 0
    assert mean_auroc(scores, torch.full((3, 2), -1)) == 0.5
