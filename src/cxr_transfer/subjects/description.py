"""What a file of another tool cannot say of its network: classes, input and output, in a TOML.

In comes the TOML, or a guess (`inspection`); out goes a `Description` that is whole, or a refusal.
Nothing is assumed: a key that decides what a network sees has no default. Opens no network.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cxr_transfer.errors import DataError, ModelError, UsageError
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.folder import read_text
from cxr_transfer.models.metadata import first_problem
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.text import for_terminal

Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Means and standard deviations of ImageNet's channels, as torchvision's networks expect them."""

NEW = """\
# What a model's file cannot say. Write it by hand, or let it be guessed: 'cxr audit inspect'.
name = "theirs"
labels = ["normal", "covid19"]   # in the order of the scores

[input]
height = 224
width = 224
channels = 1                     # 1, or 3 with the grey image in each
layout = "NHWC"                  # or "NCHW"
range = [0.0, 1.0]               # values of black and of white
# mean = [0.485, 0.456, 0.406]   # taken away then, and divided by std, for each channel
# std = [0.229, 0.224, 0.225]
# bright = "dense"               # "air" for a network that was trained on negatives
# crop = "none"                  # "lungs" gives it the box around the lungs
# equalise = false               # histogram equalisation before all else

[output]
values = "probabilities"         # or "logits"
# column = 3                     # of a network of several findings: the one that is labels[1]
# number = 0                     # of a network with several outputs: the one that is read
# swapped = false                # one column: it is the score of labels[0], not of labels[1]
"""
"""A description to start from."""


SMALLEST, LARGEST = 48, 2048
"""Pixels a side of what a network may be given."""


class SubjectInput(BaseModel):
    """What a network is given of an image.

    Attributes:
        height: Height in pixels.
        width: Width in pixels.
        channels: Number of channels; the grey image stands in each.
        layout: Order of the axes: images, channels, rows, columns; or channels last.
        range: Values of black and of white.
        mean: Mean that is taken away from each channel.
        std: Standard deviation by which each channel is divided then.
        bright: What is bright in the image that the network wants: dense tissue, as in radiographs
            for presentation, or air.
        crop: Part of the image that is kept, as `Preprocessing.crop`.
        equalise: Whether grey values are spread, as `Preprocessing.equalise`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    height: int = Field(ge=SMALLEST, le=LARGEST)
    width: int = Field(ge=SMALLEST, le=LARGEST)
    channels: Literal[1, 3]
    layout: Literal["NCHW", "NHWC"]
    range: tuple[Number, Number]
    mean: tuple[Number, ...] = ()
    std: tuple[Positive, ...] = ()
    bright: Literal["dense", "air"] = "dense"
    crop: Literal["none", "lungs"] = "none"
    equalise: bool = False

    @model_validator(mode="after")
    def _speaks_of_its_channels(self) -> SubjectInput:
        if self.range[0] == self.range[1]:
            raise ValueError("range: black and white are the same value")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) != self.channels:
                raise ValueError(f"{name}: {len(values)} values for {self.channels} channels")
        return self

    @property
    def preprocessing(self) -> Preprocessing:
        """Steps from a radiograph to a grey image of 8 bits; what follows is `network_input`'s."""
        return Preprocessing(
            height=self.height, width=self.width, crop=self.crop, equalise=self.equalise
        )


class SubjectOutput(BaseModel):
    """What a network's numbers mean.

    Attributes:
        values: Whether they are probabilities, or logits: before softmax, or before the sigmoid
            where one column is read.
        column: Column that is read as the score of the second of two labels, where the network has
            a column for each of several findings; None takes all columns.
        swapped: Whether one column is the score of the first label, not of the second.
        number: Number of the output that is read, from 0, where the network has several.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    values: Literal["probabilities", "logits"]
    number: int | None = Field(None, ge=0, le=99)
    column: int | None = Field(None, ge=0, le=9999)
    swapped: bool = False


class Description(BaseModel):
    """A network of another tool.

    Attributes:
        name: Name for reports.
        labels: Classes in the order of the scores; of a network with one score the second is what
            that score is of.
        input: What the network is given.
        output: What its numbers mean.
        licence: Licence, where it is known.
        source: Where the network comes from, where it is known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+ -]*$")
    labels: tuple[str, ...]
    input: SubjectInput
    output: SubjectOutput
    licence: str = Field("", max_length=200)
    source: str = Field("", max_length=400)

    @model_validator(mode="after")
    def _has_classes(self) -> Description:
        try:
            _ = self.label_set
        except DataError as error:
            raise ValueError(f"labels: {error.message}") from None
        if (self.output.column is not None or self.output.swapped) and len(self.labels) != 2:
            raise ValueError(
                f"output: one column is the score of one of two labels, not of {len(self.labels)}"
            )
        return self

    @property
    def label_set(self) -> LabelSet:
        """Classes in index order."""
        return LabelSet(self.labels)


def read_description(path: Path) -> Description:
    """Read a description.

    Raises:
        ModelError: ``bad_description`` for another file; what `models.folder.opened` raises.
    """
    try:
        # Editors on Windows put a mark of the byte order first.
        content = tomllib.loads(read_text(path).removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise _bad(path, for_terminal(str(error))) from None
    return described(content, path)


def described(content: dict[str, Any], path: Path) -> Description:
    """Return the description that a TOML's content is.

    Raises:
        ModelError: ``bad_description``.
    """
    try:
        return Description.model_validate(content)
    except ValidationError as error:
        raise _bad(path, first_problem(error)) from None


def description_of(subject: str, beside: Path | None, given: Path | None) -> Description:
    """Return the description of a subject: the one that is given, or the one beside its file.

    Args:
        subject: What names the subject, for the message.
        beside: Path of its file; None where it has none.
        given: Path of a description; None looks beside the file.

    Raises:
        UsageError: ``no_description``.
        ModelError: What `read_description` raises.
    """
    if given is not None:
        return read_description(given)
    own = None if beside is None else beside.with_suffix(".toml")
    if own is not None and own.is_file():
        return read_description(own)
    where = "with --description FILE.toml" + (f", or at {own}" if own else "")
    raise UsageError(
        "no_description",
        f"Expected what {for_terminal(subject)} cannot say itself (classes, size and range of the "
        f"input, meaning of the scores) {where}, but there is none; write it, or let it be "
        "guessed: 'cxr audit inspect'.",
    )


def _bad(path: Path, why: str) -> ModelError:
    return ModelError(
        "bad_description",
        f"Expected the description of a model in {path}, but {why}; 'cxr audit inspect --new' "
        "shows one.",
    )
