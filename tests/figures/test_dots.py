"""Dots with intervals, and the flow diagram: what is drawn is what was counted."""

import math
import xml.etree.ElementTree

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.figures.dots import Panel, dot_panels
from cxr_transfer.figures.flow import flow_diagram
from cxr_transfer.statistics.intervals import NOT_DEFINED, Estimate

NAMES = ("Model_1", "Model_2")
CLOSE = (Estimate(0.981, 0.971, 0.99), Estimate(0.985, 0.976, 0.993))
FLOW = {
    "found": {"images": 727, "patients": 475},
    "left_out": [{"why": "file cannot be read", "images": 3, "patients": 2}],
    "analysed": {"images": 724, "patients": 474, "classes": {"normal": 400, "covid19": 324}},
    "parts": [
        [
            {"name": name, "images": n, "patients": n - 10, "classes": {"normal": n - 5}}
            for name, n in (("train", 500 + fold), ("validation", 74), ("test", 150 - fold))
        ]
        for fold in range(2)
    ],
}


def draw(path):
    panels = [
        Panel("accuracy, percent", CLOSE, bounds=(0, 100), others=(92.3, math.nan)),
        Panel("gained", (Estimate(0.01, -0.02, 0.03), NOT_DEFINED), line=0.0),
    ]
    dot_panels(path, NAMES, panels, "Two models", "the paper")


def draw_flow(path):
    flow_diagram(path, FLOW, "Flow")


def test_dots_stand_at_their_values_on_a_scale_that_is_filled(tmp_path, drawn):
    dot_panels(tmp_path / "dots.png", NAMES, [Panel("accuracy", CLOSE, bounds=(0, 100))])
    (axes,) = drawn[0].axes
    low, high = axes.get_xlim()
    (dots,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert list(dots.get_xdata()) == pytest.approx([98.1, 98.5])
    assert low > 96, "not a scale from 0, on which nothing would be seen"
    assert low < 97.1 < 99.3 < high
    assert all(low <= tick <= 100 for tick in axes.get_xticks())
    assert [label.get_text() for label in axes.get_yticklabels()] == list(NAMES)
    assert axes.yaxis_inverted(), "the first stands on top"


def test_a_line_and_somebody_elses_values_lie_within_the_scale(tmp_path, drawn):
    draw(tmp_path / "dots.png")
    first, second = drawn[0].axes
    assert first.get_xlim()[0] < 92.3
    assert second.get_xlim()[0] < 0 < second.get_xlim()[1]
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == ["the paper"]


def test_nothing_but_undefined_values_makes_no_error(tmp_path):
    dot_panels(tmp_path / "dots.png", ["m"], [Panel("accuracy", [NOT_DEFINED])])
    dot_panels(tmp_path / "all.png", ["m"], [Panel("accuracy", [Estimate(1, 1, 1)])])


def test_a_flow_diagram_tells_every_number(tmp_path, drawn):
    draw_flow(tmp_path / "flow.png")
    (axes,) = drawn[0].axes
    text = "\n".join(each.get_text() for each in axes.texts)
    for told in (
        "727 images of 475 patients",
        "724 images of 474 patients",
        "normal: 400",
        "Training (in each of 2 folds)",
        "500 to 501 images of 490 to 491",
        "149 to 150 images of 139 to 140",
    ):
        assert told in text
    assert "file cannot be read: 3 images of 2" in text.replace("\n", " ")


def test_without_parts_and_without_losses_there_are_two_boxes(tmp_path, drawn):
    flow_diagram(tmp_path / "flow.png", FLOW | {"left_out": [], "parts": []})
    (axes,) = drawn[0].axes
    assert len(axes.lines) == 2


@pytest.mark.parametrize("one", [draw, draw_flow])
def test_a_report_has_its_title_and_nothing_is_cut_off(one, tmp_path, drawn):
    one(tmp_path / "figure.png")
    (figure,) = drawn
    FigureCanvasAgg(figure).draw()
    assert figure._suptitle is not None
    assert INTENDED_USE in [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1


@pytest.mark.slow
@pytest.mark.parametrize("one", [draw, draw_flow])
def test_a_publication_has_three_files_without_a_title_and_always_the_same(one, tmp_path, drawn):
    for folder in ("once", "again"):
        one(tmp_path / folder / "model.v2_figure")
    assert all(figure._suptitle is None and not figure.texts for figure in drawn)
    first = {path.name: path.read_bytes() for path in (tmp_path / "once").iterdir()}
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}
    endings = ("svg", "pdf", "png")
    assert set(first) == {f"model.v2_figure.{ending}" for ending in endings}
    assert first["model.v2_figure.pdf"].startswith(b"%PDF-")
    assert b"CreationDate" not in first["model.v2_figure.pdf"]
    xml.etree.ElementTree.fromstring(first["model.v2_figure.svg"])
    with Image.open(tmp_path / "once" / "model.v2_figure.png") as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
