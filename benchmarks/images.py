"""Images to measure on: generated ones, or some of the real Dataset_1, as plain folders.

``FOLDER/classes/{normal,bacterial,covid19}/*.jpeg`` (224 x 224 when generated) for training, and
``FOLDER/megapixel/*.jpeg`` (about one megapixel, grey, JPEG quality 90) for prediction. Every
contestant reads the same files.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.paper import dataset_1
from cxr_transfer.datasets.phantom import draw_radiograph

CLASSES = ("normal", "bacterial", "covid19")
DRAWN_LARGE = 20


def write_images(folder: Path, *, training: int, large: int, data: Path | None = None) -> None:
    """Write ``training`` images in three classes and ``large`` images of one megapixel.

    Large images are always generated: 20 are drawn, and each is stored many times over.
    """
    if data:
        cases = dataset_1(read_archives(data)).cases
        for label in CLASSES:
            (folder / "classes" / label).mkdir(parents=True)
            some = [case for case in cases if case.label == label][: training // 3]
            for number, case in enumerate(some):
                # Keras decodes by the file's name, which in Cohen's archive is sometimes wrong.
                with Image.open(case.path) as radiograph:
                    if radiograph.format != "JPEG":
                        continue
                # Two images may have one name in two folders.
                name = f"{number:05}_{case.path.stem}.jpeg"
                shutil.copy(case.path, folder / "classes" / label / name)
    else:
        for number in range(training):
            label = CLASSES[number % 3]
            radiograph = Image.fromarray(draw_radiograph(label, rng=np.random.default_rng(number)))
            path = folder / "classes" / label / f"{number:05}.jpeg"
            path.parent.mkdir(parents=True, exist_ok=True)
            radiograph.resize((224, 224)).save(path, quality=90)
    (folder / "megapixel").mkdir(parents=True)
    for number in range(large):
        path = folder / "megapixel" / f"{number:05}.jpeg"
        if number < DRAWN_LARGE:
            radiograph = draw_radiograph("normal", rng=np.random.default_rng(number), pixels=970)
            Image.fromarray(radiograph).save(path, quality=90)
        else:
            shutil.copy(folder / "megapixel" / f"{number % DRAWN_LARGE:05}.jpeg", path)


def write_dicoms(folder: Path, number: int) -> None:
    """Write ``number`` radiographs of 12 bits and four megapixels as ``FOLDER/dicom/*.dcm``.

    Ten are drawn, each stored many times over, as lossless JPEG 2000, as archives keep them.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import (
        DigitalXRayImageStorageForPresentation,
        ExplicitVRLittleEndian,
        JPEG2000Lossless,
        generate_uid,
    )

    (folder / "dicom").mkdir(parents=True)
    for row in range(number):
        path = folder / "dicom" / f"{row:05}.dcm"
        if row >= DRAWN_LARGE // 2:
            shutil.copy(folder / "dicom" / f"{row % (DRAWN_LARGE // 2):05}.dcm", path)
            continue
        random = np.random.default_rng(row)
        drawn = draw_radiograph("normal", rng=random, pixels=2000).astype(np.uint16)
        samples = drawn * 16 + random.integers(0, 16, drawn.shape, dtype=np.uint16)
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID = DigitalXRayImageStorageForPresentation
        data.SOPInstanceUID = generate_uid(entropy_srcs=[path.name])
        data.Modality, data.BodyPartExamined, data.ViewPosition = "DX", "CHEST", "PA"
        data.PhotometricInterpretation, data.SamplesPerPixel = "MONOCHROME2", 1
        data.Rows, data.Columns = samples.shape
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
        data.PixelRepresentation = 0
        data.WindowCenter, data.WindowWidth = 2048, 4096
        data.PixelData = samples.tobytes()
        data.compress(JPEG2000Lossless, generate_instance_uid=False)
        data.save_as(path, enforce_file_format=True)
