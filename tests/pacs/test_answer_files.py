"""`cxr predict --dicom-out` and `cxr deidentify`: objects and images beside each other, on disk."""

import io
from datetime import UTC, datetime

import numpy as np
import pydicom
import pytest
from highdicom.sr import srread
from typer.testing import CliRunner

from cxr_transfer.cli import app
from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.inference.explain import Explainer
from cxr_transfer.inference.prediction import explained_label
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.models.metadata import RELEASED
from cxr_transfer.pacs.answer_files import source_header, write_answer
from cxr_transfer.pacs.answered_image import AnsweringModel
from made_dicom import dicom
from made_pacs import faults, installed, said_by

NOW = datetime(2026, 11, 28, 15, 4, 5, tzinfo=UTC)
IDENTITY = {
    "StudyInstanceUID": "1.2.840.99999.7",
    "SeriesInstanceUID": "1.2.840.99999.7.1",
    "SOPInstanceUID": "1.2.840.99999.7.1.1",
}


@pytest.fixture(scope="module")
def predictor():
    return Predictor.released("multi_source")


@pytest.fixture(scope="module")
def phantom():
    return draw_radiograph("normal", rng=np.random.default_rng(1), pixels=512)


@pytest.fixture
def file(phantom, tmp_path):
    path = tmp_path / "Doe_Jane.dcm"
    path.write_bytes(dicom(phantom, **IDENTITY))
    return path


def cxr(*words):
    return CliRunner().invoke(app, [*map(str, words)])


def test_a_files_answer_becomes_objects(predictor, file, tmp_path):
    ((answer, prepared),) = predictor.predict_and_keep([file])
    label = explained_label(answer.as_dict())
    explanation = Explainer.open("multi_source").explain(prepared, label=label)
    facts = AnsweringModel.opened(predictor, RELEASED / "multi_source")
    assert facts.audit == "fail"

    def write(stem):
        return write_answer(
            tmp_path / "out",
            file.read_bytes(),
            (answer, prepared),
            explanation,
            model=facts,
            now=NOW,
            stem=stem,
            kinds=("sr", "sc", "pdf"),
        )

    paths = write("image")
    assert [path.name.split(".")[2] for path in paths] == ["sr", "sc", "pdf"]
    first = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write("image")] == first
    (group,) = srread(paths[0]).content.get_image_measurement_groups()
    scores = [item.value for item in group.get_measurements() if item.unit.value == "{0:1}"]
    assert scores == list(answer.probabilities.values())
    for path in paths:
        assert faults(pydicom.dcmread(path)) == []
    assert (tmp_path / write("../../x")[0]).parent == tmp_path / "out"


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [8, 12])
def test_the_picture_is_bright_where_the_image_is_dense(
    predictor, phantom, tmp_path, photometric, bits
):
    stored = phantom if bits == 8 else phantom.astype(np.uint16) << 4
    if photometric == "MONOCHROME1":
        stored = (2**bits - 1) - stored
    content = dicom(stored, BitsStored=bits, PhotometricInterpretation=photometric, **IDENTITY)
    (answered,) = predictor.predict_and_keep([content])
    facts = AnsweringModel.opened(predictor, RELEASED / "multi_source")
    (path,) = write_answer(tmp_path, content, answered, None, model=facts, now=NOW, kinds=["sc"])
    shown = pydicom.dcmread(path).pixel_array[150:450, 60:420, 0].astype(float)
    middle, sides = shown[:, 160:200].mean(), shown[100:140, 90:120].mean()
    assert middle > sides + 20  # the spine is denser than a lung


def test_the_command_writes_a_report_and_a_picture(file, tmp_path):
    out = tmp_path / "objects"
    done = cxr("predict", file, "--dicom-out", out, "--json")
    assert done.exit_code == 0, done.output
    report, picture = sorted(out.glob("*.sr.dcm")) + sorted(out.glob("*.sc.dcm"))
    assert pydicom.dcmread(report).StudyInstanceUID == IDENTITY["StudyInstanceUID"]
    assert pydicom.dcmread(picture).BurnedInAnnotation == "YES"
    installed("dciodvfy")
    for path in (report, picture):
        said, _ = said_by("dciodvfy", path)
        assert "Error" not in said


def test_what_is_no_dicom_file_gets_an_answer_and_no_object(phantom, tmp_path):
    from PIL import Image

    image = tmp_path / "image.png"
    Image.fromarray(phantom).save(image)
    done = cxr("predict", image, "--dicom-out", tmp_path / "objects")
    assert done.exit_code == 0
    assert "no DICOM objects of image:" in done.output.replace("\n", " ")
    assert not (tmp_path / "objects").exists()


def test_an_image_that_cannot_be_judged_gets_a_report_that_says_so(tmp_path):
    blank = tmp_path / "blank.dcm"
    blank.write_bytes(dicom(np.full((300, 300), 7, np.uint8), **IDENTITY))
    done = cxr("predict", blank, "--dicom-out", tmp_path / "objects")
    assert done.exit_code == 1
    (report,) = (tmp_path / "objects").glob("*.sr.dcm")
    assert pydicom.dcmread(report).CompletionFlag == "PARTIAL"


def test_a_header_is_read_without_pixels(file):
    header = source_header(file.read_bytes())
    assert "PixelData" not in header
    assert header.SOPInstanceUID == IDENTITY["SOPInstanceUID"]


def test_deidentify_writes_images_and_names_nobody(file, tmp_path):
    key, out = tmp_path / "key", tmp_path / "export"
    key.write_bytes(b"k" * 32)
    document = tmp_path / "Roe_Richard.dcm"
    document.write_bytes(b"no image")
    words = ("deidentify", file, document, "--out", out, "--key-file", key)
    done = cxr(*words, "--retain", "patient")
    assert done.exit_code == 1
    (image,) = out.iterdir()
    assert b"Doe" not in image.read_bytes()
    made = pydicom.dcmread(io.BytesIO(image.read_bytes()))
    assert image.name == f"{made.SOPInstanceUID}.dcm"
    assert "Doe" not in done.output
    assert "Roe" not in done.output
    assert "1 images without identifiers, 1 left out" in done.output
    before = image.read_bytes()
    cxr(*words, "--retain", "patient")
    assert image.read_bytes() == before


def test_deidentify_refuses_unknown_options(file, tmp_path):
    done = cxr("deidentify", file, "--out", tmp_path / "export", "--retain", "names")
    assert done.exit_code != 0
    assert not (tmp_path / "export").exists()
