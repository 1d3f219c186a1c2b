"""What a study is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cxr_transfer.datasets.splits import SplitBy, check_number
from cxr_transfer.errors import UsageError

MODELS = ("model_0", "model_1", "model_2", "model_3")


@dataclass(frozen=True)
class Study:
    """What a study is asked to do.

    Attributes:
        models: Any of `MODELS`; Model_0 is trained whenever Model_2 needs it.
        split: "patient" (default) or "image" (the paper's way, which leaks).
        folds: Cross-validate over so many parts; None is one split.
        seed: Random seed of the split and of every run.
        pretraining: "clean" keeps every patient of Dataset_1 from Model_0; "paper" does not.
        max_epochs: Cuts every stage short; None is the recipe's own.
        resamples: Number of resamples of the bootstrap.
        skip_unavailable: Leave Model_3 out, and say so, where its ImageNet weights cannot be had.
        skip_damaged: Leave out files that cannot be read; every run folder lists its own.
    """

    models: tuple[str, ...] = MODELS
    split: SplitBy = "patient"
    folds: int | None = None
    seed: int = 0
    pretraining: Literal["clean", "paper"] = "clean"
    max_epochs: int | None = None
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


def model_names(text: str) -> tuple[str, ...]:
    """Read a list of models as a person types it: ``model_1,model_3``."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
