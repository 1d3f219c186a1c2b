"""Artificial chest radiographs in the layouts of the two archives, for machines without them.

In: a seed, how many images of each class, the height in pixels. Out: a folder that reads like the
downloads of Kermany et al. and of Cohen et al., every image of it marked as generated.

Apart from the finding in the lungs, all classes are drawn alike (habitus, position, exposure,
noise, compression), so nothing else gives a class away; the real archives have no such grace.
The module knows nothing of how collections are read or split, and its pictures of disease are
cartoons: a score on them says that the software runs, and nothing about medicine.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from PIL import Image

from cxr_transfer import files
from cxr_transfer.errors import DataError

Plane = NDArray[np.floating[Any]]

MARK = "generated phantom, no patient"
VERSION = 2  # raised when drawing or layout change, so that an old folder is not taken for a new
SETTINGS_FILE, NOTICE_FILE = "phantom.json", "GENERATED.txt"
NOTICE = """\
The images in this folder are artificial. They show no patient. cxr-transfer drew them in the
layouts of two public archives, so that it can be tried without a download. Results on them say
nothing about any disease. Drawn with: """

# fmt: off
# The published header ends in a comma: its last column has no name.
COHEN_COLUMNS = (
    "patientid", "offset", "sex", "age", "finding", "survival", "intubated", "intubation_present",
    "went_icu", "in_icu", "needed_supplemental_O2", "extubated", "temperature", "pO2_saturation",
    "leukocyte_count", "neutrophil_count", "lymphocyte_count", "view", "modality", "date",
    "location", "folder", "filename", "doi", "url", "license", "clinical_notes", "other_notes", "",
)
# fmt: on
# Findings beside COVID-19 in the Cohen layout, four patients each, and how they are drawn.
COHEN_OTHERS = {"Streptococcus": "bacterial", "SARS": "viral", "No Finding": "normal"}


@dataclass(frozen=True)
class PhantomSize:
    """Numbers of images of each class; a few extra images and rows come on top."""

    normal: int = 180  # these three in the layout of Kermany et al.
    bacterial: int = 240
    viral: int = 180
    covid19: int = 100  # frontal images in the layout of Cohen et al.


class _Chest(NamedTuple):
    """Place of each pixel in the patient; lengths in image heights."""

    x: Plane  # from the midline, the patient's left (right on the image) positive
    y: Plane  # from the top
    off: Plane  # |x|
    edge: Plane  # from the midline to the chest wall at this height
    depth: Plane  # 0 at the apex of the lungs, 1 at the diaphragm
    air: Plane  # share of the pixel that is visible lung; exactly 0 outside
    top: float  # y of the apex
    wide: float  # greatest edge
    medial: float  # half the width of the mediastinum


def _ramp(distance: Plane, width: float) -> Plane:
    """Rise smoothly from exactly 0 to exactly 1 while ``distance`` goes from 0 to ``width``."""
    t: Plane = np.clip(distance * (1 / width), 0, 1)
    return t * t * (3 - 2 * t)


def _bell(distance: Plane) -> Plane:
    bell: Plane = np.exp(-(distance**2))
    return bell


def _clouds(rng: Generator, shape: tuple[int, ...], cells: float) -> Plane:
    """Return smooth noise, mean 0 and deviation 1, with ``cells`` bumps to the image's height."""
    kernels = []
    for pixels in shape:
        at = (np.arange(pixels) + 0.5) / shape[0] * cells + 1.5
        kernel = np.exp(-2 * (at[:, None] - np.arange(int(at[-1]) + 3)) ** 2)
        kernels.append((kernel / np.linalg.norm(kernel, axis=1)[:, None]).astype(np.float32))
    rows, columns = kernels
    grid = rng.standard_normal((rows.shape[1], columns.shape[1]), dtype=np.float32)
    # Not "@": BLAS would start threads for so little, and its sums depend on their number.
    clouds: Plane = np.einsum("ik,kj->ij", np.einsum("ik,kj->ij", rows, grid), columns.T.copy())
    return clouds


def _bacterial(chest: _Chest, rng: Generator) -> Plane:
    """One lobe filled: a dense patch with a clear border, in one lung."""
    x = rng.choice((-1, 1)) * chest.x - rng.uniform(0.15, 0.25)
    y = chest.depth - rng.uniform(0.2, 0.85) + rng.uniform(-0.7, 0.7) * x
    radius = np.hypot(x / rng.uniform(0.14, 0.2), y / rng.uniform(0.26, 0.38))
    ragged = radius + 0.22 * _clouds(rng, chest.air.shape, 7)
    fissure = rng.choice((-1, 1)) * y + rng.uniform(0.08, 0.2)  # cuts the patch off on one side
    patch = _ramp(1.2 - ragged, rng.uniform(0.3, 0.7)) * _ramp(fissure, 0.06)
    return patch * rng.uniform(0.85, 1.0)


def _viral(chest: _Chest, rng: Generator) -> Plane:
    """Streaks that spread from both hila, with a little haze between them."""
    # Smooth noise is near zero along winding lines: they are the streaks.
    fine, coarse = (_bell(_clouds(rng, chest.air.shape, cells) / 0.3) for cells in (36, 22))
    reach = rng.uniform(0.2, 0.32)
    near = _bell((chest.off - 0.12) / reach) * _bell((chest.depth - 0.5) / 2 / reach)
    uneven = np.clip(1 + 0.3 * _clouds(rng, chest.air.shape, 5), 0.3, 1.7)
    streaks = rng.uniform(0.35, 0.5) * (fine + coarse)
    opacity: Plane = near * uneven * (streaks + rng.uniform(0.25, 0.4))
    return opacity


def _covid19(chest: _Chest, rng: Generator) -> Plane:
    """Patches of haze along the chest wall of both lungs, more of it below."""
    far = _ramp(chest.off / np.maximum(chest.edge, 0.05) - rng.uniform(0.3, 0.45), 0.35)
    low = 0.45 + 0.55 * _ramp(chest.depth - rng.uniform(0.0, 0.3), 0.5)
    patches = _ramp(_clouds(rng, chest.air.shape, rng.uniform(6, 9)) + 0.8, 1.4)
    return far * low * patches * rng.uniform(0.85, 1.0)


_FINDINGS = {"bacterial": _bacterial, "viral": _viral, "covid19": _covid19}


def _place(body: Generator, rng: Generator, pixels: int, child: bool) -> _Chest:
    """Outline the lungs as ``body`` has them, before the detector as ``rng`` has it."""
    # A child's chest is rounder and shorter, its heart wider for the chest.
    length, cardiothoracic = (0.62, 0.53) if child else (0.68, 0.47)
    top, wide, medial = body.uniform(0.1, 0.14), body.uniform(0.37, 0.43), body.uniform(0.04, 0.07)
    base, dome = top + length + body.uniform(-0.03, 0.03), body.uniform(0.06, 0.1)
    heart_wide = wide * (cardiothoracic + body.uniform(-0.05, 0.05))
    heart_left = body.uniform(0.035, 0.065)

    width = round(pixels * rng.uniform(1.05, 1.2))
    tilt, scale = math.radians(rng.normal(0, 2)), rng.uniform(0.98, 1.08)
    across = (np.arange(width, dtype=np.float32)[None] - (width - 1) / 2) / pixels
    down = (np.arange(pixels, dtype=np.float32)[:, None] - (pixels - 1) / 2) / pixels
    across, down = across - rng.normal(0, 0.012), down - rng.normal(0, 0.012)
    x: Plane = scale * (math.cos(tilt) * across + math.sin(tilt) * down)
    y: Plane = scale * (math.cos(tilt) * down - math.sin(tilt) * across) + 0.5
    off: Plane = np.abs(x)
    depth = (y - top) / (base - top)

    # The right dome of the diaphragm (left on the image) stands higher: the liver is below it.
    floor = base + 0.012 * np.sign(x) + dome * (((off - 0.17) / 0.17) ** 2 - 0.5)
    crown = 0.15  # where the apex of each lung lies
    outer = np.sqrt(1 - np.clip(1 - depth / 0.85, 0, 1) ** 2.3)
    inner = np.sqrt(1 - np.clip(1 - depth / 0.25, 0, 1) ** 2)
    edge = crown + (wide - crown) * outer
    inside = np.minimum(edge - off, off - crown + (crown - medial) * inner)
    inside = np.minimum(inside, np.minimum(floor - y, depth))
    lean = heart_left + 0.25 * (y - base + 0.15)
    heart = 1.05 - np.hypot((x - lean) / heart_wide, (y - base + 0.12) / 0.2)
    knuckle = 1 - np.hypot(x - 0.05, y - top - 0.2) / 0.05  # the arch of the aorta
    solid = np.maximum(_ramp(heart, 0.14), _ramp(knuckle, 0.4))
    return _Chest(x, y, off, edge, depth, _ramp(inside, 0.022) * (1 - solid), top, wide, medial)


def _anatomy(body: Generator, chest: _Chest) -> tuple[Plane, Plane]:
    """Return the density of the chest without a finding, and the mask of the body."""
    x, y, off, edge, depth, air, top, wide, medial = chest
    fat, rib_gap, rib_bow = body.uniform(0.02, 0.07), body.uniform(0.066, 0.082), body.uniform(1, 2)
    wall, turn = wide + fat, 2 * math.pi / rib_gap

    torso = wall + 0.03 + (0.12 + 2 * fat) * _ramp(0.58 - y, 0.34)
    shoulder = y - 0.02 - 0.28 * np.maximum(off - 0.11, 0) + 0.2 * _ramp(0.12 - off, 0.03)
    skin = _ramp(torso - off, 0.02) * _ramp(shoulder, 0.02)
    thick = np.sqrt(np.clip(1 - (off / torso) ** 2, 0, 1))
    soft = 0.20 + 0.26 * thick + 0.15 * _ramp(depth - 0.88, 0.25) * thick  # more at the belly
    soft += 0.13 * _ramp(medial + 0.04 - off, 0.07)  # the mediastinum
    soft += (0.06 + 0.025 * np.cos(1.3 * turn * y)) * _ramp(0.045 - off, 0.02)  # the spine
    soft -= 0.10 * _ramp(0.02 - off, 0.015) * _ramp(top + 0.17 - y, 0.08)  # the trachea
    soft += 0.10 * _ramp(1 - np.hypot(off - wall - 0.05, y - top - 0.03) / 0.07, 0.3)  # the joint
    blade = np.abs(wide - 0.02 - off + 0.35 * (y - top - 0.1))
    soft += 0.05 * _ramp(0.03 - blade, 0.02) * _ramp(0.5 - depth, 0.3)
    density = skin * soft

    # Vessels leave the hilum like spokes, bent a little, and fade on their way out.
    bend = 1.5 * np.sin(9 * depth + body.uniform(0, 6)) + 1.5 * np.sin(14 * x + body.uniform(0, 6))
    spokes = np.sin(9 * np.arctan2(depth - 0.45, off - 0.07) + bend)
    hilum = _bell((off - 0.09) / 0.13) * _bell((depth - 0.45) / 0.33)
    lung = body.uniform(0.11, 0.17) + hilum * (0.09 + 0.12 * _ramp(spokes - 0.55, 0.45))
    density += air * (lung + 0.06 * _ramp(off - edge + 0.06, 0.06) - density)

    cage = _ramp(edge + 0.02 - off, 0.015) * _ramp(depth + 0.04, 0.05) * body.uniform(0.05, 0.09)
    cage *= _ramp(off - 0.02, 0.03) * (1 - 0.8 * _ramp(depth - 0.85, 0.25))
    density += cage * _ramp(np.cos(turn * (y - rib_bow * (off - 0.1) ** 2)) - 0.2, 0.5)
    front = _ramp(np.cos(turn / 1.15 * (y + 0.75 * off)) - 0.3, 0.5)
    density += 0.4 * cage * front * _ramp(off - 0.12, 0.12)
    collar = y - top - body.uniform(0.07, 0.12) + 0.25 * off - 0.6 * np.maximum(off - 0.2, 0) ** 2
    reach = _ramp(off - 0.03, 0.02) * _ramp(wall + 0.02 - off, 0.05)
    density += 0.11 * reach * skin * _ramp(0.017 - np.abs(collar), 0.01)
    return density, skin


def draw_radiograph_and_lungs(
    finding: str,
    *,
    rng: Generator,
    body: Generator | None = None,
    pixels: int = 224,
    child: bool = False,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draw one frontal image and mark where its lungs are visible.

    Generators in the same state give the same image but for the finding, which changes pixels of
    the lungs only.

    Args:
        finding: ``normal``, ``bacterial``, ``viral`` or ``covid19``.
        rng: Chance of the image: position, exposure, noise, finding.
        body: Chance of the patient: the same state gives the same chest. By default ``rng``.
        pixels: Height of the image; the width is 1.05 to 1.2 times as much.
        child: Whether the chest has a child's proportions.

    Returns:
        The image, (pixels, width), bright = dense, and the lungs as a mask of the same shape.

    Raises:
        DataError: ``unknown_label`` for a finding that cannot be drawn.
    """
    if finding != "normal" and finding not in _FINDINGS:
        names = ", ".join(("normal", *_FINDINGS))
        message = f"Expected one of the findings {names}, but got {finding!r}; choose one of these."
        raise DataError("unknown_label", message)
    # The finding has a stream of its own: drawing one must not shift what comes after it, or
    # the noise and the exposure would differ between the classes.
    finding_rng = default_rng(int(rng.integers(2**63)))
    body = rng if body is None else body
    chest = _place(body, rng, pixels, child)
    density, skin = _anatomy(body, chest)
    if finding != "normal":
        density += chest.air * _FINDINGS[finding](chest, finding_rng) * (0.62 - density)

    # Everything from here on is pointwise: it spreads no trace of the finding beyond the lungs.
    density += 0.02 * skin * _clouds(rng, density.shape, 6)
    density += rng.normal(0, 0.03) * chest.x + rng.normal(0, 0.03) * (chest.y - 0.5)
    grey = 1 - np.exp(-rng.uniform(1.9, 2.2) * np.maximum(density, 0))
    grey = 1.15 * grey ** rng.uniform(1.1, 1.4) + rng.uniform(0, 0.05)
    grey += rng.uniform(0.006, 0.018) * rng.standard_normal(grey.shape, dtype=np.float32)
    return np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8), chest.air > 0


def draw_radiograph(
    finding: str, *, rng: Generator, pixels: int = 224, child: bool = False
) -> NDArray[np.uint8]:
    """Draw one frontal image: the first half of what `draw_image_and_lungs` returns."""
    return draw_radiograph_and_lungs(finding, rng=rng, pixels=pixels, child=child)[0]


class _Image(NamedTuple):
    """An image to be drawn; its class's stream, its patient and its visit (from 1) seed it."""

    path: str
    finding: str
    stream: int
    patient: int
    visit: int
    lateral: bool = False

    def write(self, root: Path, seed: int, pixels: int) -> None:
        rng = default_rng([seed, self.stream, self.patient, self.visit])
        body = default_rng([seed, self.stream, self.patient, 0])  # one chest at every visit
        radiograph, _ = draw_radiograph_and_lungs(
            self.finding, rng=rng, body=body, pixels=pixels, child=_is_child(self.patient)
        )
        if self.lateral:  # no one judges it: a part of a frontal image stands in for it
            radiograph = radiograph[:, radiograph.shape[1] * 2 // 5 :]
        jpeg = io.BytesIO()
        Image.fromarray(radiograph).save(jpeg, "JPEG", quality=90, comment=MARK)
        files.write_bytes(root / self.path, jpeg.getvalue())


def _is_child(patient: int) -> bool:
    return patient % 2 == 1  # in every class alike, so that age gives no class away


def _visits(rng: Generator, images: int) -> Iterator[int]:
    """Yield how many images each patient has, ``images`` in all."""
    while images > 0:
        visits = min(images, int(rng.choice((1, 2, 3), p=(0.6, 0.25, 0.15))))
        yield visits
        images -= visits


def _kermany(seed: int, size: PhantomSize) -> Iterator[_Image]:
    person = 0
    for stream, finding in enumerate(("normal", "bacterial", "viral")):
        rng, number = default_rng([seed, stream, 0, 0]), 0
        patients = list(_visits(rng, getattr(size, finding)))
        # One image on top goes to "val", which in the original, too, is too small to be of use.
        last = None if finding == "viral" else len(patients) + 1
        for patient, visits in enumerate([*patients, 1] if last else patients, start=1):
            person += finding != "normal"
            part = "val" if patient == last else "test" if patient % 7 == 0 else "train"
            prefix = rng.choice(("IM", "NORMAL2-IM"))
            for visit in range(1, visits + 1):
                number += 1
                name = {
                    "normal": f"NORMAL/{prefix}-{patient:04d}-{visit:04d}",
                    "bacterial": f"PNEUMONIA/person{person}_bacteria_{number}",
                    "viral": f"PNEUMONIA/person{person}_virus_{number}",
                }[finding]
                path = f"kermany/chest_xray/{part}/{name}.jpeg"
                yield _Image(path, finding, stream, patient, visit)


def _cohen(seed: int, size: PhantomSize) -> Iterator[tuple[_Image | None, dict[str, str]]]:
    """Yield the rows of the metadata, each with its image unless that is to be absent."""
    stream = 3
    rng = default_rng([seed, stream, 0, 0])
    patients = [("COVID-19", "covid19", visits) for visits in _visits(rng, size.covid19)]
    patients += [(finding, drawn, 1) for finding, drawn in COHEN_OTHERS.items() for _ in range(4)]
    patients += [("todo", "viral", 1)] * 4  # the archive's word for: not known yet
    xray = {"modality": "X-ray", "folder": "images", "license": "Apache 2.0"}
    for patient, (finding, drawn, visits) in enumerate(patients, start=1):
        person = xray | {
            "patientid": str(patient),
            "sex": str(rng.choice(("M", "F"))),
            "age": str(rng.integers(*((2, 12) if _is_child(patient) else (20, 86)))),
            "finding": "COVID-19, ARDS" if finding == "COVID-19" and patient % 20 == 0 else finding,
            "clinical_notes": MARK,
        }
        views = [str(rng.choice(("PA", "AP", "AP Supine"))) for _ in range(visits)]
        views += ["L"] if patient % 10 == 1 else []
        for visit, view in enumerate(views, start=1):
            name = f"phantom-{patient:04d}-{visit}.jpg"
            path = f"covid-chestxray-dataset/images/{name}"
            radiograph = _Image(path, drawn, stream, patient, visit, lateral=view == "L")
            yield (
                radiograph,
                person | {"offset": str(3 * visit - 3), "view": view, "filename": name},
            )
    # The original lists images that a download of its X-rays does not hold: two such rows.
    scan = {"patientid": "1", "finding": "COVID-19", "view": "Axial", "modality": "CT"}
    yield None, scan | {"folder": "images", "filename": "phantom-0001-ct.jpg"}
    yield None, scan | {"folder": "volumes", "filename": "phantom-0001-ct.nii.gz"}


def write_phantom(
    root: Path, *, seed: int = 0, size: PhantomSize = PhantomSize(), pixels: int = 224
) -> None:
    """Write artificial archives to ``root/kermany`` and ``root/covid-chestxray-dataset``.

    The same arguments write the same bytes (with the same numpy and pillow). A phantom that is
    already there is left alone; one whose writing was interrupted is written anew.

    Args:
        root: Folder that is new, empty, or holds the phantom of these settings.
        seed: Random seed, not negative; another seed gives other images.
        size: Number of images of each class.
        pixels: Height of the images.

    Raises:
        DataError: ``not_empty`` when ``root`` holds anything else.
        MachineError: ``disk_full`` or ``not_writable``.
    """
    settings = {"version": VERSION, "seed": seed, "size": asdict(size), "pixels": pixels}
    notice, text = root / NOTICE_FILE, NOTICE + json.dumps(settings) + "\n"
    is_own = notice.is_file() and notice.read_text(encoding="utf-8") == text
    if is_own and (root / SETTINGS_FILE).is_file():
        return
    if root.exists() and not is_own and (not root.is_dir() or any(root.iterdir())):
        raise DataError(
            "not_empty",
            f"Expected {root} to be new, empty or a phantom with the settings "
            f"{json.dumps(settings)}, but it holds something else; name another folder.",
        )
    cohen = list(_cohen(seed, size))
    images = [*_kermany(seed, size), *(radiograph for radiograph, _ in cohen if radiograph)]
    files.write_text(notice, text)
    with ThreadPoolExecutor() as pool:  # numpy and pillow let go of the interpreter's lock
        list(pool.map(lambda radiograph: radiograph.write(root, seed, pixels), images))
    table = root / "covid-chestxray-dataset" / "metadata.csv"
    files.write_csv(table, COHEN_COLUMNS, (row for _, row in cohen))
    files.write_json(root / SETTINGS_FILE, settings)  # last: it says that all the rest is there
