"""What the audit of dependencies says of a report; that nothing was asked is not "safe"."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "audit_dependencies.py"
CLEAN = {"name": "pillow", "version": "13.0.0", "vulns": []}
SKIPPED = {"name": "torch", "skip_reason": "not found"}
HARMED = {
    "name": "pylibjpeg-openjpeg",
    "version": "2.6.0",
    "vulns": [
        {"id": "PYSEC-2025-1", "aliases": ["CVE-2025-54874"], "fix_versions": ["2.7"]},
    ],
}


@pytest.fixture
def audit(tmp_path):
    def run(*packages, ignored=""):
        (tmp_path / "report.json").write_text(json.dumps({"dependencies": packages, "fixes": []}))
        (tmp_path / "ignored.toml").write_text(ignored)
        words = ["--report", tmp_path / "report.json", "--ignored", tmp_path / "ignored.toml"]
        done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True)
        assert not done.stderr
        return done.returncode, done.stdout

    return run


def test_nothing_known_of_every_package_is_the_only_good_answer(audit):
    assert audit(CLEAN) == (0, "report: nothing is known\n")


def test_packages_that_no_service_knows_are_not_safe(audit):
    code, said = audit(CLEAN, SKIPPED)
    assert code == 3
    assert "NOT ASKED: 1 of 2 packages: torch" in said


def test_a_known_vulnerability_is_named_with_its_remedy(audit):
    code, said = audit(CLEAN, SKIPPED, HARMED)
    assert code == 1
    assert "pylibjpeg-openjpeg 2.6.0: PYSEC-2025-1, CVE-2025-54874; mended in 2.7" in said


@pytest.mark.parametrize(("until", "code"), [("2999-01-01", 0), ("2026-01-01", 1)])
def test_what_is_passed_over_has_a_reason_and_a_day(audit, until, code):
    ignored = f'[CVE-2025-54874]\nreason = "only tests use it"\nuntil = {until}\n'
    found, said = audit(CLEAN, HARMED, ignored=ignored)
    assert found == code
    assert ("only tests use it" in said) == (code == 0)
