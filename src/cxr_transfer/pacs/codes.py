"""Codes of the structured reports: a private scheme, since no standard code says what we say.

A class of a network is what its training images were called, and a class score is no finding. So
no class gets a code of SNOMED CT, by which a record would file it as one. The scheme is called
`DESIGNATOR`; every object names it. ``docs/guides/pacs-objects.md`` has the table.
"""

from __future__ import annotations

import hashlib
import re
import uuid

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept

from cxr_transfer.labels import words_of
from cxr_transfer.pacs.answered_image import SCHEME

DESIGNATOR = "99CXRT"
SCHEME_UID = f"2.25.{uuid.uuid5(SCHEME, DESIGNATOR).int}"

CONCEPTS = {
    "intended-use": "Intended use",
    "class-scores": "Class scores of a chest radiograph",
    "status": "Status of the answer",
    "class-given": "A class is given",
    "findings-given": "Findings are given",
    "cannot-assess": "Cannot be assessed",
    "not-readable": "Cannot be read",
    "reason": "Reason why no class is given",
    "most-like": "Training class that the image is most like",
    "named": "Finding whose score reaches its threshold",
    "none-named": "No finding reaches its threshold",
    "scale": "Scale of the class scores",
    "calibrated": "Fitted to what came true on validation images",
    "not-calibrated": "As the network gives them",
    "audit": "Verdict of the model's audit",
    "audit.pass": "Passes its audit",
    "audit.warn": "Passes its audit with warnings",
    "audit.fail": "Fails its audit: scores do not mean that it sees disease",
    "audit.not-done": "No audit of these weights is known",
    "remark": "Remark on the image",
    "unusual": "Unlike most images that the model was trained on",
    "trained-on": "The image, or a copy of it, was in the training data",
    "map-in-lungs": "Share of the heat map that lies in the lungs",
    "lungs-in-image": "Share of the model's view that the lungs are",
    "reading": "Reading of a chest radiograph in a reader study",
    "condition": "Model's answer during the reading",
    "without": "Not in sight",
    "with": "In sight",
    "chosen": "Class that the reader holds most likely",
    "cannot-say": "The reader can name no class",
    "looked-for": "Class that is looked for",
    "confidence": "How sure the reader is that it is what is looked for",
    "seen-before": "A model's answer was on the screen before the study",
}
"""Meanings by code value. None of them changes or goes: old objects keep theirs."""

_LONGEST_VALUE, _LONGEST_MEANING = 16, 64  # SH and LO, PS3.5 table 6.2-1
_READABLE = 7
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")


def code(value: str) -> CodedConcept:
    """Return a concept of the private scheme.

    Args:
        value: Code value, one of `CONCEPTS`.
    """
    return CodedConcept(value, DESIGNATOR, CONCEPTS[value])


def label_code(label: str) -> CodedConcept:
    """Return the code of a class, or a finding, of a network.

    >>> label_code("covid19").CodeValue
    'c.covid19'
    """
    return CodedConcept(short_value("c.", label), DESIGNATOR, _meaning(words_of(label)))


def score_code(label: str) -> CodedConcept:
    """Return the code of the score of a class, or a finding.

    >>> score_code("covid19").CodeMeaning
    'Class score of COVID-19'
    """
    meaning = _meaning(f"Class score of {words_of(label)}")
    return CodedConcept(short_value("s.", label), DESIGNATOR, meaning)


def reason_code(error_code: str) -> CodedConcept:
    """Return the code of a reason why no class is given.

    Args:
        error_code: Code of the answer, such as ``not_sure``.
    """
    meaning = _meaning(error_code.replace("_", " "))
    return CodedConcept(short_value("r.", error_code), DESIGNATOR, meaning)


def short_value(prefix: str, name: str) -> str:
    """Return a code value of at most 16 characters that stands for a name, and for no other.

    >>> short_value("c.", "covid19"), short_value("c.", "other_pneumonia")
    ('c.covid19', 'c.other_p-3d68f1')
    """
    whole = prefix + name
    if len(whole) <= _LONGEST_VALUE and _PLAIN.fullmatch(name):
        return whole
    digits = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:6]
    readable = "".join(_PLAIN.findall(name))[:_READABLE]
    return f"{prefix}{readable}-{digits}"


def scheme_item() -> CodingSchemeIdentificationItem:
    """Return what an object says of the private scheme."""
    return CodingSchemeIdentificationItem(
        DESIGNATOR,
        name="Class scores of chest radiographs, cxr-transfer",
        registry=None,
        responsible_organization="cxr-transfer",
        version="1",
    )


def _meaning(text: str) -> str:
    """Return a text as a code's meaning: bytes are counted, for some programs count them."""
    if len(text.encode()) <= _LONGEST_MEANING:
        return text
    return f"{text.encode()[: _LONGEST_MEANING - 3].decode(errors='ignore')}..."
