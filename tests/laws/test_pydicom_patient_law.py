"""What pydicom's own files say of their patients is read as pydicom reads it."""

import logging
import warnings
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_files

from cxr_transfer.radiograph.dicom_patient import read_patient_facts

FILES = sorted({Path(name) for name in get_testdata_files() if Path(name).is_file()})
ELEMENTS = {
    "PatientID": "number",
    "PatientAge": "age",
    "PatientSex": "sex",
    "ViewPosition": "view",
    "Manufacturer": "maker",
    "ManufacturerModelName": "model",
}


def theirs(path):
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = pydicom.dcmread(path, stop_before_pixels=True)
            said = {name: data.get(name) or "" for name in ELEMENTS}
        except Exception:
            return None
        finally:
            logging.getLogger("pydicom").setLevel(logging.NOTSET)
    said = {
        name: str(value if isinstance(value, str) else value[0]) for name, value in said.items()
    }
    return {name: value.strip(" \0") for name, value in said.items()}, "Rows" in data


def test_the_same_is_said_by_every_file():
    compared = 0
    for path in FILES:
        expected, facts = theirs(path), read_patient_facts(path)
        if expected is None or facts is None:  # pydicom wants a preamble
            continue
        said, is_picture = expected
        found = {name: getattr(facts, ours) for name, ours in ELEMENTS.items()}
        assert found == said, path.name
        assert facts.has_picture or not is_picture, path.name
        compared += 1
    assert compared > 200
