"""What `cxr data prepare` does: manifests with hashes, of the paper's data sets or of any data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_transfer.cli.options import DataLabels, Frontal, NoLabels, SkipDamaged, Sources
from cxr_transfer.cli.terminal import counted, log, phases, tell, warn

DATA_PREPARE_EXAMPLES = (
    "Examples:\n\n"
    "cxr data prepare ../data --out prepared  (the paper's data sets)\n\n"
    "cxr data prepare ../data/adult --source nih --out nih  (one source as images of your own)\n\n"
    "cxr data prepare ../nih --label 'No Finding=normal' --label Pneumonia=pneumonia --label '*=' "
    "--out task\n\n"
    "cxr data prepare export --no-labels --out prepared  (DICOM files; fill in the column label)"
)


def data_prepare(
    data: Annotated[
        Path, typer.Argument(help="Archives, a manifest (.csv), or a folder of images.")
    ],
    out: Annotated[Path, typer.Option(help="Where the manifests are written.")],
    source: Sources = None,
    frontal: Frontal = False,
    label: DataLabels = None,
    no_labels: NoLabels = False,
    without_parts: Annotated[
        bool, typer.Option(help="Forget the parts that the data give; training draws its own.")
    ] = False,
    skip_damaged: SkipDamaged = False,
) -> None:
    """Write manifests with hashes: of the paper's data sets, else images.csv of all that is wanted.

    Of Kermany's and Cohen's archives, without a selection, Dataset_0, Dataset_1 and the images
    outside them are written.
    """
    from cxr_transfer.datasets.damaged import DAMAGED_FILE, damaged_line
    from cxr_transfer.datasets.findings import read_mapping
    from cxr_transfer.datasets.loading import notices_of
    from cxr_transfer.datasets.prepare import prepare_manifests
    from cxr_transfer.datasets.selection import Selection, read_all, selected
    from cxr_transfer.own_folder import DATA_RECORD, check_folder, lock_folder

    check_folder(out, DATA_RECORD)
    wanted = Selection(tuple(source or ()), frontal, read_mapping(label or ()), without_parts)
    archives = selected(read_all(data, no_labels=no_labels), wanted)
    for notice in notices_of(archives):
        warn(notice)
    with lock_folder(out, DATA_RECORD), phases() as tell_phase:
        prepared = prepare_manifests(
            archives, data, out, as_one=bool(wanted), skip_damaged=skip_damaged, progress=tell_phase
        )
        for name, manifest in prepared.summary.items():
            classes = counted(
                {label or "not stated": n for label, n in manifest["classes"].items()}
            )
            tell(f"{name}: {manifest['images']} images ({classes}), {manifest['data_hash'][:12]}")
        if prepared.damaged:
            log(damaged_line(prepared.damaged, str(out / DAMAGED_FILE)))
