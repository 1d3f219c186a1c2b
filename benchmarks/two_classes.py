"""Run the ten commands of the tutorial on two classes as they are typed, and time each.

    python benchmarks/two_classes.py --data ../shared/data/adult --out docs/results/two-classes.json

An empty folder to a served model: the last command is timed until the server answers that it is
ready. Writes a page (.md) beside the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from cxr_transfer import provenance
from cxr_transfer.files import write_json, write_text

ROOT = Path(__file__).resolve().parent.parent
CXR = Path(sys.executable).with_name("cxr")
TUTORIAL = ROOT / "docs/tutorials/two-classes.md"
LONGEST_S = 120


def commands(data: Path) -> list[list[str]]:
    """Return the commands of the tutorial, with the folder of the images in its place."""
    lines = re.findall(r"^```sh\n(.+?)\n```$", TUTORIAL.read_text(encoding="utf-8"), re.M)
    return [shlex.split(line.replace("../data/adult", str(data.resolve()))) for line in lines]


def served(words: list[str], folder: Path) -> float:
    """Return the seconds until the server says that it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    server = subprocess.Popen([*words, "--port", str(port)], cwd=folder)
    try:
        while time.monotonic() - started < LONGEST_S:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5)
                return time.monotonic() - started
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
    finally:
        server.terminate()
        server.wait()
    raise SystemExit("the server was not ready in two minutes")


def main() -> None:
    """Run and time the commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    turns = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        load = os.getloadavg()[0]
        for words in commands(given.data):
            started = time.monotonic()
            typed = [str(CXR), *words[1:]]
            if words[1] == "serve":
                seconds, code = served(typed, folder), 0
            else:
                code = subprocess.run(typed, cwd=folder, check=False).returncode
                seconds = time.monotonic() - started
            if code not in (0, 1):
                raise SystemExit(f"{' '.join(words)} ended with {code}")
            shown = " ".join(words).replace(str(given.data.resolve()), "../data/adult")
            turns.append({"command": shown, "seconds": round(seconds, 1), "exit_code": code})
        report = json.loads((folder / "run/test/report.json").read_text())
        audit = json.loads((folder / "run/audit/audit.json").read_text())
        card = json.loads((folder / "run/checkpoint.json").read_text())
    content = {
        "time": provenance.now(),
        "command": "python benchmarks/two_classes.py --data ../shared/data/adult "
        "--out docs/results/two-classes.json",
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "load_before": load,
        "load_after": os.getloadavg()[0],
        "commands": turns,
        "seconds": round(sum(one["seconds"] for one in turns), 1),
        "data_hash": card["data"]["data_hash"],
        "seed": card["provenance"]["seed"],
        "images": card["data"]["images"],
        "accuracy": report["evaluation"]["accuracy"],
        "auroc": report["evaluation"]["auroc_macro"],
        "verdict": audit["verdict"],
        "checks": {one["title"]: one["verdict"] for one in audit["checks"]},
    }
    write_json(given.out, content)
    write_text(given.out.with_suffix(".md"), page(content))


def page(content: dict) -> str:
    """Return the page for people."""

    def estimate(one: dict) -> str:
        return f"{100 * one['value']:.1f} [{100 * one['low']:.1f}, {100 * one['high']:.1f}]"

    machine, minutes = content["machine"], content["seconds"] / 60
    lines = [
        "# Normal or pneumonia, in ten commands",
        "",
        "Written by `benchmarks/two_classes.py`: the commands of the "
        "[tutorial](../tutorials/two-classes.md) on 250 normal images and 250 labelled pneumonia "
        f"(NIH ChestX-ray14). {content['time'][:10]}, commit `{content['commit'][:12]}`, seed "
        f"{content['seed']}, data `{content['data_hash'][:12]}`, {machine['processor']}, "
        f"{machine['cores']} cores, load {content['load_before']:.1f} before and "
        f"{content['load_after']:.1f} after.",
        "",
        "| command | s | exit code |",
        "|---|---|---|",
        *(
            f"| `{one['command']}` | {one['seconds']:g} | {one['exit_code']} |"
            for one in content["commands"]
        ),
        f"| in all | {content['seconds']:g} ({minutes:.1f} min) | |",
        "",
        f"On {content['images']['test']} test images: accuracy {estimate(content['accuracy'])} %, "
        f"AUROC {estimate(content['auroc'])} %, 95 % intervals by patient. Verdict of the audit: "
        f"{content['verdict']}.",
        "",
        "| check | verdict |",
        "|---|---|",
        *(f"| {title} | {verdict} |" for title, verdict in content["checks"].items()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
