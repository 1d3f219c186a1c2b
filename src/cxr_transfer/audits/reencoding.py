"""Whether the same picture, saved in another form, is read and called the same.

A picture is saved again in memory as PNG, TIFF, JPEG and DICOM, and decoded as any file is. Forms
without loss must give the same pixels; a JPEG of high quality differs by what nobody sees.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cxr_transfer.datasets.case import Case
from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.radiograph.in_memory import read_image
from cxr_transfer.radiograph.radiograph import MIN_SIDE, Radiograph
from cxr_transfer.radiograph.reading import decode, read_radiograph
from cxr_transfer.statistics.intervals import share

Images = npt.NDArray[np.uint8]
Score = Callable[[Images], npt.NDArray[np.float64]]

MOST = 40
"""Largest number of images that are saved again."""

SIDE = 640
"""Pixels of the longer side to which they are reduced first: large ones take seconds to save."""


def _saved(form: str, **options: Any) -> Callable[[Images], bytes]:  # noqa: ANN401 - Pillow's
    def save(grey: Images) -> bytes:
        content = io.BytesIO()
        Image.fromarray(grey).save(content, form, **options)
        return content.getvalue()

    return save


def _png_16(grey: Images) -> bytes:
    content = io.BytesIO()
    Image.fromarray(grey.astype(np.uint16) * 257).save(content, "PNG")
    return content.getvalue()


def _png_rgb(grey: Images) -> bytes:
    return _saved("PNG")(np.repeat(grey[:, :, None], 3, axis=2))


def _dicom(grey: Images) -> bytes:
    from cxr_transfer.radiograph.dicom_writing import grey_dicom

    return grey_dicom(grey)


def _dicom_inverted(grey: Images) -> bytes:
    from cxr_transfer.radiograph.dicom_writing import grey_dicom

    return grey_dicom(grey, "MONOCHROME1")


FORMS: Mapping[str, Callable[[Images], bytes]] = {
    "PNG of 8 bits": _saved("PNG"),
    "PNG of 16 bits": _png_16,
    "PNG in colours, all grey": _png_rgb,
    "TIFF": _saved("TIFF"),
    "DICOM, MONOCHROME2": _dicom,
    "DICOM, MONOCHROME1": _dicom_inverted,
    "JPEG quality 95": _saved("JPEG", quality=95),
}
"""Ways of saving a picture of 8 bits again."""

LOSSY = ("JPEG quality 95", "PNG of 16 bits")
"""Forms that may be read a little otherwise: JPEG loses, and 16 bits are shown over the values in
use, since nothing says which of them are."""


def reencoding(
    score: Score,
    preprocessing: Preprocessing,
    cases: Sequence[Case],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Return how the same pictures are read, and called, in other forms.

    Args:
        score: Function that returns class scores (N, C) of images (N, 1, H, W).
        preprocessing: Preprocessing from a radiograph to an image.
        cases: Images; of more than `MOST` so many are drawn.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the draw and the bootstrap.

    Returns:
        ``images`` and ``forms``: for each of `FORMS` ``refused`` (how many were not decoded),
        ``difference`` (the greatest of any pixel that the model is given, of 255), ``changed``
        (images with any difference) and ``otherwise`` (share called otherwise, `Estimate` as a
        dict).
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(cases))[:MOST])
    pictures, patients = [], []
    for row in chosen:
        try:
            pictures.append(_reduced(read_radiograph(cases[row].path, any_modality=True)))
            patients.append(cases[row].patient)
        except ImageError:
            continue  # It has gone since it was read.
    if not pictures:
        return {}
    before = np.stack([preprocessing.apply(read_image(grey)) for grey in pictures])[:, None]
    called = score(before).argmax(axis=1)
    again = {"resamples": resamples, "seed": seed}
    forms = {}
    for name, save in FORMS.items():
        after, refused = before.copy(), np.zeros(len(pictures), dtype=np.bool_)
        for row, grey in enumerate(pictures):
            try:
                after[row, 0] = preprocessing.apply(decode(save(grey)))
            except ImageError:
                refused[row] = True
        distance = np.abs(after.astype(np.int16) - before).max(axis=(1, 2, 3))
        # What is given the same pixels gives the same answer, and need not be asked.
        changed = np.flatnonzero(distance > 0)
        otherwise = refused.copy()
        if len(changed):
            otherwise[changed] = score(after[changed]).argmax(axis=1) != called[changed]
        forms[name] = {
            "refused": int(refused.sum()),
            "difference": int(distance.max()),
            "changed": len(changed),
            "otherwise": share(otherwise, patients, **again).as_dict(),
        }
    return {"images": len(pictures), "forms": forms}


def _reduced(radiograph: Radiograph) -> Images:
    """Return a radiograph as a picture of 8 bits with at most `SIDE` pixels a side."""
    grey = Image.fromarray(np.rint(255 * radiograph.pixels).astype(np.uint8))
    scale = min(1.0, SIDE / max(grey.size))
    if scale < 1:
        width, height = (max(MIN_SIDE, round(scale * side)) for side in grey.size)
        grey = grey.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(grey)
