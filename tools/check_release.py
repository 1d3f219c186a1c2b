"""Say whether this checkout may be released: version, changelog, citation, size, docs, archives.

    python tools/check_release.py [--docs] [--build DIR]      # before the tag
    python tools/check_release.py --tagged [--verify DIR]     # after it

A line per point; exit code 1 when one is open. ``--docs`` builds the documentation. ``--build``
builds the wheel and the source archive into DIR (absent or empty) and writes ``SHA256SUMS`` beside
them; ``--verify`` compares the archives with it. ``--tagged`` asks for the tag ``vVERSION`` on this
commit, instead of a free one. The tests are `make check`'s affair.
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
    text = (HOME / "src/cxr_transfer/about.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    assert found
    return found[1]


def nothing_uncommitted() -> str:
    changed = git("status", "--porcelain")
    return f"not committed: {', '.join(changed.split()[1::2][:5])}" if changed else ""


def tag_is_free() -> str:
    tag = f"v{version()}"
    return f"the tag {tag} is there already; raise the version" if git("tag", "-l", tag) else ""


def tag_is_here() -> str:
    tag = f"v{version()}"
    if not git("tag", "-l", tag):
        return f"there is no tag {tag}"
    if git("cat-file", "-t", tag).strip() != "tag":
        return f"{tag} is not annotated; make it with git tag -a"
    is_here = git("rev-parse", f"{tag}^{{commit}}") == git("rev-parse", "HEAD")
    return "" if is_here else f"{tag} is on another commit"


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


def documentation_is_built() -> str:
    done = subprocess.run(["make", "docs"], cwd=HOME, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"make docs failed: {(done.stderr or done.stdout).strip().splitlines()[-1:]}"
    return "" if (HOME / "site/index.html").is_file() else "make docs wrote no site/index.html"


def hashes_are_right(folder: Path) -> str:
    """Compare the archives with the hashes beside them; return what is wrong."""
    sums = folder / "SHA256SUMS"
    if not sums.is_file():
        return f"there is no {sums}"
    rows = (line.split("  ", 1) for line in sums.read_text(encoding="utf-8").splitlines())
    listed = {name: digest for digest, name in rows}
    archives = {path.name: path for path in folder.iterdir() if path.suffix in (".whl", ".gz")}
    if not archives or archives.keys() != listed.keys():
        return f"expected the archives {sorted(listed)}, found {sorted(archives)}"
    wrong = [
        name
        for name, path in archives.items()
        if hashlib.sha256(path.read_bytes()).hexdigest() != listed[name]
    ]
    other = [name for name in archives if f"-{version()}" not in name]
    if wrong or other:
        return f"another hash or version: {', '.join(sorted({*wrong, *other}))}"
    return ""


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
    parser.add_argument("--docs", action="store_true", help="build the documentation")
    parser.add_argument("--tagged", action="store_true", help="ask for the tag on this commit")
    parser.add_argument("--verify", type=Path, metavar="DIR", help="compare archives with hashes")
    options = parser.parse_args()
    points = dict(POINTS)
    if options.tagged:
        del points["the tag is free"]
        points["the tag is on this commit"] = tag_is_here
    if options.docs:
        points["the documentation is built"] = documentation_is_built
    if options.verify:
        points["the archives have the hashes beside them"] = lambda: hashes_are_right(
            options.verify
        )
    if options.build:
        points["wheel and source archive are built"] = lambda: build(options.build)
    found = {name: check() for name, check in points.items()}
    for name, problem in found.items():
        print(f"{'open' if problem else 'done'}  {name}{f': {problem}' if problem else ''}")
    sys.exit(any(found.values()))


if __name__ == "__main__":
    main()
