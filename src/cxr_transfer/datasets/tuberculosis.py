"""Tuberculosis in Shenzhen and Montgomery County: Jaeger et al. 2014, Quant Imaging Med Surg 4:475.

Two sets of the National Library of Medicine (openi.nlm.nih.gov): ``CXR_png/CHNCXR_0001_0.png``
(662 images, Shenzhen No. 3 Hospital) and ``CXR_png/MCUCXR_0001_0.png`` (138 images, Montgomery
County, Maryland); the last digit is 0 for normal and 1 for tuberculosis. ``ClinicalReadings/``
holds a text per image: age, sex, and what was read, which is the finding of the case.

Traps: an image is nearly a patient. Readings of Montgomery say of some images "same pt as" another:
these are one patient, and there may be more that no reading names. Masks of lungs lie in other
folders under the same names and are not read. No image is at hand here: the reader is tested on
miniature trees made from the published names of files and lines of readings, with generated images.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from scipy.cluster.hierarchy import DisjointSet

from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.cells import sex_or_unknown
from cxr_transfer.datasets.image_files import LeftOut, image_files
from cxr_transfer.datasets.published import Reading

CLASSES = ("normal", "tuberculosis")

_IMAGES, _READINGS = "CXR_png", "ClinicalReadings"
_SOURCES = {"CHNCXR": "shenzhen", "MCUCXR": "montgomery"}
_NAME = re.compile(r"(?P<set>CHNCXR|MCUCXR)_\d+_(?P<label>[01])")
_SAME_PATIENT = re.compile(r"same (?:pt|patient) as (\w+)", re.IGNORECASE)
# "Patient's Sex: F" and "Patient's Age: 027Y" of Montgomery.
_STATED = re.compile(r"patient's (?P<what>sex|age)\s*:\s*(?P<value>\S*)", re.IGNORECASE)
# "male 45yrs", "Female, 28yrs", "femal 32yrs", "male 16month", "female 64days" of Shenzhen.
_FIRST_LINE = re.compile(
    r"(?P<sex>female|femal|male)\s*,?\s*(?P<age>\d+)\s*(?P<unit>y|month|day)?", re.IGNORECASE
)
_DICOM_UNITS = {"y": "Y", "month": "M", "day": "D", "": "Y"}
_LICENCE = "public; cite Jaeger et al. 2014"


def is_shenzhen(folder: Path) -> bool:
    """Tell whether ``folder`` holds the set of Shenzhen, by the names of its images."""
    return _holds(folder, "CHNCXR")


def is_montgomery(folder: Path) -> bool:
    """Tell whether ``folder`` holds the set of Montgomery County, by the names of its images."""
    return _holds(folder, "MCUCXR")


def _holds(folder: Path, start: str) -> bool:
    images = folder / _IMAGES
    if not images.is_dir():
        return False
    return any(_NAME.fullmatch(path.stem) for path in images.glob(f"{start}_*.png"))


def read_shenzhen(root: Path) -> Collection:
    """Read the set of Shenzhen; a folder that holds both sets is read whole."""
    return _read("shenzhen", root)


def read_montgomery(root: Path) -> Collection:
    """Read the set of Montgomery County."""
    return _read("montgomery", root)


def _read(name: str, root: Path) -> Collection:
    reading, left_out = Reading(name, root), LeftOut(root)
    texts: dict[str, str] = {}
    for path in image_files(root / _IMAGES, left_out, recursive=False):
        named = _NAME.fullmatch(path.stem)
        if named is None:
            reading.skip(path.name, "its name tells no class")
            continue
        texts[path.stem] = text = _text(root / _READINGS / f"{path.stem}.txt")
        sex, age, finding = _read_of(text)
        reading.cases[path.stem] = Case(
            path=path,
            label=CLASSES[int(named["label"])],
            patient="",  # below, when all readings are known
            source=_SOURCES[named["set"]],
            view="PA",
            age=reading.age(age),
            sex=sex_or_unknown(sex),
            licence=_LICENCE,
            finding=finding,
        )
    without = sum(not text for text in texts.values())
    if without:
        reading.notices.append(f"images without a clinical reading: {without} of {len(texts)}")
    reading.notices += left_out.notices()
    for name, first in _patients(texts).items():
        case = reading.cases[name]
        patient = f"{case.source}:{_number(first)}"
        reading.cases[name] = dataclasses.replace(case, patient=patient)
    return reading.collection(ignored=left_out.total)


def _number(stem: str) -> str:
    return stem.split("_")[1]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return ""


def _read_of(text: str) -> tuple[str, str, str]:
    """Return sex, age and finding as a reading states them; "" for what it does not."""
    sex = age = ""
    finding: list[str] = []
    for line in text.splitlines():
        stated, first = _STATED.match(line.strip()), _FIRST_LINE.match(line.strip())
        if stated and stated["what"].lower() == "sex":
            sex = stated["value"]
        elif stated:
            age = stated["value"]
        elif first and not (sex or age or finding):
            sex = "M" if first["sex"].lower() == "male" else "F"
            age = first["age"].zfill(3) + _DICOM_UNITS[(first["unit"] or "").lower()]
        else:
            finding += line.split()
    return sex, age, " ".join(finding)


def _patients(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the first image of each image's patient, by what the readings say of it."""
    together = DisjointSet(texts)
    for name, text in texts.items():
        for other in _SAME_PATIENT.findall(text):
            if other in texts:
                together.merge(name, other)
    return {name: min(together.subset(name)) for name in texts}
