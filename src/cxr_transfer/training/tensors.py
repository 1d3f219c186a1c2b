"""Cases in, tensors out: every image decoded once and kept as grey 8-bit values.

One grey channel until the network needs three: 1,475 images of 224 x 224 take 74 MB.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.decode import Records
from cxr_transfer.datasets.lung_masks import LungMasks
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.several_findings import rows_of
from cxr_transfer.labels import LabelSet
from cxr_transfer.parallel import in_order
from cxr_transfer.radiograph import Preprocessing


@dataclass(frozen=True)
class ImageTensors:
    """Decoded images.

    Attributes:
        images: (N, 1, H, W) uint8.
        targets: (N,) int64, -1 where the label is not among the network's; of findings (N, F):
            1 present, 0 absent, -1 where the label is missing.
        lungs: Lung masks of the images, each found when it is first asked for.
    """

    images: Tensor
    targets: Tensor
    lungs: LungMasks = field(default=None, repr=False)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.lungs is None:
            object.__setattr__(self, "lungs", LungMasks(self.images.numpy()))

    def __len__(self) -> int:
        return len(self.targets)

    def only(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> ImageTensors:
        """Return the images of these rows alone, given by number or by a flag for each image."""
        index = torch.from_numpy(rows)
        return ImageTensors(self.images[index], self.targets[index], self.lungs.only(rows))


def select(
    dataset: Dataset, tensors: ImageTensors, part: str
) -> tuple[tuple[Case, ...], ImageTensors]:
    """Return the cases and the images of one part, "train", "validation" or "test".

    Args:
        dataset: Cases with their parts.
        tensors: Decoded images of ``dataset.cases``, in their order.
        part: Name of the part.
    """
    rows = np.array([case.split == part for case in dataset.cases], dtype=np.bool_)
    cases = tuple(case for case in dataset.cases if case.split == part)
    return cases, tensors.only(rows)


def load_tensors(
    cases: Sequence[Case],
    preprocessing: Preprocessing,
    labels: LabelSet,
    *,
    records: Records | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> ImageTensors:
    """Return ``cases`` as model inputs, in their order.

    Args:
        cases: N cases.
        preprocessing: Preprocessing of the network.
        labels: Labels of the network.
        records: Records in which the images are kept already; what is not there is decoded now.
        on_image: Function that is called after every image.

    Raises:
        ImageError: The code of the first image that cannot be read; indexed cases were read before.
    """
    images = np.empty((len(cases), 1, preprocessing.height, preprocessing.width), np.uint8)
    opened_records = records or Records()
    taken = in_order(lambda case: opened_records.take(case, preprocessing), cases)
    for row, image in enumerate(taken):
        images[row, 0] = image
        on_image()
    return images_of(images, cases, labels)


def images_of(
    images: npt.NDArray[np.uint8], cases: Sequence[Case], labels: LabelSet
) -> ImageTensors:
    """Return images that were decoded as tensors, with their targets.

    Args:
        images: Images after preprocessing, (N, 1, H, W).
        cases: Cases of the images, in their order.
        labels: Labels of the network.
    """
    if not labels.exclusive:
        return ImageTensors(torch.from_numpy(images), torch.from_numpy(rows_of(labels, cases)))
    targets = [labels.target(case.label) if case.label in labels else -1 for case in cases]
    return ImageTensors(torch.from_numpy(images), torch.tensor(targets, dtype=torch.int64))
