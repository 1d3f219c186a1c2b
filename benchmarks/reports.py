"""How much of each checklist is filled for a run of `cxr study`.

    python benchmarks/reports.py

Runs a tiny study on generated images (Model_1, two epochs), fills every checklist for its model,
and writes ``docs/results/reports.json``; with ``--audit`` also what an evaluation and an audit of
the same model add. No figure of the model means anything: what counts is which items have evidence.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from cxr_transfer import provenance
from cxr_transfer.files import write_json
from cxr_transfer.reports.checklists import CHECKLISTS
from cxr_transfer.reports.writing import Given, write_report

OUT = Path(__file__).parent.parent / "docs" / "results" / "reports.json"
STUDY = ("study", "--data", "phantom", "--models", "model_1", "--max-epochs", "2")


def cxr(*arguments, codes=(0,)):
    done = subprocess.run([sys.executable, "-m", "cxr_transfer.cli", *map(str, arguments)])
    if done.returncode not in codes:
        raise SystemExit(f"cxr {arguments[0]} ended with {done.returncode}")


def filled(given, folder):
    """Counts of every checklist, and the items of software that stay open."""
    rows = {}
    for kind in CHECKLISTS:
        content = write_report(kind, given, folder)
        open_items = [
            item["number"]
            for item in content["items"]
            if item["software_can_know"] and item["status"] != "filled"
        ]
        rows[kind] = {
            "items": len(content["items"]),
            "counts": content["counts"],
            "software": content["software"],
            "open": open_items,
        }
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--study", type=Path, help="A study of that command that stands there.")
    parser.add_argument("--audit", action="store_true", help="Also evaluate and audit its model.")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        study = chosen.study or Path(home) / "study"
        if chosen.study is None:
            cxr(*STUDY, "--out", study)
        run = study / "model_1"
        content = {"command": f"cxr {' '.join(STUDY)}", "study": filled(Given(run), Path(home))}
        if chosen.audit:
            evaluation, audit = Path(home) / "evaluation", Path(home) / "audit"
            cxr("evaluate", run, "--data", run / "split.csv", "--out", evaluation)
            # Exit code 1: a hard check failed, as it does on generated images.
            cxr("audit", run, "--data", study / "phantom", "--out", audit, codes=(0, 1))
            given = Given(run, evaluation / "report.json", audit / "audit.json")
            content["study_evaluation_and_audit"] = filled(given, Path(home))
    content |= {
        "time": provenance.now(),
        "commit": provenance.commit(),
        "versions": provenance.versions(),
    }
    write_json(chosen.out, content)


if __name__ == "__main__":
    main()
