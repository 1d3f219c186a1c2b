"""What `cxr deidentify` does: DICOM images without what identifies their patients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_transfer.cli.terminal import log, progress, warn

DEIDENTIFY_EXAMPLES = (
    "Examples:\n\n"
    "cxr deidentify archive/ --out export\n\n"
    "cxr deidentify archive/ --out export --key-file export.key --retain patient "
    "--retain shifted-dates"
)


def deidentify(
    files: Annotated[list[Path], typer.Argument(help="DICOM images, and folders of them.")],
    out: Annotated[Path, typer.Option(help="Folder for the images without identifiers.")],
    retain: Annotated[
        list[str] | None,
        typer.Option(
            help="Option of PS3.15 that keeps more: uids, device, institution, patient, dates or "
            "shifted-dates; may be given several times."
        ),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            help="File with a secret key of at least 16 bytes: the same key gives the same UIDs "
            "and patients again. Default: a key that nobody keeps."
        ),
    ] = None,
    allow_burnt_in: Annotated[
        bool,
        typer.Option(help="Take images that say that text is burnt into them; it stays there."),
    ] = False,
) -> None:
    """Remove what identifies patients from DICOM headers; pixels are not looked at."""
    from cxr_transfer.datasets.image_files import LeftOut, images_in
    from cxr_transfer.errors import ImageError
    from cxr_transfer.extras import require
    from cxr_transfer.files import write_bytes
    from cxr_transfer.models.folder import read_bytes
    from cxr_transfer.radiograph.reading import read_content

    require("highdicom", "removing identifiers")
    from cxr_transfer.pacs.deidentify import Deidentifier

    key = None if key_file is None else read_bytes(key_file, most=4096).strip()
    deidentifier = Deidentifier(retain or (), key=key, allow_burnt_in=allow_burnt_in)
    left_out = LeftOut()
    images = list(images_in(files, leave_out=[out], left_out=left_out))
    for notice in left_out.notices():
        warn(notice)
    unlooked = refused = 0
    with progress("removing identifiers", len(images)) as step:
        for number, image in enumerate(images, start=1):
            step()
            try:
                done = deidentifier.file(read_content(image))
            except ImageError as error:
                # By its number: a name of a file may be a patient's.
                warn(f"image {number} of {len(images)}: {error.message} [{error.code}]")
                refused += 1
                continue
            write_bytes(out / f"{done.uid}.dcm", done.content)
            unlooked += bool(done.warnings)
    if unlooked:
        warn(
            f"{unlooked} images do not say whether text is burnt into them: look at their pixels "
            "before you hand them on"
        )
    log(f"{out}: {len(images) - refused} images without identifiers, {refused} left out")
    if refused:
        raise typer.Exit(1)
