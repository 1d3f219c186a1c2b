"""What `cxr doctor` tells: this machine."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.cli.terminal import choice, phases, tell
from cxr_transfer.errors import UsageError

DOCTOR_EXAMPLES = (
    "Examples:\n\ncxr doctor\n\ncxr doctor --json\n\ncxr doctor --gpu-selftest --device cuda"
)


def doctor(
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON, for a report of a bug.")
    ] = False,
    gpu_selftest: Annotated[
        bool,
        typer.Option(
            "--gpu-selftest",
            help="Compare every path of the device with the processor, on generated images; a few "
            "minutes. Exit code 1 where one does not hold.",
        ),
    ] = False,
    device: Annotated[
        str, typer.Option(help="Device of --gpu-selftest: auto, cuda, mps, or cpu with itself.")
    ] = "auto",
) -> None:
    """Print versions, devices and weights at hand; what is missing, and how to get it."""
    if gpu_selftest:
        _selftest(device, json=json)
        return
    if device != "auto":
        raise UsageError(
            "unused_option",
            "Expected --gpu-selftest beside --device, but got --device alone; leave it out.",
        )
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


def _selftest(device: str, *, json: bool) -> None:
    """Compare a device with the processor, and say of each path how it came out."""
    from cxr_transfer.extras import require

    require("lightning", "trying a device")
    from cxr_transfer.studies.device_check import check_device

    choice("--device", device, ("auto", "cpu", "cuda", "mps"))
    with phases() as tell_phase:
        found = check_device(device, tell_phase)
    if json:
        tell(json_module.dumps(found, indent=2))
    else:
        tell(f"{found['device_name']}, compared with the processor:")
        for row in found["checks"]:
            apart = f"{row['difference']:.2g} apart, {row['bound']:g} allowed"
            times = f"{row['seconds']:.1f} s, beside {row['cpu_seconds']:.1f} s"
            tell(f"{'ok' if row['holds'] else 'FAILED':<7}{row['path']}: {apart}; {times}")
        tell(f"\n{INTENDED_USE}")
    if not found["holds"]:
        raise typer.Exit(1)


def _device() -> str:
    """Return the device that training takes by itself."""
    from cxr_transfer.extras import installed

    if not installed("torch"):
        return "cpu; training is not installed"
    from cxr_transfer.training.device import best_device

    return best_device()
