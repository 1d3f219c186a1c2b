"""Say whether this checkout may be released: version, changelog, citation, size, a built wheel.

    python tools/check_release.py [--build DIR]

A line per point; exit code 1 when one is open. ``--build`` also builds the wheel and the source
archive into DIR (which must be absent or empty) and writes ``SHA256SUMS`` beside them. The tests
are `make check`'s affair; tag the commit ``vVERSION`` when all is done.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
MOST_BYTES = 25_000_000
"""Of a wheel, and of everything that is tracked."""


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=HOME, capture_output=True, text=True, check=True)
    return done.stdout


def version() -> str:
    text = (HOME / "src/cxr_transfer/__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    assert found
    return found[1]


def nothing_uncommitted() -> str:
    changed = git("status", "--porcelain")
    return f"not committed: {', '.join(changed.split()[1::2][:5])}" if changed else ""


def tag_is_free() -> str:
    tag = f"v{version()}"
    return f"the tag {tag} is there already; raise the version" if git("tag", "-l", tag) else ""


def version_is_semantic() -> str:
    right = re.fullmatch(r"\d+\.\d+\.\d+(rc\d+)?", version())
    return "" if right else f"expected MAJOR.MINOR.PATCH, got {version()}"


def changelog_has_a_dated_section() -> str:
    text = (HOME / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = rf"^## \[?{re.escape(version())}\]?,? - \d{{4}}-\d\d-\d\d$"
    if re.search(heading, text, re.MULTILINE):
        return ""
    return f"CHANGELOG.md has no '## {version()} - YYYY-MM-DD'"


def citation_names_the_version() -> str:
    text = (HOME / "CITATION.cff").read_text(encoding="utf-8")
    return "" if f"\nversion: {version()}\n" in text else "CITATION.cff names another version"


def classifiers_name_tested_pythons() -> str:
    project = tomllib.loads((HOME / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [one for one in project["classifiers"] if re.search(r":: 3\.\d+$", one)]
    return "" if named else "pyproject.toml names no version of Python"


def tracked_files_are_small() -> str:
    paths = git("ls-files", "-z").split("\0")
    total = sum((HOME / path).stat().st_size for path in paths if path)
    return f"{total / 1e6:.1f} MB are tracked, over 25 MB" if total > MOST_BYTES else ""


POINTS: dict[str, Callable[[], str]] = {
    "nothing is uncommitted": nothing_uncommitted,
    "the version is semantic": version_is_semantic,
    "the tag is free": tag_is_free,
    "the changelog has a dated section": changelog_has_a_dated_section,
    "the citation names the version": citation_names_the_version,
    "the classifiers name versions of Python": classifiers_name_tested_pythons,
    "what is tracked is small": tracked_files_are_small,
}


def build(folder: Path) -> str:
    """Build both archives; return what is wrong with them."""
    if folder.exists() and any(folder.iterdir()):
        return f"{folder} is not empty"
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(HOME)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return f"python -m build failed: {done.stderr.strip().splitlines()[-1:]}"
    archives = sorted(path for path in folder.iterdir() if path.suffix in (".whl", ".gz"))
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in archives]
    (folder / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    large = [path.name for path in archives if path.stat().st_size > MOST_BYTES]
    return f"over 25 MB: {', '.join(large)}" if large else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--build", type=Path, metavar="DIR", help="build the archives into DIR")
    options = parser.parse_args()
    points = dict(POINTS)
    if options.build:
        points["wheel and source archive are built"] = lambda: build(options.build)
    found = {name: check() for name, check in points.items()}
    for name, problem in found.items():
        print(f"{'open' if problem else 'done'}  {name}{f': {problem}' if problem else ''}")
    sys.exit(any(found.values()))


if __name__ == "__main__":
    main()
