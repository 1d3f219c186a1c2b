"""From a manifest, or archives and a clinic of one's own, to what the next hospital would meet."""

import json

import numpy as np
import pytest
from PIL import Image

from cxr_transfer.datasets.phantom import PhantomSize, draw_radiograph, write_phantom
from made_sources import write_sources

RECIPE = """
name = "small"
title = "a head on random features"
network = "simple_cnn"
dataset = "multi_source"
coverage = 0.8

[preprocessing]
height = 48
width = 48

[[stages]]
name = "head"
fit = "logistic"
train = ["head"]
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("validate")
    (root / "small.toml").write_text(RECIPE)
    return root


def test_a_manifest_is_judged_source_by_source(root, cxr, tmp_path):
    write_sources(root, {"north": (40, 40), "south": (40, 40), "east": (3, 0)})
    words = ("validate", root / "small.toml", "--data", root / "images.csv", "--out", tmp_path)
    options = ("-o", "dataset=dataset_1", "--resamples", "50", "--device", "cpu")
    done = cxr(*words, *options)
    assert "The worst source first" in done.stdout
    assert "Source by source" not in done.stdout
    assert "east is not judged: it holds one class only (clear)" in done.stderr
    assert f"compare {tmp_path}/predictions.csv" in done.stderr
    again = cxr(*words, *options)
    assert again.stderr.count("done before") == 2
    refused = cxr(*words, *options, "--seed", "1", expect=2)
    assert "[other_run]" in refused.stderr


def test_a_clinic_of_ones_own_is_a_source_like_the_others(root, cxr, tmp_path):
    size = PhantomSize(normal=40, bacterial=40, viral=4, covid19=24)
    write_phantom(root / "archives", seed=2, size=size, pixels=132)
    rng = np.random.default_rng(7)
    for finding in ("normal", "covid19"):
        (root / "clinic" / finding).mkdir(parents=True)
        for number in range(24):
            image = draw_radiograph(finding, rng=rng, pixels=132)
            Image.fromarray(image).save(root / "clinic" / finding / f"{number}.png")
    done = cxr(
        *("validate", root / "small.toml", "--data", root / "archives", "--out", tmp_path),
        *("--add-source", f"clinic={root / 'clinic'}", "--resamples", "20", "--device", "cpu"),
    )
    content = json.loads((tmp_path / "validation.json").read_text())
    assert "clinic" in content["summary"]["order"]
    assert "kermany" in content["skipped"], "without it too few other pneumonias are left"
    assert "patients of other_pneumonia are left" in done.stderr
    clinic = next(one for one in content["sources"] if one["source"] == "clinic")
    assert clinic["auroc"]["other_pneumonia"] is None
    assert clinic["operating_points"]["other_pneumonia"]["specificity 0.95"]["specificity"]["low"]
