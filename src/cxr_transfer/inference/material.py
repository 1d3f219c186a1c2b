"""Films that a conversion needs: training films to calibrate on, others to be compared on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr_transfer.collections.manifest import read_manifest
from cxr_transfer.models.card import checkpoint_files, read_card
from cxr_transfer.radiograph import read_film
from cxr_transfer.workers import in_order

Films = npt.NDArray[np.uint8]


def calibration_and_check(
    checkpoint: Path, manifest: Path | None = None
) -> tuple[Films | None, Films | None]:
    """Return the model inputs (N, 1, H, W) of the training and of the validation films.

    Args:
        checkpoint: Run folder, weights file or card.
        manifest: With parts; None is the ``split.csv`` of the run folder.

    Returns:
        None for a part that is not there, or for both when there is no manifest.

    Raises:
        ModelError: What reading the card raises.
        DataError: What reading the manifest and the films raises.
    """
    card_path, _ = checkpoint_files(checkpoint)
    preprocessing = read_card(card_path).preprocessing
    if manifest is None:
        manifest = card_path.parent / "split.csv"
        if not manifest.is_file():
            return None, None
    cases = read_manifest(manifest)

    def films(part: str) -> Films | None:
        paths = [case.path for case in cases if case.split == part]
        found = list(in_order(lambda path: preprocessing.apply(read_film(path))[None], paths))
        return np.stack(found) if found else None

    return films("train"), films("validation")
