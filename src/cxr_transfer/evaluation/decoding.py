"""Images of an evaluation or audit, decoded once, as tensors with all that was read with them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.damaged import (
    DAMAGED_FILE,
    Damaged,
    damaged_line,
    write_damaged,
)
from cxr_transfer.datasets.decode import Record, Wanted, decode_image
from cxr_transfer.datasets.index import index_readable, refuse_damaged
from cxr_transfer.errors import DataError
from cxr_transfer.files import scratch_file
from cxr_transfer.labels import LabelSet
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.training.tensors import ImageTensors, images_of


@dataclass(frozen=True, eq=False)
class Decoded:
    """Images and all that was read with them, row for row.

    Attributes:
        cases: Cases with hashes and sizes.
        tensors: Images after preprocessing, and targets; -1 where the label is not among the
            network's.
        unfinished: Images (N, 1, H, W) uint8 as `Preprocessing.unfinished` makes them; the same
            array as in ``tensors`` where the preprocessing has no last steps.
        files: `file_features` of each; none where they were not asked for.
        damaged: Files that cannot be read and were left out.
    """

    cases: tuple[Case, ...]
    tensors: ImageTensors
    unfinished: npt.NDArray[np.uint8]
    files: tuple[dict[str, float], ...]
    damaged: tuple[Damaged, ...] = ()


def decode_once(
    cases: Sequence[Case],
    preprocessing: Preprocessing,
    labels: LabelSet,
    *,
    files: bool = False,
    unfinished: Path | None = None,
    skip_damaged: bool = False,
    on_image: Callable[[], None] = lambda: None,
) -> Decoded:
    """Decode ``cases`` in their order.

    Args:
        cases: Cases of any label.
        preprocessing: Preprocessing of the network.
        labels: Labels of the network.
        files: Whether features of the files are kept; `Decoded.files` is empty otherwise.
        unfinished: Folder on whose disk the images are kept as they are before the last steps of
            the preprocessing; None keeps them after all steps alone.
        skip_damaged: Whether files that cannot be read are left out; `Decoded.damaged` has them.
        on_image: Function that is called after every image.

    Raises:
        DataError: ``damaged_images`` or ``changed_images``, as `index`; ``empty`` when every
            file is damaged.
        MachineError: ``disk_full`` or ``not_writable`` for the folder.
    """
    shape = (len(cases), 1, preprocessing.height, preprocessing.width)
    images = np.empty(shape, np.uint8)
    plain, before = images, preprocessing.unfinished
    if unfinished and before != preprocessing and len(cases):
        with scratch_file(unfinished, images.size) as path:
            plain = np.memmap(path, np.uint8, "r+", shape=shape)
    file_features: list[dict[str, float]] = []
    rows = iter(range(len(cases)))

    def keep(record: Record) -> None:
        row = next(rows)
        images[row, 0] = record.images[preprocessing]
        if plain is not images:
            plain[row, 0] = record.images[before]
        if record.file_features:
            file_features.append(record.file_features)

    both = (preprocessing,) if plain is images else (preprocessing, before)
    wanted = Wanted(both, file_features=files)
    read = functools.partial(_record, wanted=wanted)
    readable, damaged = index_readable(cases, on_image=on_image, read=read, keep=keep)
    if not skip_damaged:
        refuse_damaged(damaged, len(cases))
    if damaged and not readable:
        raise DataError(
            "empty", f"Expected images that can be read, but all {len(damaged)} are damaged."
        )
    tensors = images_of(images[: len(readable)], readable, labels)
    return Decoded(readable, tensors, plain[: len(readable)], tuple(file_features), damaged)


def _record(case: Case, *, wanted: Wanted) -> Record:
    return decode_image(case.path, wanted)


def leave_out(out: Path, damaged: Sequence[Damaged], log: Callable[[str], None]) -> None:
    """List in ``out`` the files that were left out since they cannot be read, and say how many.

    Raises:
        MachineError: ``disk_full``, ``not_writable``.
    """
    write_damaged(out, damaged)
    if damaged:
        log(damaged_line(damaged, str(out / DAMAGED_FILE)))
