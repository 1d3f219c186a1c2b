"""Images as archives send them, their answers, and programs that judge what is made of them."""

import hashlib
import shutil
import subprocess
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pytest
from dicom_validator.validator.dicom_info import DicomInfo
from dicom_validator.validator.error_handler import ValidationResultHandler
from dicom_validator.validator.iod_validator import IODValidator
from highdicom import _standard_utils as standard
from pydicom.datadict import tag_for_keyword
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    SecondaryCaptureImageStorage,
)

from cxr_transfer.figures.colours import coloured
from cxr_transfer.inference.prediction import Prediction
from cxr_transfer.pacs.answer_objects import answer_objects
from cxr_transfer.pacs.answered_image import AnsweringModel
from made_dicom import dataset

NOW = datetime(2026, 11, 28, 15, 4, 5, tzinfo=UTC)
SHA = hashlib.sha256(b"a file").hexdigest()
CLASSES = {
    "CR": ComputedRadiographyImageStorage,
    "DX": DigitalXRayImageStorageForPresentation,
    "SC": SecondaryCaptureImageStorage,
}


def source(modality="DX", **elements):
    """Return the header of an image as an archive sends it; None takes an element away."""
    identity = {
        "SOPClassUID": CLASSES[modality],
        "SOPInstanceUID": "1.2.840.99999.1.2.3",
        "SeriesInstanceUID": "1.2.840.99999.1.2",
        "StudyInstanceUID": "1.2.840.99999.1",
        "Modality": "OT" if modality == "SC" else modality,
        "PatientID": "PID-7",
        "PatientSex": "F",
        "StudyDate": "20260102",
        "StudyTime": "101112",
        "StudyID": "S1",
        "AccessionNumber": "A-77",
        "ReferringPhysicianName": "Roe^Richard",
        "Manufacturer": "ACME",
        "SeriesNumber": 2,
        "InstanceNumber": 3,
    }
    made = dataset(np.zeros((8, 8), np.uint8))
    for keyword, value in (identity | elements).items():
        if value is not None:
            setattr(made, keyword, value)
        elif keyword in made:
            delattr(made, keyword)
    return made


def model(labels=("normal", "other_pneumonia", "covid19"), *, exclusive=True, **facts):
    """Return the facts of a model."""
    fields = {
        "name": "made",
        "title": "A made model",
        "weights_sha256": hashlib.sha256(repr(labels).encode()).hexdigest(),
        "score_scale": "calibrated (temperature 1.23)",
        "thresholds": None if exclusive else dict.fromkeys(labels, 0.5),
        "audit": "fail",
        "notes": ("a note that holds for all answers",),
    }
    return AnsweringModel(labels=tuple(labels), exclusive=exclusive, **(fields | facts))


def answered(labels=("normal", "other_pneumonia", "covid19"), **fields):
    """Return an answer of those classes as it stands in JSON."""
    shares = np.arange(1, len(labels) + 1) / sum(range(1, len(labels) + 1))
    scores = dict(zip(labels, np.round(shares, 6).tolist(), strict=True))
    usual = {
        "label": labels[-1],
        "probabilities": scores,
        "calibrated": True,
        "temperature": 1.2345,
        "model": "made 0123456789ab",
        "warnings": ("the image was brightened",),
    }
    return Prediction("a/file.dcm", fields.pop("status", "ok"), **(usual | fields)).as_dict()


def refused(code="not_sure", *, status="cannot_assess", **fields):
    """Return an answer without a class."""
    nothing = {"label": None, "probabilities": {}, "calibrated": False, "temperature": None}
    message = "Expected an image that can be judged, but got another; look at it."
    return answered(status=status, code=code, message=message, **(nothing | fields))


def drawn(height=300, width=260):
    """Return a picture and a heat map over it."""
    rows, columns = np.mgrid[:height, :width]
    picture = ((rows + columns) % 256).astype(np.uint8)
    heat = np.exp(-(((rows - 90) / 40) ** 2 + ((columns - 90) / 40) ** 2)).astype(np.float32)
    return {"picture": picture, "heat_map": coloured(heat), "box": (0.1, 0.2, 0.9, 0.95)}


def objects(image=None, answer=None, *, kinds=("sr", "sc", "pdf"), facts=None, now=NOW, **more):
    """Return an answer's objects."""
    return answer_objects(
        source() if image is None else image,
        answered() if answer is None else answer,
        model=facts or model(),
        source_sha256=SHA,
        now=now,
        kinds=kinds,
        **more,
    )


def installed(program):
    """Skip a test where a program of Debian is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: make validators")


def said_by(*words):
    """Return what a program says, and its exit code."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    return done.stdout + done.stderr, done.returncode


class _Quiet(ValidationResultHandler):
    def handle_validation_start(self, result):
        pass

    def handle_validation_result(self, result):
        pass


def faults(made):
    """Return what dicom-validator finds in an object, by the tables of types that highdicom has."""
    result = IODValidator(made, _tables(), error_handler=_Quiet()).validate()
    return [
        f"{module}: {tag} {error.code}"
        for module, errors in (result.module_errors or {}).items()
        for tag, error in errors.items()
    ]


@cache
def _tables():
    """Return modules and types of attributes; what is conditional is allowed everywhere."""
    modules = {name: _module(rows) for name, rows in standard.get_module_attribute_map().items()}
    content = modules["sr-document-content"]
    for tag in content.keys() - {_tag("ValueType")}:
        content[tag]["type"] = "1C"  # by the type of the item's value
    content[_tag("ContentSequence")] = {"type": "1C", "items": content}  # it holds itself
    content[_tag("RelationshipType")] = {"type": "1C"}
    iods = {}
    for uid, name in standard.get_sop_class_iod_map().items():
        iods[uid] = {
            "modules": {
                row["key"]: {"ref": row["key"], "use": row["usage"]}
                for row in standard.get_iod_module_map()[name]
            },
            "group_macros": {},
        }
    return DicomInfo({}, iods, modules)


def _module(rows):
    module = {}
    for row in sorted(rows, key=lambda row: len(row["path"])):
        place = module
        for keyword in row["path"]:
            place = place[_tag(keyword)].setdefault("items", {})
        place.setdefault(_tag(row["keyword"]), {"type": row["type"]})
    return module


def _tag(keyword):
    tag = tag_for_keyword(keyword)
    if tag is None:
        return f"(ffff,{abs(hash(keyword)) % 65536:04x})"
    return f"({tag >> 16:04x},{tag & 0xFFFF:04x})"
