"""Measure the first minutes with a checkout: what `make demo` installs, how long it all takes.

    python benchmarks/first_minutes.py --before 2bb0263 --out docs/results/first-minutes.json

Each state is a fresh clone; the two take turns, so that other work on the machine meets both. The
first turn begins with empty package caches of its own ("cold"), the next ones find them filled
("warm"). A page (.md) for people is written beside the numbers. ImageNet's weights are taken from
this user's cache: they are downloaded once in a life. Every turn notes the load of the machine at
its beginning and its end. ``--rounds 1`` measures cold caches alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from cxr_transfer import provenance
from cxr_transfer.files import write_json, write_text

HOME = Path(__file__).resolve().parent.parent


def size_of(folder: Path) -> int:
    """Return the bytes on disk below a folder; a file with two names counts once."""
    done = subprocess.run(["du", "-s", "-B1", folder], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def installed(clone: Path) -> int:
    """Return how many packages stand in the environment of a clone."""
    return len(list(clone.glob(".venv/lib/python*/site-packages/*.dist-info")))


def cloned(revision: str, folder: Path) -> str:
    """Clone this repository at a revision; return the commit."""
    subprocess.run(["git", "clone", "--quiet", HOME, folder], check=True)
    subprocess.run(["git", "-C", folder, "checkout", "--quiet", revision], check=True)
    done = subprocess.run(
        ["git", "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def timed(words: list[str], clone: Path, environment: dict[str, str]) -> tuple[float, float, str]:
    """Run a command to its end; return seconds, processor seconds, and what it said."""
    before = os.times()
    started = time.monotonic()
    done = subprocess.run(
        words,
        cwd=clone,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    took = time.monotonic() - started
    after = os.times()
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} in {clone} failed:\n{done.stdout[-4000:]}")
    spent = sum(after[2:4]) - sum(before[2:4])
    return took, spent, done.stdout


def steps(clone: Path) -> tuple[list[str], list[str], str]:
    """Return what `make demo` does first, what remains to be done then, and its study in words."""
    done = subprocess.run(
        ["make", "--dry-run", "demo"], cwd=clone, capture_output=True, text=True, check=True
    )
    study = next(line for line in done.stdout.splitlines() if "cxr study" in line)
    # The environment's own target: the demo's where there is one, else everything.
    target = ".venv/.demo" if "tools/install.py" in done.stdout else "install"
    return ["make", target], ["make", "demo"], study.strip()


def turn(revision: str, caches: Path, python: str) -> dict:
    """Measure one state from an empty folder to the end of its study."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        commit = cloned(revision, clone)
        environment = os.environ | {
            "PIP_CACHE_DIR": str(caches / "pip"),
            "UV_CACHE_DIR": str(caches / "uv"),
            "PYTHON": python,
        }
        environment.pop("PYTHONPATH", None)
        # make names the folder of its caller to those that it starts.
        for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
            environment.pop(name, None)
        installing, rest, study = steps(clone)
        load = [os.getloadavg()[0]]
        install_s, install_cpu_s, said = timed(installing, clone, environment)
        # Their number alone: their text names folders of this machine.
        warnings = sum("warning" in line.lower() for line in said.splitlines())
        load.append(os.getloadavg()[0])
        study_s, study_cpu_s, _ = timed(rest, clone, environment)
        load.append(os.getloadavg()[0])
        report = json.loads((clone / "runs/demo/report.json").read_text(encoding="utf-8"))
        return {
            "commit": commit,
            "install": " ".join(installing),
            "study": study,
            "install_s": round(install_s, 1),
            "study_s": round(study_s, 1),
            "demo_s": round(install_s + study_s, 1),
            "install_cpu_s": round(install_cpu_s, 1),
            "study_cpu_s": round(study_cpu_s, 1),
            "environment_bytes": size_of(clone / ".venv"),
            "packages": installed(clone),
            "installer_warnings": warnings,
            "load_average": [round(one, 2) for one in load],
            "data_hash": report["data_hash"],
            "seed": report["seed"],
            "accuracy": {
                name: [round(model["accuracy"][key], 4) for key in ("value", "low", "high")]
                for name, model in report["models"].items()
            },
        }


def seconds(value: float) -> str:
    """Write seconds as a person reads them."""
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def page(found: dict) -> str:
    """Return the page for people: a row for each turn, and the scores of the study."""
    machine = found["machine"]
    lines = [
        "# The first minutes with a checkout",
        "",
        "Written by `benchmarks/first_minutes.py`, whose head says how; numbers in",
        "[first-minutes.json](first-minutes.json). A fresh clone, then `make demo`: installation,",
        f"and the study on generated images. {found['time'][:10]}, {machine['processor']}, "
        f"{machine['cores']} cores,",
        "shared with other work: the load tells how many processes wanted the cores at the",
        "beginning, after the installation and at the end.",
        "",
        "| | caches | commit | install | study | in all | installed | packages | load |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found["turns"]:
        load = ", ".join(f"{one:.1f}" for one in row["load_average"])
        times = " | ".join(seconds(row[name]) for name in ("install_s", "study_s", "demo_s"))
        size = f"{row['environment_bytes'] / 1e9:.1f} GB"
        lines.append(
            f"| {row['state']} | {row['caches']} | `{row['commit'][:12]}` | {times} | {size} "
            f"| {row['packages']} | {load} |"
        )
    lines += [""] + ([found["note"], ""] if "note" in found else [])
    lines += [
        "The core and `[train]` alone: `benchmarks/install.py`.",
        "",
        "## What the study says",
        "",
        "Accuracy in percent on the test part of generated images, with 95 % intervals. It says",
        "that the software runs, and nothing about any disease. Images differ in size.",
        "",
        "| | study | model_0 | model_1 | model_2 | model_3 |",
        "|---|---|---|---|---|---|",
    ]
    for state, row in {row["state"]: row for row in found["turns"]}.items():
        cells = []
        for name in ("model_0", "model_1", "model_2", "model_3"):
            value, low, high = row["accuracy"].get(name, (None, None, None))
            whole = (
                f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]" if value else "left out"
            )
            cells.append(whole)
        lines.append(f"| {state} | `{row['study'].partition('cxr ')[2]}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Let the two states take turns, and write what each turn gave."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--before", default="2bb0263", help="commit to compare with")
    parser.add_argument("--after", default="HEAD", help="commit that is measured")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each; the first is cold")
    parser.add_argument("--python", default=shutil.which("python3") or "python3")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", action="store_true", help="only write the page of --out anew")
    given = parser.parse_args()
    if given.page:
        found = json.loads(given.out.read_text(encoding="utf-8"))
        write_text(given.out.with_suffix(".md"), page(found))
        return
    found = {
        "time": provenance.now(),
        "command": f"benchmarks/first_minutes.py --before {given.before} --rounds {given.rounds}",
        "commit": provenance.commit(),
        "machine": provenance.machine(),
        "turns": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        for number in range(given.rounds):
            for state in ("after", "before"):
                caches = Path(folder) / state
                row = turn(getattr(given, state), caches, given.python)
                row = {"state": state, "caches": "warm" if number else "cold"} | row
                found["turns"].append(row)
                print(json.dumps(row), flush=True)
                write_json(given.out, found)
                write_text(given.out.with_suffix(".md"), page(found))


if __name__ == "__main__":
    main()
