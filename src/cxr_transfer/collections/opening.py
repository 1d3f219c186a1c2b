"""What a person gives after ``--data`` in, one data set out.

A folder with the archives gives the paper's data set of that name; a manifest or a folder per
class gives a user's own. Every film is opened once on the way (`index`).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from cxr_transfer.collections.archives import read_archives
from cxr_transfer.collections.case import Case, Collection
from cxr_transfer.collections.cells import one_spelling
from cxr_transfer.collections.datasets import (
    Dataset,
    dataset_0,
    dataset_1,
    outside_cases,
    pretraining_cases,
)
from cxr_transfer.collections.index import index
from cxr_transfer.collections.manifest import check_consistent, read_listed
from cxr_transfer.collections.multi_source import multi_source
from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.labels import DATASET_0, DATASET_1, MULTI_SOURCE, LabelSet

Pretraining = Literal["clean", "paper"]
DatasetName = Literal["dataset_0", "dataset_1", "multi_source"]


def open_dataset(
    data: Path,
    name: DatasetName,
    *,
    pretraining: Pretraining = "clean",
    added: Sequence[Case] = (),
    each: Callable[[], None] = lambda: None,
) -> Dataset:
    """Open the data set that a recipe trains on.

    Args:
        data: Archives, a manifest (.csv), or a folder per class.
        name: Which data set, where ``data`` holds the archives.
        pretraining: "clean" leaves every patient of Dataset_1 out of Dataset_0.
        added: Films of sources of the user's own, for ``multi_source`` from archives.
        each: Called after every film.

    Returns:
        Indexed cases. The labels of a user's own films are the paper's where they have the same
        names, else their names in alphabetical order.

    Raises:
        DataError: What the readers raise; ``classes`` for fewer than two.
        UsageError: ``added_to_what`` for sources added to another data set.
    """
    if added and (name != "multi_source" or not _holds_archives(data)):
        raise UsageError(
            "added_to_what",
            f"Expected the recipe multi_source and archives to add sources to, but got {name} and "
            f"{data}; put all your films into one manifest (path,label,patient,source) instead.",
        )
    if data.is_file():
        return _own(data.stem, read_listed(data), name, each)
    archives = read_archives(data)
    if any(found.name == "folder" for found in archives):
        return _own(os.path.basename(os.path.abspath(data)), archives[0], name, each)
    dataset = _of_archives(archives, name, pretraining, added, each)
    return dataclasses.replace(dataset, notices=notices_of(archives))


def _of_archives(
    archives: Sequence[Collection],
    name: DatasetName,
    pretraining: Pretraining,
    added: Sequence[Case],
    each: Callable[[], None],
) -> Dataset:
    if name == "multi_source":
        return indexed(multi_source(archives, added), each)
    target = indexed(dataset_1(archives), each)
    if name == "dataset_1":
        return target
    source = indexed(dataset_0(archives), each)
    return pretraining_cases(source, target) if pretraining == "clean" else source


def open_cases(data: Path, part: str | None = None) -> Collection:
    """Open the films of a manifest or folder for an evaluation, whatever their labels.

    Args:
        data: A manifest (.csv) or a folder per class.
        part: Keep only the films of this part; None keeps the test part of a manifest that names
            parts, and everything of one that does not.

    Raises:
        DataError: What the readers raise; ``archives`` for a folder of archives, whose copies,
            lateral views and parts only `cxr data prepare` sorts out; ``empty`` when no film is
            left.
    """
    if data.is_file():
        read = read_listed(data)
    else:
        archives = read_archives(data)
        if any(found.name != "folder" for found in archives):
            raise DataError(
                "archives",
                f"Expected a manifest or a folder per class, but {data} holds archives; make their "
                "manifests with 'cxr data prepare' and give one of them.",
            )
        read = archives[0]
    cases = read.cases
    part = {"val": "validation"}.get(part or "", part)
    wanted = part or ("test" if any(case.split for case in cases) else "")
    kept = tuple(case for case in cases if case.split == wanted) if wanted else cases
    if not kept:
        raise DataError("empty", f"Expected films of the part {wanted!r} in {data}, but got none.")
    return dataclasses.replace(read, cases=kept)


def open_all(data: Path, labels: LabelSet) -> Collection:
    """Open every film for an audit.

    Args:
        data: Archives, a manifest (.csv, all its parts) or a folder per class.
        labels: Of the network that is audited.

    Returns:
        Of archives Dataset_1 and what lies outside it, under the archives' own labels; but for a
        network of the classes of ``multi_source`` that data set, since ``other_pneumonia`` is no
        archive's label.

    Raises:
        DataError: What the readers raise.
    """
    if data.is_file():
        return spelled_as(read_listed(data), labels)
    archives = read_archives(data)
    if all(found.name == "folder" for found in archives):
        return spelled_as(archives[0], labels)
    if labels == MULTI_SOURCE:
        cases = multi_source(archives).cases
    else:
        target = dataset_1(archives)
        cases = (*target.cases, *outside_cases(archives, target))
    return Collection("archives", data, cases, notices=notices_of(archives))


def notices_of(archives: Sequence[Collection]) -> tuple[str, ...]:
    """Return what a person should know of how archives were read, each line once."""
    return tuple(dict.fromkeys(line for found in archives for line in found.notices))


def spelled_as(read: Collection, labels: LabelSet) -> Collection:
    """Return ``read`` with the labels that a network knows in that network's spelling.

    Args:
        read: Cases of any labels.
        labels: Labels of the network; one that differs in case or spaces alone is the same class.
    """
    written = [case.label for case in read.cases]
    spelled, merged = one_spelling(written, "labels", preferred=labels)
    cases = tuple(
        dataclasses.replace(case, label=label)
        for case, label in zip(read.cases, spelled, strict=True)
    )
    return dataclasses.replace(read, cases=cases, notices=(*read.notices, *merged))


def _holds_archives(data: Path) -> bool:
    return data.is_dir() and all(found.name != "folder" for found in read_archives(data))


def _own(title: str, read: Collection, like: DatasetName, each: Callable[[], None]) -> Dataset:
    check_consistent(read.cases)
    named = {"dataset_0": DATASET_0, "dataset_1": DATASET_1, "multi_source": MULTI_SOURCE}[like]
    spelled = spelled_as(read, named)
    if {case.label for case in spelled.cases} == set(named.names):
        labels, read = named, spelled
    else:
        labels = LabelSet(tuple(sorted({case.label for case in read.cases})))
    return indexed(Dataset(title, labels, read.cases, notices=read.notices), each)


def indexed(dataset: Dataset, each: Callable[[], None]) -> Dataset:
    """Return ``dataset`` with hashes and sizes; ``each`` is called after every film."""
    return dataclasses.replace(dataset, cases=index(dataset.cases, each=each))
