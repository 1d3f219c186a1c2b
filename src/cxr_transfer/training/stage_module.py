"""What Lightning trains in a stage: a part of a network, its losses and its optimizer.

Knows nothing of epochs that stop, files or recipes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import lightning
import torch
from torch import Tensor, nn

from cxr_transfer.models.forward import scores_of
from cxr_transfer.training import callbacks
from cxr_transfer.training.augmented_images import augmented, mixed
from cxr_transfer.training.frozen_features import part_of
from cxr_transfer.training.losses import counted, loss_of, mean_auroc, share_right
from cxr_transfer.training.optimizer import optimizer_of
from cxr_transfer.training.seeds import seed_of
from cxr_transfer.training.source_losses import SourceIntercepts, SourceLosses
from cxr_transfer.training.stage_recipe import Stage

Batch = tuple[Tensor, ...]
"""Inputs and targets; behind them the numbers of their sources, where a stage asks for them."""


@dataclass(frozen=True)
class Material:
    """Material that a stage is fed beside its images, the same in every epoch.

    Attributes:
        augmentation: Random changes of the training images: name to strength.
        frozen: Children that a training batch goes through before the part that trains, where the
            images themselves are fed, since they change; None where the inputs went through them.
        class_weights: Weights in the training loss, as `loss_of` takes them; None gives all 1.
        draws: Weight with which each training image is drawn, with replacement, (N,); None takes
            each image once in an epoch.
    """

    augmentation: Mapping[str, float] = field(default_factory=dict)
    frozen: nn.Sequential | None = None
    class_weights: Tensor | None = None
    draws: Tensor | None = None


class StageModule(lightning.LightningModule):
    """The part of the network that is run in a stage, its loss and its optimizer."""

    def __init__(
        self,
        network: nn.Sequential,
        stage: Stage,
        *,
        material: Material,
        seed: int,
        source_losses: SourceLosses | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.source_losses = source_losses
        self.stage, self.material, self.seed = stage, material, seed
        # In a tuple, so that it is no part of this module: its weights stay out of resume files.
        self._frozen = (material.frozen,)
        self._scored: list[tuple[Tensor, Tensor]] = []

    def train(self, mode: bool = True) -> StageModule:
        """Change the mode; frozen modules stay in inference mode."""
        super().train(mode)
        if mode:
            callbacks.modes_for_training(self, keep_statistics=self.stage.keep_statistics)
        return self

    def on_fit_start(self) -> None:
        """Bring the frozen part to the device."""
        for frozen in self._frozen:
            if frozen is not None:
                frozen.eval().to(self.device)

    def on_train_epoch_start(self) -> None:
        """Set modes and seed anew: an epoch depends on nothing that came before it."""
        self.train()
        # Dropout then depends on the epoch alone, not on how the process came to it.
        torch.manual_seed(self._seed("noise"))
        if self._intercepts is not None:
            self._intercepts.begin_epoch()

    @property
    def _intercepts(self) -> SourceIntercepts | None:
        return None if self.source_losses is None else self.source_losses.intercepts

    def _seed(self, purpose: str, *parts: object) -> int:
        return seed_of(
            self.seed, purpose, self.stage.name, self.current_epoch, self.global_rank, *parts
        )

    def training_step(self, batch: Batch, number: int) -> Tensor:
        """Return the loss of a batch, its images changed and mixed as the recipe says."""
        inputs, targets, *sources = batch
        if self.material.augmentation:
            seed = self._seed("augmentation", number)
            inputs = augmented(inputs, self.material.augmentation, seed=seed)
        partners, share = None, 1.0
        if self.stage.mixup:
            inputs, partners, share = mixed(
                inputs, alpha=self.stage.mixup, seed=self._seed("mixup", number)
            )
        for frozen in self._frozen:
            if frozen is not None:
                with torch.no_grad():
                    inputs = frozen(inputs)
        if self.source_losses is not None:
            logits, loss = self._by_source(self.source_losses, inputs, targets, sources[0], number)
        else:
            logits = self.network(inputs).float()
            loss = share * self._training_loss(logits, targets)
            if partners is not None:
                loss = loss + (1 - share) * self._training_loss(logits, targets[partners])
        accuracy = share_right(logits.detach(), targets)
        self._note({"loss": loss, "accuracy": accuracy}, batch)
        return loss

    def _training_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return loss_of(
            logits,
            targets,
            weights=self.material.class_weights,
            smoothing=self.stage.label_smoothing,
        )

    def _by_source(
        self,
        loss_of_batch: SourceLosses,
        inputs: Tensor,
        targets: Tensor,
        sources: Tensor,
        number: int,
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of a batch, and its loss with what is known of its sources."""
        features = part_of(self.network, 0, -1)(inputs)
        logits = self.network[-1](features).float()
        epochs = self.current_epoch + number / max(1, int(self.trainer.num_training_batches))
        loss = loss_of_batch(
            *(features, logits, targets, sources),
            weights=self.material.class_weights,
            done=epochs / self.stage.max_epochs,
        )
        return logits, loss

    def on_validation_epoch_start(self) -> None:
        """Find what takes the place of the sources' intercepts: no validation image has any."""
        if self._intercepts is not None:
            self._intercepts.fit_shift()

    @torch.no_grad()
    def put_in_place(self) -> None:
        """Give the head's bias, once a stage is over, what stands for the sources' intercepts."""
        if self._intercepts is not None:
            bias = self.network.get_parameter("head.bias")
            bias.add_(self._intercepts.shift.to(bias.device))

    def validation_step(self, batch: Batch, _: int) -> None:
        """Note loss and accuracy of a batch as it is."""
        inputs, targets = batch
        logits = self.network(inputs).float()
        if self._intercepts is not None:
            logits = logits + self._intercepts.shift
        accuracy = share_right(logits, targets)
        # Each image counts the same, and no target is smoothed: losses of two recipes compare.
        loss = loss_of(logits, targets)
        self._note({"val_loss": loss, "val_accuracy": accuracy}, batch)
        if self.stage.monitor == "val_auroc":
            self._scored.append((scores_of(logits, targets.ndim == 1).cpu(), targets.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Note the AUROC, where a stage watches it."""
        if self._scored:
            scores, targets = (torch.cat(column) for column in zip(*self._scored, strict=True))
            self._scored = []
            self.log("val_auroc", mean_auroc(scores, targets))

    def _note(self, figures: dict[str, Tensor], batch: Batch) -> None:
        # Keras' way: the mean over images, so a partial last batch counts by its size; of findings
        # over the labels that are known.
        self.log_dict(
            figures,
            on_step=False,
            on_epoch=True,
            batch_size=counted(batch[1]),
            prog_bar=True,
            sync_dist=self.trainer.world_size > 1,
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer of the stage."""
        losses = self.source_losses
        beside = () if losses is None else losses.parameter_groups()
        return optimizer_of(self.stage, self.network, beside=beside)
