"""Class scores of the validation images, kept beside the checkpoint.

Temperature and thresholds are fitted on them later, on images that chose the weights but did not
teach them, and never on a test part. Knows nothing of what is fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.errors import DataError, ModelError
from cxr_transfer.files import read_csv, write_csv
from cxr_transfer.labels import LabelSet
from cxr_transfer.models.folder import read_text

FILE = "validation.csv"


def write_validation(
    folder: Path, cases: Sequence[Case], scores: npt.NDArray[np.floating], labels: LabelSet
) -> None:
    """Write the (N, classes) scores of N cases into ``folder/validation.csv``.

    The scores are the network's own: who chooses a threshold on them brings them to the scale on
    which the model's scores are given first.
    """
    fields = ["file", "patient", "source", "split", "sha256", "label"]
    columns = [*fields, *(f"score_{name}" for name in labels)]
    write_csv(
        folder / FILE,
        columns,
        (
            {name: getattr(case, name) for name in fields}
            # Every digit: a temperature is fitted on logarithms of small scores.
            | {f"score_{name}": repr(x) for name, x in zip(labels, row, strict=True)}
            for case, row in zip(cases, scores.tolist(), strict=True)
        ),
    )


def read_validation(
    folder: Path, labels: LabelSet
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], tuple[str, ...], tuple[str, ...]] | None:
    """Read back what `write_validation` wrote.

    Returns:
        Targets (N,), of findings (N, F) with -1 where a label is missing; scores (N, C); patients
        and files (N names each); None where there are none.

    Raises:
        ModelError: ``bad_validation`` when the table is not one of these labels, or of scores
            that are none; and what `models.folder.opened` raises.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        rows = read_csv(read_text(path))
        target_of = labels.target if labels.exclusive else labels.row
        targets = np.array([target_of(row["label"]) for row in rows], dtype=np.int64)
        scores = np.array([[float(row[f"score_{name}"]) for name in labels] for row in rows])
        if not ((scores >= 0) & (scores <= 1)).all():
            raise ValueError("scores that are none")
        patients, files = (tuple(row[key] for row in rows) for key in ("patient", "file"))
    except (DataError, KeyError, ValueError, TypeError) as error:
        raise ModelError(
            "bad_validation",
            f"Expected the scores of this network's validation images in {path}, but got another "
            f"table ({error}); remove it, and run the training's command again.",
        ) from None
    return (targets, scores, patients, files) if rows else None
