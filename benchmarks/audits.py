"""Audits of four models of different kinds, each by one command: what is said of other people's.

    python benchmarks/audits.py --data ../data --peers ../peers --scores runs/board/multi_source
    python benchmarks/audits.py covid-cxnet --data ../data --peers ../peers

A Keras file that others published, this package's reproduction of the paper, its default model
behind its own server, and a table of scores of networks that never met the source they are scored
in (`benchmarks/next_hospital.py`). Writes ``docs/results/audits/NAME.json`` and ``NAME.md``,
without pictures of patients, and ``docs/results/audits/index.md`` with all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.files import write_json, write_text
from cxr_transfer.statistics.intervals import Estimate

HOME = Path(__file__).resolve().parent.parent
RESULTS = HOME / "docs/results/audits"
MOST = 100
"""Images of each label in each source that are looked at at most."""


def covid_cxnet(given):
    path = given.peers / "covid-cxnet/base_model_v2.hdf5"
    own = ["--description", str(HOME / "benchmarks/audits/covid-cxnet.toml")]
    return [str(path), *own], ["../peers/covid-cxnet/base_model_v2.hdf5", *own]


def model_2(given):
    return ["model_2"], ["model_2"]


def scores(given):
    return [str(given.scores / "predictions.csv")], ["runs/board/multi_source/predictions.csv"]


@contextmanager
def served():
    """Run this package's server with its default model; give the address of its answers."""
    words = [sys.executable, "-m", "cxr_transfer.cli", "serve", "--port", "8753"]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    root = "http://127.0.0.1:8753"
    try:
        for _ in range(600):
            try:
                if httpx.get(f"{root}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        yield f"{root}/v1/predict"
    finally:
        process.terminate()
        process.wait()


AUDITS = {
    "covid-cxnet": ("COVID-CXNet's base model, as it was published", covid_cxnet),
    "model_2": ("The paper's CNN by transfer, reproduced", model_2),
    "multi_source": ("The default model, behind its own server", None),
    "left_out": ("Scores of multi_source, each in a source that was left out", scores),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="audits; default: all")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peers", type=Path, help="folder with covid-cxnet")
    parser.add_argument("--scores", type=Path, help="folder of an entry of the leaderboard")
    given = parser.parse_args()
    for name in given.names or AUDITS:
        _, words = AUDITS[name]
        if words is None:
            with served() as address:
                shown = ["http://127.0.0.1:8753/v1/predict"]
                audit(name, [address], shown, given.data)
        else:
            subject, shown = words(given)
            audit(name, subject, shown, given.data)
    write_text(RESULTS / "index.md", index())


def audit(name, subject, shown, data):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "audit"
        options = ["--most", str(MOST)]
        words = ["audit", *subject, "--data", str(data), *options, "--out", str(out)]
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "cxr_transfer.cli", *words], check=False)
        seconds = time.perf_counter() - started
        if done.returncode not in (0, 1):
            sys.exit(done.returncode)
        content = json.loads((out / "audit.json").read_text(encoding="utf-8"))
        paths = [part.replace(f"{HOME}{os.sep}", "") for part in shown]
        content["command"] = " ".join(
            ["cxr audit", *paths, "--data ../data", *options, "--out", f"runs/{name}"]
        )
        content["seconds"] = round(seconds)
        RESULTS.mkdir(parents=True, exist_ok=True)
        write_json(RESULTS / f"{name}.json", content)
        page = (out / "audit.md").read_text(encoding="utf-8", errors="surrogateescape")
        page = re.sub(r"\n\[Its surest errors\].*\n", "\n", page)  # it holds images
        page = page.replace("](figures/", f"](figures/{name}/")
        figures = RESULTS / "figures" / name
        shutil.rmtree(figures, ignore_errors=True)
        figures.mkdir(parents=True)
        for figure in ("without_the_lungs.png", "sources.png"):
            if (out / "figures" / figure).is_file() and f"{name}/{figure}" in page:
                shutil.copy(out / "figures" / figure, figures / figure)
        write_text(RESULTS / f"{name}.md", f"{page}\n```text\n{content['command']}\n```\n")


def index():
    lines = [
        "# Other people's models, audited",
        "",
        "Written by `benchmarks/audits.py`. Each audit is one command, on at most "
        f"{MOST} images of each label in each source.",
        "",
        INTENDED_USE,
        "",
        "| model | kind | verdict | AUROC | within a source, the worst | without the lungs "
        "| hard checks that fail | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, (title, _) in AUDITS.items():
        path = RESULTS / f"{name}.json"
        if not path.is_file():
            continue
        content = json.loads(path.read_text(encoding="utf-8"))
        checks = {check["name"]: check for check in content["checks"]}
        ratio = checks["occlusion"]["measured"].get("shortcut_ratio")
        within = re.search(r"AUROC of ([\d.]+ \[[\d., ]+\])", checks["within_source"]["reading"])
        hard = [
            check["title"].lower()
            for check in content["checks"]
            if check["hard"] and check["verdict"] == "fail"
        ]
        lines.append(
            f"| [{name}]({name}.md): {title} | {content['subject']['kind']} "
            f"| {content['verdict']} "
            f"| {Estimate.from_dict(content['auroc_macro']).written(2)} "
            f"| {within[1] if within else '-'} "
            f"| {f'{ratio:.2f} of it' if ratio is not None else 'not done'} "
            f"| {'; '.join(hard) or 'none'} | {content['seconds']} |"
        )
    lines += [
        "",
        "A server does not say what its model was trained on: most of these images were, so the "
        "figures of multi_source are those of images that it knows. Its audit lists as not done "
        "what it cannot tell; give a table of the training images with `--saw` where you have one.",
    ]
    first = json.loads((RESULTS / "covid-cxnet.json").read_text(encoding="utf-8"))
    lines += [
        "",
        f"Data `{first['data_hash'][:12]}`, {first['machine'].get('processor', 'this machine')}, "
        f"commit `{first['commit'][:12]}`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
