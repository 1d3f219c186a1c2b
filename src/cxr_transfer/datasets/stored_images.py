"""Which objects below an address are images: decided by name, for to look inside costs a request.

The counterpart of `image_files` for object stores. Hidden names, DICOM directories and names of
other kinds of files are counted and passed over. A name without an ending may be a DICOM object.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from cxr_transfer.datasets.image_files import LeftOut, Why, is_clutter
from cxr_transfer.radiograph import named_format
from cxr_transfer.storage import objects_below, objects_like

_OTHER_FORMATS = (".avif .bmp .gif .heic .heif .j2k .jp2 .jxl .psd .svg .webp",)
_NO_IMAGES = (
    ".7z .avi .bz2 .cfg .csv .db .doc .docx .gz .h5 .hdf5 .htm .html .ini .ipynb .json .jsonl .log",
    ".md .md5 .mha .mhd .mov .mp4 .ndjson .nii .npy .npz .nrrd .ods .odt .onnx .parquet .pdf .pkl",
    ".ppt .pptx .pt .pth .py .rst .rtf .safetensors .sha256 .sqlite .tar .tex .tgz .toml .tsv .txt",
    ".xls .xlsx .xml .xz .yaml .yml .zip",
)
_WHY = {
    ending: why
    for why, endings in ((Why.OTHER_FORMAT, _OTHER_FORMATS), (Why.NO_IMAGE, _NO_IMAGES))
    for line in endings
    for ending in line.split()
}


def images_at(
    address: str, *, leave_out: Iterable[str] = (), left_out: LeftOut | None = None
) -> Iterator[str]:
    """Yield the addresses of the images below a prefix, or like a pattern, sorted by name.

    An address of which nothing is known is yielded as it is: it gets a row that says so.

    Args:
        address: Address of an object, a prefix or a bucket; with ``*``, ``?`` or ``[`` a pattern.
        leave_out: Addresses of objects and prefixes that this run itself writes.
        left_out: Record of what is passed over.

    Raises:
        UsageError: ``no_bucket``.
        MachineError: ``missing_package``, ``storage_unreachable``, ``storage_refused``.
    """
    passed_over = LeftOut() if left_out is None else left_out
    own = tuple(leave_out)
    names = objects_like(address) if glob.has_magic(address) else []
    names = names or objects_below(address)
    if not names and not address.endswith("/") and "/" in address.partition("://")[2]:
        yield address
        return
    prefix = f"{address.rstrip('/')}/"
    for name in names:
        if name.startswith(tuple(f"{one}/" for one in own)) or name in own:
            continue
        why = None if name == address else _why_not(name.removeprefix(prefix))
        if why:
            passed_over.add(why, name)
        else:
            yield name


def _why_not(name: str) -> Why | None:
    """Return why an object of this name, as it lies below what was given, is passed over."""
    path = PurePosixPath(name)
    if any(is_clutter(part) for part in path.parts):
        return Why.HIDDEN
    if named_format(path.name):
        return None
    if path.name.upper() == "DICOMDIR":
        return Why.NO_IMAGE
    return _WHY.get(path.suffix.lower())
