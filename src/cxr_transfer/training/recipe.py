"""A recipe: a run written out in full, as TOML, before it is run.

Strict: an unknown key is refused with the nearest known one. Keys that contradict each other or
change nothing are refused. All that is wrong is reported at once. Files: `recipe_files`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from cxr_transfer.errors import UsageError
from cxr_transfer.labels import Task
from cxr_transfer.models.folder import checked_words
from cxr_transfer.models.metadata import LONGEST_TITLE
from cxr_transfer.models.registry import ArchitectureName, architecture
from cxr_transfer.radiograph.preprocessing import Preprocessing
from cxr_transfer.training.augmentation import checked_augmentation
from cxr_transfer.training.stage_recipe import Stage

NO_CHECKPOINT = {
    "random": "random weights",
    "imagenet": "ImageNet's weights",
    "pretrained": "the weights that its library publishes",
    "file": "a file of weights",
}
"""What a recipe starts from that is no checkpoint, and how that is called."""


class Recipe(BaseModel):
    """What to train, from what, on what, stage by stage.

    Attributes:
        name: Name of the run folder and of the model.
        title: One line for people; "" shows the name.
        network: Name of an architecture: one of the package, ``monai:NAME``, ``timm:NAME``,
            ``torchvision:NAME``, ``xrv:WEIGHTS``, ``hf:FOLDER``, or ``package.module:function``.
        task: Whether an image has exactly one of the labels (``multi_class``), or any number of
            findings (``multi_label``), some of whose labels may be missing.
        dataset: Data set that is made of the public archives: the paper's, or all sources; not
            needed for images of one's own.
        initial: Weights that training starts from: ``random``; ``imagenet`` (Keras' weights of
            ResNet-50); ``pretrained`` (those that the network's library publishes); ``file``
            (given with ``--weights``); or the name of the recipe whose checkpoint is given with
            ``--from``.
        new_head: Whether the last layer is replaced by a new one when starting from a checkpoint.
        dropout: Share of the features that is dropped before the head in training; None keeps the
            network's own.
        preprocessing: Preprocessing of the images; it travels with the weights.
        augmentation: Random changes of the training images: name to strength, see
            `AUGMENTATIONS`. None at all keeps the activations of the frozen part, which is much
            faster.
        class_weights: What an image counts in the training loss by its class: ``balanced`` gives
            every class (of a finding, the images with it and those without) the same sum,
            ``none`` every image.
        sampling: Which training images an epoch takes. ``all`` takes each once; ``by_class`` draws
            as many with replacement, each class as often as another; ``by_source`` draws each
            source within a class as often as another, too.
        coverage: Share of validation images that get an answer; on images as unsure as the others
            the model abstains. None answers all.
        labels: What a label of the data counts as: label to class, or to "" to leave its images
            out.
        stages: Stages in the order in which they run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9_]+$", max_length=64)
    title: str = Field("", max_length=LONGEST_TITLE)
    network: ArchitectureName
    task: Task = "multi_class"
    dataset: Literal["dataset_0", "dataset_1", "multi_source"] | None = None
    initial: str = "random"
    new_head: bool = True
    dropout: float | None = Field(None, ge=0, lt=1)
    preprocessing: Preprocessing = Preprocessing()
    augmentation: Annotated[dict[str, float], AfterValidator(checked_augmentation)] = Field(
        default_factory=dict
    )
    class_weights: Literal["none", "balanced"] = "none"
    sampling: Literal["all", "by_class", "by_source"] = "all"
    coverage: float | None = Field(None, gt=0, le=1)
    labels: dict[str, str] = Field(default_factory=dict)
    stages: tuple[Stage, ...] = Field(min_length=1)

    @field_validator("title", "initial", "labels")
    @classmethod
    def _may_be_shown(cls, value: Any) -> Any:  # noqa: ANN401 - a text, or a table of texts
        return checked_words(value)

    @model_validator(mode="after")
    def _keys_fit_together(self) -> Recipe:
        problems = [*self._of_start(), *self._of_task(), *self._of_stages()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _of_start(self) -> list[str]:
        problems = []
        if self.initial == "imagenet" and architecture(self.network).load_imagenet is None:
            problems.append(f"there are no ImageNet weights of {self.network}: initial is another")
        if self.initial == "pretrained" and architecture(self.network).pretrained is None:
            problems.append(f"no library publishes weights of {self.network}: initial is another")
        if not self.new_head and self.initial in NO_CHECKPOINT:
            problems.append("new_head is for a recipe that starts from a checkpoint")
        return problems

    def _of_task(self) -> list[str]:
        if self.task == "multi_class":
            return []
        unused = {
            "dataset": self.dataset is not None,
            "sampling": self.sampling != "all",
            "coverage": self.coverage is not None,
            **dict.fromkeys(self.source_keys, True),
            "balance": any(stage.balance != "by_class" for stage in self.stages),
        }
        return [
            f'{key} needs one class for each image: task = "multi_class"'
            for key, is_given in unused.items()
            if is_given
        ]

    def _of_stages(self) -> list[str]:
        problems = []
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            problems.append("two stages have the same name")
        if len({stage.monitor for stage in self.stages}) > 1:
            problems.append("all stages have one monitor: what one keeps the next is compared with")
        if self.preprocessing.crop != "lungs" and any(
            stage.background_swap for stage in self.stages
        ):
            problems.append('background_swap needs crops of the lungs: crop = "lungs"')
        if all(stage.fit == "logistic" for stage in self.stages):
            unused = {
                "augmentation": bool(self.augmentation),
                "class_weights": self.class_weights != "none",
                "sampling": self.sampling != "all",
                "dropout": self.dropout is not None,
            }
            problems += [
                f'{key} is for fit = "gradient"' for key, is_given in unused.items() if is_given
            ]
        if self.class_weights != "none" and any(stage.robust != "none" for stage in self.stages):
            problems.append("class_weights and robust weigh the classes twice: give one")
        if self.class_weights != "none" and self.sampling != "all":
            problems.append("class_weights and sampling balance the classes twice: give one")
        return problems

    @property
    def shown(self) -> str:
        """Title for people."""
        return self.title or self.name

    @property
    def batch_sizes(self) -> list[int]:
        """Images per step of each stage with batches: a head that is fitted takes all at once."""
        return [stage.batch_size for stage in self.stages if stage.fit != "logistic"]

    @property
    def needs_sources(self) -> bool:
        """Whether the result depends on where images are from."""
        of_stages = any(stage.needs_sources for stage in self.stages)
        return of_stages or self.sampling == "by_source"

    @property
    def source_keys(self) -> list[str]:
        """Keys of its stages that ask for images of two sources or more, each once."""
        return list(dict.fromkeys(key for stage in self.stages for key in stage.source_keys))

    @property
    def is_stratified(self) -> bool:
        """Whether a stage compares images within their sources."""
        return any(stage.is_stratified for stage in self.stages)

    def limited(self, max_epochs: int | None) -> Recipe:
        """Return the recipe with no stage longer than ``max_epochs``.

        Raises:
            UsageError: ``unused_option`` where no stage has epochs; ``bad_epochs`` for fewer than
                one.
        """
        if max_epochs is None:
            return self
        if isinstance(max_epochs, bool) or not isinstance(max_epochs, int) or max_epochs < 1:
            raise UsageError(
                "bad_epochs",
                f"Expected a whole number of at least one epoch, but got {max_epochs!r}; give "
                "more, or leave it out.",
            )
        if all(stage.fit == "logistic" for stage in self.stages):
            raise UsageError(
                "unused_option",
                f"Expected stages with epochs, but {self.name} fits a head at once; leave "
                "--max-epochs out.",
            )
        stages = tuple(
            stage.model_copy(update={"max_epochs": min(stage.max_epochs, max_epochs)})
            for stage in self.stages
        )
        return self.model_copy(update={"stages": stages})

    def sized(self, input_size: int | None) -> Recipe:
        """Return the recipe with square model inputs of ``input_size`` pixels a side.

        Args:
            input_size: Height and width of the model input in pixels; None keeps the recipe's own.

        Raises:
            UsageError: ``bad_input_size`` for a size that no network of a recipe takes.
        """
        if input_size is None:
            return self
        try:
            preprocessing = Preprocessing.model_validate(
                self.preprocessing.model_dump() | {"height": input_size, "width": input_size}
            )
        except ValidationError:
            raise UsageError(
                "bad_input_size",
                f"Expected an input size from 48 to 2048 pixels, but got {input_size}; choose "
                "one of these.",
            ) from None
        return self.model_copy(update={"preprocessing": preprocessing})

    def relabelling(self, mapping: Mapping[str, str]) -> Recipe:
        """Return the recipe with what ``mapping`` says of labels, before what it says itself."""
        return self.model_copy(update={"labels": {**self.labels, **mapping}})

    def to_toml(self) -> str:
        """Return the recipe written out in full, defaults included, as it is run."""
        # TOML has no word for nothing: what is None is left out, and read as None again.
        return tomli_w.dumps(_without_none(self.model_dump(mode="json")))


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in table.items() if value is not None}
    for key, value in kept.items():
        if isinstance(value, dict):
            kept[key] = _without_none(value)
        elif isinstance(value, list):
            kept[key] = [_without_none(row) if isinstance(row, dict) else row for row in value]
    return kept
