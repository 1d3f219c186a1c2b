"""What lies over an image and beside it: whose it is, its facts, what is measured, its map."""

import base64
import hashlib
import io
import json
import math
import re
import shutil
import socket
import socketserver
import subprocess
import threading
import urllib.parse
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from cxr_transfer import INTENDED_USE
from cxr_transfer.figures.colours import HEAT
from cxr_transfer.serving import api
from made_dicom import LOSSLESS, PLAIN, dicom
from serving.asking import as_bytes, phantom
from serving.page_reader import PHONE, Reader, axe_finds_nothing, expect

PAGE = Path(api.PAGE)
NAME = "Sommer^Ilse"
SEEN = "Sommer, Ilse"
PATIENT = {
    "PatientName": NAME,
    "PatientID": "4711-0815",
    "PatientBirthDate": "19620729",
    "StudyDate": "20260102",
    "AccessionNumber": "ACC-99",
    "InstitutionName": "Hospital of Nowhere",
}
SECRETS = (NAME, SEEN, *PATIENT.values(), "1962-07-29")


def chest(pixels=300, syntax=ExplicitVRLittleEndian, *, preamble=True, **elements):
    samples = phantom(pixels=pixels).astype(np.uint16) * 16
    elements = {"BitsStored": 12, "HighBit": 11, "ViewPosition": "PA", **PATIENT} | elements
    return dicom(samples, syntax, preamble=preamble, **elements)


@pytest.fixture
def looking(reader):
    """Drop an image and wait until it is shown."""

    def look(content, name="image.dcm"):
        reader.drop(**{name: content})
        reader.wait_for_image()
        return reader

    return look


def facts(reader):
    expect(reader.page.locator("#image-facts")).to_be_attached()
    rows = reader.page.locator("#facts-list > div").evaluate_all(
        "(rows) => rows.map((row) => [...row.children].map((one) => one.textContent))"
    )
    return dict(rows)


def patient(reader):
    return reader.page.locator("#corner-patient").text_content()


def on_screen(reader, x, y, pane=0):
    """Return where a share of a pane's width and height lies on the screen."""
    box = reader.page.locator(f"#pane-{pane}").bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def drag(reader, across, down, pane="pane-0"):
    box = reader.page.locator(f"#{pane}").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    reader.page.mouse.move(x, y)
    reader.page.mouse.down()
    reader.page.mouse.move(x + across, y + down, steps=4)
    reader.page.mouse.up()
    reader.drawn()


def draw(reader, *ends, pane=0):
    """Drag from each point to the next, two by two, in shares of the pane."""
    mouse = reader.page.mouse
    for start, end in zip(ends[::2], ends[1::2], strict=True):
        mouse.move(*on_screen(reader, *start, pane))
        mouse.down()
        mouse.move(*on_screen(reader, *end, pane), steps=4)
        mouse.up()
    reader.drawn()


def measured(reader):
    return reader.page.locator("#measured-list li span").all_text_contents()


def handles(reader, pane=0):
    """Return the ends of measurements on the screen, [(x, y)]."""
    return reader.page.locator(f"#pane-{pane} .handle").evaluate_all(
        "(all) => all.map((one) => [one.cx.baseVal.value, one.cy.baseVal.value])"
    )


# The header


class Listener(socketserver.ThreadingTCPServer):
    """Stands between the browser and the server, and keeps all that the browser sends."""

    daemon_threads = True

    def __init__(self, server_url):
        self.there = urllib.parse.urlsplit(server_url)
        self.sent = []
        super().__init__(("127.0.0.1", 0), _Between)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Between(socketserver.BaseRequestHandler):
    def handle(self):
        kept = bytearray()
        self.server.sent.append(kept)
        there = self.server.there
        with socket.create_connection((there.hostname, there.port)) as server:

            def back():
                while part := server.recv(65536):
                    self.request.sendall(part)

            threading.Thread(target=back, daemon=True).start()
            while part := self.request.recv(65536):
                kept += part
                server.sendall(part)


def test_who_the_patient_is_stands_over_the_image_and_is_sent_in_the_file_alone(
    browser, page_server
):
    content = chest()
    with Listener(page_server.url) as listener:
        reader = Reader(browser, listener.url)
        reader.drop(**{"image.dcm": content})
        reader.wait_for_image()
        expect(reader.page.locator("#corner-patient")).to_contain_text(SEEN)
        for said in ("4711-0815", "1962-07-29", "2026-01-02", "ACC-99", "Hospital of Nowhere"):
            assert said in patient(reader)
        reader.page.locator("#heat").click()
        reader.settle()
        reader.page.keyboard.press("d")
        draw(reader, (0.4, 0.5), (0.6, 0.5))
        saved = [reader.saved(f"#save-{kind}")[1] for kind in ("csv", "json", "png")]
        kept = "() => JSON.stringify([{...localStorage}, {...sessionStorage}])"
        assert reader.page.evaluate(kept) == "[{},{}]"
        reader.context.close()
        assert not reader.broken
        listener.shutdown()
    # The file itself goes to the reader's own server, as the page says: it, and nothing beside it.
    assert any(content in sent for sent in listener.sent)
    rest = b"".join(bytes(sent).replace(content, b"") for sent in listener.sent)
    for kept in (rest, *saved):
        assert not [secret for secret in SECRETS if secret.encode() in kept]


@pytest.mark.parametrize(
    ("names", "written", "seen"),
    [
        ("ISO_IR 100", "Äneas^Rüdiger", "Äneas, Rüdiger"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小东", "Wang, XiaoDong (王, 小东)"),
        ("ISO_IR 144", "Люкceмбypг", "Люкceмбypг"),
        ("GB18030", "Wang^XiaoDong=王^小东", "Wang, XiaoDong (王, 小东)"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎", "Yamada, Tarou (山田, 太郎)"),
        (["", "ISO 2022 IR 159"], b"Abe^Ken=" + "丂".encode("iso2022_jp_2"), "Abe, Ken (丂)"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞", "Hong, Gildong (洪, 吉洞)"),
    ],
)
def test_a_name_is_read_in_the_character_set_of_its_file(looking, names, written, seen):
    reader = looking(chest(SpecificCharacterSet=names, PatientName=written))
    expect(reader.page.locator("#corner-patient")).to_contain_text(seen)


@pytest.mark.parametrize("syntax", [*PLAIN, *LOSSLESS], ids=lambda syntax: syntax.name)
def test_a_header_is_read_in_every_transfer_syntax(looking, syntax):
    reader = looking(chest(syntax=syntax))
    expect(reader.page.locator("#corner-patient")).to_contain_text(SEEN)
    assert facts(reader)["Bits"] == "12 stored, 16 allocated"


def test_a_header_without_a_preamble_is_read(looking):
    reader = looking(chest(preamble=False))
    expect(reader.page.locator("#corner-patient")).to_contain_text(SEEN)


def test_what_cannot_be_parsed_is_no_harm(reader):
    content = chest()
    damaged = bytearray(content)
    damaged[200:260] = b"\xff" * 60
    files = {
        "short.dcm": content[:400],
        "damaged.dcm": bytes(damaged),
        "start.dcm": content[:133],
        "deflated.dcm": chest(syntax=DeflatedExplicitVRLittleEndian)[:600],
        "image.png": as_bytes(phantom()),
    }
    reader.drop(**files)
    for name in files:
        reader.select(name)
        expect(reader.page.locator(".card:not([data-status=waiting])")).to_be_visible()
    reader.wait_for_image()
    assert patient(reader) == ""


def test_a_name_is_text_and_nothing_else(looking):
    reader = looking(chest(PatientName="<img src>^\u202eabc", SpecificCharacterSet="ISO_IR 192"))
    expect(reader.page.locator("#corner-patient")).to_contain_text("<img src>")
    assert "\u202e" not in patient(reader)
    assert reader.page.locator("#stage img").count() == 0


def test_the_vendored_parser_is_the_one_that_is_named():
    folder = PAGE / "vendor"
    (row,) = re.findall(r"`(.+?\.js)`.*`([0-9a-f]{64})`", (folder / "README.md").read_text())
    assert hashlib.sha256((folder / row[0]).read_bytes()).hexdigest() == row[1]
    assert "MIT License" in (folder / "dicom-parser.LICENSE").read_text()


def test_the_vendored_parser_comes_from_this_server_when_it_is_needed(reader, page_server):
    reader.drop(**{"image.png": as_bytes(phantom())})
    reader.wait_for_image()
    parser = f"{page_server.url}/dicom-parser.min.js"
    assert parser not in reader.asked
    reader.drop(**{"image.dcm": chest()})
    reader.select("image.dcm")
    expect(reader.page.locator("#corner-patient")).to_contain_text(SEEN)
    assert reader.asked.count(parser) == 1


# Facts


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"ImagerPixelSpacing": [0.15, 0.15]}, "0.15 mm, at the detector; not corrected"),
        (
            {"ImagerPixelSpacing": [0.15, 0.15], "PixelSpacing": [0.15, 0.15]},
            "0.15 mm, at the detector; not corrected",
        ),
        (
            {"PixelSpacing": [0.13, 0.13], "PixelSpacingCalibrationType": "FIDUCIAL"},
            "0.13 mm, calibrated in the patient",
        ),
        ({"PixelSpacing": [0.13, 0.2]}, "0.13 mm down, 0.2 mm across, pixel spacing of the file"),
        ({"NominalScannedPixelSpacing": [0.1, 0.1]}, "0.1 mm, on the film that was scanned"),
        ({"PixelSpacing": [0, 0]}, "no pixel spacing in the file: lengths in pixels only"),
        ({}, "no pixel spacing in the file: lengths in pixels only"),
    ],
)
def test_the_pixel_spacing_says_where_it_is_from(looking, elements, said):
    reader = looking(chest(**elements))
    assert facts(reader)["Pixel spacing"].startswith(said)


def test_the_facts_of_an_image_stand_beside_it(looking):
    reader = looking(
        chest(
            ViewPosition="AP",
            ImageLaterality="U",
            LossyImageCompression="01",
            LossyImageCompressionRatio="10",
            Manufacturer="Maker",
        )
    )
    said = facts(reader)
    assert said["View"] == "AP (front to back)"
    assert said["Laterality"] == "unpaired"
    assert said["Lossy compression"] == "yes, 10 : 1"
    assert said["Size"] == "339 × 300 pixels"
    assert said["Device"] == "Maker"
    assert not any(secret in " ".join(said.values()) for secret in SECRETS)


# Measurements


def test_a_length_is_in_mm_and_names_the_source_of_the_spacing(looking):
    reader = looking(chest(ImagerPixelSpacing=[0.5, 0.25]))
    reader.page.keyboard.press("d")
    draw(reader, (0.4, 0.5), (0.6, 0.5))
    draw(reader, (0.5, 0.4), (0.5, 0.6))
    across, down = measured(reader)
    box = reader.page.locator("#pane-0").bounding_box()
    side = box["width"], box["height"]
    scale = 300 / min(side)  # image pixels of a CSS pixel, for the image fits
    for text, share, mm in ((across, 0.2 * side[0], 0.25), (down, 0.2 * side[1], 0.5)):
        assert "at the detector; not corrected for magnification" in text
        assert float(re.search(r"([\d.]+) mm", text)[1]) == pytest.approx(
            share * scale * mm, abs=0.6
        )


def test_without_a_spacing_a_length_is_in_pixels(looking):
    reader = looking(as_bytes(phantom()), "image.png")
    reader.page.keyboard.press("d")
    draw(reader, (0.4, 0.5), (0.6, 0.5))
    (text,) = measured(reader)
    assert " pixels" in text
    assert "mm" not in text.replace("measurement", "")
    expect(reader.page.locator("#scale")).to_be_hidden()


@pytest.mark.parametrize(
    ("elements", "warned"),
    [
        ({"ViewPosition": "PA"}, ""),
        ({"ViewPosition": "AP"}, "AP image: the heart is magnified"),
        ({"ViewPosition": None}, "The view is not known"),
        ({"ViewPosition": "LL"}, "Not a PA image"),
        ({"StudyDescription": "CHEST PORTABLE"}, "at the bedside"),
    ],
)
def test_the_cardiothoracic_ratio_says_what_it_is_and_where_it_does_not_hold(
    looking, elements, warned
):
    reader = looking(chest(**elements))
    reader.page.keyboard.press("c")
    draw(reader, (0.45, 0.52), (0.55, 0.58), (0.4, 0.6), (0.6, 0.6))
    (text,) = measured(reader)
    # The heart's borders lie at two heights; what counts lies along the line of the thorax.
    assert float(re.search(r"ratio (\d\.\d\d)", text)[1]) == pytest.approx(0.5, abs=0.02)
    assert "Defined for upright PA images" in text
    caution = reader.page.locator("#measured-list .caution")
    assert (warned in caution.text_content()) if warned else caution.count() == 0


def test_a_heart_that_is_wider_than_the_thorax_has_no_ratio(looking):
    reader = looking(chest(ViewPosition="PA"))
    reader.page.keyboard.press("c")
    draw(reader, (0.4, 0.6), (0.6, 0.6), (0.45, 0.55), (0.55, 0.55))
    (text,) = measured(reader)
    assert "no ratio (heart" in text
    assert "Measure again: the heart first, then the thorax." in text
    assert not re.search(r"\d\.\d\d", text)
    expect(reader.page.locator("#pane-0 .measurement text")).to_have_text("no CTR")
    expect(reader.page.locator("#live")).to_contain_text("wider than the thorax")


def test_an_angle_is_measured(looking):
    reader = looking(chest(ImagerPixelSpacing=[0.2, 0.2]))
    reader.page.keyboard.press("a")
    box = reader.page.locator("#pane-0").bounding_box()
    share = 0.2 * box["height"] / box["width"]
    draw(reader, (0.5, 0.3), (0.5, 0.5))
    reader.page.mouse.click(*on_screen(reader, 0.5 + share, 0.5))
    (text,) = measured(reader)
    assert float(re.search(r"([\d.]+)°", text)[1]) == pytest.approx(90, abs=0.8)


def test_measurements_stay_at_their_place_in_the_image_and_with_their_image(looking):
    reader = looking(chest(ImagerPixelSpacing=[0.2, 0.2]))
    reader.page.keyboard.press("d")
    draw(reader, (0.42, 0.4), (0.55, 0.6))
    (text,), before = measured(reader), handles(reader)
    reader.page.keyboard.press("+")
    reader.drawn()
    zoomed = handles(reader)
    assert math.dist(*zoomed) == pytest.approx(1.25 * math.dist(*before), rel=0.01)
    reader.page.evaluate("document.querySelector('#stage').focus()")
    reader.page.keyboard.press("0")
    reader.drop(**{"other.png": as_bytes(phantom(1))})
    reader.select("other.png")
    reader.wait_for_image()
    assert measured(reader) == []
    assert handles(reader) == []
    reader.select("image.dcm")
    reader.wait_for_image()
    assert measured(reader) == [text]
    assert np.allclose(handles(reader), before, atol=1)


def test_an_end_is_moved_and_a_measurement_deleted_with_the_mouse(looking):
    reader = looking(chest(ImagerPixelSpacing=[0.2, 0.2]))
    reader.page.keyboard.press("d")
    draw(reader, (0.4, 0.5), (0.5, 0.5))
    (before,) = measured(reader)
    reader.page.keyboard.press("w")
    draw(reader, (0.5, 0.5), (0.6, 0.5))
    (after,) = measured(reader)
    mm = [float(re.search(r"([\d.]+) mm", text)[1]) for text in (before, after)]
    assert mm[1] == pytest.approx(2 * mm[0], rel=0.02)
    reader.page.locator("#measured-list button").click()
    assert measured(reader) == []
    assert handles(reader) == []


def test_a_length_is_measured_moved_and_deleted_without_a_mouse(looking):
    reader = looking(chest(ImagerPixelSpacing=[0.2, 0.2]))
    keyboard, live = reader.page.keyboard, reader.page.locator("#live")
    reader.page.locator("#stage").focus()
    keyboard.press("d")
    expect(live).to_contain_text("Length: drag, or click")
    keyboard.press("Enter")
    for _ in range(3):
        keyboard.press("Shift+ArrowRight")
    keyboard.press("Enter")
    (before,) = measured(reader)
    expect(live).to_contain_text("mm")
    keyboard.press("Escape")
    reader.page.locator(".handle").nth(1).focus()
    keyboard.press("Shift+ArrowRight")
    (after,) = measured(reader)
    mm = [float(re.search(r"([\d.]+) mm", text)[1]) for text in (before, after)]
    assert mm[1] == pytest.approx(4 / 3 * mm[0], rel=0.02)
    keyboard.press("Delete")
    assert measured(reader) == []


def test_who_changes_the_tool_leaves_nothing_half_drawn(looking):
    reader = looking(chest())
    reader.page.keyboard.press("c")
    draw(reader, (0.45, 0.5), (0.55, 0.5))
    assert len(handles(reader)) == 3
    reader.page.keyboard.press("Escape")
    reader.drawn()
    assert (handles(reader), measured(reader)) == ([], [])


# Overlays


def test_one_key_takes_everything_off_the_image_and_it_stays_off(looking):
    reader = looking(chest(ImagerPixelSpacing=[0.2, 0.2]))
    reader.page.keyboard.press("d")
    draw(reader, (0.4, 0.5), (0.6, 0.5))
    reader.page.locator("#heat").click()
    reader.settle()
    corners = "#corner-name, #corner-patient, #corner-grey, #corner-size"
    over = f"{corners}, #scale, #legend, #pane-0 .measurements"
    for one in reader.page.locator(over).all():
        expect(one).to_be_visible()
    reader.page.keyboard.press("o")
    for one in reader.page.locator(over).all():
        expect(one).to_be_hidden()
    assert reader.page.locator("#overlays").get_attribute("aria-pressed") == "false"
    reader.drop(**{"other.png": as_bytes(phantom(1))})
    reader.select("other.png")
    reader.settle()
    expect(reader.page.locator("#corner-name")).to_be_hidden()
    reader.page.keyboard.press("o")
    expect(reader.page.locator("#corner-name")).to_be_visible()


def test_the_scale_bar_is_as_long_as_it_says(looking):
    reader = looking(chest(ImagerPixelSpacing=[0.7, 0.7]))
    bar = reader.page.locator("#scale")
    for key in ("0", "+", "-"):
        reader.page.keyboard.press(key)
        reader.drawn()
        mm = float(re.match(r"([\d.]+) mm \*", bar.text_content())[1])
        scale = int(re.search(r"(\d+) %", reader.text("#corner-size"))[1]) / 100
        assert bar.bounding_box()["width"] == pytest.approx(mm / 0.7 * scale, rel=0.02)


# Heat map


def test_the_legend_has_the_colours_of_the_maps_and_says_what_they_mean(looking):
    source = (PAGE / "legend.js").read_text()
    colours = json.loads("[" + re.search(r"HEAT = .(.*?),\n.;", source, re.DOTALL)[1] + "]")
    assert tuple(map(tuple, colours)) == HEAT
    reader = looking(as_bytes(phantom()), "image.png")
    legend = reader.page.locator("#legend")
    expect(legend).to_be_hidden()
    reader.page.locator("#heat").click()
    reader.settle()
    expect(legend).to_be_visible()
    assert "cannot be compared between images" in legend.text_content()
    assert "known" in legend.get_attribute("title")


def test_the_part_that_a_model_sees_is_outlined_under_its_heat_map(looking):
    reader = looking(as_bytes(phantom()), "image.png")
    points = reader.page.locator("#pane-0 .outline polygon")

    def answer_with(crop):
        def change(route):
            response = route.fetch()
            content = response.json()
            content["answers"][0]["crop"] = crop
            route.fulfill(response=response, json=content)

        return change

    crop = [30, 60, 270, 240]
    reader.page.route(re.compile("v1/.*predict"), answer_with(crop))
    reader.page.locator("#heat").click()
    reader.settle()
    corners = [tuple(map(float, one.split(","))) for one in points.get_attribute("points").split()]
    box = reader.page.locator("#pane-0").bounding_box()
    scale = min(box["width"], box["height"]) / 300
    assert corners[2][0] - corners[0][0] == pytest.approx(240 * scale, abs=2)
    assert corners[2][1] - corners[0][1] == pytest.approx(180 * scale, abs=2)
    reader.page.locator("#heat").click()
    reader.drawn()
    assert points.get_attribute("points") == ""


def test_a_picture_is_saved_as_it_is_seen_with_legend_measurements_and_intended_use(looking):
    reader = looking(chest(ImagerPixelSpacing=[0.2, 0.2]))
    canvas = reader.page.locator("#pane-0 canvas")
    width, height = canvas.evaluate("(one) => [one.width, one.height]")

    def picture():
        name, content = reader.saved("#save-png")
        assert name == "picture.png"
        with Image.open(io.BytesIO(content)) as saved:
            return np.asarray(saved.convert("RGB")).astype(int)

    plain = picture()
    assert plain.shape[1] == width
    assert plain.shape[0] > height  # The intended use stands below.
    assert (plain[:height] == reader.pixels()[..., :3]).all()
    assert plain[height:].max() > 150
    reader.page.keyboard.press("d")
    draw(reader, (0.4, 0.5), (0.6, 0.5))
    lined = picture()
    yellow = (lined[:height, :, 0] > 200) & (lined[:height, :, 2] < 120)
    assert yellow.sum() > 0.15 * width
    reader.page.locator("#heat").click()
    reader.settle()
    mapped = picture()
    assert mapped.shape[0] > plain.shape[0]
    below = mapped[height:].reshape(-1, 3)
    assert all((abs(below - colour).sum(axis=1) < 12).any() for colour in HEAT[2:7])
    reader.page.keyboard.press("o")
    bare = picture()
    assert not ((bare[:height, :, 0] > 245) & (bare[:height, :, 2] < 120)).sum() > 0.15 * width
    assert reader.text("#intended-use") == INTENDED_USE


def test_a_saved_picture_says_how_it_is_shown_and_what_is_doubtful_of_its_heat_map(looking):
    reader = looking(as_bytes(phantom()), "image.png")
    reader.page.evaluate(
        """() => {
            window.written = [];
            const { prototype } = CanvasRenderingContext2D;
            const { fillText } = prototype;
            prototype.fillText = function (...words) {
                window.written.push(words[0]);
                return fillText.apply(this, words);
            };
        }"""
    )

    def written():
        reader.page.evaluate("() => (window.written = [])")
        reader.saved("#save-png")
        return " ".join(reader.page.evaluate("() => window.written"))

    assert "The view is" not in written()
    for key in ("f", "t", "i"):
        reader.page.keyboard.press(key)
    reader.drawn()
    words = written()
    assert "The view is mirrored, turned clockwise by 90 degrees, inverted;" in words
    assert "audit" not in words, "nothing of a model is in this picture"

    def unusual(route):
        response = route.fetch()
        content = response.json()
        content["answers"][0]["warnings"] = ["the image is unlike most images"]
        route.fulfill(response=response, json=content)

    reader.page.route("**/predictions*", unusual)
    reader.page.locator("#heat").click()
    reader.settle()
    words = written()
    assert "This model fails its audit:" in words
    assert "The image is unlike most images." in words


# Two images side by side


def views(reader):
    """Return how the two images are shown: their scales, and the corner of each grey scale."""
    reader.drawn()
    reader.drawn()
    return [
        int(re.search(r"(\d+) %", reader.page.locator(one).text_content())[1])
        for one in ("#corner-size", "#beside-size")
    ]


def canvas(reader, pane):
    reader.drawn()
    url = reader.page.locator(f"#{pane} canvas").evaluate("(one) => one.toDataURL()")
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("L"))


def test_a_saved_picture_holds_both_images(two):
    widths = [
        two.page.locator(f"{pane} canvas").evaluate("(one) => [one.width, one.height]")
        for pane in ("#pane-0", "#pane-beside")
    ]
    _, content = two.saved("#save-png")
    with Image.open(io.BytesIO(content)) as saved:
        picture = np.asarray(saved.convert("L"))
    (left, height), (right, other) = widths
    assert picture.shape[1] == left + right
    assert picture.shape[0] > max(height, other)
    first, second = canvas(two, "pane-0"), canvas(two, "pane-beside")
    assert (picture[:height, :left] == first).all()
    assert (picture[:other, left:] == second).all()
    assert first.any()


HEAR = """() => {
  window.heard = [];
  const live = document.getElementById("live");
  new MutationObserver(() => heard.push(live.textContent)).observe(live, { childList: true });
}"""
"""Keep all that is read aloud: the next text takes the place of the one before."""


@pytest.fixture
def two(reader):
    """The same image twice, side by side."""
    reader.drop(**{"now.png": as_bytes(phantom()), "before.png": as_bytes(phantom())})
    reader.wait_for_image()
    reader.page.locator("#beside").select_option(label="before.png")
    expect(reader.page.locator("#beside-size")).not_to_be_empty()
    return reader


def test_two_images_move_together(two):
    assert two.page.locator("#beside-name").text_content() == "before.png"
    before = canvas(two, "pane-0")
    assert (before == canvas(two, "pane-beside")).all()
    for act in (
        lambda: two.page.keyboard.press("+"),
        lambda: two.page.keyboard.press("t"),
        lambda: two.page.keyboard.press("i"),
        lambda: drag(two, 40, 30),
        lambda: drag(two, -30, 20, pane="pane-beside"),
        lambda: two.page.locator("#zoom-in").click(),
    ):
        act()
        views(two)
        now = canvas(two, "pane-0")
        assert (now != before).any()
        assert (now == canvas(two, "pane-beside")).all()
        before = now


def test_one_key_lets_each_image_move_by_itself_and_joins_them_again(two):
    two.page.locator("#stage").focus()
    two.page.keyboard.press("u")
    assert two.page.locator("#linked").get_attribute("aria-pressed") == "false"
    fits = views(two)
    two.page.keyboard.press("+")
    assert views(two) == [pytest.approx(1.25 * fits[0], abs=1), fits[1]]
    two.page.locator("#stage-beside").focus()
    two.page.keyboard.press("-")
    assert views(two)[1] == pytest.approx(0.8 * fits[1], abs=1)
    two.page.keyboard.press("u")
    one, other = views(two)
    assert one == other


def test_an_image_beside_that_is_taken_off_the_list_is_closed(two):
    two.select("before.png")
    two.page.keyboard.press("Delete")
    expect(two.page.locator("#stage-beside")).to_be_hidden()
    expect(two.page.locator("#linked")).to_be_hidden()


# On paper, in forced colours, for those who do not see it


def test_on_paper_stand_the_image_the_answer_and_what_it_is_not_for(looking):
    reader = looking(chest())
    expect(reader.page.locator("#corner-patient")).to_contain_text(SEEN)
    reader.page.emulate_media(media="print")
    for shown in ("#intended-use", "#pane-0 canvas", ".card .headline", "#corner-name"):
        expect(reader.page.locator(shown)).to_be_visible()
    for hidden in ("#toolbar", ".worklist", ".actions", "#corner-patient"):
        expect(reader.page.locator(hidden)).to_be_hidden()
    assert reader.page.pdf().startswith(b"%PDF")


@pytest.mark.skipif(not shutil.which("pdfimages"), reason="install poppler-utils")
@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_a_printed_page_holds_the_image_its_name_and_how_it_is_shown(looking, tmp_path, paper):
    reader = looking(chest())
    reader.page.locator("#mirror").click()
    expect(reader.page.locator("#assessed")).to_contain_text("The view is mirrored")
    path = tmp_path / "page.pdf"
    reader.page.pdf(path=path, format=paper)

    def told(*command):
        return subprocess.run([*command], capture_output=True, text=True, check=True).stdout

    told("pdfimages", "-png", path, tmp_path / "picture")
    pictures = [np.asarray(Image.open(one).convert("L")) for one in tmp_path.glob("picture*.png")]
    assert any(min(one.shape) > 300 and one.std() > 20 for one in pictures)
    words = " ".join(told("pdftotext", path, "-").split())
    assert "image.dcm" in words
    assert "The view is mirrored; the answer is of the image as the file has it." in words
    assert INTENDED_USE in words
    assert SEEN not in words


def test_what_is_pressed_is_seen_in_forced_colours(looking):
    reader = looking(chest())
    reader.page.emulate_media(forced_colors="active")
    ground = "(one) => getComputedStyle(one).backgroundColor"
    pressed = reader.page.locator('.tool[data-tool="window"]')
    other = reader.page.locator('.tool[data-tool="pan"]')
    assert pressed.get_attribute("aria-pressed") == "true"
    assert pressed.evaluate(ground) != other.evaluate(ground)


def test_on_a_phone_an_answer_that_arrives_moves_nothing(looking):
    reader = looking(chest())
    reader.page.set_viewport_size(PHONE)
    top = reader.page.locator("#stage").bounding_box()["y"]
    state = reader.page.locator(".image-state").first
    state.evaluate("(one) => (one.textContent = 'a long answer of many words, in one line')")
    reader.drawn()
    assert reader.page.locator("#stage").bounding_box()["y"] == top


def test_the_second_image_has_measurements_of_its_own_by_keys(two):
    page, said = two.page, two.page.locator("#live")
    row = page.locator("#measured-beside li span")
    page.locator("#stage-beside").focus()
    page.keyboard.press("d")
    expect(said).to_contain_text("Length: drag, or click")
    expect(page.locator("#stage-beside")).to_be_focused()
    for key in ("Enter", "Shift+ArrowRight", "Shift+ArrowRight", "Enter"):
        page.keyboard.press(key)
    expect(row).to_contain_text("pixels")
    expect(said).to_contain_text(re.compile(r"Length: \d+ pixels"))
    assert measured(two) == []
    assert page.locator("#pane-0 .handle").count() == 0
    before = row.text_content()
    page.locator("#pane-beside .handle").last.focus()
    page.keyboard.press("Shift+ArrowRight")
    expect(row).not_to_have_text(before)
    # The tool is one for both: with the mouse, the next one may be on the first image.
    draw(two, (0.4, 0.5), (0.6, 0.5))
    assert len(measured(two)) == 1
    page.locator("#measured-beside button").click()
    expect(page.locator("#measured-beside")).to_be_hidden()
    assert page.locator("#pane-beside .handle").count() == 0
    # What is measured stays with its image, whichever side it is on.
    page.locator("#beside").select_option(label="now.png")
    expect(page.locator("#pane-beside .handle")).to_have_count(2)
    page.locator("#beside").select_option(label="no other image")
    expect(page.locator("#measured-beside")).to_be_hidden()


def test_the_second_image_has_its_heat_map_with_a_legend(two):
    page, legend = two.page, two.page.locator("#beside-legend")
    expect(legend).to_be_hidden()
    page.evaluate(HEAR)
    page.locator("#stage-beside").focus()
    page.keyboard.press("h")
    # Whichever comes first, both are said.
    for text in ("The heat map of known is there.", "before.png: the heat map of known is there."):
        page.wait_for_function("(text) => heard.some((one) => one.includes(text))", arg=text)
    expect(legend).to_be_visible()
    expect(page.locator("#beside-message")).to_be_hidden()
    assert "Heat map of known" in page.locator("#beside-legend-words").text_content()
    assert legend.get_attribute("title") == page.locator("#legend").get_attribute("title")
    shown = legend.locator("canvas").evaluate("(one) => one.toDataURL()")
    assert shown == page.locator("#legend canvas").evaluate("(one) => one.toDataURL()")
    page.keyboard.press("o")
    expect(legend).to_be_hidden()
    page.keyboard.press("o")
    page.keyboard.press("h")
    expect(legend).to_be_hidden()


def apart(page, one, *others):
    """Assert that what is seen of an element lies over no other one."""
    box = page.locator(one).bounding_box()
    for other in others:
        its = page.locator(other).bounding_box()
        across = box["x"] < its["x"] + its["width"] and its["x"] < box["x"] + box["width"]
        down = box["y"] < its["y"] + its["height"] and its["y"] < box["y"] + box["height"]
        assert not (across and down), (one, other, box, its)


def test_nothing_is_cut_or_covered_on_narrow_screens(reader):
    page = reader.page
    image = chest(ImagerPixelSpacing=[0.3, 0.3])
    reader.drop(**{"now.dcm": image, "before.dcm": image[:-2] + bytes(2)})
    reader.wait_for_image()
    page.locator("#beside").select_option(label="before.dcm")
    expect(page.locator("#beside-size")).not_to_be_empty()
    page.keyboard.press("d")
    expect(page.locator("#measure-menu summary")).to_have_accessible_name("Measure: Length is on")
    draw(reader, (0.6, 0.5), (0.98, 0.5))
    for width in (1024, 360):
        page.set_viewport_size({"width": width, "height": 768})
        reader.drawn()
        apart(page, "#scale", "#corner-grey", "#corner-size")
        apart(page, "#beside-scale", "#beside-grey", "#beside-size")
        text = page.locator("#pane-0 .measurement text").bounding_box()
        pane = page.locator("#pane-0").bounding_box()
        assert pane["x"] <= text["x"]
        assert text["x"] + text["width"] <= pane["x"] + pane["width"]
        for one in ("#find", "#sort", "#filter"):
            assert page.locator(one).bounding_box()["width"] > 70, (one, width)
    past = """(one) => {
        const words = document.createRange();
        words.selectNodeContents(one);
        return words.getBoundingClientRect().right - one.nextElementSibling.offsetLeft;
    }"""
    assert page.locator("label[for=other]").evaluate(past) < 0
    page.locator("#stage").focus()
    page.keyboard.press("Escape")
    expect(page.locator("#measure-menu summary")).to_have_accessible_name("Measure")
    expect(page.locator("#live")).to_have_text("Measuring has ended.")
    page.keyboard.press("m")
    expect(page.locator("#live")).to_have_text("Left drag: moves the image.")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_nothing_over_and_beside_an_image(sit_down, scheme):
    reader = sit_down(color_scheme=scheme)

    look = partial(axe_finds_nothing, reader.page)

    files = {"image.dcm": chest(ImagerPixelSpacing=[0.3, 0.3], ViewPosition="AP")}
    reader.drop(**files, **{"before.png": as_bytes(phantom(1))})
    reader.wait_for_image()
    reader.page.keyboard.press("c")
    draw(reader, (0.45, 0.5), (0.55, 0.5), (0.4, 0.6), (0.6, 0.6))
    reader.page.locator("#image-facts summary").click()
    look("a measurement and the facts")
    reader.page.locator("#measure-menu summary").click()
    look("what can be measured")
    reader.page.keyboard.press("Escape")
    reader.page.locator("#heat").click()
    reader.settle()
    look("a heat map with its legend")
    reader.page.locator("#beside").select_option(label="before.png")
    expect(reader.page.locator("#beside-size")).not_to_be_empty()
    look("two images")
    reader.page.keyboard.press("o")
    look("nothing over the image")
    reader.page.set_viewport_size(PHONE)
    look("a phone")
    assert reader.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
