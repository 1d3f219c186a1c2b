"""Any classifier becomes a network of the table: a flat sequence that ends with a linear head.

In comes a module that takes images (N, 1 or 3, H, W) and gives a score per class. Its head is its
last linear layer of so many outputs; what stands before it is the body. Where the module's
children, one after the other, give what the module gives, the body is their flat sequence: parts of
it can be frozen and computed once, and a heat map is exact. Where they do not (branches between
children), the body is one child. Knows no library by name.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from cxr_transfer.errors import ModelError
from cxr_transfer.text import for_terminal

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""RGB values in [0, 1] by which torchvision, timm and MONAI standardise images for ImageNet."""


class Standardise(nn.Module):
    """Grey images (N, 1, H, W) in 0..255, of any dtype, to what a network's weights expect.

    Args:
        mean: Mean of each channel, in [0, 1].
        std: Standard deviation of each channel, in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        # Constants of the network, not weights: they have no place in a checkpoint.
        for name, values in (("mean", mean), ("std", std)):
            tensor = torch.tensor([float(value) for value in values]).view(1, -1, 1, 1)
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, channels, H, W) float32: the grey image in each channel, standardised."""
        grey = images.to(torch.float32) / 255
        standardised: Tensor = (grey.expand(-1, self.mean.shape[1], -1, -1) - self.mean) / self.std
        return standardised.contiguous(memory_format=torch.channels_last)


class Features(nn.Module):
    """Features of a module without its head, (N, F), however it wraps its output."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, F) for (N, channels, H, W)."""
        return first_tensor(self.module(images)).flatten(1)


def first_tensor(output: object) -> Tensor:
    """Return the tensor of a network's output: itself, its ``logits``, or the first of several."""
    if isinstance(output, Tensor):
        return output
    logits = getattr(output, "logits", None)
    if isinstance(logits, Tensor):
        return logits
    if isinstance(output, tuple | list) and output:
        return first_tensor(output[0])
    raise ModelError(
        "no_head",
        f"Expected a network that gives a tensor of scores, but got {type(output).__name__}; "
        "return the scores alone.",
    )


def flat_network(
    module: nn.Module,
    classes: int,
    size: tuple[int, int],
    *,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> nn.Sequential:
    """Return a classifier as a network of the table.

    Args:
        module: Classifier with ``classes`` outputs. A flat sequence from ``scale`` to ``head`` is
            returned as it is.
        classes: Number of classes.
        size: Height and width of the images.
        mean: Mean of each channel that the weights expect, in [0, 1]; as many as the network has
            channels.
        std: Standard deviation of each channel.

    Raises:
        ModelError: ``no_head`` where the module has no linear layer of so many outputs that gives
            its scores; ``bad_network`` where it does not take the images.
    """
    names = [name for name, _ in module.named_children()]
    if isinstance(module, nn.Sequential) and names[:1] == ["scale"] and names[-1:] == ["head"]:
        return module
    head_name = _head_name(module, classes)
    head = module.get_submodule(head_name)
    scale = Standardise(mean, std)
    was_training = module.training
    module.eval()
    images = torch.rand((2, 1, *size), generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad(), refused_by_network(size):
        expected = first_tensor(module(scale(images)))
        body = _sequence(module, head_name, scale(images), expected)
        if body is None:
            _replace(module, head_name, nn.Identity())
            body = OrderedDict[str, nn.Module](body=Features(module))
            if not torch.allclose(head(body["body"](scale(images))), expected, atol=1e-4):
                raise ModelError(
                    "no_head",
                    f"Expected the last linear layer of {type(module).__name__} to give its scores,"
                    f" but {head_name} does not; return what it gives, unchanged.",
                )
    network = nn.Sequential(OrderedDict(scale=scale, **body, head=head)).train(was_training)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@contextmanager
def refused_by_network(size: tuple[int, int]) -> Iterator[None]:
    """Say in one sentence what a network of others says of images that it does not take.

    Raises:
        ModelError: ``bad_network``.
    """
    try:
        yield
    except (RuntimeError, ValueError, TypeError, AssertionError, IndexError) as error:
        reason = for_terminal(" ".join(str(error).split()))[:300]
        raise ModelError(
            "bad_network",
            f"Expected a network that takes images of {size[0]} x {size[1]} pixels, but it says: "
            f"{reason}; choose another input size or network.",
        ) from None


def check_network(network: nn.Sequential, classes: int, size: tuple[int, int]) -> None:
    """Refuse a network that does not take the images, or whose head is not what gives its scores.

    Raises:
        ModelError: ``no_head``, ``bad_network`` with what the network itself said.
    """
    images = torch.zeros((2, 1, *size), dtype=torch.uint8)
    network.eval()
    with torch.no_grad(), refused_by_network(size):
        logits = network(images)
    if tuple(logits.shape) != (2, classes):
        raise ModelError(
            "no_head",
            f"Expected scores of {classes} classes for each of 2 images, but got "
            f"{tuple(logits.shape)}; the last layer is to be linear.",
        )


def _head_name(module: nn.Module, classes: int) -> str:
    fitting: list[str] = [
        name
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and layer.out_features == classes and name
    ]
    if not fitting:
        raise ModelError(
            "no_head",
            f"Expected a network whose last layer is linear with {classes} outputs, but "
            f"{type(module).__name__} has none; give it one.",
        )
    return fitting[-1]


def _replace(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(module.get_submodule(parent), own, layer)


def _sequence(
    module: nn.Module, head_name: str, scaled: Tensor, expected: Tensor
) -> OrderedDict[str, nn.Module] | None:
    """Return the body's children in order where they give what the module gives; else None.

    Args:
        module: Classifier in inference mode.
        head_name: Path of the module's head.
        scaled: Images as the module takes them.
        expected: Scores that it gives them.
    """
    children = list(_children(module))
    if len(children) < 2 or children[-1][0] != head_name:
        return None
    before, head = children[:-1], children[-1][1]
    for ending in _endings(before):
        activations, outputs = scaled, []
        try:
            for _, layer in ending:
                activations = layer.eval()(activations)
                outputs.append(activations)
            scores = head(activations)
        except (RuntimeError, TypeError, ValueError, AttributeError, IndexError):
            continue  # these layers do not fit together
        if activations.ndim == 2 and _same(scores, expected):
            return _named(ending, outputs)
    return None


def _named(
    layers: list[tuple[str, nn.Module]], outputs: list[Tensor]
) -> OrderedDict[str, nn.Module]:
    """Return layers by names, the mean over places as ``avg_pool`` where that is all that follows.

    Args:
        layers: Layers of the body, in order.
        outputs: Output of each layer for some images; the last are the features.
    """
    at_places = [
        row
        for row, output in enumerate(outputs)
        if output.ndim == 4 and output.shape[2] * output.shape[3] > 1
    ]
    last = max(at_places, default=-1)
    if last >= 0 and _same(outputs[last].mean((2, 3)), outputs[-1]):
        dropouts = [layer for layer in layers[last + 1 :] if isinstance(layer[1], nn.Dropout)]
        layers = [*layers[: last + 1], ("avg_pool", _mean()), *dropouts]
    names: OrderedDict[str, nn.Module] = OrderedDict()
    for row, (path, layer) in enumerate(layers):
        name = path.strip("_").replace(".", "_")
        # Heat maps take the child before one of these for the last that has places.
        if name in ("avg_pool", "flatten") and row != last + 1:
            name = f"{name}_of_vector"
        names[name] = layer
    return names


def _same(tensor: Tensor, other: Tensor) -> bool:
    return tensor.shape == other.shape and torch.allclose(tensor, other, atol=1e-5)


def _mean() -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1))


def _children(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the module's children in the order in which they are registered, sequences opened."""
    for name, child in module.named_children():
        inner = f"{path}.{name}" if path else name
        if type(child) is nn.Sequential:
            yield from _children(child, inner)
        elif not isinstance(child, nn.Identity):
            yield inner, child


def _endings(
    layers: list[tuple[str, nn.Module]],
) -> Iterator[list[tuple[str, nn.Module]]]:
    """Yield the layers with each ending that a forward function may have given them unsaid."""
    dropouts: list[tuple[str, nn.Module]] = []
    trunk = list(layers)
    while trunk and isinstance(trunk[-1][1], nn.Dropout):
        dropouts.insert(0, trunk.pop())
    while trunk and isinstance(trunk[-1][1], nn.Flatten | nn.AdaptiveAvgPool2d):
        trunk.pop()
    yield layers
    yield [*trunk, ("avg_pool", _mean()), *dropouts]
    yield [*trunk, ("last_relu", nn.ReLU()), ("avg_pool", _mean()), *dropouts]
    first_dense = next(
        (row for row, (_, layer) in enumerate(layers) if isinstance(layer, nn.Linear)), len(layers)
    )
    flatten = ("flatten", nn.Flatten(1))
    before = [layer for layer in layers[:first_dense] if not isinstance(layer[1], nn.Flatten)]
    yield [*before, flatten, *layers[first_dense:]]


def places_of(network: nn.Sequential) -> str:
    """Return the child before a mean over all places behind which only the head follows; or ""."""
    children = list(network.named_children())
    names = [name for name, layer in children if not isinstance(layer, nn.Dropout)]
    if names[-2:] != ["avg_pool", "head"] or len(names) < 4:
        return ""
    pool = network.get_submodule("avg_pool")
    layers = list(pool.children()) if isinstance(pool, nn.Sequential) else [pool]
    is_mean = isinstance(layers[0], nn.AdaptiveAvgPool2d) and layers[0].output_size in (1, (1, 1))
    return names[-3] if is_mean else ""
