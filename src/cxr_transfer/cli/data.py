"""Commands that look at archives."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from cxr_transfer.cli.terminal import SKIP_DAMAGED_HELP, say, steps, tell
from cxr_transfer.text import for_terminal

DATA_CHECK_EXAMPLES = (
    "Examples:\n\n"
    "cxr data check ../data\n\n"
    "cxr data check films.csv --table images.csv  (a row for each image)"
)


def data_check(
    data: Annotated[
        Path, typer.Argument(help="Archives, a manifest (.csv), or a folder per class.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    table: Annotated[
        Path | None, typer.Option(help="CSV file to write, with a row for each image.")
    ] = None,
) -> None:
    """Print what is there by class, patient, source, view and size; what is missing or double.

    Exit code 1 where a film is damaged, or training would refuse films of one's own as they are.
    """
    import json as json_module

    from cxr_transfer.datasets.archives import read_archives
    from cxr_transfer.datasets.check import COLUMNS, check
    from cxr_transfer.datasets.manifest import read_listed
    from cxr_transfer.files import check_new, write_csv

    if table:
        check_new(table, "--table")
    archives = (read_listed(data),) if data.is_file() else read_archives(data)
    total = sum(len(archive.cases) for archive in archives)
    with steps("reading films", total) as step:
        found = check(archives, each=step)
    if table:
        write_csv(table, COLUMNS, found["images"])
    tell(json_module.dumps(found, indent=2) if json else _check_text(found))
    if found["damaged"] or any(table["refused"] for table in found["archives"]):
        raise typer.Exit(1)


def _check_text(found: dict[str, Any]) -> str:
    from cxr_transfer.datasets.patients import is_unknown
    from cxr_transfer.errors import listing

    def counts(table: dict[str, int]) -> str:
        return ", ".join(f"{number} {name}" for name, number in table.items())

    def film(row: dict[str, Any]) -> str:
        patient = "" if is_unknown(row["patient"]) else row["patient"]
        known = {"patient": patient, "part": row["split"], "SHA-256": row["sha256"]}
        told = ", ".join(f"{name} {value}" for name, value in known.items() if value)
        return f"{for_terminal(row['file'])} ({told})"

    lines: list[str] = []
    for table in found["archives"]:
        unknown = table["films_of_unknown_patients"]
        lines += [
            f"{table['collection']} ({table['folder']}): {table['films']} "
            f"{'generated ' if table['generated'] else ''}films of "
            f"{table['patients']} patients, {table['patients_with_several_films']} with several"
            + (f"; {unknown} of unknown patients" if unknown else ""),
            f"  classes  {counts(table['classes'])}",
            f"  sources  {counts(table['sources'])}",
            f"  views    {counts(table['views'])}",
            *([f"  parts    {counts(table['parts'])}"] if table["parts"] else []),
            f"  sizes    {table['sizes']}",
            *([f"  greys    {table['grey_levels']}"] if table["grey_levels"] else []),
            f"  missing  {len(table['missing'])}"
            + (f": {listing(table['missing'])}" if table["missing"] else ""),
            f"  ignored  {table['ignored']} other files",
            *(f"  note     {line}" for line in table["notices"]),
            *(
                f"  refused by training: {error['message']} [{error['code']}]"
                for error in table["refused"]
            ),
            "",
        ]
    lines.append(f"identical films: {len(found['identical'])} groups")
    lines += [f"  {' = '.join(map(film, group))}" for group in found["identical"]]
    lines.append(f"damaged films: {len(found['damaged'])}")
    lines += [f"  {film(row)}: {row['status']}" for row in found["damaged"]]
    return "\n".join(lines)


DATA_PREPARE_EXAMPLES = "Example:\n\ncxr data prepare ../data --out prepared"


def data_prepare(
    folder: Annotated[Path, typer.Argument(help="Folder with the archives.")],
    out: Annotated[Path, typer.Option(help="Where the manifests are written.")],
    skip_damaged: Annotated[bool, typer.Option(help=SKIP_DAMAGED_HELP)] = False,
) -> None:
    """Write the manifests of Dataset_0, Dataset_1 and the films outside them, with hashes."""
    from cxr_transfer.datasets.archives import read_archives
    from cxr_transfer.datasets.damaged import (
        DAMAGED_FILE,
        Damaged,
        damaged_line,
        write_damaged,
    )
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
    from cxr_transfer.own_folder import DATA_RECORD, check_folder, owned

    check_folder(out, DATA_RECORD)
    archives = read_archives(folder)
    for notice in notices_of(archives):
        say(notice)
    zero, one = dataset_0(archives), dataset_1(archives)
    outside = outside_cases(archives, one)
    with owned(out, DATA_RECORD):
        summary: dict[str, Any] = {}
        found = {}
        damaged: dict[str, Damaged] = {}
        for name, cases in {zero.name: zero.cases, one.name: one.cases, "outside": outside}.items():
            with steps(f"reading {name}", len(cases)) as step:
                found[name], unread = index_readable(cases, each=step)
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
                "films": len(cases),
                "classes": {label: sum(case.label == label for case in cases) for label in labels},
                "data_hash": data_hash(cases) if cases else "",
            }
            classes = ", ".join(f"{n} {label}" for label, n in summary[name]["classes"].items())
            tell(f"{name}: {len(cases)} films ({classes}), {summary[name]['data_hash'][:12]}")
        write_damaged(out, tuple(damaged.values()))
        if damaged:
            say(damaged_line(tuple(damaged.values()), str(out / DAMAGED_FILE)))
        write_json(out / DATA_RECORD, summary)
