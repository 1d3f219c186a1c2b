"""Measure what an install brings: sizes of the archives and of environments, and the time.

    python benchmarks/install.py --out docs/results/install.json

The wheel and the source archive are built of this checkout, and the wheel is installed into empty
environments: the core, ``[serve]`` and ``[train]``, with pip and, where it can be had, with uv.
Each installer is asked twice: first with an empty cache of its own, then again with what that left.
The time depends on the package index that is asked, the size does not. No address is recorded. The
versions are those of constraints.txt.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cxr_transfer import provenance
from cxr_transfer.files import write_json

HOME = Path(__file__).resolve().parent.parent
EXTRAS = ("", "[serve]", "[train]")
HEAVY = ("torch", "lightning", "matplotlib", "sklearn", "scipy")
UV = "uv>=0.9"


def run(*words: object, **environment: str) -> float:
    """Run a command; return the seconds that it took."""
    started = time.perf_counter()
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        | environment,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{words[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - started


def size_of(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def built(folder: Path) -> tuple[Path, dict[str, int]]:
    """Build both archives; return the wheel, and the size of each in bytes."""
    tools = folder / "tools"
    run(sys.executable, "-m", "venv", tools)
    run(tools / "bin/pip", "install", "--quiet", "build>=1.3")
    run(tools / "bin/python", "-m", "build", "--outdir", folder / "dist", HOME)
    (wheel,) = (folder / "dist").glob("*.whl")
    (source,) = (folder / "dist").glob("*.tar.gz")
    return wheel, {"wheel": wheel.stat().st_size, "source_archive": source.stat().st_size}


def installed(installer: str, uv: Path | None, wheel: Path, extra: str, folder: Path) -> dict:
    """Install into an empty environment, twice; return sizes and seconds."""
    cache = folder / "cache"
    seconds: dict[str, float] = {}
    for turn in ("empty_cache", "full_cache"):
        environment = folder / "environment"
        shutil.rmtree(environment, ignore_errors=True)
        python = environment / "bin/python"
        wanted = (
            "--constraint",
            HOME / "constraints.txt",
            f"cxr-transfer{extra} @ {wheel.as_uri()}",
        )
        started = time.perf_counter()
        if uv:
            run(uv, "venv", "--quiet", "--python", sys.executable, environment)
            run(
                uv,
                "pip",
                "install",
                "--quiet",
                "--python",
                python,
                *wanted,
                UV_CACHE_DIR=str(cache),
            )
        else:
            run(sys.executable, "-m", "venv", environment)
            run(python, "-m", "pip", "install", "--quiet", *wanted, PIP_CACHE_DIR=str(cache))
        seconds[turn] = round(time.perf_counter() - started, 1)
    (packages,) = environment.glob("lib/python*/site-packages")
    script = f"import importlib.util as u; print(*[n for n in {HEAVY} if u.find_spec(n)])"
    heavy = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True)
    return {
        "installer": installer,
        "extra": extra,
        "bytes": size_of(environment),
        "distributions": len(list(packages.glob("*.dist-info"))),
        "heavy": heavy.stdout.split(),
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--extras", default=",".join(EXTRAS), help="such as ,[serve],[train]")
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    commit = provenance.commit()  # before the archives are built
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel, archives = built(folder)
        installers: dict[str, Path | None] = {"pip": None}
        try:
            run(folder / "tools/bin/pip", "install", "--quiet", UV)
            installers["uv"] = folder / "tools/bin/uv"
        except SystemExit as error:
            print(f"without uv: {error}", file=sys.stderr)
        for extra in options.extras.split(","):
            for installer, uv in installers.items():
                place = folder / f"{installer}{extra}"
                place.mkdir()
                found.append(installed(installer, uv, wheel, extra, place))
                shutil.rmtree(place)
                print(json.dumps(found[-1]))
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=HOME, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    content = {
        "command": f"python benchmarks/install.py --extras {options.extras}",
        "date": provenance.now(),
        "commit": commit,
        "machine": provenance.machine(),
        "python": sys.version.split()[0],
        "bytes": archives
        | {"tracked": sum((HOME / path).lstat().st_size for path in tracked if path)},
        "installs": found,
    }
    print(json.dumps(content["bytes"]))
    if options.out:
        write_json(options.out, content)


if __name__ == "__main__":
    main()
