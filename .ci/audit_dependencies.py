"""Look for known vulnerabilities in the versions that were tested together (constraints.txt).

pip-audit asks PyPI, and where PyPI tells nothing, OSV. What is passed over stands with its reason
in advisories.toml. Exit codes: 0 nothing is known; 1 something is; 2 wrong usage; 3 no service
could be asked, or not about every package: that nothing is known then does not mean safe.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SAFE, FOUND, UNKNOWN = 0, 1, 3
SERVICES = ("pypi", "osv")


def ask(service: str, constraints: Path) -> dict[str, Any] | None:
    """Return pip-audit's report, or None where the service could not be asked."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        words = [
            "--requirement",
            str(constraints),
            "--no-deps",
            "--disable-pip",
            "--format",
            "json",
        ]
        words += ["--vulnerability-service", service, "--progress-spinner", "off"]
        subprocess.run(
            [sys.executable, "-m", "pip_audit", *words, "--output", str(report)],
            capture_output=True,
            check=False,
            timeout=600,
        )
        if not report.is_file():
            return None
        found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        return found


def judge(
    report: Mapping[str, Any], passed_over: Mapping[str, Mapping[str, Any]], today: datetime.date
) -> tuple[int, list[str]]:
    """Return an exit code and what to say of a report.

    Args:
        report: JSON of pip-audit.
        passed_over: Advisories with their reasons, as advisories.toml has them.
        today: After an advisory's day it counts again.
    """
    known, lines, unasked = False, [], []
    for package in report["dependencies"]:
        name = f"{package['name']} {package.get('version', '')}".strip()
        if "skip_reason" in package:
            unasked.append(package["name"])
            continue
        for found in package["vulns"]:
            names = [found["id"], *found.get("aliases", ())]
            reason = next((passed_over[one] for one in names if one in passed_over), None)
            told = f"{name}: {', '.join(names)}"
            if reason and reason["until"] >= today:
                lines.append(f"passed over until {reason['until']}: {told}: {reason['reason']}")
                continue
            mended = ", ".join(found["fix_versions"]) or "no version"
            lines.append(f"KNOWN: {told}; mended in {mended}")
            known = True
    if known:
        return FOUND, lines
    if unasked:
        some = ", ".join(unasked[:5]) + (", ..." if len(unasked) > 5 else "")
        lines.append(f"NOT ASKED: {len(unasked)} of {len(report['dependencies'])} packages: {some}")
        return UNKNOWN, lines
    return SAFE, lines


def main(words: Sequence[str] | None = None) -> int:
    """Audit, say what was found, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--constraints", type=Path, default=HERE.parent / "constraints.txt")
    parser.add_argument("--ignored", type=Path, default=HERE / "advisories.toml")
    parser.add_argument("--report", type=Path, help="pip-audit's JSON, instead of asking")
    given = parser.parse_args(words)
    passed_over = tomllib.loads(given.ignored.read_text(encoding="utf-8"))
    today = datetime.datetime.now(datetime.UTC).date()
    if given.report:
        reports = {"report": json.loads(given.report.read_text(encoding="utf-8"))}
    else:
        reports = {service: ask(service, given.constraints) for service in SERVICES}
    code = UNKNOWN
    for service, report in reports.items():
        if report is None:
            print(f"{service}: could not be asked")
            continue
        code, lines = judge(report, passed_over, today)
        print("\n".join(f"{service}: {line}" for line in lines) or f"{service}: nothing is known")
        if code != UNKNOWN:
            break
    if code == UNKNOWN:
        print("No advisory service could be asked about every package: nothing was shown.")
    return code


if __name__ == "__main__":
    sys.exit(main())
