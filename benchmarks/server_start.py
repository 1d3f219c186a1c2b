"""How long until a server with several models answers with its first one, and with all of them.

    python benchmarks/server_start.py --out docs/results/server_start.json [--before SRC]

`--before` names the source folder of another version, which is started in turns with this one: a
machine that others use too then treats both alike. Conversions of the networks are in the cache, as
at every start but a machine's first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

from cxr_transfer import provenance
from cxr_transfer.export.self_test import self_test_image
from cxr_transfer.files import write_json

MODELS = ("model_3", "model_2", "multi_source")
PROGRAM = "import sys; from cxr_transfer.serving.server import serve; serve(sys.argv[1:], port=0)"
HERE = Path(__file__).resolve().parents[1] / "src"


def started(source: Path, cache: Path) -> dict[str, float]:
    """Start a server of the package in ``source``; return seconds until it answers."""
    environment = os.environ | {"PYTHONPATH": str(source), "CXR_CACHE": str(cache)}
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *MODELS], stderr=subprocess.PIPE, text=True, env=environment
    )
    seconds: dict[str, float] = {}
    try:
        assert process.stderr is not None
        port = json.loads(process.stderr.readline())["port"]
        seconds["listens"] = time.perf_counter() - begun
        # Read on: a full pipe would stop the server.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, verify=False) as client:
            image = self_test_image()
            for name, path, content in (
                ("first model answers", f"/v1/predict?model={MODELS[0]}", image),
                ("all are ready", "/readyz", None),
            ):
                kind = {"Content-Type": "image/png"}
                while True:
                    response = (
                        client.get(path)
                        if content is None
                        else client.post(path, content=content, headers=kind)
                    )
                    if response.status_code == 200:
                        break
                    time.sleep(0.1)
                seconds[name] = time.perf_counter() - begun
    finally:
        process.terminate()
        process.wait()
    return {name: round(value, 2) for name, value in seconds.items()}


def main() -> None:
    """Measure, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    sources = {"now": HERE} | ({"before": asked.before} if asked.before else {})
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in sources}
    with tempfile.TemporaryDirectory() as cache:
        for number in range(asked.rounds + 1):
            for name, source in sources.items():
                seconds = started(source, Path(cache))
                print(name, seconds, flush=True)
                if number:  # the first round fills the cache
                    runs[name].append(seconds)
    medians = {
        name: {what: statistics.median(seconds[what] for seconds in rounds) for what in rounds[0]}
        for name, rounds in runs.items()
    }
    facts = {"models": MODELS, "median_seconds": medians, "rounds": runs}
    where = {"machine": provenance.machine(), "versions": provenance.versions()}
    when = {"commit": provenance.commit(), "time": provenance.now()}
    write_json(asked.out, facts | where | when)


if __name__ == "__main__":
    main()
