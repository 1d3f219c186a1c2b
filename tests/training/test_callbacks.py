"""Keras' callback semantics, with hand-made sequences of validation losses."""

import lightning
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from cxr_transfer.errors import ModelError
from cxr_transfer.training import callbacks
from cxr_transfer.training.stage import quiet


class Scripted(lightning.LightningModule):
    """One weight that counts epochs; its validation losses are given."""

    def __init__(self, losses, training_losses=None):
        super().__init__()
        self.losses = losses
        self.training_losses = training_losses or [1.0] * len(losses)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, _):
        self.log("loss", self.training_losses[self.current_epoch], on_epoch=True, on_step=False)
        self.log("accuracy", 0.5, on_epoch=True, on_step=False)
        return self.weight.sum() * 0

    def on_train_epoch_start(self):
        with torch.no_grad():
            self.weight.fill_(self.current_epoch + 1)

    def validation_step(self, batch, _):
        self.log("val_loss", self.losses[self.current_epoch])
        self.log("val_accuracy", 0.5)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def run(losses, *, stop_after=10, reduce_after=5, training_losses=None):
    """Train over ``losses``; return the history's rows and the best weights' epoch and value."""
    quiet()
    history = callbacks.History("all", lambda rows: None)
    best = callbacks.BestWeights()
    loader = DataLoader(TensorDataset(torch.zeros(1)))
    module = Scripted(losses, training_losses)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=len(losses),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        callbacks=[
            callbacks.StopAtNaN(),
            callbacks.StopEarly(epochs=stop_after),
            callbacks.ReduceOnPlateau(epochs=reduce_after, factor=0.1),
            best,
            history,
        ],
    )
    trainer.fit(module, loader, loader)
    return history.rows, best


def test_stops_at_the_tenth_epoch_in_a_row_that_is_not_strictly_better():
    rows, best = run([1.0, 0.9] + [0.9] * 30)
    assert len(rows) == 12  # two better ones, then ten that are merely equal
    assert best.epoch == 1


def test_any_strictly_better_loss_starts_the_count_anew():
    losses = [1.0] + [2.0] * 9 + [1.0 - 1e-6] + [2.0] * 20
    rows, best = run(losses)
    assert len(rows) == 1 + 9 + 1 + 10
    assert best.epoch == 10


def test_reduces_at_the_fifth_epoch_that_is_not_better_by_1e_4():
    # Each epoch is better, but by too little to count for the learning rate.
    losses = [1.0 - 1e-5 * epoch for epoch in range(8)]
    rows, _ = run(losses)
    rates = [row["learning_rate"] for row in rows]
    assert rates == pytest.approx([1e-3] * 6 + [1e-4] * 2)


def test_counts_anew_after_a_reduction_and_after_an_improvement():
    losses = [1.0] + [1.0] * 5 + [1.0] * 3 + [0.5] + [0.5] * 5 + [0.5]
    rates = [row["learning_rate"] for row in run(losses, stop_after=50)[0]]
    # Reduced after epoch 6; three bad epochs, then a good one clears the count; reduced after 15.
    assert rates == pytest.approx([1e-3] * 6 + [1e-4] * 9 + [1e-5])


def test_keeps_the_first_of_equally_good_epochs():
    _, best = run([0.7, 0.5, 0.6, 0.5])
    assert best.best == 0.5
    assert best.weights["weight"].item() == 2


@pytest.mark.parametrize("where", ["validation", "training"])
def test_a_loss_that_is_no_number_stops_and_names_the_epoch(where):
    losses = [1.0, 0.9, 0.8, 0.7]
    bad = [*losses[:2], float("nan"), 0.7]
    validation, training = (bad, losses) if where == "validation" else (losses, bad)
    with pytest.raises(ModelError, match="epoch 3") as raised:
        run(validation, training_losses=training)
    assert raised.value.code == "loss_not_finite"


def test_history_has_a_row_per_epoch_with_the_rate_that_was_used():
    rows, _ = run([1.0, 0.5])
    assert [row["epoch"] for row in rows] == [1, 2]
    assert set(callbacks.HISTORY) < set(rows[0])
    assert rows[1]["val_loss"] == 0.5


@pytest.mark.parametrize("keep", [True, False])
def test_kept_statistics_stay_while_weights_learn(keep):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
    network.train()
    callbacks.modes_for_training(network, keep_statistics=keep)
    before = network[1].running_mean.clone()
    network(torch.randn(8, 4) + 3).sum().backward()
    assert torch.equal(before, network[1].running_mean) is keep
    assert network[1].weight.grad is not None
