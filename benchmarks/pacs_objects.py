"""Make the objects of a generated image for the documentation: the picture, and the report as text.

    python benchmarks/pacs_objects.py [--out docs/images]

Writes ``pacs-picture.webp`` and prints what dcmtk's dsrdump says of the report. The image shows no
patient (`cxr_transfer.datasets.phantom`).
"""

from __future__ import annotations

import argparse
import io
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image

from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.inference.explain import Explainer
from cxr_transfer.inference.prediction import explained_label
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.models.metadata import RELEASED
from cxr_transfer.pacs.answer_files import write_answer
from cxr_transfer.pacs.answered_image import AnsweringModel
from cxr_transfer.radiograph.dicom_writing import grey_dicom

MODEL = "multi_source"
QUALITY = 45


def generated() -> bytes:
    """Return a generated radiograph as an archive would keep it."""
    grey = draw_radiograph("covid19", rng=np.random.default_rng(1), pixels=1024)
    image = pydicom.dcmread(io.BytesIO(grey_dicom(grey)))
    image.PatientName, image.PatientID = "Phantom^Generated", "no patient"
    image.StudyInstanceUID, image.SeriesInstanceUID = "2.25.1", "2.25.2"
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = "2.25.3"
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.SeriesNumber = image.InstanceNumber = 1
    content = io.BytesIO()
    image.save_as(content, enforce_file_format=True)
    return content.getvalue()


def main() -> None:
    """Write the picture, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    out = parser.parse_args().out
    content, predictor = generated(), Predictor.released(MODEL)
    ((answer, prepared),) = predictor.predict_and_keep([content])
    explanation = None
    if answer.status == "ok":
        label = explained_label(answer.as_dict())
        explanation = Explainer.open(MODEL).explain(prepared, label=label)
    with tempfile.TemporaryDirectory() as folder:
        report, picture = write_answer(
            Path(folder),
            content,
            (answer, prepared),
            explanation,
            model=AnsweringModel.opened(predictor, RELEASED / MODEL),
            now=datetime(2026, 11, 28, 12, tzinfo=UTC),
        )
        pixels = pydicom.dcmread(picture).pixel_array
        Image.fromarray(pixels).save(out / "pacs-picture.webp", quality=QUALITY, method=6)
        print(subprocess.run(["dsrdump", report], capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
