"""Files of other tools: what they answer, and what their process cannot reach."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import made_subjects as made
from cxr_transfer.errors import CxrError, ModelError
from cxr_transfer.extras import installed
from cxr_transfer.models.backbones import TRUSTED
from cxr_transfer.subjects.foreign_files import ForeignFile

IMAGES = np.full((3, 1, made.SIDE, made.SIDE), 0.55, np.float32)


@pytest.fixture(scope="module")
def confined(tmp_path_factory):
    """Skip where this system cannot confine a process."""
    path = made.write_torchscript(tmp_path_factory.mktemp("can") / "network.pt")
    try:
        file = ForeignFile(path)
    except CxrError as error:
        if error.code == "not_confined":
            pytest.skip(error.message)
        raise
    file.close()
    return path


def test_torchscript_answers_as_its_module_does(confined):
    file = ForeignFile(confined)
    assert {"files", "network", "memory"} <= set(file.kept_from)
    np.testing.assert_allclose(file.answer(IMAGES), made.Middle()(torch.from_numpy(IMAGES)))
    file.close()


def test_openvino_answers_and_says_its_shape(confined, tmp_path):
    file = ForeignFile(made.write_openvino(tmp_path / "network.xml"))
    assert file.facts["input"] == [None, 1, made.SIDE, made.SIDE]
    np.testing.assert_allclose(
        file.answer(IMAGES), made.Middle()(torch.from_numpy(IMAGES)), atol=1e-3
    )
    file.close()


def test_onnx_answers_as_its_module_does(confined, tmp_path):
    file = ForeignFile(made.write_onnx(tmp_path / "network.onnx"))
    np.testing.assert_allclose(
        file.answer(IMAGES), made.Middle()(torch.from_numpy(IMAGES)), atol=1e-3
    )
    file.close()


def test_onnx_cannot_take_its_numbers_from_a_file_elsewhere(confined, tmp_path):
    (tmp_path / "secret.bin").write_bytes(np.float32([0.55]).tobytes())
    home = tmp_path / "model"
    home.mkdir()
    with pytest.raises(ModelError) as refused:
        ForeignFile(made.write_onnx(home / "network.onnx", outside="../secret.bin"))
    assert refused.value.code == "bad_model"


def test_whole_numbers_are_not_cut_off(confined, tmp_path):
    file = ForeignFile(made.write_onnx(tmp_path / "network.onnx", datatype="UINT8"))
    assert file.answer(np.round(IMAGES * 255)).shape == (3, 2)
    with pytest.raises(ModelError) as refused:
        file.answer(IMAGES)
    assert "whole numbers from 0 to 255" in refused.value.message
    file.close()


def test_a_pickled_module_is_refused_in_words(confined, tmp_path):
    torch.save(made.Middle(), tmp_path / "network.pt")
    with pytest.raises(ModelError) as refused:
        ForeignFile(tmp_path / "network.pt")
    assert "torch.jit.script" in refused.value.message


class Complex(nn.Module):
    """Answers with complex numbers."""

    def forward(self, images):
        return torch.fft.fft(images.mean(dim=(1, 2)))


class Large(nn.Module):
    """Answers with more than anybody needs."""

    def forward(self, images):
        return torch.zeros(3, 1000)


@pytest.mark.parametrize(("network", "word"), [(Complex(), "complex"), (Large(), "more than 9999")])
def test_what_is_no_score_is_refused(confined, tmp_path, monkeypatch, network, word):
    file = ForeignFile(made.write_torchscript(tmp_path / "network.pt", network))
    monkeypatch.setattr("cxr_transfer.subjects.foreign_files.LARGEST_ANSWER", 9999)
    with pytest.raises(ModelError) as refused:
        file.answer(IMAGES)
    assert word in refused.value.message
    file.close()


@pytest.mark.skipif(not installed("keras"), reason="keras is not installed")
@pytest.mark.parametrize("name", ["network.keras", "network.h5"])
@pytest.mark.filterwarnings("ignore")
def test_keras_answers_and_says_its_activation(confined, tmp_path, name):
    file = ForeignFile(made.write_keras(tmp_path / name))
    assert file.facts["activation"] == "softmax"
    scores = file.answer(IMAGES.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(scores[:, 1], 1 / (1 + np.exp(-4)), atol=1e-4)
    file.close()


def test_an_image_of_another_size_is_refused_and_the_next_is_answered(confined, tmp_path):
    file = ForeignFile(made.write_openvino(tmp_path / "network.xml"))
    with pytest.raises(ModelError) as refused:
        file.answer(np.zeros((1, 1, 8, 8), np.float32))
    assert refused.value.code == "bad_model"
    assert len(file.answer(IMAGES)) == 3
    file.close()


def test_a_damaged_file_is_refused(tmp_path, confined):
    path = tmp_path / "network.pt"
    path.write_bytes(confined.read_bytes()[:200])
    with pytest.raises(ModelError) as refused:
        ForeignFile(path)
    assert refused.value.code == "bad_model"
    assert str(path) in refused.value.message


class Reads(nn.Module):
    """Takes what stands in a file for an image's scores."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def forward(self, images):
        return torch.from_file(self.path, False, 4, dtype=torch.uint8)[None].float() + images.mean()


class Writes(Reads):
    """Makes a file of its own: a shared mapping of one that is not there yet."""

    def forward(self, images):
        written = torch.from_file(self.path, True, 4, dtype=torch.uint8)
        written.fill_(7)
        return written[None].float() + images.mean()


def test_a_file_outside_its_folder_cannot_be_read(confined, tmp_path):
    secret = tmp_path / "elsewhere" / "secret.txt"
    secret.parent.mkdir()
    secret.write_text("secret")
    home = tmp_path / "model"
    home.mkdir()
    path = made.write_torchscript(home / "network.pt", Reads(str(secret)))
    assert Reads(str(secret))(torch.zeros(1, 1, 2, 2)).shape == (1, 4), "it can be read outside"
    file = ForeignFile(path)
    with pytest.raises(ModelError) as refused:
        file.answer(IMAGES[:1])
    assert "Permission denied" in refused.value.message
    file.close()


def test_no_file_can_be_written_beside_it(confined, tmp_path):
    path = made.write_torchscript(tmp_path / "network.pt", Writes(str(tmp_path / "new")))
    file = ForeignFile(path)
    with pytest.raises(ModelError):
        file.answer(IMAGES[:1])
    file.close()
    assert not (tmp_path / "new").exists()


def test_a_file_that_is_trusted_by_its_hash_is_not_confined(confined, tmp_path, monkeypatch):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    home = tmp_path / "model"
    home.mkdir()
    path = made.write_torchscript(home / "network.pt", Reads(str(secret)))
    monkeypatch.setenv(TRUSTED, f"other.module, {ForeignFile(path).sha256}")
    file = ForeignFile(path)
    assert file.kept_from == ()
    assert file.answer(IMAGES[:1])[0].round().tolist() == [*(ord(letter) + 1 for letter in "secr")]
    file.close()


def test_the_process_has_no_network_and_no_secrets(confined, tmp_path, monkeypatch):
    """What code in the confined process sees: run there, as a network would be."""
    import subprocess
    import sys

    listening = socket.create_server(("127.0.0.1", 0))
    script = f"""
import os, socket, sys
from cxr_transfer.subjects.confined_process import SYSTEM
from cxr_transfer.subjects.confinement import confine
confine([*SYSTEM, sys.prefix, sys.base_prefix, *filter(None, sys.path)], {str(tmp_path)!r})
told = []
try:
    socket.create_connection(("127.0.0.1", {listening.getsockname()[1]}), timeout=2)
except OSError:
    told.append("no network")
try:
    open("/proc/{os.getpid()}/environ").read()
except OSError:
    told.append("no parent")
try:
    os.execv("/bin/true", ["true"])
except OSError:
    told.append("no program")
try:
    os.fork() or os._exit(0)
except OSError:
    told.append("no process")
try:
    os.kill(os.getppid(), 0)
except OSError:
    told.append("no signal")
import threading
thread = threading.Thread(target=told.append, args=["a thread"])
thread.start()
thread.join()
print(", ".join(told))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    expected = ["no network", "no parent", "no program", "no process", "no signal", "a thread"]
    assert done.stdout.strip().split(", ") == expected, done.stderr
    listening.close()


class Endless(nn.Module):
    """Never answers."""

    def forward(self, images):
        total = images.sum()
        while bool(total < 1e30) or bool(total >= 1e30):
            total = total * 1.0
        return total


def test_a_network_that_never_answers_is_given_up(confined, tmp_path, monkeypatch):
    monkeypatch.setattr("cxr_transfer.subjects.foreign_files.ANSWERING", 2.0)
    file = ForeignFile(made.write_torchscript(tmp_path / "network.pt", Endless()))
    with pytest.raises(ModelError) as refused:
        file.answer(IMAGES)
    assert "took more than 2 seconds" in refused.value.message


@pytest.mark.parametrize("message", [b"[]", b'{"facts": {"input": [-1]}, "kept_from": []}', b"x"])
def test_whatever_its_process_says_of_itself_is_looked_at(confined, monkeypatch, message):
    monkeypatch.setattr(ForeignFile, "_received", lambda *_: message)
    with pytest.raises(ModelError) as refused:
        ForeignFile(confined)
    assert refused.value.code == "bad_model"


def test_its_process_ends_with_this_one(confined, tmp_path):
    """A network that computes without an end, and a program that is killed."""
    import subprocess
    import sys
    import time

    path = made.write_torchscript(tmp_path / "network.pt", Endless())
    script = f"""
import os, threading
import numpy as np
from pathlib import Path
from cxr_transfer.subjects.foreign_files import ForeignFile
file = ForeignFile(Path({str(path)!r}))
threading.Thread(target=file.answer, args=[np.zeros((1, 1, 8, 8), np.float32)]).start()
print(file._process.pid, file._scratch, flush=True)
os.kill(os.getpid(), 9)
"""
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    number, scratch = killed.stdout.split()
    limit = time.monotonic() + 30
    command = Path(f"/proc/{number}/cmdline")
    # Ended, and not waited for by whoever inherits it: its command is empty.
    while command.exists() and command.read_bytes() and time.monotonic() < limit:
        time.sleep(0.1)
    assert time.monotonic() < limit
    assert os.listdir(scratch) == []
    os.rmdir(scratch)


def test_a_file_is_refused_where_no_process_can_be_confined(confined, monkeypatch):
    monkeypatch.setattr(
        ForeignFile, "_received", lambda *_: b'{"error": "not_confined", "why": "memory"}'
    )
    with pytest.raises(CxrError) as refused:
        ForeignFile(confined)
    assert refused.value.code == "not_confined"
    assert TRUSTED in refused.value.message
