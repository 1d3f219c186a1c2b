"""A report that travels by itself: what it says of models, images and scores."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from cxr_transfer import INTENDED_USE, __version__
from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.figures.colours import GREY, INK
from cxr_transfer.figures.page import Picture, Words
from cxr_transfer.figures.report import MEANS, ReportImage, _image_pages, _summary, report_pdf

TIME = "2026-11-28T12:00:00+00:00"
MODEL = {
    "name": "multi_source",
    "title": "A fitted head",
    "weights_sha256": "0123456789abcdef" * 4,
    "audit": "fail",
    "score_scale": "calibrated (temperature 1.37)",
}
SOUND = MODEL | {"name": "other", "audit": "pass"}
ANSWER = {
    "file": "image.png",
    "status": "ok",
    "code": "",
    "message": "",
    "label": "covid19",
    "probabilities": {"normal": 0.00001, "other_pneumonia": 0.11199, "covid19": 0.888},
    "lung_share": 0.64,
    "lung_area": 0.46,
    "neighbours": [{"label": "covid19", "source": "cohen", "distance": 12.3}],
    "warnings": [],
    "unusual": False,
    "trained_on": False,
}
REFUSED = ANSWER | {
    "status": "error",
    "code": "unreadable",
    "message": "Expected an image",
    "label": None,
    "probabilities": {},
    "lung_share": None,
    "neighbours": [],
    "file": "東京 \udcff" * 60,
}
PICTURE = draw_radiograph("covid19", rng=np.random.default_rng(1))
OVERLAY = np.full((30, 30, 4), 120, np.uint8)


def image(answer=ANSWER, models=1, picture=PICTURE, overlay=OVERLAY):
    return ReportImage([answer] * models, picture, [overlay] * models)


def words(page):
    return [part for part in page.parts if isinstance(part, Words)]


def text(page):
    return " ".join(part.text for part in words(page))


def test_a_report_is_a_summary_and_a_page_for_each_image_with_words_that_can_be_selected():
    pytest.importorskip("reportlab")
    refused = image(REFUSED, picture=None, overlay=None)
    pdf = report_pdf([image(), refused], [MODEL], time=TIME, request_id="abc123")
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\s", pdf)) == 3
    assert b"/ToUnicode" in pdf
    assert b"DejaVuSans" in pdf


def test_the_summary_says_by_what_and_when_and_that_the_model_fails():
    (page,) = _summary([image(models=2), image(REFUSED, 2)], [MODEL, SOUND], TIME)
    said = text(page)
    for part in (
        TIME, __version__, MEANS, "FAILS its audit", "passes its audit", "0123456789ab",
        "calibrated (temperature 1.37)", "COVID-19 88.8", "no class: unreadable",
    ):  # fmt: skip
        assert part in said.replace("\n", " ")
    answers = [part for part in words(page) if part.text == "COVID-19 88.8"]
    assert [part.colour for part in answers] == [GREY, INK], "of the model that fails, and not"


def test_hundreds_of_images_are_listed_on_as_many_pages_as_they_need():
    pages = list(_summary([image()] * 100, [MODEL], TIME))
    assert sum(part.text == "image.png" for page in pages for part in words(page)) == 100
    assert len(pages) > 2
    assert max(part.y for page in pages for part in words(page)) < 556


@pytest.mark.parametrize("models", [[MODEL], [MODEL, SOUND], [MODEL, SOUND, SOUND]])
def test_a_page_says_all_that_is_known_and_keeps_clear_of_its_foot(models):
    long = "a warning that goes on and on " * 20
    answer = ANSWER | {"warnings": [long] * 4}
    high = np.zeros((4000, 1000), np.uint8)
    pages = list(_image_pages([image(answer, len(models), high)], models))
    assert len(pages) == (len(models) + 1) // 2
    for page in pages:
        said = text(page)
        for part in ("image.png", MEANS, "64 %", "46 %", "COVID-19 (cohen) 12.30", "<0.1"):
            assert part in said
        assert "100.0" not in said
        assert max(part.y for part in words(page)) < 556
        pictures = [part for part in page.parts if isinstance(part, Picture)]
        assert all(part.y + part.height < 556 for part in pictures)
        assert all(max(part.pixels.shape) < 1400 for part in pictures), "as paper shows, not more"
    assert sum(text(page).count("a warning that goes on") for page in pages) == 80 * len(models)


@pytest.mark.parametrize(
    ("answer", "model", "colour"),
    [
        (ANSWER, SOUND, INK),
        (ANSWER, MODEL, GREY),
        (ANSWER | {"unusual": True}, SOUND, GREY),
        (ANSWER | {"trained_on": True}, SOUND, GREY),
    ],
    ids=["sound", "audit", "unusual", "trained on"],
)
def test_a_headline_stands_out_only_where_it_may(answer, model, colour):
    (page,) = _image_pages([image(answer)], [model])
    (headline,) = (part for part in words(page) if part.text.startswith("most like"))
    assert headline.colour == colour


def test_warnings_stand_above_the_score():
    (page,) = _image_pages([image(ANSWER | {"warnings": ["black and white"]})], [SOUND])
    places = {part.text: part.y for part in words(page)}
    assert places["black and white"] < min(
        y for name, y in places.items() if name.startswith("most like")
    )


def test_an_image_that_cannot_be_read_says_why():
    (page,) = _image_pages([image(REFUSED, picture=None, overlay=None)], [MODEL])
    assert "No class: Expected an image" in text(page)
    assert not [part for part in page.parts if isinstance(part, Picture)]


def test_findings_are_named_with_their_scores():
    scores = {"lung_opacity": 0.7, "effusion": 0.2}
    answer = ANSWER | {"probabilities": scores, "findings": ["lung_opacity"], "label": "x"}
    (page,) = _image_pages([image(answer)], [SOUND])
    assert "lung opacity 70.0, of 100" in text(page)
    none = answer | {"findings": []}
    assert "no finding that the model knows" in text(next(_image_pages([image(none)], [SOUND])))


def test_every_page_bears_the_intended_use_and_its_number(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "cxr_transfer.figures.report.pages_pdf",
        lambda pages, **_: drawn.extend(pages) or b"",
    )
    report_pdf([image()] * 2, [MODEL], time=TIME, request_id="abc123")
    for number, page in enumerate(drawn, start=1):
        assert INTENDED_USE in text(page)
        assert f"page {number} of 3; {TIME}; cxr-transfer {__version__}; request abc123" in text(
            page
        )


def test_a_report_is_tagged_in_the_order_in_which_it_is_read(tmp_path):
    pdfinfo = shutil.which("pdfinfo")
    if pdfinfo is None:
        pytest.skip("no pdfinfo: make validators installs it")
    images = [image(), image(ANSWER | {"warnings": ["Take note. " * 30]})]
    path = tmp_path / "report.pdf"
    pdf = report_pdf(images, [MODEL], time=TIME, request_id="r")
    path.write_bytes(pdf)

    def said(option):
        done = subprocess.run([pdfinfo, option, path], capture_output=True, text=True, check=True)
        assert not done.stderr
        return done.stdout

    assert re.search(r"Tagged: +yes", said("-isodates"))
    lines = [line.strip() for line in said("-struct-text").splitlines()]
    assert lines[0] == "Document"
    told = [lines[at + 1].strip('"') for at, line in enumerate(lines) if line[:2] in ("H1", "H2")]
    assert told[0] == "Class scores of 2 chest radiographs"
    assert "1. image.png" in told
    assert lines.count("H1 (block)") == 1
    assert len([line for line in lines if line.startswith("Figure")]) == 4  # two on each page
    # Lines below each other are one paragraph, and no word is lost.
    whole = " ".join(lines).replace('"', "")
    assert "Take note. Take note." in whole
    assert whole.count("Take note.") == 30
    assert whole.count(INTENDED_USE[:30]) == 3
    assert pdf.count(b"/Alt (The chest radiograph") == 4


def test_every_font_of_a_report_is_embedded(tmp_path):
    pdffonts = shutil.which("pdffonts")
    if pdffonts is None:
        pytest.skip("no pdffonts: make validators installs it")
    path = tmp_path / "report.pdf"
    path.write_bytes(report_pdf([image()], [MODEL], time=TIME, request_id="r"))
    done = subprocess.run([pdffonts, path], capture_output=True, text=True, check=True)
    fonts = [line.split() for line in done.stdout.splitlines()[2:]]
    assert fonts
    assert {(font[0].partition("+")[2], font[-5]) for font in fonts} == {
        ("DejaVuSans", "yes"),
        ("DejaVuSans-Bold", "yes"),
    }


def test_the_same_report_is_the_same_bytes():
    one, two = (
        report_pdf([image()], [MODEL], time=TIME, request_id="r", undated=True) for _ in range(2)
    )
    assert one == two
