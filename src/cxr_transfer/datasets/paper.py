"""The paper's two data sets (section 3.2), assembled from the archives.

Dataset_0: all of Kermany's ``train/`` and ``test/``. Dataset_1: 544 normal and 500 bacterial images
of Kermany, and every frontal COVID-19 image that the user's copy of Cohen's collection holds.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cxr_transfer.datasets.case import FRONTAL_VIEWS, Case, Collection
from cxr_transfer.datasets.damaged import Damaged
from cxr_transfer.datasets.registry import OF_THE_PAPER, OWN, where_from
from cxr_transfer.datasets.several_findings import check_findings, groups_by_label
from cxr_transfer.errors import DataError
from cxr_transfer.labels import DATASET_0, DATASET_1, LabelSet

DATASET_1_SIZES = {"normal": 544, "bacterial": 500}


@dataclass(frozen=True)
class Dataset:
    """Cases of one label set under one name; every label stands in it.

    Attributes:
        name: Name of the set, or of the user's manifest or folder.
        labels: Classes, or findings.
        cases: Images of the set.
        split_by: Way of drawing the parts: "patient", "image", "given", or "" before that.
        notices: Lines for a person on how the images were read, each shown once.
        left_out: Label to number of images that belong to none of the classes.
        damaged: Files that cannot be read and were left out.
        excluded: Images that belong to none of the classes, as they were read.
    """

    name: str
    labels: LabelSet
    cases: tuple[Case, ...]
    split_by: str = ""
    notices: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    damaged: tuple[Damaged, ...] = ()
    excluded: tuple[Case, ...] = ()

    def __post_init__(self) -> None:
        if not self.labels.exclusive:
            check_findings(self.labels, self.cases, self.name)
            return
        present = {case.label for case in self.cases}
        lacking = [label for label in self.labels if label not in present]
        unknown = sorted(present - set(self.labels))
        if lacking or unknown:
            raise DataError(
                "classes",
                f"Expected images of each of {', '.join(self.labels)} in {self.name}, but "
                + " and ".join(
                    part
                    for part in (
                        f"there are none of {', '.join(lacking)}" if lacking else "",
                        f"got unknown labels {', '.join(unknown)}" if unknown else "",
                    )
                    if part
                )
                + ".",
            )

    @property
    def train(self) -> tuple[Case, ...]:
        """Cases of the training part."""
        return self.part("train")

    @property
    def validation(self) -> tuple[Case, ...]:
        """Cases of the validation part."""
        return self.part("validation")

    @property
    def test(self) -> tuple[Case, ...]:
        """Cases of the test part."""
        return self.part("test")

    def part(self, name: str) -> tuple[Case, ...]:
        """Return the cases of one part, in their order."""
        return tuple(case for case in self.cases if case.split == name)

    def counts(self) -> dict[str, int]:
        """Return the number of images per label, in the order of the labels.

        A finding has two rows: images with it, and (``no NAME``) images known to be without it.
        """
        groups = groups_by_label(self.labels, self.cases)
        return {name: int(rows.sum()) for name, rows in groups.items()}


def dataset_0(archives: Sequence[Collection]) -> Dataset:
    """Return Dataset_0: the most complete copy of Kermany without the 16 images of ``val/``.

    Raises:
        DataError: ``collection_absent`` or ``classes``.
    """
    copy = max(_copies(archives, "kermany"), key=lambda archive: len(archive.cases))
    return Dataset(
        "dataset_0", DATASET_0, _without_split(c for c in copy.cases if c.split != "val")
    )


def dataset_1(archives: Sequence[Collection]) -> Dataset:
    """Return Dataset_1.

    The paper does not name its 544 and 500 images. Of several copies of Kermany the smallest that
    is large enough is the selection, since the full one is Dataset_0's. From an only copy they are
    chosen by the order of their patients' SHA-256, the same for everyone. At most half of each
    class is chosen, so that something is left to pretrain on.

    Raises:
        DataError: ``collection_absent`` or ``classes``.
    """
    copies = _copies(archives, "kermany")
    fitting = [copy for copy in copies if _enough(copy)] or copies
    copy = min(fitting, key=lambda archive: len(archive.cases))
    chosen: set[Path] = set()
    for label, size in DATASET_1_SIZES.items():
        images = sorted(
            (case for case in copy.cases if case.label == label and case.split != "val"),
            key=lambda case: (
                hashlib.sha256(case.patient.encode(errors="surrogateescape")).digest(),
                case.path.name,
            ),
        )
        chosen |= {
            case.path for case in images[: size if len(copies) > 1 else min(size, len(images) // 2)]
        }
    covid19 = [
        case
        for archive in _copies(archives, "cohen")
        for case in archive.cases
        if case.label == "covid19" and case.view in FRONTAL_VIEWS
    ]
    images = [case for case in copy.cases if case.path in chosen] + covid19
    return Dataset("dataset_1", DATASET_1, _without_split(images))


def pretraining_cases(pretraining: Dataset, target: Dataset) -> Dataset:
    """Return ``pretraining`` without any patient or image of ``target``.

    The paper's Dataset_1 is in part a part of its Dataset_0: a network pretrained on all of it has
    seen, with their labels, images on which it is tested later. An image is taken out when its
    patient or its file name stands in ``target``. So is an image that is pixel for pixel one of
    those: the collections hold the same picture under two patients' names.
    """
    patients = {case.patient for case in target.cases}
    names = {case.path.name for case in target.cases}
    seen = [c for c in pretraining.cases if c.patient in patients or c.path.name in names]
    pixels = {case.pixels for case in (*seen, *target.cases)} - {""}
    out = {case.path for case in seen}
    remaining = tuple(c for c in pretraining.cases if c.path not in out and c.pixels not in pixels)
    name = f"{pretraining.name} without {target.name}"
    return dataclasses.replace(pretraining, name=name, cases=remaining)


def outside_cases(archives: Sequence[Collection], target: Dataset) -> tuple[Case, ...]:
    """Return the frontal images that neither data set trains on: other findings, other places.

    Patients of ``target`` are left out: some of Cohen's have images of COVID-19 and of something
    else. Parts that a collection gives are no parts of all images.
    """
    patients = {case.patient for case in target.cases}
    return _without_split(
        case
        for archive in archives
        for case in archive.cases
        if case.patient not in patients
        and (
            (archive.name == "cohen" and case.view in FRONTAL_VIEWS and case.label != "covid19")
            or (archive.name not in (*OF_THE_PAPER, *OWN) and case.view in (*FRONTAL_VIEWS, ""))
        )
    )


def _copies(archives: Sequence[Collection], name: str) -> list[Collection]:
    copies = [archive for archive in archives if archive.name == name]
    if not copies:
        present = ", ".join(sorted({archive.name for archive in archives})) or "nothing"
        raise DataError(
            "collection_absent",
            f"Expected the {name} collection at or below the data folder, but found {present}; to "
            "use what is there as images of your own, make a manifest of it with 'cxr data "
            f"prepare' (--source, --label). Where the collections are from: {where_from()}.",
        )
    return copies


def _enough(copy: Collection) -> bool:
    return all(
        sum(case.label == label for case in copy.cases) >= size
        for label, size in DATASET_1_SIZES.items()
    )


def _without_split(cases: Iterable[Case]) -> tuple[Case, ...]:
    # The archive's own parts are not the paper's: its split is drawn anew.
    return tuple(dataclasses.replace(case, split="") for case in cases)
