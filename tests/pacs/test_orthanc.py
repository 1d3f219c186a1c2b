"""The node beside a real Orthanc: images go in by dcmtk and pynetdicom, answers come back."""

import json
import subprocess
import time

import pytest
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from cxr_transfer.inference.predictor import Predictor
from pacs.conftest import archive
from pacs.orthanc import Orthanc
from pacs.program import Program
from pacs.sending import ACCESSION, NAME, NUMBER, image, send, uid

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SYNTAXES = (
    *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian),
    *(DeflatedExplicitVRLittleEndian, JPEGLossless, JPEGLosslessSV1, JPEGLSLossless),
    *(JPEG2000Lossless, RLELossless),
)
LOSSY = {JPEGBaseline8Bit: 8, JPEGExtended12Bit: 12, JPEGLSNearLossless: 8, JPEG2000: 12}
"""Lossy transfer syntaxes, and bits of the samples."""

CR, DX = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1"
PROCESSING, SC = "1.2.840.10008.5.1.4.1.1.1.1.1", "1.2.840.10008.5.1.4.1.1.7"


def answers(orthanc, study, number=2, seconds=60):
    """The objects of a study in Orthanc, when there are so many."""
    end = time.monotonic() + seconds
    while True:
        query = {"Level": "Instance", "Query": {"StudyInstanceUID": study}, "Expand": True}
        found = orthanc.post("/tools/find", json.dumps(query).encode())
        if len(found) >= number:
            assert len(found) == number
            return [
                orthanc.get(f"/instances/{instance['ID']}/simplified-tags")
                | {"orthanc": instance["ID"]}
                for instance in found
            ]
        assert time.monotonic() < end, f"{len(found)} of {number}"
        time.sleep(0.05)


def by_modality(found):
    return {answer["Modality"]: answer for answer in found}


def items(report):
    """All content items of a report, as (concept, value)."""
    for item in report.get("ContentSequence", []):
        concept = (
            item["ConceptNameCodeSequence"][0]["CodeMeaning"]
            if item.get("ConceptNameCodeSequence")
            else ""
        )
        value = item.get("MeasuredValueSequence") or item.get("ConceptCodeSequence")
        if value:
            yield concept, value[0].get("NumericValue") or value[0].get("CodeMeaning")
        yield from items(item)


def numbers(report):
    """Class scores of a report: by concept, in percent or as they are."""
    found = {}
    for concept, value in items(report):
        try:
            found[concept] = float(value)
        except (TypeError, ValueError):
            continue
    return found


def predicted(file, tmp_path):
    path = tmp_path / "image.dcm"
    path.write_bytes(file)
    return Predictor.released("multi_source").predict(path)


def test_storescu_brings_a_report_and_a_picture_back(node, orthanc, dcmtk, tmp_path):
    file = image(101)
    path = tmp_path / "image.dcm"
    path.write_bytes(file)
    target = ("-aec", "CXR", "127.0.0.1", str(node.port))
    subprocess.run([dcmtk("echoscu"), *target], check=True, capture_output=True)
    subprocess.run([dcmtk("storescu"), *target, path], check=True, capture_output=True)
    found = by_modality(answers(orthanc, uid("study", 101)))
    assert len(found) == 2
    for answer in found.values():
        assert answer["PatientName"] == NAME
        assert answer["PatientID"] == NUMBER
        assert answer["SeriesInstanceUID"] != uid("series", 101)
    report = found["SR"]
    prediction = predicted(file, tmp_path)
    assert prediction.status == "ok"
    scores = sorted(numbers(report).values())
    for score in prediction.probabilities.values():
        assert any(abs(found - score) < 1e-4 or abs(found - 100 * score) < 1e-2 for found in scores)
    (tmp_path / "report.dcm").write_bytes(orthanc.file(report["orthanc"]))
    dumped = subprocess.run(
        [dcmtk("dsrdump"), tmp_path / "report.dcm"], check=True, capture_output=True, text=True
    )
    assert "esearch use only" in dumped.stdout


@pytest.mark.parametrize("place", range(len(SYNTAXES)), ids=[s.name for s in SYNTAXES])
def test_every_transfer_syntax_gives_the_answer_of_the_file(node, orthanc, tmp_path, place):
    seed = 200 + place
    check_answer(node, orthanc, tmp_path, seed, image(seed, syntax=SYNTAXES[place]))


@pytest.mark.parametrize("syntax", LOSSY, ids=[syntax.name for syntax in LOSSY])
def test_every_lossy_transfer_syntax_gives_the_answer_of_the_file(node, orthanc, tmp_path, syntax):
    seed = 250 + list(LOSSY).index(syntax)
    lossy = image(seed, syntax=syntax, bits=LOSSY[syntax], LossyImageCompression="01")
    check_answer(node, orthanc, tmp_path, seed, lossy)


def check_answer(node, orthanc, tmp_path, seed, file):
    """Check that the node answers an image as the command line answers its file."""
    assert send(node.port, file) == [0]
    report = by_modality(answers(orthanc, uid("study", seed)))["SR"]
    prediction = predicted(file, tmp_path)
    scores = list(numbers(report).values())
    for score in prediction.probabilities.values():
        assert any(abs(found - score) < 1e-4 or abs(found - 100 * score) < 1e-2 for found in scores)
    assert (prediction.status, prediction.code) == told(node, seed)


def told(node, seed):
    """Status and code that the node logged for an image."""
    accepted = node.lines("accepted")[-1]["object"]
    line = next(line for line in node.lines("judged") if line["object"] == accepted)
    return line["status"], line["code"]


@pytest.mark.parametrize(
    ("seed", "elements"),
    [
        (301, {"SOPClassUID": CR, "Modality": "CR", "PhotometricInterpretation": "MONOCHROME1"}),
        (302, {"SOPClassUID": SC, "Modality": "DX"}),
        (303, {"SOPClassUID": PROCESSING, "PresentationIntentType": "FOR PROCESSING"}),
        (304, {"BodyPartExamined": "HAND"}),
    ],
)
def test_other_classes_and_what_cannot_be_judged_get_the_answer_of_the_file(
    node, orthanc, tmp_path, seed, elements
):
    file = image(seed, **elements)
    assert send(node.port, file) == [0]
    report = by_modality(answers(orthanc, uid("study", seed)))["SR"]
    prediction = predicted(file, tmp_path)
    assert (prediction.status, prediction.code) == told(node, seed)
    assert report["PatientName"] == NAME


def test_the_same_object_twice_is_answered_once(node, orthanc):
    file = image(401)
    assert send(node.port, file, file) == [0, 0]
    answers(orthanc, uid("study", 401))
    assert send(node.port, file) == [0]
    hashed = node.lines("already_here")[-1]["object"]
    assert sum(line["object"] == hashed for line in node.lines("judged")) == 1
    assert len(answers(orthanc, uid("study", 401))) == 2


def test_a_decoder_that_crashes_is_answered_and_takes_nobody_along(node, orthanc):
    # A size that no memory holds, in a file that is small.
    assert send(node.port, image(501, Rows=65535, Columns=65535)) == [0]
    assert send(node.port, image(502)) == [0]
    answers(orthanc, uid("study", 502))
    report = by_modality(answers(orthanc, uid("study", 501)))["SR"]
    assert report["PatientID"] == NUMBER


def test_nothing_that_is_said_names_anybody(node, orthanc):
    """Runs behind the others: all that the node has said of their images."""
    assert send(node.port, image(601)) == [0]
    answers(orthanc, uid("study", 601))
    said = node.log.read_text() + node.ask("status").stdout + node.ask("status", "--json").stdout
    names = [part for name in (NAME, "Arzt^Berta") for part in name.split("^")]
    secrets = [*names, NUMBER, ACCESSION, "Nirgendwo", uid("image", 601), uid("study", 601)]
    secrets += [uid("series", 601), "2.25.", "1.2.3.4"]
    for secret in secrets:
        assert secret not in said


def test_an_archive_that_goes_away_and_comes_back(tmp_path, orthanc):
    away = Orthanc(tmp_path / "away")
    limits = {"longest_wait_s": 1.0}
    node = Program(tmp_path / "node", destinations=[archive(away)], limits=limits, key_file="key")
    (node.folder / "key").write_text("ab" * 32)
    (node.folder / "key").chmod(0o600)
    try:
        node.start()
        files = [image(seed) for seed in range(701, 704)]
        assert send(node.port, *files) == [0, 0, 0]
        node.wait_for("judged", 3)
        node.wait_for("not_sent", 4)
        assert node.status()["unsent"] == {"archive": 6}
        away.start()
        node.wait_for("sent", 6)
        assert node.status()["states"]["sent"] == 3
        assert len(away.objects()) == 6
        assert node.status()["encrypted"]
        for path in (node.folder / "spool").rglob("*"):
            assert not path.is_file() or b"Zwiebel" not in path.read_bytes()
    finally:
        assert node.stop() == 0
        away.stop()


def test_it_does_not_judge_its_own_pictures(node, orthanc):
    """An archive that passes on all that comes in would else be answered for ever."""
    before = len(node.lines("not_for_us"))
    send(node.port, image(903))
    (picture,) = [
        orthanc.file(answer["orthanc"])
        for answer in answers(orthanc, uid("study", 903))
        if answer["Modality"] == "OT"
    ]
    assert send(node.port, picture) == [0]
    node.wait_for("not_for_us", before + 1)
    assert not node.status()["states"]["dead"]


def test_dicomweb_in_and_out(tmp_path, orthanc):
    """The archive is asked for new images, and gets the answers by STOW-RS."""
    web = Orthanc(tmp_path / "web").start()
    today = time.strftime("%Y%m%d")
    files = [
        image(801, StudyDate=today),
        image(802, StudyDate=today, syntax=JPEGLSLossless),
        image(803, StudyDate="19990101"),
    ]
    for file in files:
        web.post("/instances", file)
    node = Program(
        tmp_path / "node",
        destinations=[{"name": "web", "stow": web.web}],
        sources=[{"name": "orthanc", "url": web.web, "every_s": 0.5}],
    )
    try:
        node.start()
        for seed in (801, 802):
            found = answers(web, uid("study", seed), 3)
            assert {answer["Modality"] for answer in found} > {"DX", "SR"}
        time.sleep(1.5)  # asked again: nothing is new
        assert len(node.lines("accepted")) == 2
        assert len(answers(web, uid("study", 803), 1)) == 1
    finally:
        assert node.stop() == 0
        web.stop()
