import os

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from PIL import Image

from cxr_transfer import INTENDED_USE
from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.figures import canvas, explanation

SCORES = {"normal": 0.012, "bacterial": 0.1, "covid19": 0.888}
LINES = (
    "Heat map",
    "64 % of it lies in the outlined lungs, which are 46 % of the image",
    "",
    "Nearest training images",
    "covid19 (cohen), distance 12.3",
    "bacterial (kermany), distance 13.2",
)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were made, to look inside."""
    made = []

    class Recorded(canvas.Figure):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(canvas, "Figure", Recorded)
    return made


def draw(path, radiograph=None, heat=None, lungs=None, lines=LINES, label="covid19"):
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
    explanation.explanation_sheet(
        path, radiograph, heat, lungs, SCORES, label, lines=lines, title="model_3"
    )


def panels(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def test_a_sheet_is_a_whole_png_that_says_what_it_is_for(tmp_path, drawn):
    draw(tmp_path / "maps" / "image.png")
    with Image.open(tmp_path / "maps" / "image.png") as image:
        image.load()
        assert image.format == "PNG"
    assert os.listdir(tmp_path / "maps") == ["image.png"]
    assert INTENDED_USE in [text.get_text() for text in drawn[0].texts]


def test_the_map_lies_over_the_image_clear_where_it_is_low(tmp_path, drawn):
    radiograph = draw_radiograph("normal", rng=np.random.default_rng(2), pixels=300)
    draw(tmp_path / "f.png", radiograph)
    found = panels(drawn[0])
    (below,) = found["the image"].images
    under, over = found["where the score of covid19 is from"].images
    assert np.array_equal(below.get_array(), radiograph)
    assert np.array_equal(under.get_array(), radiograph)
    assert over.get_extent() == under.get_extent()  # stretched over all of it, as the image was
    alpha = np.asarray(over.get_array())[..., 3]
    assert alpha[:30].max() == 0
    assert 0.5 < alpha[40, 5] < 1
    (outline,) = found["where the score of covid19 is from"].collections
    (path,) = outline.get_paths()
    height, width = radiograph.shape
    assert path.vertices.min(axis=0) == pytest.approx((width * 5 / 48, height * 10 / 48), abs=4)
    assert path.vertices.max(axis=0) == pytest.approx((width * 43 / 48, height * 40 / 48), abs=4)


def test_scores_and_lines_are_written_the_class_of_the_map_darkest(tmp_path, drawn):
    draw(tmp_path / "f.png", label="bacterial")
    axes = panels(drawn[0])["class score"]
    assert [bar.get_width() for bar in axes.patches] == list(SCORES.values())
    assert [text.get_text() for text in axes.texts] == ["0.012", "0.100", "0.888"]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(SCORES)
    dark = [to_hex(bar.get_facecolor()) == "#0072b2" for bar in axes.patches]
    assert dark == [False, True, False]
    said = next(
        axes for axes in drawn[0].axes if any(text.get_text() == "Heat map" for text in axes.texts)
    )
    assert " ".join(text.get_text() for text in said.texts) == " ".join(LINES)
    bold = [text.get_text() for text in said.texts if text.get_weight() == "bold"]
    assert bold == ["Heat map", "Nearest training images"]


@pytest.mark.parametrize("shape", [(300, 200), (200, 700)])
def test_nothing_is_cut_off_however_long_the_image_and_the_lines(shape, tmp_path, drawn):
    radiograph = np.zeros(shape, np.float32)
    draw(
        tmp_path / "f.png",
        radiograph,
        lines=[*LINES, "", "Take note", *["as long as a warning " * 6] * 3],
    )
    canvas = FigureCanvasAgg(drawn[0])
    canvas.draw()
    renderer = canvas.get_renderer()
    footer = next(text for text in drawn[0].texts if text.get_text() == INTENDED_USE)
    for axes in drawn[0].axes:
        box = axes.get_tightbbox(renderer)
        assert box.y0 > footer.get_window_extent(renderer).y1
        assert box.x0 >= 0
        assert box.x1 <= drawn[0].bbox.x1


@pytest.mark.parametrize("mask", [np.zeros((9, 9), bool), np.ones((9, 9), bool)])
def test_an_empty_map_and_no_lungs_or_nothing_else_are_drawn_too(mask, tmp_path):
    draw(tmp_path / "f.png", heat=np.zeros((48, 48), np.float32), lungs=mask, lines=["Heat map"])
    assert (tmp_path / "f.png").stat().st_size > 1000
