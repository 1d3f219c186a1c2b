"""A learning curve is the same file each time, without a title, on scales that hold all of it."""

import pytest

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.figures.learning_curve import CurveDrawing, learning_curve
from cxr_transfer.statistics.intervals import Estimate

CURVES = [
    CurveDrawing(
        "scratch",
        [10, 20],
        [Estimate(0.3, 0.2, 0.4), Estimate(0.0, 0.0, 0.1)],
        law=lambda images: 3 / images,
        more=(200, Estimate(0.0, 0.0, 0.02)),
    ),
    CurveDrawing("a $ in it", [10, 20], [Estimate(0.2, 0.1, 0.3)] * 2),
]


@pytest.mark.slow
def test_the_files_are_the_same_each_time(tmp_path):
    for name in ("a", "b"):
        learning_curve(tmp_path / name, CURVES, test_images=100)
    for ending, start in ((".png", b"\x89PNG"), (".svg", b"<?xml")):
        first, second = ((tmp_path / f"{name}{ending}").read_bytes() for name in ("a", "b"))
        assert first == second
        assert first.startswith(start)


def test_the_scales_hold_every_dot_and_what_is_extrapolated(tmp_path, monkeypatch):
    drawn = []
    from cxr_transfer.figures import canvas

    saved = canvas._saved
    monkeypatch.setattr(
        canvas, "_saved", lambda figure, *how: (drawn.append(figure), saved(figure, *how))[1]
    )
    learning_curve(tmp_path / "a", CURVES, test_images=100)
    (axes,) = drawn[0].axes
    assert drawn[0]._suptitle is None
    assert INTENDED_USE in [text.get_text() for text in drawn[0].texts]
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert axes.get_ylim()[0] < 0.5 < 40 < axes.get_ylim()[1], "half an image is the least"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["10", "20", "200"]
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["scratch", "a $ in it"]
