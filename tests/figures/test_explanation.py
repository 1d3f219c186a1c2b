"""What a person sees of an explanation: all of it there, in its place, nothing cut off."""

import io
import os
import re

import numpy as np
import pytest
from PIL import Image

from cxr_transfer import INTENDED_USE
from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.figures import explanation
from cxr_transfer.figures.colours import BARS, PALETTE
from cxr_transfer.figures.page import Bar, Picture, Words, page_png, pixel_box, width_of

SCORES = {"normal": 0.012, "bacterial": 0.1, "covid19": 0.888}
LINES = (
    "Heat map",
    "64 % of it lies in the outlined lungs, which are 46 % of the image",
    "",
    "Nearest training images",
    "covid19 (cohen), distance 12.3",
    "bacterial (kermany), distance 13.2",
)


def given(radiograph=None, heat=None, lungs=None, lines=LINES, label="covid19"):
    radiograph = (
        draw_radiograph("covid19", rng=np.random.default_rng(1))
        if radiograph is None
        else radiograph
    )
    if heat is None:
        heat = np.zeros((48, 48), np.float32)
        heat[30:, :12] = 1
    if lungs is None:
        lungs = np.zeros((48, 48), bool)
        lungs[10:40, 5:43] = True
    return (radiograph, heat, lungs, SCORES, label), {"lines": lines, "title": "model_3"}


def page_of(**changed):
    arguments, named = given(**changed)
    return explanation.sheet_page(*arguments, **named)


def words(page):
    return [part for part in page.parts if isinstance(part, Words)]


def pictures(page):
    return [part for part in page.parts if isinstance(part, Picture)]


def test_a_sheet_is_a_whole_png_that_says_what_it_is_for(tmp_path):
    arguments, named = given()
    explanation.explanation_sheet(tmp_path / "maps" / "image.png", *arguments, **named)
    with Image.open(tmp_path / "maps" / "image.png") as image:
        image.load()
        assert image.format == "PNG"
        assert image.info["Software"] == "cxr-transfer"
    assert os.listdir(tmp_path / "maps") == ["image.png"]
    assert INTENDED_USE in [part.text for part in words(page_of())]


def test_the_map_lies_over_the_image_clear_where_it_is_low():
    radiograph = draw_radiograph("normal", rng=np.random.default_rng(2), pixels=300)
    beside, below, over = pictures(page_of(radiograph=radiograph))[:3]
    assert np.array_equal(beside.pixels, radiograph)
    assert np.array_equal(below.pixels, radiograph)
    assert pixel_box(below) == pixel_box(over)  # stretched over all of it, as the image was
    height, width = over.pixels.shape[:2]
    alpha = over.pixels[..., 3]
    lungs = (over.pixels == [*bytes.fromhex(PALETTE[5][1:]), 255]).all(axis=2)
    assert alpha[: height // 2][~lungs[: height // 2]].max() == 0
    assert 120 < alpha[int(0.9 * height), int(0.05 * width)] < 255
    rows, columns = np.nonzero(lungs)
    assert (columns.min(), rows.min()) == pytest.approx((width * 5 / 48, height * 10 / 48), abs=9)
    assert (columns.max(), rows.max()) == pytest.approx((width * 43 / 48, height * 40 / 48), abs=9)
    assert not lungs[height // 2, width // 2]


def test_what_is_drawn_is_the_image_and_its_map():
    radiograph = draw_radiograph("normal", rng=np.random.default_rng(2), pixels=300)
    page = page_of(radiograph=radiograph, lungs=np.zeros((9, 9), bool))
    drawn = np.asarray(Image.open(io.BytesIO(page_png(page))).convert("RGB")).astype(int)
    left, top, right, bottom = pixel_box(pictures(page)[0])
    expected = np.asarray(
        Image.fromarray(radiograph).resize((right - left, bottom - top), 2)
    ).astype(int)
    assert np.abs(drawn[top:bottom, left:right] - expected[..., None]).max() <= 1
    left, top, right, bottom = pixel_box(pictures(page)[2])
    red = drawn[top:bottom, left:right, 0] - drawn[top:bottom, left:right, 2]
    assert red[-20:, :50].min() > 50  # the map is yellow where it is highest
    assert np.abs(red[: (bottom - top) // 2]).max() <= 1


def test_an_image_of_fractions_is_drawn_as_one_of_bytes():
    radiograph = draw_radiograph("normal", rng=np.random.default_rng(2))
    one, other = (
        pictures(page_of(radiograph=each))[0]
        for each in (radiograph, radiograph.astype(np.float32) / 255)
    )
    assert np.array_equal(one.pixels, other.pixels)


def test_scores_and_lines_are_written_the_class_of_the_map_darkest():
    page = page_of(label="bacterial")
    bars = [part for part in page.parts if isinstance(part, Bar) and part.height == 11]
    reach = bars[2].width / 0.888
    assert [bar.width for bar in bars] == pytest.approx(
        [score * reach for score in SCORES.values()]
    )
    assert [bar.colour for bar in bars] == [BARS[0], PALETTE[0], BARS[0]]
    texts = [part.text for part in words(page)]
    assert [text for text in texts if re.fullmatch(r"\d+\.\d", text)] == ["1.2", "10.0", "88.8"]
    for name, bar in zip(SCORES, bars, strict=True):
        (written,) = [part for part in words(page) if part.text == name]
        assert bar.y < written.y < bar.y + bar.height
    said = [part for part in words(page) if part.size == 9.5]
    assert " ".join(part.text for part in said) == " ".join(LINES)
    assert [part.text for part in said if part.bold] == ["Heat map", "Nearest training images"]


@pytest.mark.parametrize("shape", [(300, 200), (200, 700), (2000, 20)])
def test_nothing_is_cut_off_however_long_the_image_and_the_lines(shape):
    page = page_of(
        radiograph=np.zeros(shape, np.float32),
        lines=[*LINES, "", "Take note", *["as long as a warning " * 6] * 3, "x" * 500],
        label="covid19",
    )
    footer = next(part for part in words(page) if part.text == INTENDED_USE)
    for part in page.parts:
        if part is footer:
            continue
        if isinstance(part, Words):
            reach = width_of(part.text, part.size, bold=part.bold)
            assert (part.x - reach if part.right else part.x) >= 0
            assert (part.x if part.right else part.x + reach) <= page.width
            assert part.y < footer.y - footer.size
        else:
            assert part.x + part.width <= page.width
            assert part.y + part.height < footer.y - footer.size


@pytest.mark.parametrize("mask", [np.zeros((9, 9), bool), np.ones((9, 9), bool)])
def test_an_empty_map_and_no_lungs_or_nothing_else_are_drawn_too(mask):
    page = page_of(heat=np.zeros((48, 48), np.float32), lungs=mask, lines=["Heat map"])
    assert not pictures(page)[2].pixels[..., 3].any()
    assert "outline" not in " ".join(part.text for part in words(page))
    assert len(page_png(page)) > 1000
