"""What a study is asked to do."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from cxr_transfer.datasets.splits import SplitBy, check_number
from cxr_transfer.errors import UsageError

MODELS = ("model_0", "model_1", "model_2", "model_3")

PHANTOM = "phantom"
"""Given as the data folder, it stands for generated images."""

PHANTOM_INPUT_SIZE = 112
"""Pixels a side of the model input on generated images: half of the paper's, a quarter of the work.

The networks tell the drawn findings apart as well as at 224 pixels (docs/results/first-minutes.md).
"""

SMALLEST_PHANTOM = 128
"""Height in pixels of generated images for a smaller model input: less cannot be read."""


@dataclass(frozen=True)
class Study:
    """Settings of a study.

    Attributes:
        models: Names out of `MODELS`; Model_0 is trained whenever Model_2 needs it.
        split: Way of drawing parts: "patient" (default) or "image" (the paper's, which leaks).
        folds: Number of folds of a cross-validation; None is one split.
        seed: Random seed of the split and of every run.
        pretraining: Choice of images for Model_0: "clean" keeps every patient of Dataset_1 from it;
            "paper" does not.
        max_epochs: Number of epochs at which every stage is cut short; None is the recipe's own.
        input_size: Height and width of the model input in pixels; None is the recipes' own, which
            is the paper's 224.
        resamples: Number of resamples of the bootstrap.
        skip_unavailable: Whether Model_3 is left out, with a line that says so, where its ImageNet
            weights cannot be had.
        skip_damaged: Whether files that cannot be read are left out; every run folder lists its
            own.
    """

    models: tuple[str, ...] = MODELS
    split: SplitBy = "patient"
    folds: int | None = None
    seed: int = 0
    pretraining: Literal["clean", "paper"] = "clean"
    max_epochs: int | None = None
    input_size: int | None = None
    resamples: int = 2000
    skip_unavailable: bool = False
    skip_damaged: bool = False

    def __post_init__(self) -> None:
        if self.folds is not None:
            check_number(self.folds)
        unknown = [name for name in self.models if name not in MODELS]
        if unknown or not self.models:
            raise UsageError(
                "unknown_model",
                f"Expected models out of {', '.join(MODELS)}, but got {', '.join(self.models)}.",
            )

    def on(self, data: str) -> Study:
        """Return the study as it is run on ``data``: generated images are small by default."""
        if data != PHANTOM or self.input_size is not None:
            return self
        return dataclasses.replace(self, input_size=PHANTOM_INPUT_SIZE)


def phantom_pixels(study: Study) -> int:
    """Return the height in pixels of the generated images of a study."""
    return max(SMALLEST_PHANTOM, study.input_size or 0)


def model_names(text: str) -> tuple[str, ...]:
    """Read a list of models as a person types it: ``model_1,model_3``."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
