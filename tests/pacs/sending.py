"""Images for the node, and a peer that sends them."""

import io
import zlib

import numpy as np
from pydicom import dcmread
from pydicom.uid import UID
from pynetdicom import AE

from cxr_transfer.datasets.phantom import draw_radiograph
from made_dicom import dicom

NAME, NUMBER, ACCESSION = "Zwiebel^Xaver", "PID-774411", "ACC-900817"


def uid(*facts):
    """A UID of its own for these facts."""
    return f"2.25.{zlib.crc32(repr(facts).encode()) + 2**40}"


def image(seed=0, syntax=None, label="normal", bits=8, **elements):
    """A chest radiograph as a DICOM file; each seed is another patient."""
    samples = draw_radiograph(label, rng=np.random.default_rng(seed))
    if bits > 8:
        samples = samples.astype(np.uint16) << (bits - 8)
        elements |= {"BitsStored": bits}
    elements = {
        "PatientName": NAME,
        "PatientID": NUMBER,
        "AccessionNumber": ACCESSION,
        "StudyDate": "20240102",
        "StudyTime": "101112",
        "StudyID": "1",
        "PatientSex": "F",
        "ReferringPhysicianName": "Arzt^Berta",
        "StudyInstanceUID": uid("study", seed),
        "SeriesInstanceUID": uid("series", seed),
        "SOPInstanceUID": uid("image", seed),
        "InstitutionName": "Krankenhaus Nirgendwo",
    } | elements
    return dicom(samples, **({"syntax": syntax} if syntax else {}), **elements)


def opened(port, wanted, calling="MODALITY", called="CXR", **others):
    """An association that proposes these (SOP class, transfer syntax)."""
    application = AE(ae_title=calling)
    application.acse_timeout = application.dimse_timeout = application.network_timeout = 60
    for sop_class, syntax in wanted:
        application.add_requested_context(sop_class, syntax)
    return application.associate("127.0.0.1", port, ae_title=called, **others)


def send(port, *files, **others):
    """Send files over one association; return the statuses."""
    datasets = [dcmread(io.BytesIO(file)) for file in files]
    wanted = {(data.SOPClassUID, UID(data.file_meta.TransferSyntaxUID)) for data in datasets}
    association = opened(port, sorted(wanted), **others)
    assert association.is_established
    try:
        return [association.send_c_store(data).Status for data in datasets]
    finally:
        association.release()


def echo(port, **others):
    association = opened(port, [("1.2.840.10008.1.1", "1.2.840.10008.1.2")], **others)
    if not association.is_established:
        return False
    try:
        return association.send_c_echo().Status == 0
    finally:
        association.release()
