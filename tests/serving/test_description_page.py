"""The description of the API as a page: whole, inert, searchable, and for everybody."""

import re
import shutil

import pytest

from cxr_transfer.serving.description_page import description_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), "")


@pytest.fixture
def browser():
    if not CHROMIUM:
        pytest.skip("Expected a browser, but found no chromium; run: apt-get install chromium.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()


def test_every_operation_and_schema_is_on_the_page_with_an_example(client):
    described = client.get("/openapi.json").json()
    text = client.get("/docs").text
    for path, methods in described["paths"].items():
        for method in methods:
            assert f"<b>{method.upper()}</b> {path.replace('/', '<wbr>/')}</h2>" in text
    for name in described["components"]["schemas"]:
        assert f'<section id="{name}"' in text
    anchors = set(re.findall(r'href="#([^"]+)"', text))
    assert anchors <= set(re.findall(r' id="([^"]+)"', text))
    assert "curl -H &quot;Authorization: Bearer $CXR_TOKEN&quot; -F files=@image.png" in text


def test_nothing_comes_from_elsewhere_and_nothing_runs_in_it(client):
    answer = client.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', answer.text)
    assert not re.findall(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", answer.text)


def test_words_of_a_description_are_inert():
    described = {
        "info": {"title": "<b>", "version": "1", "description": "<script>x</script>"},
        "tags": [{"name": "images"}],
        "paths": {},
        "components": {"schemas": {"One": {"description": "<img>", "properties": {"<i>": {}}}}},
    }
    text = description_page(described)
    for markup in ("<script>x", "<img>", "<i>", "<title><b>"):
        assert markup not in text


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_it_is_searched_and_axe_finds_nothing(browser, server, scheme):
    page = browser.new_page(color_scheme=scheme)
    problems = []
    page.on("console", lambda line: problems.append(line.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{server.url}/docs")
    assert page.locator("#get-healthz").is_visible()
    page.locator("#search").fill("heat map PNG")
    assert not page.locator("#get-healthz").is_visible()
    assert page.locator("#post-v1-images-sha256-heatmap").is_visible()
    assert " sections" in page.locator("#found").text_content()
    page.locator("#search").fill("")
    assert page.locator("#get-healthz").is_visible()
    assert problems == []
    from serving.page_reader import axe_finds_nothing

    axe_finds_nothing(page)


@pytest.mark.browser
def test_on_a_phone_nothing_is_wider_than_the_screen(browser, server):
    page = browser.new_page(viewport={"width": 360, "height": 640})
    page.goto(f"{server.url}/docs")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
