"""A command decodes each image once: for its hashes, for damage, and for the network."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from cxr_transfer.cli.commands import app
from cxr_transfer.datasets.phantom import PhantomSize, draw_radiograph, write_phantom
from cxr_transfer.radiograph import reading


@pytest.fixture
def decodes(monkeypatch):
    """How often each file's bytes were decoded."""
    counted, decode = Counter(), reading.decode

    def counting(content, **options):
        counted[hash(content)] += 1
        return decode(content, **options)

    monkeypatch.setattr(reading, "decode", counting)
    return counted


def test_a_training_decodes_each_image_once(decodes, tmp_path):
    images = tmp_path / "images"
    for number, label in enumerate(("normal", "bacterial", "covid19")):
        (images / label).mkdir(parents=True)
        for row in range(12):
            radiograph = draw_radiograph(label, rng=np.random.default_rng(100 * number + row))
            Image.fromarray(radiograph).save(images / label / f"{row:02}.png")
    words = ["train", "model_1", "--data", images, "--out", tmp_path / "run", "--max-epochs", 1]
    app([*map(str, words), "--device", "cpu"], standalone_mode=False)
    assert len(decodes) == 36
    assert set(decodes.values()) == {1}


def test_a_study_decodes_each_image_of_its_data_set_once(decodes, tmp_path):
    write_phantom(tmp_path / "data", seed=1, size=PhantomSize(48, 48, 6, 24))
    words = ["study", "--data", tmp_path / "data", "--out", tmp_path / "study"]
    words += ["--models", "model_1", "--max-epochs", 1, "--device", "cpu"]
    app([*map(str, words)], standalone_mode=False)
    assert len(decodes) == 72
    assert set(decodes.values()) == {1}
