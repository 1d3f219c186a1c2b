"""The viewer in a real browser: every level, every pixel, turned as a reader likes."""

import base64
import json
import re

import numpy as np
import pytest

from cxr_transfer.radiograph import decode
from cxr_transfer.radiograph.grey_scale import Window
from serving.asking import as_bytes, phantom, send
from serving.page_reader import drag, expect, grey_scale, scores_of
from serving.test_image_samples import FILES, dicom, facts_of, kept

SAID = {"mirrored": {"flip": "true"}, "turned clockwise by 90 degrees": {"rotate": "90"}}


@pytest.fixture(scope="module")
def large():
    """More pixels than are sent at once, each with a level of its own, of 12 bits."""
    levels = np.random.default_rng(5).integers(0, 4096, (2300, 2600), np.uint16)
    # Smooth enough to be an image, and no two neighbours alike.
    ramp = np.linspace(0, 2000, 2600).astype(np.uint16)
    return ramp + levels // 2


def show(reader, name, content):
    reader.drop(**{name: content})
    reader.wait_for_image()


def part_at_1_1(reader, picture, size=200):
    """The middle of the canvas, and of a picture that lies one to one in the middle of it."""
    shown = reader.pixels()
    height, width = shown.shape[:2]
    # As JavaScript rounds.
    top, left = (
        int(np.floor(a / 2 - b / 2 + 0.5))
        for a, b in zip((height, width), picture.shape, strict=True)
    )
    rows = slice(height // 2 - size // 2, height // 2 + size // 2)
    columns = slice(width // 2 - size // 2, width // 2 + size // 2)
    expected = picture[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return shown[rows, columns, 0].astype(int), expected.astype(float)


def wait_until_equal(reader, picture, most=1):
    """Wait until each screen pixel is that of the image: parts of it may be on their way."""
    for _ in range(300):
        found, expected = part_at_1_1(reader, picture)
        if np.abs(found - expected).max() <= most:
            return
        reader.page.wait_for_timeout(100)
    pytest.fail(f"the canvas never shows these pixels: {np.abs(found - expected).max()} apart")


def as_assessed(content):
    return 255 * decode(content).pixels


def test_one_to_one_is_a_pixel_of_the_screen_for_each_of_a_large_image(reader, large):
    content = dicom(large, WindowCenter="2048", WindowWidth="4096")
    show(reader, "image.dcm", content)
    reader.page.locator("#actual").click()
    reader.drawn()
    assert "2600 × 2300   100 %" in reader.text("#corner-size")
    wait_until_equal(reader, as_assessed(content))


def test_window_and_level_act_on_every_level_of_the_file_in_its_units(reader):
    content = FILES["rescale"]
    show(reader, "image.dcm", content)
    reader.page.locator("#actual").click()
    width, level = 30.0, -300.0
    deep = decode(content, full_depth=True).full_depth
    assert deep.bits == 12
    reader.page.locator("#window").fill(str(width))
    reader.page.locator("#level").fill(str(level))
    reader.drawn()
    told = [float(number) for number in re.findall(r"-?[\d.]+", reader.text("#corner-grey"))]
    expected = deep.shown(Window(told[1], told[0]))
    assert told == pytest.approx([width, level], abs=2)
    wait_until_equal(reader, expected)
    # Between two levels of the 8-bit picture lie several of the file.
    assert len(np.unique(part_at_1_1(reader, expected)[0])) > 8
    expect(reader.page.locator("#preset option:checked")).to_have_text("Own window")


def test_presets_are_the_files_own_and_a_drag_goes_on_from_them(reader):
    show(reader, "image.dcm", FILES["window"])
    options = reader.page.locator("#preset option:not([hidden])").all_text_contents()
    assert options[:4] == ["As assessed", "File: window 1", "File: window 2", "Full range"]
    assert grey_scale(reader) == (600, 1500)
    reader.page.locator("#preset").select_option("File: window 2")
    assert grey_scale(reader) == (900, 1800)
    expected = decode(FILES["window"], full_depth=True).full_depth.shown(Window(1800, 900))
    reader.page.locator("#actual").click()
    wait_until_equal(reader, expected)
    drag(reader, 40, 0)
    wider, level = grey_scale(reader)
    assert wider > 900
    assert level == 1800
    reader.page.locator("#reset").click()
    assert grey_scale(reader) == (600, 1500)


@pytest.mark.parametrize("name", ["sigmoid", "exact", "voi", "inverse", "falling", "8 bits"])
def test_greys_are_those_of_the_standard(reader, page_server, name):
    """Each preset over each sample, held against the decoder's own tables."""
    with page_server.client() as client:
        facts = facts_of(client, kept(client, FILES[name]))
    found = reader.page.evaluate(
        """async (facts) => {
            const { presetsOf, wordsOf } = await import("./greys.js");
            return presetsOf(facts).map((preset) => {
                const { function: kind, centre, width, table } = preset;
                const view = { function: kind, level: centre, window: width, table, invert: false };
                return [preset, [...wordsOf(facts, view)].map((word) => word & 255)];
            });
        }""",
        json.loads(facts.model_dump_json()),
    )
    samples = np.arange(65_536)
    values = samples * facts.slope + facts.intercept
    assert len(found) >= len(facts.presets) + 4
    for preset, greys in found:
        if preset.get("table"):
            table = np.frombuffer(base64.b64decode(preset["table"]["greys"]), np.uint8)
            at = np.clip(values - preset["table"]["first"], 0, len(table) - 1).astype(int)
            expected = table[at].astype(float)
        else:
            window = Window(preset["centre"], preset["width"], preset["function"])
            expected = 255 * window(values)
        expected = 255 - expected if facts.inverted else expected
        assert np.abs(np.array(greys) - expected).max() <= 0.51, preset["name"]


@pytest.mark.parametrize("keys", ["t", "l", "f", "v", "tf", "ftt", "vl"])
def test_an_image_is_turned_and_mirrored_as_it_is_seen(reader, keys):
    show(reader, "image.png", FILES["8 bits"])
    expected = as_assessed(FILES["8 bits"])
    reader.page.locator("#stage").focus()
    reader.page.keyboard.press("1")
    for key in keys:
        reader.page.keyboard.press(key)
        expected = {
            "t": lambda picture: np.rot90(picture, -1),
            "l": np.rot90,
            "f": lambda picture: picture[:, ::-1],
            "v": lambda picture: picture[::-1],
        }[key](expected)
    wait_until_equal(reader, expected)
    reader.page.keyboard.press("r")
    reader.page.keyboard.press("1")
    wait_until_equal(reader, as_assessed(FILES["8 bits"]))


def test_a_drag_moves_a_turned_image_with_the_pointer(reader):
    show(reader, "image.png", FILES["8 bits"])
    reader.page.locator("#turn-right").click()
    before = reader.pixels()
    reader.page.keyboard.down("Shift")
    drag(reader, 50, 30)
    reader.page.keyboard.up("Shift")
    after = reader.pixels()
    assert (after[30:, 50:] == before[:-30, :-50]).mean() > 0.97


def test_places_on_the_screen_and_in_the_image_are_each_others_inverse(reader):
    worst = reader.page.evaluate(
        """async () => {
            const { onCanvas, onImage, placed, mirrored, turned, times } =
                await import("./geometry.js");
            const far = (one, other) =>
                Math.max(Math.abs(one.x - other.x), Math.abs(one.y - other.y));
            const canvas = { width: 801, height: 603 };
            const image = { width: 1234, height: 987 };
            let worst = 0;
            for (const rotate of [0, 90, 180, 270]) for (const flip of [false, true]) {
                const view = { x: 0.3, y: 0.6, rotate, flip };
                const place = placed(canvas, image, view, 0.37);
                const point = { x: 12.5, y: 900.25 };
                const back = onImage(place, onCanvas(place, point));
                worst = Math.max(worst, far(back, point));
                const middle = onCanvas(place, { x: 0.3 * 1234, y: 0.6 * 987 });
                // The origin is a whole pixel.
                worst = Math.max(worst, far(middle, { x: 400.5, y: 301.5 }) - 0.5);
                const [one, other] = [view, mirrored(view)].map((lies) =>
                    times(turned(lies), { x: 3, y: 5 })
                );
                worst = Math.max(worst, far({ x: -one.x, y: one.y }, other));
            }
            return worst;
        }"""
    )
    assert worst < 1e-9


def test_an_image_that_lies_wrongly_is_assessed_as_shown_and_the_page_says_so(reader, page_server):
    content = as_bytes(phantom())
    show(reader, "image.png", content)
    plain = scores_of(reader)
    assessed = reader.page.locator("#assessed")
    button = reader.page.locator("#assess-as-shown")
    assert assessed.text_content() == ""
    assert button.is_disabled()

    reader.page.locator("#mirror").click()
    expect(assessed).to_have_text(
        "The view is mirrored; the answer is of the image as the file has it."
    )
    assert scores_of(reader) == plain
    button.click()
    reader.settle()
    expect(assessed).to_have_text("The answer is of the image as shown: mirrored.")
    with page_server.client() as client:
        (answer,) = send(client, content, flip="true").json()["answers"]
    assert answer["status"] == "ok"
    expected = {label: round(100 * p, 1) for label, p in answer["probabilities"].items()}
    assert scores_of(reader) == pytest.approx(expected, abs=0.11)
    assert scores_of(reader) != plain
    assert "mirrored, as was asked: not as the file has it" in reader.text(".warnings")

    reader.page.locator("#reset").click()
    expect(assessed).to_have_text(
        "The view is as the file has it; the answer is of the image as it was changed (mirrored)."
    )
    button.click()
    reader.settle()
    expect(assessed).to_have_text("")
    assert scores_of(reader) == plain


def test_the_heat_map_of_a_changed_image_lies_on_it(reader):
    grey = phantom(4)
    show(reader, "a.png", as_bytes(np.ascontiguousarray(grey[:, ::-1])))
    reader.page.locator("#heat").click()
    expect(reader.page.locator(".neighbours")).to_be_visible()
    reader.settle()
    expected = reader.pixels().astype(int)

    reader.drop(**{"b.png": as_bytes(grey)})
    reader.select("b.png")
    reader.settle()
    reader.page.locator("#mirror").click()
    reader.page.locator("#assess-as-shown").click()
    reader.settle()
    expect(reader.page.locator("#assessed")).to_contain_text("as shown: mirrored")
    for _ in range(100):
        reader.settle()
        if np.abs(reader.pixels().astype(int) - expected).mean() < 1:
            break
        reader.page.wait_for_timeout(200)
    assert np.abs(reader.pixels().astype(int) - expected).mean() < 1
    # Turned back, it lies on the other side, as the image does.
    reader.page.locator("#mirror").click()
    turned = reader.pixels().astype(int)
    assert np.abs(turned[:, ::-1] - expected).mean() < 3


def test_what_the_server_forgot_is_uploaded_again(reader, page_server, large):
    content = dicom(large, WindowCenter="2048", WindowWidth="4096")
    show(reader, "image.dcm", content)
    with page_server.client() as client:
        assert client.delete(kept(client, content)).status_code == 204
    reader.page.locator("#actual").click()
    wait_until_equal(reader, as_assessed(content))


def test_an_image_is_decoded_once_for_all_that_is_seen_of_it(reader, large):
    show(reader, "image.dcm", dicom(large + 1, WindowCenter="2048", WindowWidth="4096"))
    asked = [url for url in reader.asked if "/samples?" in url]
    assert len(asked) == 1
    reader.page.locator("#actual").click()
    wait_until_equal(reader, as_assessed(dicom(large + 1, WindowCenter="2048", WindowWidth="4096")))
    drag(reader, 300, 0, button="middle")
    reader.page.locator("#fit").click()
    reader.drawn()
    urls = [url.split("?")[1] for url in reader.asked if "/samples?" in url]
    assert 2 <= len(urls) <= 10
    assert len(set(urls)) == len(urls)
    # One upload, for all of them.
    assert len([url for url in reader.asked if url.endswith("/v1/images")]) == 1


def test_digits_choose_presets_and_help_lists_the_keys(reader):
    show(reader, "image.dcm", FILES["window"])
    reader.page.locator("#stage").focus()
    reader.page.keyboard.press("4")
    expect(reader.page.locator("#preset option:checked")).to_have_text("File: window 2")
    reader.page.keyboard.press("2")
    expect(reader.page.locator("#preset option:checked")).to_have_text("As assessed")
    reader.page.keyboard.press("?")
    for words in ("Window presets", "Turn left, turn right", "Mirror left to right"):
        expect(reader.page.locator("#help-panel")).to_contain_text(words)
