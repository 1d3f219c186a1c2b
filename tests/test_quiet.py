"""Training, converting and exporting leave loggers, warnings and environment as they were."""

import logging
import os
import warnings

import pytest

from cxr_transfer.export.formats import export
from cxr_transfer.export.openvino import convert
from cxr_transfer.models.checkpoint import save_checkpoint
from cxr_transfer.models.registry import build
from cxr_transfer.quiet import quiet
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.training.device import Execution
from cxr_transfer.training.trainer import train_stages
from miniature import SIDE, make_images, make_recipe

CPU = Execution(device="cpu")

LOGGERS = ("", "lightning", "lightning.pytorch", "lightning.fabric", "nncf", "torch.onnx", "ray")


def state():
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [(one.level, list(one.filters), list(one.handlers)) for one in loggers]
    return list(warnings.filters), levels, dict(os.environ)


@pytest.fixture
def talkative():
    """The caller wants to hear all of them."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS[1:]}
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_what_is_quiet_tells_errors_and_other_warnings(caplog):
    logger = logging.getLogger("some.library")
    with (
        warnings.catch_warnings(record=True) as shown,
        quiet("some.library", expected=["as ever"]),
    ):
        warnings.filterwarnings("default", message="never")
        logger.warning("of no interest")
        logger.error("of interest")
        warnings.warn("as ever, and more", UserWarning, stacklevel=1)
        warnings.warn("never before", UserWarning, stacklevel=1)
    assert caplog.messages == ["of interest"]
    assert [str(one.message) for one in shown] == ["never before"]


def test_what_was_quiet_is_as_before_even_after_an_error(talkative):
    before = state()

    @quiet(*LOGGERS, expected=["as ever"])
    def fail():
        assert state() != before
        raise ValueError("here")

    with pytest.raises(ValueError, match="here"):
        fail()
    assert state() == before


@pytest.mark.slow
def test_training_and_exports_leave_the_process_as_it_was(talkative, tmp_path, capfd):
    pytest.importorskip("nncf")
    pytest.importorskip("onnxscript")
    network = build("simple_cnn", 3, size=(SIDE, SIDE), epsilon=1e-3)
    card = {
        "name": "made",
        "architecture": "simple_cnn",
        "labels": ("one", "two", "three"),
        "preprocessing": Preprocessing(height=SIDE, width=SIDE),
        "epsilon": 1e-3,
    }
    images = make_images(24, seed=1)

    def work(folder):
        train_stages(
            make_recipe(max_epochs=1), network, images, images, folder=folder, seed=0, execution=CPU
        )
        save_checkpoint(folder, network, card)
        export(folder, folder / "out" / "network.onnx")
        pixels = images.images.numpy()
        convert(
            folder, folder / "int8" / "n.xml", precision="int8", calibration=pixels, check=pixels
        )

    work(tmp_path / "first")  # imports what is imported when it is needed
    capfd.readouterr()
    before = state()
    work(tmp_path / "second")
    assert state() == before
    assert capfd.readouterr().err == ""
