"""A forked child of a process that has used a native runtime is told so, and never hangs."""

import pickle
import subprocess
import sys

import pytest
import torch
from PIL import Image

from cxr_transfer.errors import CxrError, ImageError, MachineError
from cxr_transfer.models.checkpoint import save_checkpoint
from cxr_transfer.models.registry import build
from cxr_transfer.radiograph import Preprocessing
from made import chest

SECONDS = 120  # far more than any of them takes: only a hang reaches it


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A checkpoint whose images are cropped to the lungs: both networks are in use."""
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("model")
    card = {
        "name": "small",
        "architecture": "simple_cnn",
        "labels": ("normal", "bacterial", "covid19"),
        "preprocessing": Preprocessing(height=48, width=48, crop="lungs"),
        "epsilon": 1e-3,
    }
    save_checkpoint(folder, build("simple_cnn", 3, size=(48, 48), epsilon=1e-3), card)
    Image.fromarray(chest()).save(folder / "image.png")
    return folder


def said(script, model):
    """What a fresh process writes that runs ``script``, with `child` to run a part in a fork."""
    frame = f"""
import os, sys
from pathlib import Path
from cxr_transfer.errors import MachineError
model, image = Path({str(model)!r}), Path({str(model / "image.png")!r})
os.environ["CXR_CACHE"] = {str(model / "cache")!r}

def child(work):
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        assert os.waitpid(pid, 0)[1] == 0
        return
    try:
        work()
        print("worked")
    except MachineError as error:
        print(error.code, "spawn" in error.message)
    sys.stdout.flush()
    os._exit(0)

"""
    done = subprocess.run(
        [sys.executable, "-c", frame + script],
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_child_forked_after_a_prediction_is_told_to_spawn(model):
    script = """
from cxr_transfer import Predictor
from cxr_transfer.radiograph import read_radiograph
predictor = Predictor.open(model)
assert predictor.predict(image).status == "ok"
child(lambda: predictor.predict(image))
child(lambda: list(predictor.predict_files([image] * 3)))
child(lambda: Predictor.open(model))
child(lambda: predictor.card.preprocessing.apply(read_radiograph(image)))
child(lambda: predictor.predict(b"no image at all"))
print(predictor.predict(image).status)
"""
    assert said(script, model) == [*["forked True"] * 5, "ok"]


def test_a_child_forked_before_the_first_use_predicts(model):
    script = """
from cxr_transfer import Predictor
from cxr_transfer.radiograph.lung_segmentation import lung_box
child(lambda: Predictor.open(model).predict(image))
print(Predictor.open(model).predict(image).status)
"""
    assert said(script, model) == ["worked", "ok"]


def test_a_child_forked_after_an_explanation_is_told_to_spawn(model):
    script = """
from cxr_transfer.inference.explain import Explainer
explainer = Explainer.open(model)
child(lambda: explainer.explain(image))
print(explainer.explain(image).label in explainer.card.labels)
"""
    assert said(script, model) == ["forked True", "True"]


def test_a_child_forked_after_torch_computed_is_told_to_spawn(model):
    script = """
from cxr_transfer.models.checkpoint import load_checkpoint
load_checkpoint(model)
child(lambda: load_checkpoint(model))
"""
    assert said(script, model) == ["forked True"]


def test_a_pool_of_forked_processes_gets_the_error_and_does_not_wait(model):
    script = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from cxr_transfer import Predictor
predictor = Predictor.open(model)
def predict(path):
    return predictor.predict(path).status
context = multiprocessing.get_context("fork")
with ProcessPoolExecutor(2, mp_context=context) as pool:
    try:
        print(pool.submit(predict, image).result())
    except MachineError as error:
        print(error.code)
with context.Pool(2) as pool:
    try:
        print(pool.map(predict, [image]))
    except MachineError as error:
        print(error.code)
"""
    assert said(script, model) == ["forked", "forked"]


def test_what_a_parent_began_is_not_gone_on_with_in_a_child(model):
    script = """
from cxr_transfer.parallel import in_order
results = in_order(str, range(100), workers=2, ahead=4)
assert next(results) == "0"
child(lambda: next(results))
print(next(results))
"""
    assert said(script, model) == ["forked True", "1"]


@pytest.mark.parametrize("kind", [CxrError, ImageError, MachineError])
def test_an_error_is_the_same_on_the_other_side_of_a_process(kind):
    sent = pickle.loads(pickle.dumps(kind("a_code", "Expected this, but got that.")))
    assert (type(sent), sent.code, str(sent)) == (kind, "a_code", "Expected this, but got that.")
