"""Time an audit of 1,500 images with all checks but retraining, from the command to its page.

    python benchmarks/audit_time.py multi_source --data runs/multi_source/split.csv

DATA is the table of a training run (its ``split.csv``): all images of its test part are taken, and
as many that training saw, drawn by chance, as make 1,500. What training saw is not scored. Writes
``docs/results/audit-time.json``. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cxr_transfer.files import write_csv, write_json

RESULT = Path(__file__).resolve().parent.parent / "docs/results/audit-time.json"


def drawn(table: Path, images: int) -> list[dict[str, str]]:
    """Return the rows of the test part, and rows of the training part up to so many."""
    with table.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    for row in rows:
        row["path"] = os.path.abspath(table.parent / row["path"])
    test = [row for row in rows if row["split"] == "test"][:images]
    seen = [row for row in rows if row["split"] == "train"]
    return test + random.Random(0).sample(seen, min(images - len(test), len(seen)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1500)
    given = parser.parse_args()
    rows = drawn(given.data, given.images)
    with tempfile.TemporaryDirectory() as folder:
        table, out = Path(folder) / "images.csv", Path(folder) / "audit"
        write_csv(table, list(rows[0]), rows)
        words = ["audit", given.model, "--data", str(table), "--out", str(out)]
        started = time.monotonic()
        done = subprocess.run([sys.executable, "-m", "cxr_transfer.cli", *words], check=False)
        seconds = time.monotonic() - started
        if done.returncode not in (0, 1):
            sys.exit(done.returncode)
        audit = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    content = {
        "model": given.model,
        "images": audit["images"],
        "checks": {check["name"]: check["verdict"] for check in audit["checks"]},
        "seconds": round(seconds),
        "processor_seconds": round(used.ru_utime + used.ru_stime),
    } | {key: audit[key] for key in ("data_hash", "seed", "commit", "time", "versions", "machine")}
    write_json(RESULT, content)
    print(f"{seconds:.0f} s, {content['processor_seconds']} s of the processor")


if __name__ == "__main__":
    main()
