"""Manifests of what was read, every image opened once, for training, evaluation and audit.

Of the paper's two archives come Dataset_0, Dataset_1 and the images outside them; of anything else,
or of a selection, one manifest ``images.csv``, which is then a user's own data.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.damaged import Damaged, write_damaged
from cxr_transfer.datasets.decode import Records
from cxr_transfer.datasets.index import data_hash, index_readable, refuse_damaged
from cxr_transfer.datasets.manifest import write_manifest
from cxr_transfer.datasets.paper import dataset_0, dataset_1, outside_cases, pretraining_cases
from cxr_transfer.datasets.selection import is_of_the_paper, joined
from cxr_transfer.files import write_json
from cxr_transfer.own_folder import DATA_RECORD
from cxr_transfer.progress import Tell, counting

OWN_MANIFEST = "images"
"""Name of the manifest of data that are not the paper's."""


@dataclass(frozen=True)
class Prepared:
    """Manifests that were written.

    Attributes:
        summary: Name of a manifest to its ``images``, ``classes`` and ``data_hash``.
        damaged: Files that cannot be read and were left out.
    """

    summary: dict[str, dict[str, Any]]
    damaged: tuple[Damaged, ...]


def prepare_manifests(
    archives: Sequence[Collection],
    data: Path,
    out: Path,
    *,
    as_one: bool,
    skip_damaged: bool,
    progress: Tell,
) -> Prepared:
    """Write the manifests of what was read into ``out``, and a summary of them.

    Args:
        archives: Collections, with the images that are wanted.
        data: Folder or manifest that they were read from.
        out: Folder of the manifests.
        as_one: Whether one manifest is made, whatever was read.
        skip_damaged: Whether to leave out files that cannot be read.
        progress: Function that is called with the phase and the share of it that is done.

    Raises:
        DataError: ``damaged_images``, ``changed_images``; what `dataset_0` and `dataset_1` raise.
        MachineError: ``disk_full`` or ``not_writable``.
    """
    if as_one or not is_of_the_paper(archives):
        wanted = {OWN_MANIFEST: joined(archives, data).cases}
        source = target = None
    else:
        source, target = dataset_0(archives), dataset_1(archives)
        outside = outside_cases(archives, target)
        wanted = {source.name: source.cases, target.name: target.cases, "outside": outside}
    readable: dict[str, tuple[Case, ...]] = {}
    damaged: dict[str, Damaged] = {}
    records = Records()  # The data sets share images.
    for name, cases in wanted.items():
        step = counting(progress, f"reading {name}", len(cases))
        readable[name], unread = index_readable(
            cases, on_image=step, read=records.read, keep=records.keep
        )
        if not skip_damaged:
            refuse_damaged(unread, len(cases))
        damaged |= {file.path: file for file in unread}
        write_manifest(out / f"{name}.csv", readable[name])
    if source and target:
        clean = pretraining_cases(
            dataclasses.replace(source, cases=readable[source.name]),
            dataclasses.replace(target, cases=readable[target.name]),
        )
        name = f"{source.name}_without_{target.name}"
        write_manifest(out / f"{name}.csv", clean.cases)
        readable[name] = clean.cases
    summary = {name: _summary(cases) for name, cases in readable.items()}
    write_damaged(out, tuple(damaged.values()))
    write_json(out / DATA_RECORD, summary)
    return Prepared(summary, tuple(damaged.values()))


def _summary(cases: Sequence[Case]) -> dict[str, Any]:
    return {
        "images": len(cases),
        "classes": dict(Counter(case.label for case in cases)),
        "data_hash": data_hash(cases) if cases else "",
    }
