"""Servers that tests share, and a browser before them.

What needs a browser stands in ``page_reader.py``, which is imported where it is asked for.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydicom.data import get_testdata_file
from sklearn.datasets import load_sample_image

from cxr_transfer.export.metadata import kept_conversion
from cxr_transfer.files import cache_folder
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.models.checkpoint import save_checkpoint
from cxr_transfer.models.engine import Engine
from cxr_transfer.models.registry import build
from cxr_transfer.radiograph import Preprocessing, decode
from cxr_transfer.training.reference import learn_reference
from serving.asking import as_bytes, running

SIDE, PAGE_SIDE = 48, 96


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Conversions are kept where the tests may write, once for all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("CXR_TOKEN", raising=False)
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, cache):
    """A run folder whose network has random weights, and so answers differently for every image."""
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("checkpoint")
    card = {
        "name": "random",
        "architecture": "simple_cnn",
        "labels": ("normal", "bacterial", "covid19"),
        "preprocessing": Preprocessing(height=SIDE, width=SIDE),
        "epsilon": 1e-3,
    }
    save_checkpoint(folder, build("simple_cnn", 3, size=(SIDE, SIDE), epsilon=1e-3), card)
    return folder


@pytest.fixture(scope="session")
def predictor(checkpoint):
    return Predictor.open(checkpoint)


@pytest.fixture(scope="session")
def server(checkpoint, predictor):
    """One server for all tests that leave it as it was."""
    with running(checkpoint) as one:
        yield one


@pytest.fixture
def client(server):
    with server.client() as one:
        yield one


@pytest.fixture(scope="session")
def models(tmp_path_factory, cache):
    """One that fails its audit and knows its training images, and one of which nothing is known."""
    from serving.page_reader import CARD, KNOWN_ERRORS, LABELS

    torch.manual_seed(2)  # whose heat maps are not empty, whatever the class
    folders = {}
    for name in ("known", "unknown"):
        folder = tmp_path_factory.mktemp(name)
        card = {
            "name": name,
            "architecture": "simple_cnn",
            "labels": LABELS,
            "preprocessing": Preprocessing(height=PAGE_SIDE, width=PAGE_SIDE),
            "epsilon": 1e-3,
        }
        save_checkpoint(
            folder, build("simple_cnn", 3, size=(PAGE_SIDE, PAGE_SIDE), epsilon=1e-3), card
        )
        folders[name] = folder
    card = Predictor.open(folders["known"]).card
    images = np.random.default_rng(0).integers(0, 256, (12, 1, PAGE_SIDE, PAGE_SIDE), np.uint8)
    _, features = Engine(kept_conversion(card, cache_folder())).answer(images)
    reference = learn_reference(
        features,
        labels=[LABELS[i % 3] for i in range(12)],
        sources=["kermany", "kermany", "cohen"] * 4,
        held_out=features,
        weights_sha256=card.weights_sha256,
    )
    # A random network finds any image strange; what is strange is tried elsewhere.
    near = {"far_distance": 1e9, "ood_distance": 1e9}
    reference = replace(reference, **near, temperature=1.1, score_errors=KNOWN_ERRORS)
    reference.save(folders["known"])
    check = {"name": "outside", "title": "Images from elsewhere", "verdict": "fail", "hard": True}
    check |= {"reading": "Wrong in <b>3</b> of 4 groups.", "bounds": "fails below 80 %"}
    audit = {"verdict": "fail", "checkpoint": {"weights_sha256": card.weights_sha256}}
    (folders["known"] / "audit.json").write_text(json.dumps(audit | {"checks": [check]}))
    text = CARD.replace("SHA", card.weights_sha256)
    (folders["known"] / "MODEL_CARD.md").write_text(text)
    return list(folders.values())


@pytest.fixture(scope="session")
def page_server(models):
    with running(*models) as one:
        yield one


@pytest.fixture(scope="session")
def images():
    """A real image as DICOM, the same as PNG, generated ones, and what is no image."""
    dicom = Path(get_testdata_file("RG1_UNCR.dcm", download=False)).read_bytes()
    radiograph = np.rint(255 * decode(dicom).pixels[::3, ::3]).astype(np.uint8)
    return {
        "image.dcm": dicom,
        "image.png": as_bytes(radiograph),
        "flower.jpg": as_bytes(load_sample_image("flower.jpg"), "JPEG"),
        "notes.png": b"no image at all",
    }


@pytest.fixture(scope="module")
def browser():
    from serving.page_reader import chromium

    with chromium() as one:
        yield one


@pytest.fixture
def sit_down(browser, page_server):
    """Open the page; afterwards it must not have asked, kept or broken anything it should not."""
    from serving.page_reader import Reader

    readers = []

    def down(**options):
        readers.append(Reader(browser, page_server.url, **options))
        return readers[-1]

    yield down
    for reader in readers:
        kept = reader.page.evaluate(
            "() => [Object.keys(localStorage), sessionStorage.length, document.cookie]"
        )
        elsewhere = [
            url for url in reader.asked if not url.startswith((page_server.url, "blob:", "data:"))
        ]
        reader.context.close()
        assert not reader.broken
        assert not elsewhere
        assert kept in ([[], 0, ""], [["theme"], 0, ""])


@pytest.fixture
def reader(sit_down):
    return sit_down()


@pytest.fixture
def reading(reader, images):
    """A reader before the PNG of the real image, answered."""
    reader.drop(**{"image.png": images["image.png"]})
    reader.wait_for_image()
    return reader
