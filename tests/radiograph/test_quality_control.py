"""Quality control passes chest radiographs and stops all else, for the right reason."""

from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng
from PIL import Image, ImageDraw, ImageFont
from pydicom.data import get_testdata_file
from sklearn.datasets import load_sample_image

from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.radiograph import Header, Radiograph, read_radiograph
from cxr_transfer.radiograph.quality_control import (
    LOOKS,
    described,
    empty,
    looks,
    quality_issues,
)

FINDINGS = ("normal", "bacterial", "viral", "covid19")
SEEDS = range(4)


def radiograph(finding="normal", seed=0, **options):
    return draw_radiograph(finding, rng=default_rng(seed), **options)


def read(pixels, **known):
    return Radiograph(np.ascontiguousarray(pixels), "PNG", **known)


def codes(pixels, **known):
    return [concern.code for concern in quality_issues(read(pixels, **known))]


def refused(pixels, **known):
    return [concern.code for concern in quality_issues(read(pixels, **known)) if concern.refuses]


def resized(pixels, width, height):
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


def page_of_text(size=500):
    image = Image.new("L", (size, size), 245)
    draw = ImageDraw.Draw(image)
    for line in range(24):
        text = "the quick brown fox jumps over the lazy dog " * 2
        draw.text((30, 10 + 20 * line), text[: 50 - line], 15, ImageFont.load_default(14))
    return np.asarray(image)


@pytest.mark.parametrize("child", [False, True])
@pytest.mark.parametrize("finding", FINDINGS)
def test_a_frontal_image_raises_no_concern(finding, child):
    for seed in SEEDS:
        assert codes(radiograph(finding, seed, child=child)) == []


@pytest.mark.parametrize("gamma", [0.6, 1.7])
def test_exposure_is_no_concern(gamma):
    assert codes((radiograph(seed=5) / np.float32(255)) ** np.float32(gamma)) == []


@pytest.mark.parametrize("size", [(128, 140), (224, 224), (900, 700), (1300, 1600)])
def test_neither_is_size(size):
    assert codes(resized(radiograph(seed=6, pixels=600), *size)) == []


def test_a_mirrored_image_cannot_be_told():
    assert codes(radiograph(seed=7)[:, ::-1]) == []


@pytest.mark.parametrize(
    ("code", "spoiled"),
    [
        ("inverted", lambda pixels: 255 - pixels),
        ("rotated", np.rot90),
        ("rotated", lambda pixels: np.rot90(pixels, 3)),
        ("upside_down", lambda pixels: np.rot90(pixels, 2)),
        ("upside_down", lambda pixels: pixels[::-1]),
    ],
)
def test_a_negative_and_a_turned_image_are_refused_by_name(code, spoiled):
    for seed in SEEDS:
        for finding in ("normal", "covid19"):
            assert refused(spoiled(radiograph(finding, seed))) == [code]


def test_an_image_that_is_tilted_ever_more_passes_is_doubted_and_is_refused():
    for seed in SEEDS:
        upright = Image.fromarray(radiograph(seed=seed))
        said = []
        for angle in range(0, 46, 3):
            (concern, *others) = quality_issues(read(upright.rotate(angle))) or [None]
            assert not others
            said.append("passes" if concern is None else ("doubted", "refused")[concern.refuses])
        assert said[:4] == ["passes"] * 4
        assert said == sorted(said, key=("passes", "doubted", "refused").index)
        assert set(said) == {"passes", "doubted", "refused"}


@pytest.mark.parametrize("shape", [(1, 2), (2, 2), (3, 3)])
def test_images_side_by_side_are_a_collage(shape):
    rows, columns = shape
    for start in range(3):
        tiles = [radiograph("normal", 20 + start + at) for at in range(rows * columns)]
        tiles = [resized(tile, 240, 260) for tile in tiles]
        sheet = np.block([[tiles[r * columns + c] for c in range(columns)] for r in range(rows)])
        assert refused(sheet) == ["collage"]


@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_a_constant_picture_is_blank(value):
    pixels = np.full((300, 260), value, np.uint8)
    for stored in (pixels, pixels / np.float32(255)):
        (concern,) = quality_issues(read(stored))
        assert (concern.code, concern.refuses) == ("blank_or_noise", True)
        assert "blank" in concern.message


@pytest.mark.parametrize("size", [(128, 128), (700, 500), (1500, 1700)])
def test_noise_is_noise_at_every_size(size):
    rng = default_rng(0)
    for pixels in (
        rng.integers(0, 256, size, dtype=np.uint8),
        rng.random(size, dtype=np.float32),
        rng.normal(120, 20, size).clip(0, 255).astype(np.uint8),
        np.where(rng.random(size) < 0.5, 0, 255).astype(np.uint8),
    ):
        (concern,) = quality_issues(read(pixels))
        assert (concern.code, concern.refuses) == ("blank_or_noise", True)
        assert "noise" in concern.message


def test_a_noisy_image_is_still_an_image():
    pixels = radiograph(seed=8, pixels=400)
    pixels = pixels + default_rng(0).normal(0, 12, pixels.shape)
    assert empty(read(pixels.clip(0, 255).astype(np.uint8))) == ""


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_a_photo_is_refused_in_colour_and_in_grey(name):
    photo = load_sample_image(name)
    assert refused(photo.mean(axis=2).astype(np.uint8)) == ["out_of_distribution"]
    spread = float((photo.max(axis=2).astype(int) - photo.min(axis=2)).mean() / 255)
    assert refused(photo.mean(axis=2).astype(np.uint8), colour=spread) == ["out_of_distribution"]


def test_colour_alone_refuses_an_image_and_says_so():
    (concern,) = quality_issues(read(radiograph(), colour=0.2))
    assert (concern.code, concern.refuses) == ("out_of_distribution", True)
    assert "colour" in concern.message
    assert codes(radiograph(), colour=0.01) == []


def test_a_real_chest_image_that_nothing_was_fitted_on_passes():
    path = get_testdata_file("RG1_UNCR.dcm", download=False)
    assert quality_issues(read_radiograph(Path(path))) == []


@pytest.mark.parametrize(
    "name", ["RG3_UNCR.dcm", "693_UNCR.dcm", "MR2_UNCR.dcm", "explicit_VR-UN.dcm"]
)
def test_a_shin_a_ct_slice_and_an_mr_slice_are_refused_whatever_the_caller_allows(name):
    radiograph = read_radiograph(Path(get_testdata_file(name, download=False)), any_modality=True)
    (concern,) = quality_issues(radiograph)
    assert (concern.code, concern.refuses) == ("out_of_distribution", True)


def test_a_page_of_text_is_refused():
    assert refused(page_of_text()) == ["out_of_distribution"]
    assert len(refused(255 - page_of_text())) == 1


def test_a_lateral_view_is_refused_by_its_header():
    header = Header(modality="DX", view="lateral", body_part="CHEST")
    first, *_ = quality_issues(read(radiograph(), header=header))
    assert (first.code, first.refuses) == ("view", True)
    assert "header" in first.message
    assert codes(radiograph(), header=Header(modality="DX", view="PA", body_part="CHEST")) == []


def test_the_header_is_heard_first_and_an_empty_picture_is_nothing_else():
    lateral = Header(view="lateral")
    assert codes(np.zeros((200, 200), np.uint8), header=lateral, colour=0.5) == [
        "view",
        "blank_or_noise",
    ]
    assert codes(255 - radiograph(), header=lateral) == ["view", "inverted"]


def test_messages_are_one_line_and_say_what_was_expected():
    pictures = [
        read(255 - radiograph()),
        read(np.rot90(radiograph())),
        read(radiograph()[::-1]),
        read(np.hstack([radiograph(), radiograph("normal", 1)[:, : radiograph().shape[1]]])),
        read(page_of_text()),
        read(radiograph(), header=Header(view="lateral"), colour=0.3),
        read(np.zeros((200, 200), np.uint8)),
    ]
    said = [concern for picture in pictures for concern in quality_issues(picture)]
    assert len({concern.code for concern in said}) == 7
    for concern in said:
        assert concern.message.startswith("Expected ")
        assert ";" in concern.message
        assert "\n" not in concern.message


def test_one_image_in_8_bits_and_in_float_looks_the_same():
    for seed in SEEDS:
        pixels = radiograph(seed=seed, pixels=300)
        bytes_, floats = read(pixels), read(pixels / np.float32(255))
        before, after = looks(bytes_), looks(floats)
        assert max(abs(before[look] - after[look]) for look in LOOKS) < 0.02


def test_looks_are_shares():
    for pixels in (radiograph(), page_of_text(), np.zeros((200, 200), np.uint8)):
        scores = looks(read(pixels))
        assert tuple(scores) == LOOKS
        assert sum(scores.values()) == pytest.approx(1)
        assert np.isfinite(described(read(pixels))).all()


def test_the_same_image_is_described_alike_twice():
    np.testing.assert_array_equal(described(read(radiograph())), described(read(radiograph())))
    assert described(read(radiograph())).shape == (1536,)
