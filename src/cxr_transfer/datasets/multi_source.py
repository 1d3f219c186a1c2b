"""All sources at once, in three classes that a source cannot stand for.

``normal``, ``other_pneumonia`` and ``covid19`` each come from more than one source, so that the
source of an image does not tell what it shows. Kermany gives children (normal, bacterial), Cohen
adults (COVID-19, and other findings), and RSNA healthy adults. Valencia gives adults with and
without COVID-19, NIH with and without a pneumonia. A user's own images may be added.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.cells import spelling_key
from cxr_transfer.datasets.findings import (
    FINDINGS,
    LEFT_OUT,
    counts_as,
    left_out_lines,
    relabelled,
)
from cxr_transfer.datasets.manifest import read_listed
from cxr_transfer.datasets.paper import Dataset, dataset_1, outside_cases
from cxr_transfer.datasets.patients import is_unique
from cxr_transfer.datasets.registry import COLLECTIONS, OWN, stands_alone
from cxr_transfer.errors import DataError, UsageError, listing
from cxr_transfer.labels import MULTI_SOURCE

_NAME = re.compile(r"[A-Za-z0-9_-]+")
"""Name of a user's source; it names files and folders, too."""


def multi_source(
    archives: Sequence[Collection],
    added: Iterable[Case] = (),
    mapping: Mapping[str, str] | None = None,
    table: Mapping[str, str] | None = None,
) -> Dataset:
    """Return every frontal image whose finding counts as a class, and images ``added`` by the user.

    Kermany gives the images of Dataset_1 alone: its other copies were compressed differently, and
    that would mark its classes. Cohen's images other than COVID-19 are left out where their patient
    has COVID-19 images, too.

    Args:
        archives: Collections of the data folder.
        added: Cases of sources whose names the archives do not use, under their own labels.
        mapping: Label of these images to class, or to "" to leave its images out.
        table: Further rows of `FINDINGS`, which come before it.

    Raises:
        UsageError: ``source_taken`` for an added source with a name that the archives use; what
            `relabelled` raises.
        DataError: ``collection_absent`` or ``classes``; what `dataset_1` and `relabelled` raise.
    """
    added = tuple(added)
    _check_free({case.source for case in added}, archives)
    left_out: Counter[str] = Counter()
    archives = [_in_known_words(archive, mapping or {}, left_out) for archive in archives]
    target = dataset_1(archives)
    images = [*target.cases, *outside_cases(archives, target), *added]
    dataset = in_three_classes("multi_source", images, mapping, table)
    if not left_out:
        return dataset
    both = Counter(dataset.left_out) + left_out
    lines = tuple(left_out_lines(dict(left_out.most_common())))
    return dataclasses.replace(
        dataset, notices=(*dataset.notices, *lines), left_out=dict(both.most_common())
    )


def in_three_classes(
    name: str,
    cases: Sequence[Case],
    mapping: Mapping[str, str] | None = None,
    table: Mapping[str, str] | None = None,
) -> Dataset:
    """Return ``cases`` as a data set of the three classes: by ``mapping``, ``table``, `FINDINGS`.

    Raises:
        UsageError: ``unused_option`` or ``bad_label``, as `relabelled`.
        DataError: ``unknown_label``, as `relabelled`; ``classes``, as `Dataset`.
    """
    relabelling = relabelled(
        cases,
        mapping or {},
        table={
            **FINDINGS,
            **{spelling_key(label): class_name for label, class_name in (table or {}).items()},
        },
        closed=True,
        classes=MULTI_SOURCE,
    )
    lines = tuple(left_out_lines(relabelling.left_out))
    return Dataset(
        name,
        MULTI_SOURCE,
        relabelling.cases,
        notices=lines,
        left_out=relabelling.left_out,
        excluded=relabelling.excluded,
    )


def added_source(text: str) -> Collection:
    """Read ``NAME=DIR``: a user's images, all of them of the source NAME.

    Args:
        text: Name of letters, digits, "_" and "-", and after "=" a folder per class or a
            manifest (.csv). The labels stay as they are: `multi_source` says what they count as.

    Raises:
        UsageError: ``bad_source`` when it is not of this form.
        DataError: ``archives`` for a folder of those; what reading raises.
    """
    name, equals, place = text.partition("=")
    if not (name and equals and place):
        raise UsageError(
            "bad_source",
            f"Expected NAME=DIR, a name and the place of its images, but got {text!r}; write for "
            "example clinic_a=images/clinic_a.",
        )
    if not _NAME.fullmatch(name):
        raise UsageError(
            "bad_source",
            f"Expected NAME=DIR with a name of letters, digits, _ and - alone, since files are "
            f"named after it, but got {name!r}; write for example clinic_a={place}.",
        )
    path = Path(place)
    if path.is_file():
        read = read_listed(path)
    else:
        archives = read_archives(path)
        if not stands_alone(archives):
            raise DataError(
                "archives",
                f"Expected a folder per class or a manifest for the source {name}, but {path} "
                "holds archives; give those with --data.",
            )
        read = archives[0]
    cases = tuple(
        dataclasses.replace(
            case,
            source=name,
            patient=_of_source(name, case.patient),
            split="",
            written="",  # there are several data folders: the whole path alone tells which file
        )
        for case in read.cases
    )
    notices = tuple(f"{name}: {line}" for line in read.notices)
    return dataclasses.replace(read, cases=cases, notices=notices)


def _in_known_words(
    archive: Collection, mapping: Mapping[str, str], left_out: Counter[str]
) -> Collection:
    """Return a collection with what its row in the table says that its labels count as.

    Args:
        archive: Collection that was read.
        mapping: Mapping of a person; labels that it names stay as they are.
        left_out: Counter that gets the images of each label that counts as no class.
    """
    if archive.name in OWN or not (labels := COLLECTIONS[archive.name].labels):
        return archive
    table = {spelling_key(label): name for label, name in labels.items()}
    named_by_user = {spelling_key(label): name for label, name in mapping.items()}
    cases = []
    for case in archive.cases:
        name = (
            None
            if counts_as(case.label, named_by_user) is not None
            else counts_as(case.label, table)
        )
        if name == LEFT_OUT:
            left_out[case.label] += 1
        else:
            cases.append(dataclasses.replace(case, label=name or case.label))
    return dataclasses.replace(archive, cases=tuple(cases))


def _of_source(name: str, patient: str) -> str:
    # A hash is the same patient's in every source, and nobody else's.
    return patient if is_unique(patient) else f"{name}:{patient.removeprefix(f'{name}:')}"


def _check_free(names: Iterable[str], archives: Sequence[Collection]) -> None:
    """Refuse names that the archives use: two sources would pass for one."""
    used = {case.source.casefold() for archive in archives for case in archive.cases}
    taken = sorted(name for name in names if name.casefold() in used)
    if taken:
        raise UsageError(
            "source_taken",
            f"Expected a name of its own for an added source, but got {listing(taken)}, which is a "
            f"source of the archives (these are {', '.join(sorted(used))}); choose another name.",
        )
