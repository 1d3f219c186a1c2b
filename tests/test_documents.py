"""What the documents point to is there."""

import re
from pathlib import Path

import pytest

HOME = Path(__file__).parent.parent
PAGES = [*HOME.glob("*.md"), *HOME.glob("docs/**/*.md"), *HOME.glob("src/**/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(HOME).as_posix())
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    ours = [link.partition("#")[0] for link in links if not link.startswith(("http", "#"))]
    absent = [link for link in ours if not (page.parent / link).exists()]
    assert absent == []


def test_the_tree_in_the_readme_is_the_packages():
    """Every module stands in it once, below its folder; nothing else does."""
    text = (HOME / "README.md").read_text(encoding="utf-8")
    lines = text.partition("src/cxr_transfer/\n")[2].partition("```")[0].splitlines()
    house, folder, named = HOME / "src/cxr_transfer", "", []
    for line in lines:
        if found := re.match(r"  ([a-z]+/) ", line):
            folder = found[1]
        elif re.match(r"  [a-z]", line):
            folder = ""
        for pattern in re.findall(r"[a-z0-9_*]+\.py", line):
            paths = [path.relative_to(house).as_posix() for path in house.glob(folder + pattern)]
            assert paths, f"{folder}{pattern} stands in the README, but not in the package"
            named += paths
    assert sorted(named) == sorted(set(named)), "named twice"
    modules = {path.relative_to(house).as_posix() for path in house.rglob("*.py")}
    passed = {name for name in modules if name.startswith(("cli/", "recipes/"))}
    passed |= {name for name in modules if name.endswith("__init__.py")}
    assert modules - passed - set(named) == set()
