"""What `cxr doctor` tells: this machine."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.cli.terminal import tell

DOCTOR_EXAMPLES = "Examples:\n\ncxr doctor\n\ncxr doctor --json"


def doctor(
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON, for a report of a bug.")
    ] = False,
) -> None:
    """Print versions, devices and weights at hand; what is missing, and how to get it."""
    import shutil

    from cxr_transfer.extras import EXTRAS, installed
    from cxr_transfer.models.metadata import released_models
    from cxr_transfer.models.pretrained import describe_imagenet
    from cxr_transfer.provenance import commit, machine, versions

    here = machine()
    weights = describe_imagenet()
    rows = {
        **versions(),
        "commit": commit() or "installed package",
        "machine": f"{here['processor']}, {here['cores']} cores, {here['system']}",
        "device": _device(),
        "disk": f"{shutil.disk_usage('.').free / 1e9:.1f} GB free here",
        "ResNet-50": weights.message,
        "released": ", ".join(released_models()) or "no models came with this package",
    }
    for extra, packages in EXTRAS.items():
        there = all(map(installed, packages if extra == "train" else packages[:1]))
        rows[extra] = "installed" if there else f'missing: pip install "cxr-transfer[{extra}]"'
    if json:
        tell(json_module.dumps(rows, indent=2))
        return
    for name, value in rows.items():
        tell(f"{name:<14} {value}")
    tell(f"\n{INTENDED_USE}")


def _device() -> str:
    """Return the device that training takes by itself."""
    from cxr_transfer.extras import installed

    if not installed("torch"):
        return "cpu; training is not installed"
    from cxr_transfer.training.device import best_device

    return best_device()
