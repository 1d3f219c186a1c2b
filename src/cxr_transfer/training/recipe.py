"""A recipe: a run written out in full, as TOML, before it is run.

Strict: an unknown key is refused with the nearest known one. Recipes that ship stand in
``cxr_transfer/recipes/``; the paper's own names are theirs (``model_0`` .. ``model_3``).
"""

from __future__ import annotations

import importlib.resources
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from cxr_transfer.errors import UsageError
from cxr_transfer.models.folder import checked_words
from cxr_transfer.models.metadata import LONGEST_TITLE
from cxr_transfer.models.registry import ARCHITECTURES, ArchitectureName
from cxr_transfer.radiograph.preprocessing import Preprocessing
from cxr_transfer.tables import nearest

_OF_ADAM = ("learning_rate", "batch_size", "stop_after", "reduce_after", "reduce_factor")
_OF_LOGISTIC = ("penalty", "background_swap")

NO_CHECKPOINT = {"random": "random weights", "imagenet": "ImageNet's weights"}
"""What a recipe starts from that is no checkpoint, and how that is called."""


class Stage(BaseModel):
    """One phase of training; the defaults are the paper's (section 4.1), but for ``keep``.

    Attributes:
        name: Stands in the history.
        fit: ``adam`` trains; ``logistic`` fits the head alone by logistic regression, at once.
        penalty: For ``logistic``: what the sum of squared weights costs, beside an image's mean
            loss.
        background_swap: For ``logistic``: what an image counts, beside the 1 of each image as it
            is, whose surroundings were exchanged for those of an image of another source; 0
            exchanges nothing.
        train: Children of the network that train, by name; ``["*"]`` is all of them.
        learning_rate: Learning rate of Adam (0.9, 0.999, epsilon 1e-7 as in Keras) at the start.
        batch_size: Images per step over all devices; a partial last batch is kept.
        max_epochs: At most so many.
        stop_after: Epochs in a row without a strictly better validation loss.
        reduce_after: Epochs in a row without a validation loss better by 1e-4.
        reduce_factor: The learning rate is then multiplied by this.
        keep: Which weights the stage hands on. ``best_overall``: of the epoch with the lowest
            validation loss, of this stage or of one before. ``best_of_stage``: of this stage's
            best epoch, also where the stage before was better, as in the paper. ``last``: of the
            last epoch. ``best`` is read as ``best_of_stage``, which it meant at first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9_]+$")
    fit: Literal["adam", "logistic"] = "adam"
    penalty: float = Field(0.02, gt=0, allow_inf_nan=False)
    background_swap: float = Field(0.0, ge=0, allow_inf_nan=False)
    train: tuple[str, ...] = Field(min_length=1)
    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    batch_size: int = Field(20, ge=1)
    max_epochs: int = Field(500, ge=1)
    stop_after: int = Field(10, ge=1)
    reduce_after: int = Field(5, ge=1)
    reduce_factor: float = Field(0.1, gt=0, lt=1)
    keep: Literal["best_overall", "best_of_stage", "last"] = "best_overall"

    @field_validator("keep", mode="before")
    @classmethod
    def _as_it_was_called(cls, value: object) -> object:
        return "best_of_stage" if value == "best" else value

    @model_validator(mode="after")
    def _only_a_head_is_fitted(self) -> Stage:
        if self.fit == "logistic" and self.train != ("head",):
            raise ValueError('fit = "logistic" fits the head alone: train = ["head"]')
        return self

    @model_validator(mode="after")
    def _every_key_has_an_effect(self) -> Stage:
        # A recipe that is written down has every key: a default says nothing.
        without = _OF_ADAM if self.fit == "logistic" else _OF_LOGISTIC
        other = "adam" if self.fit == "logistic" else "logistic"
        for key in without:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f'{key} is for fit = "{other}"')
        return self


class Recipe(BaseModel):
    """What to train, from what, on what, stage by stage.

    Attributes:
        name: Names the run folder.
        title: One line for people.
        network: Name of its architecture in `ARCHITECTURES`.
        dataset: Which images of the archives: the paper's data sets, or those of all sources.
        initial: ``random``, ``imagenet``, or the recipe whose checkpoint it starts from.
        new_head: Replace the last layer by a new one when starting from a checkpoint.
        preprocessing: Travels with the weights.
        coverage: Share of validation images that get an answer; on images as unsure as the others
            the model abstains. None answers all.
        labels: What a label of the data counts as: label to class, or to "" to leave its images
            out.
        stages: In the order in which they run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9_]+$", max_length=64)
    title: str = Field(max_length=LONGEST_TITLE)
    network: ArchitectureName
    dataset: Literal["dataset_0", "dataset_1", "multi_source"]
    initial: str = "random"
    new_head: bool = True
    preprocessing: Preprocessing = Preprocessing()
    coverage: float | None = Field(None, gt=0, le=1)
    labels: dict[str, str] = Field(default_factory=dict)
    stages: tuple[Stage, ...] = Field(min_length=1)

    @field_validator("title", "initial", "labels")
    @classmethod
    def _may_be_shown(cls, found: Any) -> Any:  # noqa: ANN401 - a text, or a table of texts
        return checked_words(found)

    @model_validator(mode="after")
    def _stage_names_differ(self) -> Recipe:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError("two stages have the same name")
        return self

    @model_validator(mode="after")
    def _imagenet_has_its_weights(self) -> Recipe:
        if self.initial == "imagenet" and ARCHITECTURES[self.network].load_imagenet is None:
            raise ValueError(f"there are no ImageNet weights of {self.network}: initial is another")
        return self

    @model_validator(mode="after")
    def _a_head_is_replaced_where_there_is_one(self) -> Recipe:
        if not self.new_head and self.initial in NO_CHECKPOINT:
            raise ValueError("new_head is for a recipe that starts from a checkpoint")
        return self

    @model_validator(mode="after")
    def _lungs_come_to_lie_on_lungs(self) -> Recipe:
        if self.preprocessing.crop != "lungs" and any(
            stage.background_swap for stage in self.stages
        ):
            raise ValueError('background_swap needs crops of the lungs: crop = "lungs"')
        return self

    def limited(self, max_epochs: int | None) -> Recipe:
        """Return the recipe with no stage longer than ``max_epochs``.

        Raises:
            UsageError: ``unused_option`` where no stage has epochs.
        """
        if max_epochs is None:
            return self
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

    def relabelling(self, mapping: Mapping[str, str]) -> Recipe:
        """Return the recipe with what ``mapping`` says of labels, before what it says itself."""
        return self.model_copy(update={"labels": {**self.labels, **mapping}})

    def to_toml(self) -> str:
        """Return the recipe written out in full, defaults included, as it is run."""
        # TOML has no word for nothing: what is None is left out, and read as None again.
        return tomli_w.dumps(_without_none(self.model_dump(mode="json")))


def shipped_recipes() -> dict[str, Path]:
    """Return the recipes in the package, name to file."""
    folder = importlib.resources.files("cxr_transfer.recipes")
    files = [Path(str(entry)) for entry in folder.iterdir() if entry.name.endswith(".toml")]
    return {file.stem: file for file in sorted(files)}


def load_recipe(name_or_path: str) -> Recipe:
    """Load a shipped recipe by name, or any recipe by its path.

    Raises:
        UsageError: ``no_recipe``, ``bad_recipe``.
    """
    shipped = shipped_recipes()
    path = shipped.get(name_or_path) or Path(name_or_path)
    try:
        found = path.is_file()
    except (OSError, ValueError):
        found = False  # No path at all: too long, or with a zero byte.
    if not found:
        raise UsageError(
            "no_recipe",
            f"Expected a recipe's name ({', '.join(shipped)}) or a TOML file, but got "
            f"{name_or_path!r}{nearest(name_or_path, list(shipped))}.",
        )
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError("bad_recipe", f"Expected TOML in {path}, but got: {error}.") from None
    return parse_recipe(content, origin=str(path))


def parse_recipe(content: dict[str, Any], *, origin: str) -> Recipe:
    """Check a recipe's content; ``origin`` names it in messages.

    Raises:
        UsageError: ``bad_recipe`` with the key, what was expected, and the nearest known key.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(key) for key in problem["loc"])
        known = [*Recipe.model_fields, *Stage.model_fields, *Preprocessing.model_fields]
        hint = (
            nearest(str(problem["loc"][-1]), known)
            if problem["type"] == "extra_forbidden" and problem["loc"]
            else ""
        )
        message = (
            "is no key of a recipe" if problem["type"] == "extra_forbidden" else problem["msg"]
        )
        raise UsageError(
            "bad_recipe", f"Expected a recipe in {origin}, but {where or 'it'}: {message}{hint}."
        ) from None


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in table.items() if value is not None}
    for key, value in kept.items():
        if isinstance(value, dict):
            kept[key] = _without_none(value)
        elif isinstance(value, list):
            kept[key] = [_without_none(row) if isinstance(row, dict) else row for row in value]
    return kept
