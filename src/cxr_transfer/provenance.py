"""Where a result comes from: versions, commit, machine, time; stands in every artefact.

Knows nothing of users, host names or paths: those would be identifiers.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from cxr_transfer.about import __version__

_ARITHMETIC = re.compile("avx|amx|fma|f16c|sse4|asimd|neon|sve|sme(?!p)|i8mm|bf16")
_PACKAGES = ("torch", "lightning", "numpy", "scikit-learn", "scipy", "pillow")


def now() -> str:
    """Return the time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def stamp() -> str:
    """Return the time in UTC as it stands in a run folder's name."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of what computes."""
    installed = {"cxr-transfer": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            installed[package] = "not installed"
    return installed


@functools.cache
def commit() -> str:
    """Return the git commit of the running source, ``-dirty`` when changed, "" when installed."""
    here = Path(__file__).resolve().parent
    try:
        # Installed into somebody else's checkout, this file is not one of its own.
        _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
        head = _git(here, "rev-parse", "HEAD")
        # Results and notes may be unsaved while a study runs; only changed source is "dirty".
        changed = _git(here, "status", "--porcelain", "--", str(here))
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{head}-dirty" if changed else head


def short(revision: str) -> str:
    """Return a commit as it stands in a report, its ``-dirty`` kept.

    >>> short("0123456789abcdef-dirty")
    '0123456789ab-dirty'
    """
    head, dirty, _ = revision.partition("-dirty")
    return f"{head[:12]}{dirty}" if head else "of an installed package"


def _git(folder: Path, *arguments: str) -> str:
    process = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10
    )
    return process.stdout.strip()


def processor_abilities() -> tuple[str, ...]:
    """Return the instruction sets that decide the last bits, or more, of what is computed here.

    Those that Linux names; elsewhere the processor's kind.
    """
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:  # of the first core alone: hundreds take their time
                key, _, value = line.partition(":")
                if key.strip() in ("flags", "Features"):
                    return tuple(sorted(filter(_ARITHMETIC.search, set(value.split()))))
    except OSError:
        pass  # not Linux
    return (platform.machine(), platform.processor())


def machine() -> dict[str, str | int]:
    """Return what decides speed and last bits: processor, cores, system."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass  # Not Linux: the platform's own word is what there is.
    return {"processor": model, "cores": os.cpu_count() or 1, "system": platform.system()}
