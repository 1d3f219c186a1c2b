"""What a person gives after ``--data`` in, one data set out.

A folder with the archives gives the paper's data set of that name; a manifest or a folder per
class gives a user's own. Every image is opened once on the way (`index`).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.cells import one_spelling
from cxr_transfer.datasets.decode import Records
from cxr_transfer.datasets.findings import relabelled
from cxr_transfer.datasets.given_parts import check_consistent, drawn_lines
from cxr_transfer.datasets.index import index_readable, refuse_damaged
from cxr_transfer.datasets.manifest import read_listed
from cxr_transfer.datasets.multi_source import in_three_classes, multi_source
from cxr_transfer.datasets.paper import (
    Dataset,
    dataset_0,
    dataset_1,
    outside_cases,
    pretraining_cases,
)
from cxr_transfer.datasets.registry import stands_alone
from cxr_transfer.datasets.selection import Selection, joined, selected
from cxr_transfer.datasets.several_findings import as_findings
from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.labels import (
    DATASET_0,
    DATASET_1,
    MULTI_SOURCE,
    LabelSet,
    Task,
    refuse_findings,
)

Pretraining = Literal["clean", "paper"]
DatasetName = Literal["dataset_0", "dataset_1", "multi_source"]


def open_dataset(
    data: Path,
    name: DatasetName | None,
    *,
    pretraining: Pretraining | None = None,
    added: Sequence[Case] = (),
    mapping: Mapping[str, str] | None = None,
    table: Mapping[str, str] | None = None,
    sources: Sequence[str] = (),
    task: Task = "multi_class",
    skip_damaged: bool = False,
    before: Callable[[Dataset], None] = lambda dataset: None,
    on_image: Callable[[], None] = lambda: None,
    records: Records | None = None,
) -> Dataset:
    """Open the data set that a recipe trains on.

    Args:
        data: Archives, a manifest (.csv), or a folder per class.
        name: Name of the data set, where ``data`` holds the archives; None is for own images alone.
        pretraining: "clean", also by default, leaves every patient of Dataset_1 out of Dataset_0.
        added: Cases of a user's own sources, for ``multi_source`` from archives.
        mapping: Label of these images to class, or to "" to leave its images out.
        table: Such labels, whether images have them or not: a recipe's own.
        sources: Sources whose images alone are taken, as images of the user's own, whatever
            ``data`` holds; none takes ``data`` as it is.
        task: Whether labels are classes, or join findings (images of the user's own alone).
        skip_damaged: Whether files that cannot be read are left out; `Dataset.damaged` has them.
        before: Function that is called with the data set before any image of it is opened. Whatever
            can be refused is refused there. Its cases have no hashes, and none is left out yet as
            damaged, or as another data set's.
        on_image: Function that is called after every image.
        records: Records that keep what was decoded; None keeps hashes and sizes alone.

    Returns:
        Indexed cases. The labels of a user's own images are the paper's where they have the same
        names, else their names in alphabetical order; for ``multi_source`` they are its three,
        by ``mapping`` and the table of findings.

    Raises:
        DataError: What the readers raise; ``classes`` for fewer than two; ``unknown_label`` where
            the class of a finding is not known.
        UsageError: ``no_dataset`` for archives without a name, or where labels join findings;
            ``added_to_what`` for sources added to another data set; ``unused_option`` for
            ``pretraining`` or ``mapping`` where they have no effect; ``bad_label``;
            ``unknown_source``.
    """
    if added and (name != "multi_source" or not _holds_archives(data)):
        raise UsageError(
            "added_to_what",
            f"Expected the recipe multi_source and archives to add sources to, but got {name} and "
            f"{data}; put all your images into one manifest (path,label,patient,source) instead.",
        )

    records = records or Records()

    def opened(dataset: Dataset) -> Dataset:
        before(dataset)
        return indexed(dataset, on_image, skip_damaged=skip_damaged, records=records)

    own, archives = _own_or_archives(data)
    if sources:
        read = archives if own is None else (own,)
        own = joined(selected(read, Selection(tuple(sources))), data)
    if pretraining is not None and (name != "dataset_0" or own is not None):
        got = "images of your own" if own is not None else name
        raise UsageError(
            "unused_option",
            "Expected --pretraining only where Dataset_0 is made of the archives, but got "
            f"{got}; leave it out.",
        )
    if own is not None:
        dataset = own_dataset(data, own, name or "dataset_1", mapping or {}, table or {}, task=task)
        check_consistent(dataset.cases)
        return opened(dataset)
    if name is None or task == "multi_label":
        raise UsageError(
            "no_dataset",
            f"Expected images of your own, or a recipe that says which data set is made of the "
            f'archives, but {data} holds archives; add dataset = "dataset_0", "dataset_1" or '
            '"multi_source" to the recipe, or give -o dataset=dataset_1; or make a manifest of '
            "what is there with 'cxr data prepare' (--source, --label).",
        )
    notices = notices_of(archives)
    if name == "multi_source":
        dataset = multi_source(archives, added, mapping, table)
        return opened(dataclasses.replace(dataset, notices=(*notices, *dataset.notices)))
    if mapping or table:
        raise UsageError(
            "unused_option",
            "Expected --label (or [labels] in the recipe) for images of your own or for "
            f"multi_source, but the labels of {name} are the paper's; leave it out.",
        )
    target = dataclasses.replace(dataset_1(archives), notices=notices)
    if name == "dataset_1":
        return opened(target)
    source = dataclasses.replace(dataset_0(archives), notices=notices)
    if pretraining == "paper":
        return opened(source)
    source = opened(source)
    # Most of the other data set's images are among those that were opened just now.
    shared = Records(shared=records)
    return pretraining_cases(
        source, indexed(target, on_image, skip_damaged=skip_damaged, records=shared)
    )


def open_cases(
    data: Path,
    part: str | None = None,
    *,
    mapping: Mapping[str, str] | None = None,
    table: Mapping[str, str] | None = None,
    labels: LabelSet | None = None,
) -> Collection:
    """Open the images of a manifest or folder for an evaluation, whatever their labels.

    Args:
        data: A manifest (.csv) or a folder per class.
        part: Part whose images alone are kept; None keeps the test part of a manifest that names
            parts, and everything of one that does not.
        mapping: Label of these images to class of the network, or to "" to leave its images out.
        table: Such labels, whether images have them or not: those of the network's recipe.
        labels: Classes of the network: the mapping names them alone, and a label that differs from
            one in case or spaces alone is that one. None is any.

    Raises:
        DataError: What the readers raise; ``archives`` for a folder of archives, whose copies,
            lateral views and parts only `cxr data prepare` sorts out; ``empty`` when no image is
            left.
        UsageError: ``unused_option`` or ``bad_label``, as `relabelled`.
    """
    own, _ = _own_or_archives(data)
    if own is None:
        raise DataError(
            "archives",
            f"Expected a manifest or a folder per class, but {data} holds archives; make their "
            "manifests with 'cxr data prepare' and give one of them.",
        )
    read = _counting_as(own, mapping, table, labels)
    cases = read.cases
    part = {"val": "validation"}.get(part or "", part)
    wanted = part or ("test" if any(case.split for case in cases) else "")
    kept = tuple(case for case in cases if case.split == wanted) if wanted else cases
    if not kept:
        raise DataError("empty", f"Expected images of the part {wanted!r} in {data}, but got none.")
    return dataclasses.replace(read, cases=kept)


def open_all(
    data: Path,
    labels: LabelSet,
    *,
    mapping: Mapping[str, str] | None = None,
    table: Mapping[str, str] | None = None,
) -> Collection:
    """Open every image for an audit.

    Args:
        data: Archives, a manifest (.csv, all its parts) or a folder per class.
        labels: Labels of the network that is audited.
        mapping: Label of these images to class of the network, or to "" to leave its images out.
        table: Such labels, whether images have them or not: those of the network's recipe.

    Returns:
        Of archives Dataset_1 and what lies outside it, under the archives' own labels; but for a
        network of the classes of ``multi_source`` that data set, since ``other_pneumonia`` is no
        archive's label.

    Raises:
        DataError: What the readers raise; ``unknown_label`` as `multi_source`.
        UsageError: ``unused_option`` or ``bad_label``, as `relabelled`; ``several_findings`` for
            archives, whose labels are classes.
    """
    own, archives = _own_or_archives(data)
    if own is not None:
        return _counting_as(own, mapping, table, labels)
    refuse_findings(labels, "a reading of the archives")
    notices = notices_of(archives)
    if labels == MULTI_SOURCE:
        dataset = multi_source(archives, mapping=mapping, table=table)
        return Collection("archives", data, dataset.cases, notices=(*notices, *dataset.notices))
    target = dataset_1(archives)
    cases = (*target.cases, *outside_cases(archives, target))
    read = Collection("archives", data, cases, notices=notices)
    return _counting_as(read, mapping, table, labels, spell=False)


def _counting_as(
    read: Collection,
    mapping: Mapping[str, str] | None,
    table: Mapping[str, str] | None,
    labels: LabelSet | None,
    *,
    spell: bool = True,
) -> Collection:
    """Return ``read`` under the labels that its own count as, with notices of that."""
    if labels is not None and not labels.exclusive:
        findings = as_findings(read.cases, mapping or {}, table=table, labels=labels)
        return dataclasses.replace(
            read, cases=findings.cases, notices=(*read.notices, *findings.notices)
        )
    relabelling = relabelled(read.cases, mapping or {}, table=table, classes=labels)
    read = dataclasses.replace(
        read, cases=relabelling.cases, notices=(*read.notices, *relabelling.lines())
    )
    return spelled_as(read, labels) if spell and labels else read


def notices_of(archives: Sequence[Collection]) -> tuple[str, ...]:
    """Return what a person should know of how archives were read, each line once."""
    return tuple(dict.fromkeys(line for archive in archives for line in archive.notices))


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


def _own_or_archives(data: Path) -> tuple[Collection | None, tuple[Collection, ...]]:
    """Return what a manifest or a folder per class holds; else None, and the archives."""
    if data.is_file():
        return read_listed(data), ()
    archives = read_archives(data)
    # One collection that holds several classes, and nothing beside it, is a data set by itself.
    return archives[0] if stands_alone(archives) else None, archives


def _holds_archives(data: Path) -> bool:
    return data.is_dir() and _own_or_archives(data)[0] is None


def own_dataset(
    data: Path,
    read: Collection,
    like: DatasetName = "dataset_1",
    mapping: Mapping[str, str] | None = None,
    table: Mapping[str, str] | None = None,
    *,
    task: Task = "multi_class",
) -> Dataset:
    """Return a user's own images as the data set that a recipe trains on.

    Args:
        data: Manifest or folder, after which the data set is named.
        read: Images that were read from it.
        like: Data set of the recipe; its classes are taken where the names are the same.
        mapping: Mapping as in `open_dataset`.
        table: Table as in `open_dataset`.
        task: Task as in `open_dataset`.

    Raises:
        DataError: ``label_set`` for fewer than two classes, and those of `open_dataset`.
        UsageError: ``unused_option`` or ``bad_label``, as `relabelled`.
    """
    title = data.stem if data.is_file() else os.path.basename(os.path.abspath(data))
    if task == "multi_label":
        return _with_findings(title, read, mapping or {}, table or {})
    if like == "multi_source":
        dataset = in_three_classes(title, read.cases, mapping, table)
        notices = (*read.notices, *dataset.notices, *drawn_lines(dataset.cases))
        return dataclasses.replace(dataset, notices=notices)
    relabelling = relabelled(read.cases, mapping or {}, table=table)
    read = dataclasses.replace(
        read, cases=relabelling.cases, notices=(*read.notices, *relabelling.lines())
    )
    named = {"dataset_0": DATASET_0, "dataset_1": DATASET_1}[like]
    spelled = spelled_as(read, named)
    if {case.label for case in spelled.cases} == set(named.names):
        labels, read = named, spelled
    else:
        labels = LabelSet(tuple(sorted({case.label for case in read.cases})))
    notices = (*read.notices, *drawn_lines(read.cases))
    return Dataset(
        title,
        labels,
        read.cases,
        notices=notices,
        left_out=relabelling.left_out,
        excluded=relabelling.excluded,
    )


def _with_findings(
    title: str, read: Collection, mapping: Mapping[str, str], table: Mapping[str, str]
) -> Dataset:
    """Return a user's own images, whose labels join findings, as a data set.

    Raises:
        DataError: ``label_set`` for fewer than two findings; ``classes`` for one that all or no
            images have.
        UsageError: ``unused_option`` or ``bad_label``, as `as_findings`.
    """
    findings = as_findings(read.cases, mapping, table=table)
    notices = (*read.notices, *findings.notices, *drawn_lines(findings.cases))
    return Dataset(
        title,
        LabelSet(findings.names, exclusive=False),
        findings.cases,
        notices=notices,
    )


def indexed(
    dataset: Dataset,
    on_image: Callable[[], None],
    *,
    skip_damaged: bool = False,
    records: Records | None = None,
) -> Dataset:
    """Return ``dataset`` with hashes and sizes; ``on_image`` is called after every image.

    Args:
        dataset: Cases that need not be indexed.
        on_image: Function that is called after every image.
        skip_damaged: Whether files that cannot be read are left out; `Dataset.damaged` has them.
        records: Records that keep what was decoded; None keeps hashes and sizes alone.

    Raises:
        DataError: ``damaged_images`` unless they are left out, ``changed_images``; ``classes`` when
            all images of a class are damaged.
    """
    records = records or Records()
    cases, damaged = index_readable(
        dataset.cases, on_image=on_image, read=records.read, keep=records.keep
    )
    if not skip_damaged:
        refuse_damaged(damaged, len(dataset.cases))
    return dataclasses.replace(dataset, cases=cases, damaged=damaged)
