"""What `cxr data check` does: what is in archives, a folder or a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cxr_transfer.cli.options import DataLabels, Frontal, NoLabels, Sources
from cxr_transfer.cli.terminal import choice, counted, progress, tell
from cxr_transfer.text import for_terminal

DATA_CHECK_EXAMPLES = (
    "Examples:\n\n"
    "cxr data check ../data\n\n"
    "cxr data check images.csv --table checked.csv  (a row for each image)\n\n"
    "cxr data check images --sheet sheet.png  (a few images of each class and source)\n\n"
    "cxr data check ../nih --label 'No Finding=normal' --label Pneumonia=pneumonia --label '*='"
    "\n\ncxr data check findings.csv --task multi_label  (labels such as Edema|Mass?)"
)


def data_check(
    data: Annotated[
        Path, typer.Argument(help="Archives, a manifest (.csv), or a folder of images.")
    ],
    source: Sources = None,
    frontal: Frontal = False,
    label: DataLabels = None,
    task: Annotated[
        str,
        typer.Option(help="multi_class; or multi_label, where labels join findings by '|'."),
    ] = "multi_class",
    no_labels: NoLabels = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    table: Annotated[
        Path | None, typer.Option(help="CSV file to write, with a row for each image.")
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(help="PNG file to draw: a few images of each class and source."),
    ] = None,
) -> None:
    """Print what is there by class, patient, source, view and size; what is missing or double.

    Exit code 1 where an image is damaged, or training would refuse images of one's own as they are.
    """
    import json as json_module

    from cxr_transfer.datasets.check import COLUMNS, check
    from cxr_transfer.datasets.contact_sheet import Sheet
    from cxr_transfer.datasets.findings import read_mapping
    from cxr_transfer.datasets.selection import Selection, read_all, selected
    from cxr_transfer.files import check_new, write_csv

    if table:
        check_new(table, "--table")
    if sheet:
        from cxr_transfer.figures.data_sheet import check_sheet, draw_sheet

        check_sheet(sheet)
    choice("--task", task, ("multi_class", "multi_label"))
    mapping = read_mapping(label or ())
    of_labels, of_findings = (mapping, {}) if task == "multi_class" else ({}, mapping)
    wanted = Selection(tuple(source or ()), frontal, of_labels)
    archives = selected(read_all(data, no_labels=no_labels), wanted)
    chosen = Sheet.of(archives) if sheet else None
    total = sum(len(archive.cases) for archive in archives)
    with progress("reading", total) as step:
        report = check(
            archives,
            task=task,  # type: ignore[arg-type]
            mapping=of_findings,
            on_image=step,
            sheet=chosen,
        )
    if table:
        write_csv(table, COLUMNS, report["images"])
    if sheet and chosen:
        draw_sheet(sheet, chosen)
    tell(json_module.dumps(report, indent=2) if json else _check_text(report))
    if report["damaged"] or any(table["refused"] for table in report["archives"]):
        raise typer.Exit(1)


def _check_text(report: dict[str, Any]) -> str:
    from cxr_transfer.datasets.patients import is_unknown
    from cxr_transfer.errors import listing

    def radiograph(row: dict[str, Any]) -> str:
        patient = "" if is_unknown(row["patient"]) else row["patient"]
        facts = {"patient": patient, "part": row["split"], "SHA-256": row["sha256"]}
        shown = ", ".join(f"{name} {value}" for name, value in facts.items() if value)
        return f"{for_terminal(row['file'])} ({shown})"

    lines: list[str] = []
    for table in report["archives"]:
        unknown = table["images_of_unknown_patients"]
        lines += [
            f"{table['collection']} ({table['folder']}): {table['images']} "
            f"{'generated ' if table['generated'] else ''}images of "
            f"{table['patients']} patients, {table['patients_with_several_images']} with several"
            + (f"; {unknown} of unknown patients" if unknown else ""),
            f"  classes  {counted(table['classes'])}",
            *(
                f"  finding  {for_terminal(name)}: {counted(values)}"
                for name, values in table.get("findings", {}).items()
            ),
            f"  sources  {counted(table['sources'])}",
            f"  views    {counted(table['views'])}",
            *([f"  parts    {counted(table['parts'])}"] if table["parts"] else []),
            *(f"  column   {name}: {counted(values)}" for name, values in table["columns"].items()),
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
    lines.append(f"identical images: {len(report['identical'])} groups")
    lines += [f"  {listing(map(radiograph, group), ' = ')}" for group in report["identical"]]
    lines.append(f"damaged images: {len(report['damaged'])}")
    lines += [f"  {radiograph(row)}: {row['status']}" for row in report["damaged"]]
    if report["sheet"]:
        doubtful = [picture for picture in report["sheet"] if picture["issues"]]
        lines.append(
            f"on the sheet: {len(report['sheet'])} images, {len(doubtful)} with quality issues"
        )
        lines += [
            f"  {picture['number']}. {for_terminal(picture['file'])}: "
            f"{', '.join(picture['issues'])}"
            for picture in doubtful
        ]
    return "\n".join(lines)
