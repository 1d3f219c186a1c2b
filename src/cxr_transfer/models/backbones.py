"""Networks of other libraries and of the user's own code, by ``LIBRARY:NAME``.

Each library is imported when a network of it is built, and not before. Where it is absent or does
not work, that is one sentence with the remedy. A name runs no code that is not installed. Code of
the user's own is imported for a recipe that the user gives. For a checkpoint, which may be somebody
else's, it is imported only where the user has said so (`TRUSTED`).
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import os
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxr_transfer.errors import MachineError, ModelError, UsageError
from cxr_transfer.extras import missing_package
from cxr_transfer.models.architecture import Architecture
from cxr_transfer.tables import nearest
from cxr_transfer.text import for_terminal

if TYPE_CHECKING:
    from torch import nn

TRUSTED = "CXR_TRUSTED_CODE"
"""Environment variable: modules of the user's own, with commas, that a checkpoint may import."""

_NAME = re.compile(r"[A-Za-z0-9_./+-]{1,200}")
_CODE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_SIZES = ("img_size", "image_size", "input_size")

_trusted_here: set[str] = set()


@dataclass(frozen=True)
class Library:
    """A library of networks.

    Attributes:
        title: Name for people.
        package: Package as it is imported.
        build: Function (name, classes, size, pretrained) that returns a network of the table.
        licence: Licence of the code and of the weights that it publishes.
    """

    title: str
    package: str
    build: Callable[[str, int, tuple[int, int], bool], nn.Sequential]
    licence: str


def backbone(name: str) -> Architecture:
    """Return the row of a network by ``LIBRARY:NAME`` or ``package.module:function``.

    Nothing is imported before the network is built.

    Args:
        name: Name as a recipe gives it.

    Raises:
        UsageError: ``bad_backbone`` for a name of another form.
    """
    prefix, _, own = name.partition(":")
    library = LIBRARIES.get(prefix)
    if library is not None:
        if not _NAME.fullmatch(own):
            raise _bad(name)

        def built(classes: int, size: tuple[int, int], epsilon: float = 0) -> nn.Sequential:
            return _from(library, own, classes, size, pretrained=False)

        def pretrained(classes: int, size: tuple[int, int]) -> nn.Sequential:
            return _from(library, own, classes, size, pretrained=True)

        return Architecture(
            f"{own} of {library.title}",
            built,
            pretrained=pretrained,
            licence=library.licence,
            library=library.package,
        )
    if not _CODE.fullmatch(name):
        raise _bad(name)

    def built_by_user(classes: int, size: tuple[int, int], epsilon: float) -> nn.Sequential:
        return _of_code(name, classes, size, epsilon)

    return Architecture(
        f"{own} of {prefix}", built_by_user, licence="the user's own", library=prefix
    )


def trust(name: str) -> None:
    """Let this process import the code of ``package.module:function``: a recipe names it."""
    _trusted_here.add(name.partition(":")[0])


def library_version(package: str) -> str:
    """Return the version of a library that is installed; "" where it tells none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _bad(name: str) -> UsageError:
    prefix = name.partition(":")[0]
    return UsageError(
        "bad_backbone",
        f"Expected a network such as {', '.join(f'{key}:NAME' for key in LIBRARIES)} or "
        f"package.module:function, but got {for_terminal(name)!r}"
        f"{nearest(prefix, list(LIBRARIES))}.",
    )


def _from(
    library: Library, name: str, classes: int, size: tuple[int, int], *, pretrained: bool
) -> nn.Sequential:
    """Build a network of a library; every way in which that fails is one sentence."""
    with _works(library.package, name):
        return library.build(name, classes, size, pretrained)


@contextlib.contextmanager
def _works(package: str, name: str) -> Iterator[None]:
    try:
        # Progress bars and notices of others would stand between our lines.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    except (UsageError, ModelError, MachineError):
        raise
    except ModuleNotFoundError as error:
        missing = missing_package(error.name, name)
        raise missing or _broken(package, name, error) from error
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        raise _broken(package, name, error) from error
    except (TypeError, ValueError, KeyError, AssertionError) as error:
        reason = for_terminal(" ".join(str(error).split()))[:300]
        raise UsageError(
            "bad_backbone",
            f"Expected a network {name!r} of {package} that can be built, but it says: {reason}.",
        ) from error


def _broken(package: str, name: str, error: Exception) -> MachineError:
    reason = for_terminal(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
    return MachineError(
        "broken_package",
        f"Expected {package} to give {name}, but it does not work here ({reason}); install the "
        "build of it that goes with the installed PyTorch, or choose another network.",
    )


def _flat(module: nn.Module, classes: int, size: tuple[int, int], **scale: Any) -> nn.Sequential:  # noqa: ANN401
    from cxr_transfer.models.adapter import flat_network

    return flat_network(module, classes, size, **scale)


def _monai(name: str, classes: int, size: tuple[int, int], pretrained: bool) -> nn.Sequential:
    nets = importlib.import_module("monai.networks.nets")
    arguments: dict[str, Any] = {}
    if name.startswith("efficientnet-"):
        arguments["model_name"], name = name, "EfficientNetBN"
    elif name == "EfficientNetBN":
        arguments["model_name"] = "efficientnet-b0"
    maker = getattr(nets, name, None)
    if maker is None or name.startswith("_") or not callable(maker):
        names = [name_there for name_there in dir(nets) if name_there[0].isalpha()]
        raise UsageError(
            "bad_backbone",
            f"Expected a network of monai.networks.nets, but got {name!r}{nearest(name, names)}.",
        )
    parameters = inspect.signature(maker).parameters
    offered = {
        "spatial_dims": 2,
        "in_channels": 3,
        "n_input_channels": 3,
        "out_channels": classes,
        "num_classes": classes,
        "classification": True,
        "patch_size": 16,
        **dict.fromkeys(_SIZES, size),
    }
    arguments |= {key: value for key, value in offered.items() if key in parameters}
    if "pretrained" in parameters:
        arguments["pretrained"] = pretrained
    elif pretrained:
        raise UsageError(
            "bad_backbone",
            f"Expected a network of MONAI with published weights, but {name} has none that it "
            'fetches by itself; take initial = "random" or "file".',
        )
    if "spatial_dims" in parameters:
        return _flat(maker(**arguments), classes, size)
    # A function that hands on what it is given: its networks call their channels one or the other.
    arguments |= {"spatial_dims": 2, "num_classes": classes}
    try:
        module = maker(**arguments, n_input_channels=3)
    except TypeError:
        module = maker(**arguments, in_channels=3)
    return _flat(module, classes, size)


def _timm(name: str, classes: int, size: tuple[int, int], pretrained: bool) -> nn.Sequential:
    timm = importlib.import_module("timm")
    if not timm.is_model(name):
        raise UsageError(
            "bad_backbone",
            f"Expected a network of timm, but got {name!r}{nearest(name, timm.list_models())}.",
        )
    arguments: dict[str, Any] = {"num_classes": classes, "in_chans": 3}
    try:
        module = timm.create_model(name, pretrained=pretrained, img_size=size, **arguments)
    except TypeError:  # a network that takes any size has no such argument
        module = timm.create_model(name, pretrained=pretrained, **arguments)
    scale = module.pretrained_cfg
    return _flat(module, classes, size, mean=scale["mean"], std=scale["std"])


def _torchvision(name: str, classes: int, size: tuple[int, int], pretrained: bool) -> nn.Sequential:
    models = importlib.import_module("torchvision.models")
    if not pretrained:
        return _flat(models.get_model(name, weights=None, num_classes=classes), classes, size)
    return _flat(with_new_head(models.get_model(name, weights="DEFAULT"), classes), classes, size)


def _xrv(name: str, classes: int, size: tuple[int, int], pretrained: bool) -> nn.Sequential:
    from torch import nn

    xrv = importlib.import_module("torchxrayvision")
    depth = next(
        (known_depth for known_depth in ("resnet50", "resnet101") if name.startswith(known_depth)),
        None,
    )
    if depth is None and not name.startswith("densenet121"):
        raise UsageError(
            "bad_backbone",
            "Expected weights of TorchXRayVision such as densenet121-res224-all or "
            f"resnet50-res512-all, but got {name!r}.",
        )
    if depth is None:
        arguments = {"weights": name} if pretrained else {"num_classes": classes}
        module = xrv.models.DenseNet(**arguments)
        # Its own thresholds and its own resizing are not the network's.
        module.op_threshs, module.apply_sigmoid = None, False
        if hasattr(module, "input_resolution"):
            del module.input_resolution
    elif pretrained:
        module = xrv.models.ResNet(weights=name).model
    else:
        module = importlib.import_module("torchvision.models").get_model(depth, weights=None)
        module.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    # Its images run from -1024 to 1024, in one channel.
    scale = {"mean": (0.5,), "std": (0.5 / 1024,)}
    return _flat(with_new_head(module, classes), classes, size, **scale)


def _hf(name: str, classes: int, size: tuple[int, int], pretrained: bool) -> nn.Sequential:
    transformers = importlib.import_module("transformers")
    folder = Path(name)
    if not (folder / "config.json").is_file():
        raise UsageError(
            "bad_backbone",
            f"Expected a local folder of transformers with a config.json, but got {name!r}; "
            "download the model into a folder first.",
        )
    # Nothing is fetched, and no code of the folder is run.
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    config = transformers.AutoConfig.from_pretrained(folder, num_labels=classes, **local)
    kind = transformers.AutoModelForImageClassification
    if pretrained:
        module = kind.from_pretrained(
            folder, config=config, ignore_mismatched_sizes=True, use_safetensors=True, **local
        )
    else:
        module = kind.from_config(config, trust_remote_code=False)
    scale = _hf_scale(folder)
    return _flat(module, classes, size, **scale)


def _hf_scale(folder: Path) -> dict[str, Any]:
    import json

    path = folder / "preprocessor_config.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    values = {key: content.get(f"image_{key}") for key in ("mean", "std")}
    return {key: tuple(value) for key, value in values.items() if isinstance(value, list)}


def with_new_head(module: nn.Module, classes: int) -> nn.Module:
    """Return a classifier of other classes with a new last linear layer."""
    from torch import nn

    linear = [
        (name, layer) for name, layer in module.named_modules() if isinstance(layer, nn.Linear)
    ]
    if not linear:
        raise ModelError(
            "no_head",
            f"Expected a network with a linear head, but {type(module).__name__} has none.",
        )
    name, head = linear[-1]
    parent, _, own = name.rpartition(".")
    setattr(module.get_submodule(parent), own, nn.Linear(head.in_features, classes))
    return module


def _of_code(name: str, classes: int, size: tuple[int, int], epsilon: float) -> nn.Sequential:
    """Build a network by a function of the user's own, or a row that it names."""
    module_name, _, attribute = name.partition(":")
    allowed = {
        trusted.strip() for trusted in os.environ.get(TRUSTED, "").split(",")
    } | _trusted_here
    if module_name not in allowed:
        raise UsageError(
            "untrusted_code",
            f"Expected to be told that the code of {module_name} may be run, since a checkpoint "
            f"names it ({name}); read it, and set {TRUSTED}={module_name}.",
        )
    try:
        maker = getattr(importlib.import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        raise MachineError(
            "missing_package",
            f"Expected the module {module_name} of your own, but Python finds no "
            f"{error.name}; install its package, or add its folder to PYTHONPATH.",
        ) from None
    except AttributeError:
        raise UsageError(
            "bad_backbone", f"Expected {attribute} in {module_name}, but there is none."
        ) from None
    except Exception as error:  # whatever code of others raises
        raise _own_fault(name, error) from error
    if isinstance(maker, Architecture):
        return maker.build(classes, size, epsilon)
    offered = {"classes": classes, "num_classes": classes, "size": size}
    try:
        parameters = inspect.signature(maker).parameters
        arguments = {key: value for key, value in offered.items() if key in parameters}
        module = maker(**arguments) if arguments else maker(classes)
    except Exception as error:  # whatever code of others raises
        raise _own_fault(name, error) from error
    from torch import nn

    if not isinstance(module, nn.Module):
        raise UsageError(
            "bad_backbone",
            f"Expected {name} to return a torch module, but got {type(module).__name__}.",
        )
    scale = {key: getattr(maker, key) for key in ("mean", "std") if hasattr(maker, key)}
    return _flat(module, classes, size, **(scale or _scale_of(module)))


def _own_fault(name: str, error: Exception) -> UsageError:
    """Return the error for code of the user's own that fails, with the place where it does."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    reason = for_terminal(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
    return UsageError(
        "bad_backbone",
        f"Expected {name} to return a network, but its code raised {reason} "
        f"({Path(place.filename).name}, line {place.lineno}); correct it.",
    )


def _scale_of(module: nn.Module) -> Mapping[str, Any]:
    """Return the scale of a module that tells none: by the channels that its first layer takes."""
    from torch import nn

    first = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    return {"mean": (0.5,), "std": (0.25,)} if first and first.in_channels == 1 else {}


LIBRARIES: dict[str, Library] = {
    "monai": Library("MONAI", "monai", _monai, "Apache-2.0; weights: as torchvision's"),
    "timm": Library("timm", "timm", _timm, "Apache-2.0; weights: as their model card says"),
    "torchvision": Library(
        "torchvision", "torchvision", _torchvision, "BSD-3-Clause; weights: ImageNet's terms"
    ),
    "xrv": Library(
        "TorchXRayVision",
        "torchxrayvision",
        _xrv,
        "Apache-2.0; weights: the terms of the collections that they were trained on",
    ),
    "hf": Library(
        "transformers", "transformers", _hf, "Apache-2.0; weights: as the folder's model card says"
    ),
}
"""Libraries of networks, by what stands before the colon."""
