"""The tutorial of a reader study: its images, its page before a real server, and its command."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from serving.asking import running
from serving.page_reader import Reader, chromium, expect

TUTORIAL = Path(__file__).parent.parent.parent / "docs/tutorials/reader-study.md"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    with chromium() as one:
        yield one


def bold(text):
    """What the tutorial tells to press, in its words."""
    return set(re.findall(r"\*\*(.+?)\*\*", text))


def read_all(browser, url, files, folder, reader, seed):
    """Sit before the page as the tutorial says; return the session that was saved."""
    sitting = Reader(browser, url, opens=None)
    page = sitting.page
    expect(page.locator("#model")).not_to_have_value("loading")
    expect(page.locator("#model-verdict")).to_be_visible()
    page.get_by_role("button", name="Reader study").click()
    page.get_by_label("Reader, a name or a code").fill(reader)
    page.get_by_label("Looked for").select_option(label="any class but normal")
    page.get_by_label("after each image").check()
    page.get_by_label("Read each image again with the answer in sight").check()
    page.get_by_label("Seed of the order").fill(str(seed))
    page.get_by_role("button", name="Start reading").click()
    page.locator("#folder-input").set_input_files(folder)
    expect(page.locator(".image")).to_have_count(len(files))
    for place in range(len(files)):
        for again, suspicion in enumerate((20 + 5 * place, 25 + 5 * place)):
            if again:
                expect(page.locator(".card[data-status]")).to_be_visible()
            expect(page.locator(".reading-form")).to_be_visible()
            label = "other_pneumonia" if suspicion > 50 else "normal"
            page.locator(f'.reading-form input[value="{label}"]').check()
            page.get_by_role("slider", name="How sure").fill(str(suspicion))
            page.get_by_role("button", name="Commit").click()
        if page.locator(".onwards").count():
            page.locator(".onwards").click()
    expect(page.locator("#summary")).to_have_text("12 of 12 read, 12 again with the answer")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save session").click()
    content = Path(download.value.path()).read_text("utf-8")
    sitting.context.close()
    assert not sitting.broken
    return download.value.suggested_filename, content


def test_the_tutorial_goes_from_the_page_to_the_figures(browser, cxr, tmp_path):
    text = TUTORIAL.read_text("utf-8")
    (tmp_path / "images.py").write_text(re.search(r"^```python\n(.*?)^```$", text, re.M | re.S)[1])
    subprocess.run([sys.executable, "images.py"], cwd=tmp_path, check=True, timeout=300)
    files = sorted((tmp_path / "study").iterdir())
    assert len(files) == 12
    assert {"Reader study", "Start reading", "Commit", "Save session"} <= bold(text)
    with running("multi_source", CXR_CACHE=str(tmp_path / "cache")) as server:
        for who, seed in (("R1", 1), ("R2", 2)):
            name, content = read_all(
                browser, server.url, files, tmp_path / "study", reader=who, seed=seed
            )
            (tmp_path / name).write_text(content)
    command = re.search(r"^cxr (readers .*)$", text, re.M)[1].split()
    done = cxr(
        *(str(tmp_path / word) if "." in word or word == "report" else word for word in command)
    )
    report = json.loads((tmp_path / "report/readers.json").read_text())
    assert (report["images"], report["positive"], report["matched_by"]) == (12, 6, "sha256")
    assert list(report["readers"]) == ["R1", "R2"]
    assert report["seen_before"] == 0
    assert report["means"]["gain"]["readers"] == 2
    assert report["model"]["images"] + report["model"]["without_score"] == 12
    assert "## The mean reader" in done.stdout
    assert (tmp_path / "report/figures/readers.png").exists()
