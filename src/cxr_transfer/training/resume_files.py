"""The resume file of a stage: written whole or not at all, and read without running code."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.callbacks import ModelCheckpoint

from cxr_transfer.errors import ModelError
from cxr_transfer.files import write_bytes


class WholeFiles(TorchCheckpointIO):
    """Lightning's resume file, written whole or not at all, and read without running code."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: _PATH, storage_options: object = None
    ) -> None:
        """Write the file whole, or not at all."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_bytes(Path(path), content.getvalue())

    def load_checkpoint(
        self,
        path: _PATH,
        map_location: Any = None,  # noqa: ANN401 - Lightning's own signature
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read the file.

        Raises:
            ModelError: ``damaged_resume_file``.
        """
        try:
            return super().load_checkpoint(path, map_location, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
            raise damaged(Path(path)) from error


def resume_file(path: Path) -> ModelCheckpoint:
    """Everything that a resume needs, in one file, replaced after every epoch."""
    checkpoint = ModelCheckpoint(
        dirpath=path.parent,
        filename=path.stem,
        save_top_k=1,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    checkpoint.FILE_EXTENSION = path.suffix
    return checkpoint


def damaged(path: Path) -> ModelError:
    """Say that what an interrupted run left cannot be taken up."""
    return ModelError(
        "damaged_resume_file",
        f"Expected what an interrupted run left in {path}, but it is damaged or not ours; remove "
        f"the folder {path.parent} to start this run anew.",
    )
