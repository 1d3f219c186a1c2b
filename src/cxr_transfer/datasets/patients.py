"""Who is on an image, without saying who: patients of DICOM headers as salted hashes.

In come cases whose patient nobody has named; out go the same cases, with what their DICOM headers
say. A Patient ID becomes HMAC-SHA256 under a random key of 32 bytes that belongs to the user of
this computer (``patient-salt`` in the settings folder). So one patient has one name in every folder
and command of that user. Nobody without that file can find out by trying IDs
(docs/decisions/0012). IDs are never kept, shown or written. An image of which no patient is known
is a patient of its own, under a name that says so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
import os
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.cells import (
    age_or_none,
    clean,
    patient_name,
    sex_or_unknown,
    view_of,
)
from cxr_transfer.errors import MachineError
from cxr_transfer.files import settings_folder
from cxr_transfer.radiograph.signatures import is_dicom_file

if TYPE_CHECKING:
    from cxr_transfer.radiograph.dicom_patient import PatientFacts

SALT = "patient-salt"
"""File in the settings folder with the key of the hashes; not to be handed on with a model."""

_SALT_BYTES, _DIGITS = 32, 16
_UNKNOWN, _HASHED = "unknown:", "dicom:"
SCANNER = "scanner"
"""Column of the machine that a DICOM header names."""

_LONGEST = 64  # PS3.5, section 6.2: of a VR LO
_VIEWS = frozenset({"PA", "AP", "L"})
_CROWDED = 20
"""Images of one patient from which on it may be a placeholder, where it is most of them."""


def unknown_patient(path: Path) -> str:
    """Return a name for the unknown patient on one image: no other image has it."""
    content = os.fsencode(os.path.abspath(path))
    return _UNKNOWN + hashlib.sha256(content).hexdigest()[:_DIGITS]


def is_unknown(patient: str) -> bool:
    """Tell whether a patient's name stands for one image of somebody unknown."""
    return patient.startswith(_UNKNOWN)


def is_unique(patient: str) -> bool:
    """Tell whether no other person has this name, in whatever collection."""
    return patient.startswith((_UNKNOWN, _HASHED))


def from_headers(cases: Sequence[Case]) -> tuple[tuple[Case, ...], list[Path], tuple[str, ...]]:
    """Fill in what DICOM headers say of images whose patient nobody has named.

    Args:
        cases: Cases; only those with an unknown patient (`unknown_patient`) are looked at.

    Returns:
        The cases in their order, without DICOM files that hold no picture; these files; notices.

    Raises:
        MachineError: ``bad_salt``.
    """
    filled: list[Case] = []
    without_picture: list[Path] = []
    for case in cases:
        facts = _facts(case) if is_unknown(case.patient) else None
        if facts is None:
            filled.append(case)
        elif not facts.has_picture:
            without_picture.append(case.path)
        else:
            patient = _patient_of(facts) or case.patient
            filled.append(dataclasses.replace(_described(case, facts), patient=patient))
    return tuple(filled), without_picture, _crowd(filled)


def described_by_headers(cases: Iterable[Case]) -> tuple[list[Case], list[str]]:
    """Fill in view, age and sex from DICOM headers; whose images they are stays as it is.

    Args:
        cases: Cases of which a table names the patient.

    Returns:
        The cases in their order; and the hashed patient of each header, "" where it names none.

    Raises:
        MachineError: ``bad_salt``.
    """
    described: list[Case] = []
    patients: list[str] = []
    for case in cases:
        facts = _facts(case)
        described.append(_described(case, facts) if facts else case)
        patients.append(_patient_of(facts) if facts else "")
    return described, patients


def _facts(case: Case) -> PatientFacts | None:
    """Return what the header of an image says; None where it is no DICOM file."""
    if not is_dicom_file(case.path):
        return None
    # A folder of JPEG files need not wait for pydicom.
    from cxr_transfer.radiograph.dicom_patient import read_patient_facts

    return read_patient_facts(case.path)


def _patient_of(facts: PatientFacts) -> str:
    number = patient_name(facts.number)
    return hashed_patient(number) if number else ""


def _described(case: Case, facts: PatientFacts) -> Case:
    view = view_of(facts.view)
    return dataclasses.replace(
        case,
        view=case.view or (view if view in _VIEWS else ""),
        age=age_or_none(facts.age) if case.age is None else case.age,
        sex=case.sex or sex_or_unknown(facts.sex),
        extra=(*case.extra, *_machine(case, facts)),
    )


def _machine(case: Case, facts: PatientFacts) -> list[tuple[str, str]]:
    """Return the machine of an image, to form groups by; none where a table names it already."""
    maker, model = (clean(text)[:_LONGEST] for text in (facts.maker, facts.model))
    name = model if model.casefold().startswith(maker.casefold()) else f"{maker} {model}".strip()
    named = any(column.casefold() == SCANNER for column, _ in case.extra)
    return [(SCANNER, name)] if name and not named else []


def hashed_patient(number: str) -> str:
    """Return the name under which a Patient ID goes; the same for all ways to write its case.

    Raises:
        MachineError: ``bad_salt``.
    """
    content = number.casefold().encode(errors="surrogateescape")
    digest = hmac.new(_salt(settings_folder())[0], content, hashlib.sha256).hexdigest()
    return _HASHED + digest[:_DIGITS]


def patient_notices(cases: Sequence[Case]) -> tuple[str, ...]:
    """Return what a person should know of whom the images show: what may leak, what is lateral."""
    unknown = sum(is_unknown(case.patient) for case in cases)
    hashed = {case.patient for case in cases if case.patient.startswith(_HASHED)}
    lateral = sum(case.view == "L" for case in cases)
    notices = []
    if hashed:
        images = sum(case.patient in hashed for case in cases)
        notices.append(
            f"{images} of {len(cases)} images name their patient in the DICOM header; patients: "
            f"{len(hashed)}, known by salted hashes alone"
        )
        if not _salt(settings_folder())[1]:
            notices.append(
                f"the key of these hashes could not be kept in {settings_folder()}: later commands "
                "will not know these patients again; set CXR_CONFIG to a folder that can be written"
            )
    if unknown:
        notices.append(
            f"no patient is known of {unknown} of {len(cases)} images: each counts as a patient of "
            "its own, so one patient may stand in training and in test (the split may leak); give "
            "a manifest with a patient column where you know them"
        )
    if lateral:
        notices.append(
            f"{lateral} of {len(cases)} images are lateral views: they are kept, but a model of "
            "frontal images needs none"
        )
    return tuple(notices)


def _crowd(cases: Sequence[Case]) -> tuple[str, ...]:
    counts = Counter(case.patient for case in cases if not is_unknown(case.patient))
    ((patient, most),) = counts.most_common(1) or [("", 0)]
    if most < _CROWDED or 2 * most < len(cases):
        return ()
    if patient.startswith(_HASHED):
        return (
            f"one Patient ID stands in {most} of {len(cases)} DICOM files: where it is a "
            "placeholder, give a manifest with a patient column",
        )
    return (
        f"one patient is named for {most} of {len(cases)} images: where that is a placeholder, "
        "leave the cell empty",
    )


@cache
def _salt(folder: Path) -> tuple[bytes, bool]:
    """Return the user's key, made now where there is none, and whether it is kept."""
    path = folder / SALT
    try:
        if not os.path.lexists(path):
            _make_salt(path)
        text = path.read_text(encoding="ascii")
        salt = bytes.fromhex(text)
        if len(salt) == _SALT_BYTES:
            return salt, True
    except OSError:
        return secrets.token_bytes(_SALT_BYTES), False
    except ValueError:
        pass
    raise MachineError(
        "bad_salt",
        f"Expected {2 * _SALT_BYTES} hexadecimal digits in {path}, by which patients are hashed, "
        "but got something else; bring it back from a copy, or delete it (patients of earlier runs "
        "are then not known again).",
    )


def _make_salt(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_SALT_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # Not os.replace: of two processes at once both must go on with the first one's key.
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            os.rename(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
