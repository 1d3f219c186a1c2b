"""One stage of a recipe: which weights train, how, for how long, and which are handed on."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Monitor = Literal["val_loss", "val_accuracy", "val_auroc"]
Schedule = Literal["plateau", "cosine", "constant"]

MONITORS: dict[str, str] = {
    "val_loss": "validation loss",
    "val_accuracy": "validation accuracy",
    "val_auroc": "validation AUROC",
}
"""Figures by which a stage stops and keeps weights, and what they are called; the loss is better
the lower it is, the others the higher."""

MOST_EPOCHS, MOST_IMAGES = 1_000_000, 1_000_000
"""More epochs, or images in a step, are a slip of the pen."""

MOST_STRATA = 0.1
"""Largest penalty of the intercepts of strata where they are moved step by step."""

GRADIENT_KEYS = (
    "optimizer",
    "learning_rate",
    "weight_decay",
    "momentum",
    "schedule",
    "warmup_epochs",
    "layer_decay",
    "unfreeze_every",
    "batch_size",
    "stop_after",
    "reduce_after",
    "reduce_factor",
    "label_smoothing",
    "mixup",
    "ema",
    "keep_statistics",
    "robust",
    "robust_step",
    "domain_adversarial",
    "monitor",
)
"""Keys that have an effect only where a stage trains by gradients."""

LOGISTIC_KEYS = ("penalty", "background_swap", "balance")
"""Keys that have an effect only where a stage fits a head by logistic regression."""

EARLIER_WORDS = {"keep": {"best": "best_of_stage"}, "fit": {"adam": "gradient"}}
"""Words of earlier versions, by key: each is read as the word that stands for it now."""


class Stage(BaseModel):
    """One phase of training; the defaults are the paper's (section 4.1), but for ``keep``.

    Attributes:
        name: Name of the stage in the history.
        fit: ``gradient`` trains by gradient descent; ``logistic`` fits the head alone by logistic
            regression, at once.
        train: Children of the network that train, by name; ``["*"]`` is all of them, and
            ``["last:3"]`` the last three that hold weights.
        optimizer: ``adam`` (0.9, 0.999, epsilon 1e-7 as in Keras), ``adamw`` (the same, its weight
            decay apart from the gradient) or ``sgd`` (with Nesterov's momentum).
        learning_rate: Learning rate at the start; with ``warmup_epochs`` after them.
        weight_decay: Weight decay of the optimizer; biases and normalisation have none.
        momentum: Momentum of ``sgd``.
        schedule: How the learning rate changes. ``plateau`` lowers it where the monitored figure
            does not get better; ``cosine`` lowers it to 0 over ``max_epochs``; ``constant`` keeps
            it.
        warmup_epochs: Epochs over which the learning rate first rises from 0, step by step.
        layer_decay: Factor of the learning rate from one child with weights to the one before it,
            counted from the head (discriminative rates); 1 gives all of them the same.
        unfreeze_every: Epochs after which one more of the children that train starts to, from the
            head backwards (gradual unfreezing); 0 trains all from the start.
        batch_size: Images per step over all devices; a partial last batch is kept.
        max_epochs: Largest number of epochs.
        stop_after: Epochs in a row without a strictly better monitored figure, after which the
            stage stops.
        reduce_after: For ``plateau``: epochs in a row without a monitored figure better by 1e-4.
        reduce_factor: For ``plateau``: factor by which the learning rate is then multiplied.
        label_smoothing: Share of each target that is spread evenly over all classes in training.
        mixup: Parameter alpha of mixup's Beta distribution (Zhang et al. 2018, arXiv 1710.09412);
            0 mixes nothing.
        ema: Decay per step of the moving average of the weights that is validated and handed on
            (0.99 to 0.9999 are usual); 0 takes the weights themselves.
        keep_statistics: Whether batch normalisation keeps the means and variances that it started
            with, also in layers whose weights train. With those of each batch, an image is judged
            by the images that it was drawn with, and by their sources.
        robust: Which images count more in training. ``group_dro`` raises the weight of the groups
            that fare worst, batch by batch; a group is the images of one class from one source
            (Sagawa et al. 2020, arXiv 1911.08731). ``none`` takes the mean.
        robust_step: For ``group_dro``: step size with which weights of groups rise.
        domain_adversarial: Weight, at the end, of the reversed gradient of a classifier of the
            source on the features before the head; it rises from 0 over ``max_epochs`` (Ganin et
            al. 2016, arXiv 1505.07818). 0 has none.
        monitor: Figure by which the stage stops and keeps weights, and its plateau is found.
        keep: Which weights the stage hands on. ``best_overall``: of the epoch with the best
            monitored figure, of this stage or of one before. ``best_of_stage``: of this stage's
            best epoch, also where the stage before was better, as in the paper. ``last``: of the
            last epoch.
        penalty: For ``logistic``: what the sum of squared weights costs, beside an image's mean
            loss.
        background_swap: For ``logistic``: what an image counts, beside the 1 of each image as it
            is, whose surroundings were exchanged for those of an image of another source; 0
            exchanges nothing.
        balance: For ``logistic``: what an image counts. ``by_class`` gives every class the same
            sum; ``by_source`` gives each source within a class the same, too.
        strata: Within what images are compared. ``none`` compares all with all. With ``source``
            every source has an intercept of its own for each class while the weights are found:
            what all its images have in common is explained by that, and only differences within a
            source teach. Then one intercept takes their place, see
            `cxr_transfer.training.strata.shared_intercept`.
        strata_penalty: For ``strata``: what the sum of squared intercepts of the sources costs,
            beside an image's mean loss. Small, since a source of one class teaches less the freer
            its intercept is; a large one is the fit without strata. Where a stage trains by
            gradients, give at most 0.1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    fit: Literal["gradient", "logistic"] = "gradient"
    train: tuple[str, ...] = Field(min_length=1)
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    momentum: float = Field(0.9, ge=0, lt=1)
    schedule: Schedule = "plateau"
    warmup_epochs: int = Field(0, ge=0, le=MOST_EPOCHS, strict=True)
    layer_decay: float = Field(1.0, gt=0, le=1)
    unfreeze_every: int = Field(0, ge=0, le=MOST_EPOCHS, strict=True)
    batch_size: int = Field(20, ge=1, le=MOST_IMAGES, strict=True)
    max_epochs: int = Field(500, ge=1, le=MOST_EPOCHS, strict=True)
    stop_after: int = Field(10, ge=1, le=MOST_EPOCHS, strict=True)
    reduce_after: int = Field(5, ge=1, le=MOST_EPOCHS, strict=True)
    reduce_factor: float = Field(0.1, gt=0, lt=1)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    mixup: float = Field(0.0, ge=0, le=10, allow_inf_nan=False)
    ema: float = Field(0.0, ge=0, lt=1)
    keep_statistics: bool = False
    robust: Literal["none", "group_dro"] = "none"
    robust_step: float = Field(0.01, gt=0, le=10)
    domain_adversarial: float = Field(0.0, ge=0, le=100)
    monitor: Monitor = "val_loss"
    keep: Literal["best_overall", "best_of_stage", "last"] = "best_overall"
    penalty: float = Field(0.02, gt=0, allow_inf_nan=False)
    background_swap: float = Field(0.0, ge=0, allow_inf_nan=False)
    balance: Literal["by_class", "by_source"] = "by_class"
    strata: Literal["none", "source"] = "none"
    strata_penalty: float = Field(2e-4, ge=1e-6, le=1e6, allow_inf_nan=False)

    @field_validator("keep", "fit", mode="before")
    @classmethod
    def _in_words_of_today(cls, value: object, info: Any) -> object:  # noqa: ANN401 - pydantic's own
        words = EARLIER_WORDS[info.field_name]
        return words.get(value, value) if isinstance(value, str) else value

    @property
    def needs_sources(self) -> bool:
        """Whether the result depends on where images are from."""
        others = self.balance == "by_source" or bool(self.background_swap)
        return bool(self.source_keys) or others

    @property
    def source_keys(self) -> list[str]:
        """Keys, as a recipe has them, that ask for images of two sources or more."""
        by_key = {
            'strata = "source"': self.is_stratified,
            'robust = "group_dro"': self.robust == "group_dro",
            "domain_adversarial": bool(self.domain_adversarial),
        }
        return [key for key, is_given in by_key.items() if is_given]

    @property
    def is_stratified(self) -> bool:
        """Whether images are compared within their sources."""
        return self.strata == "source"

    @model_validator(mode="after")
    def _keys_fit_together(self) -> Stage:
        problems = [*self._without_effect(), *self._contradictions()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _without_effect(self) -> list[str]:
        """Name the keys that were given and change nothing."""
        by_key: dict[str, str] = {}
        if self.fit == "logistic":
            by_key |= dict.fromkeys(GRADIENT_KEYS, 'fit = "gradient"')
        else:
            by_key |= dict.fromkeys(LOGISTIC_KEYS, 'fit = "logistic"')
        if self.optimizer != "sgd":
            by_key["momentum"] = 'optimizer = "sgd"'
        if self.schedule != "plateau":
            by_key |= dict.fromkeys(("reduce_after", "reduce_factor"), 'schedule = "plateau"')
        if self.strata == "none":
            by_key["strata_penalty"] = 'strata = "source"'
        if self.robust == "none":
            by_key["robust_step"] = 'robust = "group_dro"'
        # A recipe that is written down has every key: a default says nothing.
        fields = type(self).model_fields
        return [
            f"{key} is for {other}"
            for key, other in by_key.items()
            if getattr(self, key) != fields[key].default
        ]

    def _contradictions(self) -> list[str]:
        problems = []
        if self.fit == "logistic" and self.train != ("head",):
            problems.append('fit = "logistic" fits the head alone: train = ["head"]')
        if self.max_epochs == type(self).model_fields["max_epochs"].default:
            timed = {
                'schedule = "cosine"': self.schedule == "cosine",
                "domain_adversarial": bool(self.domain_adversarial),
            }
            problems += [
                f"{key} needs the number of epochs: give max_epochs"
                for key, is_given in timed.items()
                if is_given
            ]
        if self.warmup_epochs >= self.max_epochs:
            problems.append("warmup_epochs is less than max_epochs")
        return problems + self._of_sources()

    def _of_sources(self) -> list[str]:
        """Name the keys that do not go with what asks for the sources of images."""
        problems = []
        if self.fit == "gradient" and self.source_keys and self.mixup:
            problems.append(f"{self.source_keys[0]} needs images of one source each: no mixup")
        if self.fit == "gradient" and self.is_stratified and self.strata_penalty > MOST_STRATA:
            problems.append(
                f'strata_penalty is at most {MOST_STRATA:g} with fit = "gradient": a larger one '
                "makes steps too large"
            )
        if self.fit == "gradient" and self.is_stratified and self.ema:
            problems.append(
                'strata = "source" goes with the weights of an epoch, not with ema, their average'
            )
        if self.domain_adversarial and self.train == ("head",):
            problems.append("domain_adversarial changes the features: train more than the head")
        return problems
