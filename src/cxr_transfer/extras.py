"""What the core does without: packages of the extras, and what is said where one is missing.

The core predicts, explains and (with ``[serve]``) serves. Whatever else is asked of it names the
package that is not there and the extra that brings it.
"""

from __future__ import annotations

import importlib.util

from cxr_transfer.errors import MachineError

EXTRAS: dict[str, tuple[str, ...]] = {
    "train": (
        "torch",
        "lightning",
        "sklearn",
        "scipy",
        "matplotlib",
        "imagehash",
        "jinja2",
        "threadpoolctl",
        "tomli_w",
    ),
    "serve": (
        "fastapi",
        "h11",
        "multipart",
        "prometheus_client",
        "python_multipart",
        "reportlab",
        "starlette",
        "uvicorn",
    ),
    "pacs": ("pynetdicom", "cryptography", "dicomweb_client", "highdicom"),
    "parquet": ("pyarrow",),
    "cluster": ("ray",),
    "s3": ("s3fs", "fsspec"),
    "gs": ("gcsfs",),
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "int8": ("nncf",),
    "keras-weights": ("h5py",),
    "keras": ("keras",),
    "http": ("httpx",),
    "tables": ("pandas",),
    "report": ("docx",),
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
    "monai": ("monai", "einops"),
    "timm": ("timm",),
    "torchvision": ("torchvision",),
    "xrv": ("torchxrayvision",),
    "hf": ("transformers",),
}
"""By extra: the packages that it brings, as they are imported; the first stands for it."""


def installed(package: str) -> bool:
    """Tell whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


def missing_package(package: str | None, purpose: str = "this") -> MachineError | None:
    """Return the error for a package that is not installed; None where no extra brings it.

    Args:
        package: Package, or one of its modules, as Python names what it did not find.
        purpose: Purpose for which it is needed.

    >>> missing_package("torch.nn", "training").message
    "Expected torch for training, but it is not installed: pip install 'cxr-transfer[train]'."
    >>> missing_package("cxr_transfer.other") is None
    True
    """
    name = (package or "").partition(".")[0]
    for extra, packages in EXTRAS.items():
        if name in packages:
            return MachineError(
                "missing_package",
                f"Expected {name} for {purpose}, but it is not installed: "
                f"pip install 'cxr-transfer[{extra}]'.",
            )
    return None


def require(package: str, purpose: str) -> None:
    """Refuse to go on without a package.

    Args:
        package: Package as it is imported.
        purpose: Purpose for which it is needed.

    Raises:
        MachineError: ``missing_package``.
    """
    if not installed(package):
        raise missing_package(package, purpose) or ModuleNotFoundError(package, name=package)
