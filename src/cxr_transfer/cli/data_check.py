"""What `cxr data check` does: what is in archives, a folder or a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cxr_transfer.cli.terminal import progress, tell
from cxr_transfer.text import for_terminal

DATA_CHECK_EXAMPLES = (
    "Examples:\n\n"
    "cxr data check ../data\n\n"
    "cxr data check images.csv --table images.csv  (a row for each image)"
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

    Exit code 1 where an image is damaged, or training would refuse images of one's own as they are.
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
    with progress("reading images", total) as step:
        found = check(archives, on_image=step)
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

    def radiograph(row: dict[str, Any]) -> str:
        patient = "" if is_unknown(row["patient"]) else row["patient"]
        known = {"patient": patient, "part": row["split"], "SHA-256": row["sha256"]}
        told = ", ".join(f"{name} {value}" for name, value in known.items() if value)
        return f"{for_terminal(row['file'])} ({told})"

    lines: list[str] = []
    for table in found["archives"]:
        unknown = table["images_of_unknown_patients"]
        lines += [
            f"{table['collection']} ({table['folder']}): {table['images']} "
            f"{'generated ' if table['generated'] else ''}images of "
            f"{table['patients']} patients, {table['patients_with_several_images']} with several"
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
    lines.append(f"identical images: {len(found['identical'])} groups")
    lines += [f"  {' = '.join(map(radiograph, group))}" for group in found["identical"]]
    lines.append(f"damaged images: {len(found['damaged'])}")
    lines += [f"  {radiograph(row)}: {row['status']}" for row in found["damaged"]]
    return "\n".join(lines)
