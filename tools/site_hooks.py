"""What MkDocs asks while it builds the documentation: generated pages, notebooks, links outwards.

* The reference is written from the code (`reference_pages.py`) and stands in no file.
* A notebook is shown as Markdown: its text, and its code in fences. It is run by the tests.
* A page may link to a file outside ``docs/`` (a licence, a benchmark, a model card). The file comes
  to lie below ``repository/``, and the link is turned there. On a code host it works as it is.
"""

from __future__ import annotations

import json
import posixpath
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

HOME = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(HOME / "tools"), str(HOME / "src")]

from reference_pages import pages  # noqa: E402 - found only now

OUTSIDE = "repository"
ALWAYS = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add what is generated, and what pages link to outside the documentation."""
    for name, content in pages().items():
        files.append(File.generated(config, name, content=content))
    for notebook in (file for file in list(files) if file.src_uri.endswith(".ipynb")):
        text = notebook_text(Path(str(notebook.abs_src_path)).read_text(encoding="utf-8"))
        files.remove(notebook)
        name = notebook.src_uri.removesuffix(".ipynb") + ".md"
        files.append(File.generated(config, name, content=text))
    known = {_origin(file.src_uri) for file in files}
    for path in ALWAYS:
        known.add(path)
        files.append(File.generated(config, f"{OUTSIDE}/{path}", abs_src_path=str(HOME / path)))
    waiting = [file for file in files if file.src_uri.endswith(".md")]
    while waiting:
        page = waiting.pop()
        for path in sorted(_linked(page) - known):
            known.add(path)
            file = File.generated(config, f"{OUTSIDE}/{path}", abs_src_path=str(HOME / path))
            files.append(file)
            waiting += [file] if path.endswith(".md") else []
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to notebooks and out of the documentation to where these stand on the site."""
    here = page.file.src_uri

    def turned(found: re.Match[str]) -> str:
        if "://" in found[2]:
            return found[0]
        target = _target(here, found[2])
        if target.startswith("docs/"):
            place = target.removeprefix("docs/")
            place = re.sub(r"\.ipynb$", ".md", place)
        else:
            place = f"{OUTSIDE}/{target}"
        return found[1] + posixpath.relpath(place, posixpath.dirname(here) or ".") + found[3]

    return LINK.sub(turned, markdown)


def notebook_text(content: str) -> str:
    """Return a notebook as Markdown, its cells in order."""
    blocks = []
    for cell in json.loads(content)["cells"]:
        source = "".join(cell["source"]).strip()
        blocks.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    return "\n\n".join(blocks) + "\n"


def _origin(name: str) -> str:
    """Return where a page of the site stands in the repository."""
    outside = f"{OUTSIDE}/"
    return name.removeprefix(outside) if name.startswith(outside) else f"docs/{name}"


def _target(here: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(_origin(here)), link))


def _linked(page: File) -> set[str]:
    """Return the files outside the documentation that a page links to."""
    links = (found[2] for found in LINK.finditer(page.content_string))
    targets = (_target(page.src_uri, link) for link in links if "://" not in link)
    return {
        target for target in targets if not target.startswith("docs/") and (HOME / target).is_file()
    }
