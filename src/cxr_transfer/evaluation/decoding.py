"""Every image of an audit decoded once: its hashes, what its file tells, and the model input.

In come cases, out go the same cases indexed, their images as `load_tensors` gives them, and their
files' features as `file_features` does. (What changes no finding is done to images before they are
reduced and equalised: for that, and where a network wants it, an audit reads its images once more.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.damaged import (
    DAMAGED_FILE,
    Damaged,
    damaged_line,
    write_damaged,
)
from cxr_transfer.datasets.file_features import file_features
from cxr_transfer.datasets.index import described, index
from cxr_transfer.errors import DataError, ImageError
from cxr_transfer.labels import LabelSet
from cxr_transfer.parallel import in_order
from cxr_transfer.radiograph import Preprocessing, read_radiograph
from cxr_transfer.text import for_terminal
from cxr_transfer.training.tensors import ImageTensors


@dataclass(frozen=True, eq=False)
class Decoded:
    """Images and all that was read with them, row for row.

    Attributes:
        cases: Indexed.
        tensors: Model inputs and targets; -1 where the label is not among the network's.
        files: `file_features` of each; none where they were not asked for.
        damaged: Files that cannot be read and were left out.
    """

    cases: tuple[Case, ...]
    tensors: ImageTensors
    files: tuple[dict[str, float], ...]
    damaged: tuple[Damaged, ...] = ()


def decode_once(
    cases: Sequence[Case],
    preprocessing: Preprocessing,
    labels: LabelSet,
    *,
    files: bool = True,
    skip_damaged: bool = False,
    on_image: Callable[[], None] = lambda: None,
) -> Decoded:
    """Decode ``cases`` in their order; ``on_image`` is called after every image.

    Args:
        cases: Images of any label.
        preprocessing: Preprocessing of the network.
        labels: Labels of the network.
        files: Whether to ask what the files tell; `Decoded.files` is empty otherwise.
        skip_damaged: Leave out files that cannot be read; `Decoded.damaged` has them.
        on_image: Called after every image.

    Raises:
        DataError: ``damaged_images`` or ``changed_images``, as `index`; ``empty`` when every file
        is
            damaged.
    """
    images = np.empty((len(cases), 1, preprocessing.height, preprocessing.width), np.uint8)

    def work(
        case: Case,
    ) -> tuple[Case, npt.NDArray[np.uint8], dict[str, float] | None] | ImageError:
        try:
            radiograph = read_radiograph(case.path)
        except ImageError as error:
            return error
        told = file_features(case.path, radiograph) if files else None
        return described(case, radiograph), preprocessing.apply(radiograph), told

    done: list[Case] = []
    told: list[dict[str, float]] = []
    damaged: list[Damaged] = []
    for case, outcome in zip(cases, in_order(work, cases), strict=True):
        on_image()
        if skip_damaged and isinstance(outcome, ImageError):
            damaged.append(Damaged.of(case, outcome))
            continue
        if isinstance(outcome, ImageError) or case.sha256 not in ("", outcome[0].sha256):
            index(cases)  # names every image that is damaged or changed
            raise ImageError(
                "unreadable",
                f"Expected to read {for_terminal(case.file)}, but it is changing; try again.",
            )
        known, images[len(done), 0], features = outcome
        done.append(known)
        if features:
            told.append(features)
    if damaged and not done:
        raise DataError(
            "empty", f"Expected images that can be read, but all {len(damaged)} are damaged."
        )
    targets = [labels.target(case.label) if case.label in labels else -1 for case in done]
    tensors = ImageTensors(
        torch.from_numpy(images[: len(done)]), torch.tensor(targets, dtype=torch.int64)
    )
    return Decoded(tuple(done), tensors, tuple(told), tuple(damaged))


def leave_out(out: Path, damaged: Sequence[Damaged], log: Callable[[str], None]) -> None:
    """List in ``out`` the files that were left out since they cannot be read, and say how many.

    Raises:
        MachineError: ``disk_full``, ``not_writable``.
    """
    write_damaged(out, damaged)
    if damaged:
        log(damaged_line(damaged, str(out / DAMAGED_FILE)))
