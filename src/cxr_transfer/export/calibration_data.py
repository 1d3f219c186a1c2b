"""Images that a conversion needs: training images to calibrate on, others to be compared on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.manifest import PARTS_FILE, read_manifest
from cxr_transfer.errors import DataError
from cxr_transfer.models.metadata import checkpoint_files, read_card
from cxr_transfer.parallel import in_order
from cxr_transfer.radiograph import read_radiograph

ImageTensors = npt.NDArray[np.uint8]


def calibration_and_check(
    checkpoint: Path, manifest: Path | None = None, *, calibrate: bool = True
) -> tuple[ImageTensors | None, ImageTensors | None]:
    """Return the model inputs (N, 1, H, W) of the training and of the validation images.

    Args:
        checkpoint: Run folder, weights file or card.
        manifest: Manifest with parts; None is the ``split.csv`` of the run folder, which is passed
            over where its images are no longer there.
        calibrate: Whether the training images are wanted; they are many.

    Returns:
        None for a part that is not there or not wanted, for both when there is no manifest.

    Raises:
        ModelError: What reading the card raises.
        DataError: What reading the manifest and the images raises.
    """
    card_path, _ = checkpoint_files(checkpoint)
    preprocessing = read_card(card_path).preprocessing
    cases = read_manifest(manifest) if manifest else _of_the_run(card_path.parent)

    def images(part: str) -> ImageTensors | None:
        paths = [case.path for case in cases if case.split == part]
        inputs = list(
            in_order(lambda path: preprocessing.apply(read_radiograph(path))[None], paths)
        )
        return np.stack(inputs) if inputs else None

    return images("train") if calibrate else None, images("validation")


def _of_the_run(folder: Path) -> tuple[Case, ...]:
    split = folder / PARTS_FILE
    try:
        return read_manifest(split) if split.is_file() else ()
    except DataError as error:
        if error.code != "missing_images":
            raise
        return ()  # a run folder that went to another machine without its images
