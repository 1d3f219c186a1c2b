"""The page of an audit: whole in one file, readable without a picture, and the same as the JSON."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest

import cxr_transfer
import made_subjects as made
from cxr_transfer import audit
from cxr_transfer.audits.html_page import html_page
from cxr_transfer.audits.inputs import Check
from cxr_transfer.audits.reasons import figures_of, reasons
from cxr_transfer.datasets.loading import open_all
from cxr_transfer.errors import CxrError
from cxr_transfer.labels import LabelSet

SCHEMA = Path(cxr_transfer.__file__).parent / "audits" / "audit.schema.json"
FETCHES = ("src", "href", "action", "data", "poster", "srcset", "xlink:href")
VOID = {"meta", "img", "line", "circle", "link", "br"}


class Page(HTMLParser):
    """What stands in a page: its tags, its text, and what it would fetch."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words, self.fetched, self.pictures = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)
        self.fetched += [attributes[name] for name in FETCHES if name in attributes]
        if tag in ("img", "svg"):
            self.pictures.append(attributes.get("alt") or attributes.get("aria-label"))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    root = tmp_path_factory.mktemp("page")
    images = made.write_images(root / "images", each=22, sources=("a", "b"))
    (root / "theirs").mkdir()
    (root / "theirs" / "theirs.toml").write_text(made.description("theirs"))
    network = made.write_onnx(root / "theirs" / "theirs.onnx")
    cases = open_all(images, LabelSet(made.LABELS)).cases
    report = audit(network, cases, out=root / "audit", compare_with=cases[:30])
    return report, root / "audit", network, cases


def page_of(content, folder, **changes):
    checks = [Check(**check) for check in content["checks"]]
    name = changes.pop("name", "theirs")
    return html_page(name, dict(content) | changes, checks, folder / "figures")


def test_the_page_is_one_file_that_fetches_nothing(audited):
    _, folder, _, _ = audited
    text = (folder / "audit.html").read_text(encoding="utf-8")
    page = Page(text)
    assert all(target.startswith(("#", "data:image/png;base64,")) for target in page.fetched)
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|url\(|@import|<script", text)
    named = {attributes.get("id") for _, attributes in page.tags}
    assert {target[1:] for target in page.fetched if target[0] == "#"} <= named


def test_the_page_says_what_the_json_says(audited):
    report, folder, _, _ = audited
    words = " ".join(" ".join(Page((folder / "audit.html").read_text()).words).split())
    assert words.count("Research use only") == 1
    for check in report["checks"]:
        assert " ".join(check["reading"].split()) in words
        assert check["bounds"] in words
        assert check["title"] in words
    assert report["verdict"] == "fail"
    assert "do not mean that it recognises a disease" in words


def test_it_can_be_read_without_pictures_and_by_its_headings(audited):
    page = Page((audited[1] / "audit.html").read_text())
    assert page.pictures
    assert all(page.pictures)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert ("html", {"lang": "en"}) in page.tags
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")


def luminance(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    shares = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [s / 12.92 if s <= 0.03928 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_stand_out_in_the_light_and_in_the_dark(audited):
    text = (audited[1] / "audit.html").read_text()
    themes = re.findall(r":root \{ (--ground[^}]*)\}", text)
    assert len(themes) == 2
    for theme in themes:
        colours = dict(re.findall(r"--(\w+): (#\w+);", theme))
        for ground in ("ground", "panel"):
            for ink in ("text", "dim", "accent", "good", "warn", "bad"):
                light, dark = sorted(
                    (luminance(colours[name]) for name in (ground, ink)), reverse=True
                )
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (ground, ink)


def test_names_that_others_chose_are_no_markup(audited):
    report, folder, _, _ = audited
    text = page_of(report, folder, name="<script>alert(1)</script>\u202e")
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "\u202e" not in text


def test_the_reasons_are_the_worst_first(audited):
    report, _, _, _ = audited

    def check(name, verdict, hard=False):
        return Check(name, name, verdict, hard, "It is so.", "none", {})

    table = [check("a", "warn"), check("b", "fail"), check("c", "pass"), check("d", "fail", True),
             check("e", "warn"), check("f", "not done")]  # fmt: skip
    assert [reason.name for reason in reasons(table)] == ["d", "b", "a"]
    assert reasons([check("c", "pass")]) == []
    assert len(report["reasons"]) == 3


def test_the_figures_of_a_check_are_found_wherever_they_are():
    estimate = {"value": 0.5, "low": 0.4, "high": 0.6}
    measured = {"groups": [{"source": "a", "label": "x", "recall": estimate}], "n": 3,
                "none": {"value": None, "low": None, "high": None}}  # fmt: skip
    (figure,) = figures_of(measured)
    assert figure.name == "groups: a, x: recall"
    assert (figure.value, figure.low, figure.high) == (0.5, 0.4, 0.6)


def test_the_json_is_of_the_published_form(audited):
    report, folder, _, _ = audited
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    content = json.loads((folder / "audit.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(content)
    for wrong in (content | {"verdict": "good"}, content | {"checks": [{"name": "a"}]}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(schema).validate(wrong)
    assert content["schema"] == report["schema"]


def test_a_second_audit_asks_nothing_that_was_kept(audited):
    report, folder, network, cases = audited
    kept = {path.name: path.stat().st_mtime_ns for path in (folder / "scores").iterdir()}
    again = audit(network, cases, out=folder, compare_with=cases[:30])
    assert again["checks"] == report["checks"]
    assert {path.name: path.stat().st_mtime_ns for path in (folder / "scores").iterdir()} == kept
    damaged = next(iter(sorted((folder / "scores").glob("*.npy"))))
    damaged.write_bytes(b"half")
    assert audit(network, cases, out=folder, compare_with=cases[:30])["checks"] == report["checks"]
    assert damaged.stat().st_size > 100


def test_what_was_not_asked_for_is_no_check(audited):
    report, _, _, _ = audited
    names = [check["name"] for check in report["checks"]]
    assert names[:2] == ["worst_group", "operating_point"]
    assert "drift" in names
    with pytest.raises((CxrError, TypeError)):
        audit(audited[2], audited[3], compare_with="here")
