"""Which of the images that were read are meant: by source, by view, under which labels and parts.

Collections in, as a folder or a manifest holds them; the same out with fewer images, or joined as
one data set of a user's own, from which a manifest is made. Opens no image.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.case import FRONTAL_VIEWS, Case, Collection
from cxr_transfer.datasets.cells import spelling_key
from cxr_transfer.datasets.findings import relabelled
from cxr_transfer.datasets.manifest import read_listed
from cxr_transfer.datasets.registry import OF_THE_PAPER
from cxr_transfer.datasets.unlabelled import read_unlabelled
from cxr_transfer.errors import DataError, UsageError, listing
from cxr_transfer.labels import LabelSet
from cxr_transfer.tables import nearest
from cxr_transfer.text import for_terminal


@dataclass(frozen=True)
class Selection:
    """Choice that a person makes among the images that are there.

    Attributes:
        sources: Sources whose images are kept; none keeps all.
        frontal: Whether lateral and other views are left out; an unknown view stays.
        mapping: Label, or pattern of labels, to class, or to "" to leave its images out.
        without_parts: Whether the parts that the data give are forgotten.
    """

    sources: tuple[str, ...] = ()
    frontal: bool = False
    mapping: Mapping[str, str] = field(default_factory=dict)
    without_parts: bool = False

    def __bool__(self) -> bool:
        """Tell whether anything is asked for."""
        return bool(self.sources or self.frontal or self.mapping or self.without_parts)


def read_all(data: Path, *, no_labels: bool = False) -> tuple[Collection, ...]:
    """Read whatever ``data`` holds: archives, a manifest, a folder per class, or mere images.

    Args:
        data: Folder or manifest (.csv).
        no_labels: Whether a folder's sub-folders are no classes, as in an export of DICOM files.

    Raises:
        UsageError: ``unused_option`` for ``no_labels`` where labels stand in a table.
        DataError: What `read_listed` and `read_archives` raise.
    """
    if data.is_file():
        if no_labels:
            raise UsageError(
                "unused_option",
                f"Expected a folder with --no-labels, but {data} is a table with a column label; "
                "leave it out.",
            )
        return (read_listed(data),)
    if no_labels and data.is_dir():
        return (read_unlabelled(data),)
    return read_archives(data, unlabelled_too=True)


def is_of_the_paper(archives: Sequence[Collection]) -> bool:
    """Tell whether the paper's data sets can be made of what was read."""
    return {archive.name for archive in archives} >= set(OF_THE_PAPER)


def selected(archives: Sequence[Collection], wanted: Selection) -> tuple[Collection, ...]:
    """Return what was read with the images that are wanted, collection by collection.

    Raises:
        UsageError: ``unknown_source``; ``unused_option`` for a selection that leaves nothing out;
            what `relabelled` raises.
        DataError: ``empty`` where no image is left.
    """
    if not wanted:
        return tuple(archives)
    all_cases = [case for archive in archives for case in archive.cases]
    kept = set(map(id, _of_sources(all_cases, wanted.sources)))
    if wanted.frontal:
        frontal = [case for case in all_cases if case.view in (*FRONTAL_VIEWS, "")]
        if len(frontal) == len(all_cases):
            raise _unused("--frontal", "where images are of other views", "none is")
        kept &= set(map(id, frontal))
    if wanted.without_parts and not any(case.split for case in all_cases):
        raise _unused("--without-parts", "where the data give parts", "they give none")
    chosen = [[case for case in archive.cases if id(case) in kept] for archive in archives]
    # All at once: a label is unused only where no collection has it.
    relabelling = relabelled([case for cases in chosen for case in cases], wanted.mapping)
    if not relabelling.cases:
        raise DataError(
            "empty", "Expected at least one image to be left, but got none; ask for less."
        )
    case_of_path = {case.path: case for case in relabelling.cases}
    remaining = [
        [case_of_path[case.path] for case in cases if case.path in case_of_path] for cases in chosen
    ]
    lines = iter([tuple(relabelling.lines())])
    return tuple(
        dataclasses.replace(
            archive,
            cases=tuple(_parted(case, wanted) for case in cases),
            notices=(*archive.notices, *next(lines, ())),
        )
        for archive, cases in zip(archives, remaining, strict=True)
        if cases
    )


def joined(archives: Sequence[Collection], data: Path) -> Collection:
    """Return all that was read as one data set of a user's own.

    Args:
        archives: Collections, with the images that are wanted.
        data: Folder or manifest that they were read from.
    """
    notices = list(dict.fromkeys(line for archive in archives for line in archive.notices))
    for name, number in Counter(archive.name for archive in archives).items():
        if number > 1:
            notices.append(f"{number} copies of {name} are read; give the folder of one of them")
    cases = [
        dataclasses.replace(case, split="validation") if case.split == "val" else case
        for archive in archives
        for case in archive.cases
    ]
    with_part = sum(bool(case.split) for case in cases)
    if len(archives) > 1 and 0 < with_part < len(cases):
        # Parts of one collection are none of them all, and training refuses half a split.
        cases = [dataclasses.replace(case, split="") for case in cases]
        notices.append(
            f"parts are given to {with_part} of {len(cases)} images alone, and are forgotten"
        )
    return Collection(
        "manifest",
        data,
        tuple(cases),
        tuple(line for archive in archives for line in archive.missing),
        sum(archive.ignored for archive in archives),
        generated=any(archive.generated for archive in archives),
        notices=tuple(notices),
    )


def _of_sources(cases: Sequence[Case], sources: Sequence[str]) -> list[Case]:
    if not sources:
        return list(cases)
    there = {spelling_key(case.source): case.source for case in cases}
    unknown = [source for source in sources if spelling_key(source) not in there]
    if unknown:
        names = sorted(there.values())
        raise UsageError(
            "unknown_source",
            f"Expected --source to be one of {', '.join(names)}, but got {listing(unknown)}"
            f"{nearest(unknown[0], names)}.",
        )
    wanted = set(map(spelling_key, sources))
    if wanted == there.keys():
        raise _unused("--source", "where there are other sources", "there are none")
    return [case for case in cases if spelling_key(case.source) in wanted]


def _parted(case: Case, wanted: Selection) -> Case:
    return dataclasses.replace(case, split="") if wanted.without_parts else case


def _unused(option: str, where: str, but: str) -> UsageError:
    return UsageError("unused_option", f"Expected {option} {where}, but {but}; leave it out.")


def of_classes(read: Collection, labels: LabelSet) -> tuple[list[Case], list[str]]:
    """Return the cases whose labels are classes, and what a person is to know of the others.

    Args:
        read: Cases as `open_all` returns them.
        labels: Classes of the model.
    """
    others = Counter(case.label for case in read.cases if case.label not in labels)
    counts = ", ".join(f"{number} {for_terminal(name)}" for name, number in others.items())
    left_out = [f"not scored, since their labels are none of the classes: {counts}"]
    cases = [case for case in read.cases if case.label in labels]
    return cases, [*read.notices, *(left_out if others else ())]
