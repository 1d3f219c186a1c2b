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

from cxr_transfer.errors import ImageError
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.radiograph.in_memory import read_image
from cxr_transfer.radiograph.radiograph import MIN_SIDE
from cxr_transfer.radiograph.reading import decode
from cxr_transfer.statistics.intervals import share

Images = npt.NDArray[np.uint8]
Score = Callable[[Images], npt.NDArray[np.float64]]

MOST = 40
"""Largest number of images that are saved again."""


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
    images: Images,
    patients: Sequence[str],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Return how the same pictures are read, and called, in other forms.

    Args:
        score: Function that returns class scores (N, C) of images (N, 1, H, W).
        preprocessing: Preprocessing from a radiograph to an image.
        images: Pictures as the audit has decoded them, (N, 1, H, W); of more than `MOST` so many
            are drawn. No file is opened again.
        patients: Patients of the images.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the draw and the bootstrap.

    Returns:
        ``images`` and ``forms``: for each of `FORMS` ``refused`` (how many were not decoded),
        ``difference`` (the greatest of any pixel that the model is given, of 255), ``changed``
        (images with any difference) and ``otherwise`` (share called otherwise, `Estimate` as a
        dict).
    """
    chosen = np.sort(np.random.default_rng(seed).permutation(len(images))[:MOST])
    if not len(chosen):
        return {}
    pictures = [_large_enough(images[row, 0]) for row in chosen]
    patients = [patients[row] for row in chosen]
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


def _large_enough(image: Images) -> Images:
    """Return a picture (H, W) that no reader refuses as too small."""
    height, width = image.shape
    times = -(-MIN_SIDE // min(height, width))
    return np.asarray(Image.fromarray(image).resize((times * width, times * height)))
