"""What is drawn names its program; what is committed is small where that does not show."""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from cxr_transfer.figures.canvas import canvas

sys.path.append(str(Path(__file__).parents[2] / "tools"))
from small_figures import with_palette


def as_png(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def test_a_drawing_has_a_palette_and_says_by_what_it_was_drawn(tmp_path):
    with canvas(tmp_path / "a.png", (4, 3), "A title") as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1])
    (tmp_path / "a.png").write_bytes(with_palette((tmp_path / "a.png").read_bytes()))
    with Image.open(tmp_path / "a.png") as drawn:
        assert drawn.mode == "P"
        assert drawn.info["Software"] == "cxr-transfer"
        assert round(drawn.info["dpi"][0]) == 150


def test_a_photograph_in_many_colours_stays_as_it_was():
    random = np.random.default_rng(0)
    photograph = as_png(random.integers(0, 256, (64, 64, 3), np.uint8))
    assert with_palette(photograph) == photograph


def test_a_grey_photograph_keeps_every_level():
    grey = np.arange(256, dtype=np.uint8).repeat(16).reshape(64, 64)
    with Image.open(io.BytesIO(with_palette(as_png(grey)))) as read:
        assert np.array_equal(np.asarray(read.convert("L")), grey)


def test_a_sign_that_the_font_lacks_is_no_warning(tmp_path, recwarn):
    with canvas(tmp_path / "figure.png", (3, 2), "胸腔积液") as figure:
        figure.add_subplot()
    assert (tmp_path / "figure.png").is_file()
    assert not [str(warning.message) for warning in recwarn if "Glyph" in str(warning.message)]
