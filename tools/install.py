"""Install this checkout into a virtual environment, with the versions that were tested together.

    python tools/install.py .venv [--extras dev,serve]

uv installs where it is on the path or can be had from the package index; else pip does. Both take
the indexes, folders and constraints that pip is set up with on this machine. On Linux without a
graphics card uv takes PyTorch's build for processors, where it can be had: the default index brings
several gigabytes of CUDA libraries. What an installer says is shown only when it fails. Standard
library only: nothing is installed yet.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
CONSTRAINTS = HOME / "constraints.txt"
# pip's settings under uv's names, and what stands between several values there.
OF_UV = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
}


def run(*words: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command and keep what it says."""
    return subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | settings,
    )


def program(venv: Path, name: str) -> Path:
    """Return the path of a program in a virtual environment."""
    return venv / ("Scripts" if os.name == "nt" else "bin") / name


def pip(venv: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the environment's own pip without its advice."""
    python = program(venv, "python")
    return run(
        *(python, "-m", "pip", *words),
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_ROOT_USER_ACTION="ignore",
        PIP_QUIET="0",  # A quiet pip does not even list its settings.
        PIP_NO_WARN_SCRIPT_LOCATION="1",
    )


def uv_settings(venv: Path) -> dict[str, str]:
    """Return where pip looks for packages, as uv's settings; what is set for uv itself stays."""
    found: dict[str, list[str]] = {}
    for line in pip(venv, "config", "list").stdout.splitlines():
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        if name in OF_UV:
            found.setdefault(name, []).extend(value.strip("'\"").replace("\\n", " ").split())
    settings = {}
    for name, values in found.items():
        variable, between = OF_UV[name]
        if variable not in os.environ:
            settings[variable] = between.join(dict.fromkeys(values))
    # As pip does: the best version of all indexes, not of the first that knows a package.
    return settings | {
        "UV_INDEX_STRATEGY": os.environ.get("UV_INDEX_STRATEGY", "unsafe-best-match")
    }


def find_uv(venv: Path) -> str | None:
    """Return uv's path: the machine's, else the environment's, where pip can bring it."""
    own = program(venv, "uv")
    if not own.exists() and not (there := shutil.which("uv")):
        pip(venv, "install", "--quiet", "-c", str(CONSTRAINTS), "uv")
        return str(own) if own.exists() else None
    return str(own) if own.exists() else there


def torch_build(uv: str, venv: Path, settings: dict[str, str]) -> list[str]:
    """Return uv's option for the PyTorch that fits this machine, where that build can be had."""
    if not sys.platform.startswith("linux"):
        return []
    option = ["--torch-backend", "auto"]
    words = ["pip", "install", "--dry-run", "--python", str(program(venv, "python")), *option]
    asked = run(
        *(uv, *words, "-c", CONSTRAINTS, "torch"),
        UV_HTTP_RETRIES="0",
        UV_HTTP_CONNECT_TIMEOUT="5",
        **settings,
    )
    return option if asked.returncode == 0 else []


def with_uv(venv: Path, package: str) -> subprocess.CompletedProcess[str] | None:
    """Install with uv; return how it ended, or None where there is no uv."""
    uv = find_uv(venv)
    if uv is None:
        return None
    settings = uv_settings(venv)
    build = torch_build(uv, venv, settings)
    words = ["pip", "install", "--quiet", "--python", str(program(venv, "python")), *build]
    return run(uv, *words, "-c", CONSTRAINTS, "-e", package, **settings)


def install(venv: Path, extras: str) -> None:
    """Make the environment where there is none, and install into it.

    Raises:
        SystemExit: With what the installer said, where it failed.
    """
    if not program(venv, "python").exists():
        made = run(sys.executable, "-m", "venv", venv)
        if made.returncode:
            raise SystemExit(made.stdout + made.stderr)
    package = f"{HOME}[{extras}]" if extras else str(HOME)
    done = with_uv(venv, package)
    if done is not None and done.returncode:
        print("uv failed, pip tries now; uv said:", (done.stderr or done.stdout).strip(), sep="\n")
    if done is None or done.returncode:
        done = pip(venv, "install", "--quiet", "-c", str(CONSTRAINTS), "-e", package)
    if done.returncode:
        raise SystemExit(
            f"Expected to install {package} into {venv}, but the installer failed; it said:\n"
            f"{done.stdout}{done.stderr}"
        )


def main() -> None:
    """Install, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("venv", type=Path, help="folder of the virtual environment")
    parser.add_argument("--extras", default="", help="extras of the package, with commas")
    given = parser.parse_args()
    what = f"with {given.extras}" if given.extras else "with what the study needs"
    print(f"installing cxr-transfer into {given.venv}, {what}", flush=True)
    started = time.monotonic()
    install(given.venv, given.extras)
    print(f"installed in {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
