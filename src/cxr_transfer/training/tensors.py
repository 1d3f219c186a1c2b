"""Cases in, tensors out: every image decoded once and kept as grey 8-bit values.

One grey channel until the network needs three: 1,475 images of 224 x 224 take 74 MB.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.labels import LabelSet
from cxr_transfer.parallel import in_order
from cxr_transfer.radiograph import Preprocessing, Radiograph, read_radiograph


@dataclass(frozen=True)
class ImageTensors:
    """Decoded images.

    Attributes:
        images: (N, 1, H, W) uint8.
        targets: (N,) int64; -1 where the label is not among the network's.
    """

    images: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def only(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> ImageTensors:
        """Return the images of these rows alone, given by number or by a flag for each image."""
        index = torch.from_numpy(rows)
        return ImageTensors(self.images[index], self.targets[index])


def select(
    dataset: Dataset, tensors: ImageTensors, part: str
) -> tuple[tuple[Case, ...], ImageTensors]:
    """Return the cases and the images of one part, "train", "validation" or "test".

    Args:
        dataset: Cases with their parts.
        tensors: Those of ``dataset.cases``, in their order.
        part: Which.
    """
    rows = np.array([case.split == part for case in dataset.cases], dtype=np.bool_)
    cases = tuple(case for case in dataset.cases if case.split == part)
    return cases, tensors.only(rows)


class Inputs:
    """Model inputs of radiographs that were decoded for another purpose: hashes, damage.

    Args:
        preprocessing: Preprocessing of the network that they are for.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing
        self._images: dict[Path, npt.NDArray[np.uint8]] = {}

    def keep(self, case: Case, radiograph: Radiograph) -> None:
        """Take a radiograph that is in memory; any number of threads may do so at once."""
        self._images[case.path] = self.preprocessing.apply(radiograph)

    def take(self, case: Case) -> npt.NDArray[np.uint8]:
        """Return the model input (H, W) of a case, once; it is decoded now where it was not kept.

        Raises:
            ImageError: What `read_radiograph` raises.
        """
        kept = self._images.pop(case.path, None)
        return self.preprocessing.apply(read_radiograph(case.path)) if kept is None else kept


def load_tensors(
    cases: Sequence[Case],
    preprocessing: Preprocessing,
    labels: LabelSet,
    *,
    inputs: Inputs | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> ImageTensors:
    """Return ``cases`` as model inputs, in their order.

    Args:
        cases: N cases.
        preprocessing: Preprocessing of the network.
        labels: Labels of the network.
        inputs: Model inputs that are there already, with the same preprocessing.
        on_image: Function that is called after every image.

    Raises:
        ImageError: The first image that cannot be read (indexed cases have been read before).
    """
    images = np.empty((len(cases), 1, preprocessing.height, preprocessing.width), np.uint8)
    if inputs is None or inputs.preprocessing != preprocessing:
        inputs = Inputs(preprocessing)
    for row, image in enumerate(in_order(inputs.take, cases)):
        images[row, 0] = image
        on_image()
    targets = [labels.target(case.label) if case.label in labels else -1 for case in cases]
    return ImageTensors(torch.from_numpy(images), torch.tensor(targets, dtype=torch.int64))
