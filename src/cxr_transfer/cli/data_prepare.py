"""What `cxr data prepare` does: manifests of archives, with their parts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from cxr_transfer.cli.terminal import SKIP_DAMAGED_HELP, log, progress, tell

DATA_PREPARE_EXAMPLES = "Example:\n\ncxr data prepare ../data --out prepared"


def data_prepare(
    folder: Annotated[Path, typer.Argument(help="Folder with the archives.")],
    out: Annotated[Path, typer.Option(help="Where the manifests are written.")],
    skip_damaged: Annotated[bool, typer.Option(help=SKIP_DAMAGED_HELP)] = False,
) -> None:
    """Write the manifests of Dataset_0, Dataset_1 and the images outside them, with hashes."""
    from cxr_transfer.datasets.archives import read_archives
    from cxr_transfer.datasets.damaged import (
        DAMAGED_FILE,
        Damaged,
        damaged_line,
        write_damaged,
    )
    from cxr_transfer.datasets.decode import Records
    from cxr_transfer.datasets.index import data_hash, index_readable, refuse_damaged
    from cxr_transfer.datasets.loading import notices_of
    from cxr_transfer.datasets.manifest import write_manifest
    from cxr_transfer.datasets.paper import (
        dataset_0,
        dataset_1,
        outside_cases,
        pretraining_cases,
    )
    from cxr_transfer.files import write_json
    from cxr_transfer.own_folder import DATA_RECORD, check_folder, lock_folder

    check_folder(out, DATA_RECORD)
    archives = read_archives(folder)
    for notice in notices_of(archives):
        log(notice)
    zero, one = dataset_0(archives), dataset_1(archives)
    outside = outside_cases(archives, one)
    with lock_folder(out, DATA_RECORD):
        summary: dict[str, Any] = {}
        found = {}
        damaged: dict[str, Damaged] = {}
        records = Records()  # The data sets share images.
        for name, cases in {zero.name: zero.cases, one.name: one.cases, "outside": outside}.items():
            with progress(f"reading {name}", len(cases)) as step:
                found[name], unread = index_readable(
                    cases, on_image=step, read=records.read, keep=records.keep
                )
            if not skip_damaged:
                refuse_damaged(unread, len(cases))
            damaged |= {one.path: one for one in unread}
            write_manifest(out / f"{name}.csv", found[name])
        clean = pretraining_cases(
            dataclasses.replace(zero, cases=found[zero.name]),
            dataclasses.replace(one, cases=found[one.name]),
        )
        write_manifest(out / "dataset_0_without_dataset_1.csv", clean.cases)
        found["dataset_0_without_dataset_1"] = clean.cases
        for name, cases in found.items():
            labels = dict.fromkeys(case.label for case in cases)
            summary[name] = {
                "images": len(cases),
                "classes": {label: sum(case.label == label for case in cases) for label in labels},
                "data_hash": data_hash(cases) if cases else "",
            }
            classes = ", ".join(f"{n} {label}" for label, n in summary[name]["classes"].items())
            tell(f"{name}: {len(cases)} images ({classes}), {summary[name]['data_hash'][:12]}")
        write_damaged(out, tuple(damaged.values()))
        if damaged:
            log(damaged_line(tuple(damaged.values()), str(out / DAMAGED_FILE)))
        write_json(out / DATA_RECORD, summary)
