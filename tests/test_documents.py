"""What the documents point to is there, and what they say can be read."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from reference_pages import pages

HOME = Path(__file__).parent.parent
DOCS = HOME / "docs"
PAGES = [*HOME.glob("*.md"), *HOME.glob("docs/**/*.md"), *HOME.glob("src/**/*.md")]
NOTEBOOKS = sorted(DOCS.glob("tutorials/*.ipynb"))
GENERATED = {DOCS / name for name in pages()}

# The log and the decisions are records, and reports are written by commands.
GUIDES = [
    HOME / "README.md",
    HOME / "CONTRIBUTING.md",
    HOME / "SECURITY.md",
    *DOCS.glob("*.md"),
    *DOCS.glob("tutorials/*.md"),
    *DOCS.glob("guides/*.md"),
    *DOCS.glob("explanation/*.md"),
    DOCS / "results/index.md",
    *NOTEBOOKS,
]
GUIDES = [page for page in GUIDES if page.name != "log.md"]
MOST_WORDS = 40
"""No sentence of a guide is longer; the house aims at 25."""


def text_of(page):
    """The page's Markdown; of a notebook, its cells of text."""
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def anchors_of(page):
    """What a link may point to on a page, as MkDocs names its headings."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {
        re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", name).strip().lower()) for name in headings
    }


def called(path):
    return path.relative_to(HOME).as_posix()


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=called)
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", text_of(page))
    absent = []
    for link in links:
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if target in GENERATED:
            continue
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            absent.append(link)
    assert absent == []


def named_in(entry):
    """The files that an entry of the navigation names."""
    if isinstance(entry, str):
        return [entry]
    inside = entry if isinstance(entry, list) else entry.values()
    return [name for one in inside for name in named_in(one)]


def linked_from(name):
    """The pages that a generated page links to."""
    links = re.findall(r"\]\(([^)#]+)\)", pages()[name])
    return {(DOCS / name).parent / link for link in links}


@pytest.mark.slow
def test_the_navigation_names_existing_pages_and_every_guide():
    # Not the whole file: its plugins are MkDocs' affair.
    settings = (HOME / "mkdocs.yml").read_text(encoding="utf-8")
    named = named_in(yaml.safe_load("nav:" + settings.partition("\nnav:")[2])["nav"])
    assert sorted(named) == sorted(set(named)), "named twice"
    for name in named:
        place = HOME / name.removeprefix("repository/") if "repository/" in name else DOCS / name
        is_there = place.exists() or place.with_suffix(".ipynb").exists() or place in GENERATED
        assert is_there, f"{name} stands in mkdocs.yml, but not in docs/"
    assert set(DOCS.glob("decisions/*.md")) == linked_from("decisions/index.md")
    guides = {called(page).removeprefix("docs/") for page in GUIDES if DOCS in page.parents}
    guides = {name.replace(".ipynb", ".md") for name in guides}
    assert guides - set(named) == set()
    assert {name for name in pages() if name.endswith(".md")} - set(named) == set()


def test_the_site_loads_nothing_from_elsewhere():
    settings = (HOME / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in settings
    assert "polyfills: [assets/iframe-worker.js]" in settings
    assert "://" not in settings


@pytest.mark.parametrize("page", GUIDES, ids=called)
def test_no_sentence_is_too_long(page):
    text = re.sub(r"^```.*?^```", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    # A cell of a table, an item of a list and a heading end as a sentence does.
    text = re.sub(r"\n\s*([*#>|]|\d+\.)", r"\n\n\1", text).replace("|", "\n\n")
    sentences = re.split(r"(?<=[.!?])[\s*)]+|\n\s*\n", text)
    words = {sentence: len(sentence.split()) for sentence in sentences}
    assert [one for one, number in words.items() if number > MOST_WORDS] == []


def test_the_readme_is_one_screen():
    text = (HOME / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 80
    assert "Research use only. Not a medical device." in text


def test_the_readmes_figures_are_those_of_the_folds():
    text = (HOME / "README.md").read_text(encoding="utf-8")
    folds = json.loads((DOCS / "results/folds.json").read_text(encoding="utf-8"))
    for name in ("model_1", "model_2", "model_3"):
        row = next(line for line in text.splitlines() if line.startswith(f"| {name.capitalize()}"))
        for statistic in ("accuracy", "f1_macro"):
            found = folds["models"][name][statistic]
            value, low, high = (100 * found[key] for key in ("value", "low", "high"))
            assert f"{value:.1f} [{low:.1f}, {high:.1f}]" in row
            assert str(folds["paper_percent"][name][statistic]) in row


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=called)
def test_a_notebook_is_small_and_holds_no_output(notebook):
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert notebook.stat().st_size < 50_000
    identifiers = [cell["id"] for cell in content["cells"]]
    assert len(set(identifiers)) == len(identifiers)
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            assert "from cxr_transfer" not in "".join(cell["source"]), "the public API alone"


def test_the_tree_of_the_package_is_the_packages():
    """Every module stands in it once, below its folder; nothing else does."""
    text = (DOCS / "explanation/package.md").read_text(encoding="utf-8")
    lines = text.partition("src/cxr_transfer/\n")[2].partition("```")[0].splitlines()
    house, folder, named = HOME / "src/cxr_transfer", "", []
    for line in lines:
        if found := re.match(r"  ([a-z]+/) ", line):
            folder = found[1]
        elif re.match(r"  [a-z]", line):
            folder = ""
        for pattern in re.findall(r"[a-z0-9_*]+\.py", line):
            paths = [path.relative_to(house).as_posix() for path in house.glob(folder + pattern)]
            assert paths, f"{folder}{pattern} stands in the tree, but not in the package"
            named += paths
    assert sorted(named) == sorted(set(named)), "named twice"
    modules = {path.relative_to(house).as_posix() for path in house.rglob("*.py")}
    passed = {name for name in modules if name.startswith(("cli/", "recipes/"))}
    passed |= {name for name in modules if name.endswith("__init__.py")}
    assert modules - passed - set(named) == set()


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="make docs installs MkDocs")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    done = subprocess.run(words, cwd=HOME, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    loaded = re.compile(r'<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)="(?:https?:)?//')
    for page in (tmp_path / "site").rglob("*.html"):
        assert not loaded.search(page.read_text(encoding="utf-8")), page
    assert (tmp_path / "site/search/search_index.js").is_file()
