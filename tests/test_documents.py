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
