"""All sources at once, in three classes that a source cannot stand for.

``normal``, ``other_pneumonia`` and ``covid19``, each from more than one source, so that to know
where a film is from does not tell what it shows: Kermany's children (normal, bacterial), Cohen's
adults (COVID-19, and what else the collection holds), RSNA's healthy adults, Valencia's with and
without COVID-19, NIH's with a pneumonia and without, and a user's own.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from cxr_transfer.collections.archives import read_archives
from cxr_transfer.collections.case import Case, Collection
from cxr_transfer.collections.datasets import Dataset, dataset_1, outside_cases
from cxr_transfer.collections.manifest import read_listed
from cxr_transfer.collections.patients import is_unique
from cxr_transfer.errors import DataError, UsageError, listing
from cxr_transfer.labels import MULTI_SOURCE

_AS = {
    "normal": "normal",
    "no finding": "normal",
    "covid19": "covid19",
    "covid-19": "covid19",
    "other_pneumonia": "other_pneumonia",
    "pneumonia": "other_pneumonia",
    "bacterial": "other_pneumonia",
    "viral": "other_pneumonia",
}
"""What a user's classes may be called, in lower case."""
_LEFT_OUT = frozenset({"unknown", "atypical"})  # atypical: an effusion, nodules, many a pattern
_NAME = re.compile(r"[A-Za-z0-9_-]+")
"""Of a user's source: it names files and folders, too."""


def multi_source(archives: Sequence[Collection], added: Iterable[Case] = ()) -> Dataset:
    """Return every frontal film with a known finding, and films ``added`` by the user.

    Of Kermany the films of Dataset_1 alone: its other copies were compressed differently, and that
    would be a mark of its classes. Films of Cohen's whose finding is not known are left out, and
    such of a patient who has COVID-19 films, too.

    Args:
        archives: What was found in the data folder.
        added: Of sources whose names the archives do not use.

    Raises:
        UsageError: ``source_taken`` for an added source with a name that the archives use.
        DataError: ``collection_absent`` or ``classes``; what `dataset_1` raises.
    """
    added = tuple(added)
    _check_free({case.source for case in added}, archives)
    target = dataset_1(archives)
    films = [*target.cases, *outside_cases(archives, target), *added]
    return Dataset("multi_source", MULTI_SOURCE, tuple(map(_relabelled, filter(_is_known, films))))


def added_source(given: str) -> Collection:
    """Read ``NAME=DIR``: a user's films, all of them of the source NAME.

    Args:
        given: A name of letters, digits, "_" and "-", and after "=" a folder per class or a
            manifest (.csv). Classes are the three of `multi_source`; "pneumonia", "bacterial" and
            "viral" are other pneumonia.

    Raises:
        UsageError: ``bad_source`` when it is not of this form.
        DataError: ``unknown_label``; ``archives`` for a folder of those; what reading raises.
    """
    name, equals, place = given.partition("=")
    if not (name and equals and place):
        raise UsageError(
            "bad_source",
            f"Expected NAME=DIR, a name and the place of its films, but got {given!r}; write for "
            "example clinic_a=films/clinic_a.",
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
        found = read_archives(path)
        if any(collection.name != "folder" for collection in found):
            raise DataError(
                "archives",
                f"Expected a folder per class or a manifest for the source {name}, but {path} "
                "holds archives; give those with --data.",
            )
        read = found[0]
    unknown = sorted({case.label for case in read.cases if case.label.lower() not in _AS})
    if unknown:
        raise DataError(
            "unknown_label",
            f"Expected the classes {', '.join(MULTI_SOURCE)} in the source {name} (or "
            f"{', '.join(sorted(_AS.keys() - set(MULTI_SOURCE)))}), but got {listing(unknown)}; "
            "rename them.",
        )
    cases = tuple(
        dataclasses.replace(
            case,
            label=_AS[case.label.lower()],
            source=name,
            patient=_of_source(name, case.patient),
            split="",
            written="",  # there are several data folders: the whole path alone tells which file
        )
        for case in read.cases
    )
    notices = tuple(f"{name}: {line}" for line in read.notices)
    return dataclasses.replace(read, cases=cases, notices=notices)


def _of_source(name: str, patient: str) -> str:
    # A hash is the same patient's in every source, and nobody else's.
    return patient if is_unique(patient) else f"{name}:{patient.removeprefix(f'{name}:')}"


def _check_free(names: Iterable[str], archives: Sequence[Collection]) -> None:
    """Refuse names that the archives use: two sources would pass for one."""
    used = {case.source.casefold() for found in archives for case in found.cases}
    taken = sorted(name for name in names if name.casefold() in used)
    if taken:
        raise UsageError(
            "source_taken",
            f"Expected a name of its own for an added source, but got {listing(taken)}, which is a "
            f"source of the archives (these are {', '.join(sorted(used))}); choose another name.",
        )


def _is_known(case: Case) -> bool:
    return case.label not in _LEFT_OUT


def _relabelled(case: Case) -> Case:
    # Of the archives' findings all but these are pneumonias of some kind (or ARDS).
    return dataclasses.replace(case, label=_AS.get(case.label.lower(), "other_pneumonia"))
