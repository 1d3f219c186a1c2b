"""The page in a real browser before a real server: what a reader sees, moves, keeps, is refused."""

import csv
import io
import itertools
import json
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from cxr_transfer import INTENDED_USE
from cxr_transfer.inference.predictor import Predictor
from cxr_transfer.models.reference import TrainingReference
from cxr_transfer.radiograph import decode, quality_control
from cxr_transfer.statistics.score_errors import EDGES
from cxr_transfer.statistics.temperature import written_score
from serving.asking import as_bytes, phantom, running, send
from serving.page_reader import (
    KNOWN_ERRORS,
    LABELS,
    PATIENCE_MS,
    PHONE,
    WORDS,
    Reader,
    axe_finds_nothing,
    drag,
    expect,
    grey_scale,
    scores_of,
)


@pytest.fixture(scope="module")
def server(page_server):
    return page_server


def test_a_dicom_and_a_png_that_are_dropped_get_what_the_server_answers(reader, server, images):
    reader.drop(**{name: images[name] for name in ("image.dcm", "image.png")})
    reader.wait_for_image()
    with server.client() as client:
        for name in ("image.dcm", "image.png"):
            (answer,) = send(client, images[name]).json()["answers"]
            assert answer["status"] == "ok"
            reader.select(name)
            expected = {label: round(100 * p, 1) for label, p in answer["probabilities"].items()}
            assert scores_of(reader) == pytest.approx(expected, abs=0.11)
            headline = reader.text(".headline")
            assert f'most like the training class\n"{WORDS[answer["label"]]}"' in headline
            highest = max(answer["probabilities"].values())
            assert f"class score {written_score(highest)}" in headline
            for warning in answer["warnings"]:
                assert warning in reader.text(".warnings")
    assert reader.text("#summary") == "2 images, 2 answered"


def test_the_image_is_on_the_canvas_as_the_server_decodes_it(reader, images):
    reader.drop(**{"image.dcm": images["image.dcm"]})
    reader.wait_for_image()
    radiograph = decode(images["image.dcm"])
    assert f"{radiograph.width} × {radiograph.height}" in reader.text("#corner-size")
    shown = reader.pixels()
    inside = np.flatnonzero(shown[shown.shape[0] // 2, :, 3])
    row = shown[shown.shape[0] // 2, inside[0] : inside[-1] + 1, 0].astype(float)
    middle = 255 * radiograph.pixels[radiograph.height // 2]
    expected = np.interp(np.linspace(0, len(middle) - 1, len(row)), range(len(middle)), middle)
    assert np.corrcoef(row, expected)[0, 1] > 0.98
    assert (shown[..., :1] == shown[..., :3]).all()


def test_the_intended_use_is_seen_before_and_after_and_said_with_one_voice(reading):
    notice = reading.page.locator("#intended-use")
    assert notice.inner_text() == INTENDED_USE
    expect(notice).to_be_in_viewport()
    words = reading.page.locator("body").inner_text().lower()
    assert "probability" not in words
    assert "diagnosis" not in words.replace(INTENDED_USE.lower(), "")


def test_how_far_to_trust_a_score_stands_beside_it(reading):
    assert reading.text("#model-verdict") == "fails its audit"
    assert "fails its audit" in reading.text(".card .audit")
    assert reading.text(".card").count("Calibrated on images like those of training") == 1
    assert "a class is not a finding" in reading.text(".limits").lower()
    assert "says nothing of other findings" in reading.text(".limits")
    tops = [
        reading.page.locator(f".card {part}").bounding_box()["y"]
        for part in (".audit", ".headline", ".limits", ".scores", ".known")
    ]
    assert tops == sorted(tops)


def test_the_entropy_of_the_scores_has_its_name_and_stands_in_the_details(reading):
    assert "uncertain" not in reading.page.content().lower()
    assert "entropy" not in reading.text(".card").lower()
    reading.page.locator(".card summary").click()
    scores = np.array([*scores_of(reading).values()]) / 100
    entropy = -(scores * np.log(scores)).sum() / np.log(len(scores))
    read = re.search(r"Entropy of the scores: ([\d.]+)", reading.text(".entropy"))
    assert float(read[1]) == pytest.approx(entropy, abs=0.02)


def test_what_is_known_of_a_score_are_the_errors_of_validation_images(reading, server, images):
    with server.client() as client:
        (answer,) = send(client, images["image.png"]).json()["answers"]
        (told, _) = client.get("/v1/models").json()["models"]
    assert told["score_errors"] == [band.model_dump() for band in KNOWN_ERRORS]
    highest = max(answer["probabilities"].values())
    edges = next(edges for edges in itertools.pairwise(EDGES) if highest <= edges[1])
    known = reading.text(".known").replace("\xa0", " ")
    assert "Of 60 validation images" in known
    assert f"{100 * edges[1]:.1f}" in known or f"above {100 * edges[0]:.1f}," in known
    assert "9 got the wrong class: 15.0 % [7.5, 25.5] (95 % interval)." in known
    assert "cohen\t4 of 5: too few to say" in known
    assert "kermany\t5 of 55: 9.1 % [1.8, 18.2]" in known
    assert "fails its audit: elsewhere such a score may be wrong far more often" in known


def test_a_few_images_or_none_of_such_a_score_are_no_rate(reader):
    words = reader.page.evaluate(
        """async (bands) => {
            const { knownErrors } = await import("./known_errors.js");
            const answer = (score) => ({ probabilities: { a: score, b: 1 - score } });
            const say = (score, more) =>
                knownErrors(
                    { ...answer(score), ...more }, { score_errors: bands }, { kind: "pass" }
                );
            const read = [say(0.6), say(0.61), say(1)].map((one) => one.textContent);
            const none = [say(1, { unusual: true }), say(1, { trained_on: true })];
            const old = knownErrors(answer(1), { score_errors: null }, { kind: "pass" });
            return [...read, ...none, old];
        }""",
        [
            {"above": 0, "up_to": 0.6, "errors": {"images": 7, "wrong": 1, "low": None}},
            {"above": 0.6, "up_to": 0.9, "errors": None, "sources": {}},
            {
                "above": 0.9,
                "up_to": 1,
                "errors": {"images": 40, "wrong": 0, "low": 0, "high": 0.088},
                "sources": {"one": {"images": 40, "wrong": 0, "low": 0, "high": 0.088}},
            },
        ],
    )
    assert "Only 7 validation images had a highest score up to 60.0: too few to say" in words[0]
    assert "No validation image had a highest score above 60.0, up to 90.0" in words[1]
    assert "Of 40 validation images with a highest score above 90.0, 0 got" in words[2]
    assert "0.0\xa0% [0.0,\xa08.8]" in words[2]
    assert words[3:] == [None, None, None]


def test_no_score_is_written_as_certain(reader):
    values = [0, 0.00049, 0.0005, 0.87, 0.9994, 0.9996, 1]
    written = reader.page.evaluate(
        """async (all) => {
            const { score } = await import("./elements.js");
            return all.map(score);
        }""",
        values,
    )
    assert written == [written_score(value) for value in values]
    assert written[0] == "<0.1"
    assert written[-2:] == [">99.9", ">99.9"]
    assert not {"0.0", "100.0"} & set(written)


def colour_of(reader, selector):
    return reader.page.locator(selector).evaluate("(one) => getComputedStyle(one).color")


@pytest.fixture(scope="module")
def doubted(models, images, tmp_path_factory):
    """Names of models to which an image is unusual, and one that it trained; their server."""
    folders = {}
    content = images["image.png"]
    for name in ("plain", "strange", "trained"):
        folders[name] = tmp_path_factory.mktemp("doubted") / name
        shutil.copytree(models[0], folders[name])
        card = json.loads((folders[name] / "checkpoint.json").read_text())
        (folders[name] / "checkpoint.json").write_text(json.dumps(card | {"name": name}))
        audit = json.loads((folders[name] / "audit.json").read_text())
        (folders[name] / "audit.json").write_text(
            json.dumps(audit | {"verdict": "pass", "checks": []})
        )
    predictor = Predictor.open(folders["trained"])
    sha256 = predictor.card.weights_sha256
    reference = TrainingReference.load(models[0], weights_sha256=sha256)
    pixels = predictor._prepare(content, None).image
    _, features = predictor._engine.answer(pixels[None, None])
    own = replace(reference, images=reference.places(features).repeat(12, axis=0))
    own.save(folders["trained"])
    replace(reference, far_distance=0.0, temperature=None).save(folders["strange"])
    with running(*folders.values()) as server:
        yield server


def test_a_headline_is_grey_where_there_is_reason_to_doubt_it(browser, doubted, images):
    reader = Reader(browser, doubted.url, opens="plain")
    reader.drop(**{"image.png": images["image.png"]})
    coloured = colour_of(reader, ".headline strong")
    assert "was in the training data" not in reader.text(".card")
    assert reader.page.locator(".known").count() == 1

    reader.page.locator("#model").select_option("strange")
    reader.settle()
    assert "unlike most images" in reader.text(".warnings")
    assert colour_of(reader, ".headline strong") != coloured
    assert reader.page.locator(".known").count() == 0
    assert "calibrat" not in reader.page.locator(".card").text_content().lower()
    assert "class score" in reader.text(".headline")
    (above, below) = (reader.page.locator(one).bounding_box() for one in (".warnings", ".headline"))
    assert above["y"] + above["height"] <= below["y"]

    reader.page.locator("#model").select_option("trained")
    reader.settle()
    assert "this image, or a copy of it, was in the training data" in reader.text(".warnings")
    assert colour_of(reader, ".headline strong") != coloured
    assert reader.page.locator(".known").count() == 0
    reader.page.locator("#heat").click()
    expect(reader.page.locator(".neighbours")).to_be_visible(timeout=PATIENCE_MS)
    assert "A distance of 0 is the same image" in reader.text(".neighbours caption")
    first, second = reader.page.locator(".neighbours tbody tr").all_inner_texts()[:2]
    assert "this image, or a copy of it" in first
    assert float(first.split()[-1]) < 0.01
    assert "or a copy" not in second
    reader.context.close()
    assert not reader.broken


def test_a_headline_is_grey_without_an_audit_that_passes_and_where_there_is_no_class(
    browser, doubted, reader, images
):
    reader.drop(**{name: images[name] for name in ("image.png", "flower.jpg")})
    failing = colour_of(reader, ".headline strong")
    reader.select("flower.jpg")
    assert colour_of(reader, ".headline strong") == failing
    reader.page.locator("#model").select_option("unknown")
    reader.select("image.png")
    reader.settle()
    assert reader.text("#model-verdict") == "not audited"
    assert colour_of(reader, ".headline strong") == failing
    passing = Reader(browser, doubted.url, opens="plain")
    passing.drop(**{"image.png": images["image.png"]})
    assert colour_of(passing, ".headline strong") != failing
    passing.context.close()


def test_the_heat_map_comes_with_the_nearest_images_and_its_slider_changes_pixels(reading):
    bare = reading.pixels()
    reading.page.locator("#heat").click()
    expect(reading.page.locator(".neighbours")).to_be_visible(timeout=PATIENCE_MS)
    reading.settle()
    rows = reading.page.locator(".neighbours tbody tr").all_inner_texts()
    assert len(rows) == 5
    cells = [row.split("\t") for row in rows]
    assert all(one in WORDS.values() and source in ("kermany", "cohen") for one, source, _ in cells)
    assert "outlines no finding" in reading.text(".card")
    faint, full = reading.pixels(), None
    slider = reading.page.locator("#opacity")
    slider.fill("100")
    full = reading.pixels()
    away = [np.abs(one.astype(int) - bare).sum() for one in (faint, full)]
    assert 0 < away[0] < away[1]
    slider.fill("0")
    assert (reading.pixels() == bare).all()


def test_the_mouse_sets_window_and_level_moves_and_zooms(reading):
    opened = reading.pixels()
    drag(reading, -60, 30)
    assert grey_scale(reading) == (196, 158)
    assert (reading.pixels() != opened).any()
    drag(reading, 20, 0, button="right")
    assert grey_scale(reading) == (216, 158)
    reading.page.locator("#reset").click()
    assert (reading.pixels() == opened).all()

    drag(reading, 80, 0, button="middle")
    moved = reading.pixels()
    assert grey_scale(reading) == (256, 128)
    assert (moved[:, 100:-1] == opened[:, 20:-81]).mean() > 0.9
    reading.page.locator("#fit").click()
    scale = reading.text("#corner-size")
    reading.page.locator("#pane-0").hover()
    reading.page.mouse.wheel(0, -300)
    reading.drawn()
    percent = [
        int(re.search(r"(\d+) %", text)[1]) for text in (scale, reading.text("#corner-size"))
    ]
    assert percent[1] > 1.2 * percent[0]
    reading.page.locator("#actual").click()
    reading.drawn()
    assert "100 %" in reading.text("#corner-size")


def test_windowing_is_that_of_dicom(reading):
    """PS3.3 C.11.2.1.2.1 over 0..255; inversion last."""
    opened = reading.pixels()
    inside = opened[..., 3] == 255
    reading.page.locator("#window").fill("100")
    reading.page.locator("#level").fill("150")
    stored = opened[..., 0].astype(float)
    expected = np.clip(((stored - 149.5) / 99 + 0.5) * 255, 0, 255)
    assert np.abs(reading.pixels()[..., 0] - expected)[inside].max() <= 0.51
    reading.page.locator("#invert").click()
    assert np.abs(reading.pixels()[..., 0] - (255 - expected))[inside].max() <= 0.51
    assert (reading.pixels()[~inside] == opened[~inside]).all()


def test_all_of_it_is_reached_without_a_mouse(reader, images, tmp_path):
    keyboard = reader.page.keyboard
    paths = []
    for name in ("image.png", "flower.jpg"):
        (tmp_path / name).write_bytes(images[name])
        paths.append(tmp_path / name)

    def tab_to(element):
        for _ in range(40):
            keyboard.press("Tab")
            if reader.page.evaluate("document.activeElement.id") == element:
                return
        pytest.fail(f"Tab never comes to {element}")

    tab_to("choose-files")
    choosers = []
    reader.page.on("filechooser", lambda chooser: choosers.append(chooser))
    for _ in range(10):
        # A busy machine may hear a key too late for the browser to take it for somebody's wish.
        keyboard.press("Enter")
        reader.page.wait_for_timeout(1000)
        if choosers:
            break
    choosers[0].set_files(paths)
    reader.settle()
    reader.wait_for_image()

    assert reader.page.evaluate("document.activeElement.id") == "images"
    keyboard.press("ArrowDown")
    assert reader.text(".image[aria-selected=true] .image-name") == "flower.jpg"
    keyboard.press("ArrowUp")
    reader.wait_for_image()

    tab_to("stage")
    opened = reader.pixels()
    for key, undo in (("i", "i"), ("+", "0"), ("ArrowLeft", "0"), ("Shift+ArrowLeft", "r")):
        keyboard.press(key)
        assert (reader.pixels() != opened).any(), key
        keyboard.press(undo)
        assert (reader.pixels() == opened).all(), undo
    keyboard.press("h")
    expect(reader.page.locator(".neighbours")).to_be_visible(timeout=PATIENCE_MS)
    reader.settle()
    faint = reader.pixels()
    keyboard.press("]")
    assert (reader.pixels() != faint).any()
    keyboard.press("n")
    assert reader.text(".image[aria-selected=true] .image-name") == "flower.jpg"

    keyboard.press("?")
    expect(reader.page.locator("#help-panel")).to_be_visible()
    keyboard.press("Escape")
    expect(reader.page.locator("#help-panel")).to_be_hidden()
    tab_to("results")


def test_keys_of_one_letter_can_be_switched_off(reading):
    reading.page.keyboard.press("?")
    reading.page.locator("#single-keys").uncheck()
    reading.page.keyboard.press("Escape")
    reading.page.locator("#images").focus()
    reading.page.keyboard.press("i")
    assert reading.page.locator("#invert").get_attribute("aria-pressed") == "false"
    reading.page.locator("#stage").focus()
    reading.page.keyboard.press("i")
    reading.drawn()
    assert reading.page.locator("#invert").get_attribute("aria-pressed") == "true"


def test_a_flower_gets_no_class_but_the_reason(reader, images):
    reader.drop(**{name: images[name] for name in ("flower.jpg", "notes.png")})
    card = reader.text(".card")
    assert "Cannot assess" in card
    assert "Not like a chest radiograph" in card
    assert "Expected" in card
    assert "No class is given." in card
    assert not any(label in card for label in LABELS)
    assert reader.page.locator(".scores").count() == 0
    reader.select("notes.png")
    assert "Cannot be read" in reader.text(".card")
    assert "unsupported_format" in reader.text(".card .facts")
    states = reader.page.locator(".image-state").all_text_contents()
    assert states == ["cannot assess", "cannot be read"]
    assert reader.text("#summary") == "2 images, 2 answered, 1 not assessed, 1 not read"


def test_of_an_image_it_is_not_sure_of_the_scores_are_shown_and_no_class(
    browser, models, images, tmp_path
):
    folder = tmp_path / "known"
    shutil.copytree(models[0], folder)
    sha256 = Predictor.open(folder).card.weights_sha256
    strict = TrainingReference.load(folder, weights_sha256=sha256)
    replace(strict, confidence_threshold=0.9999, coverage=0.9).save(folder)
    with running(folder) as server:
        reader = Reader(browser, server.url)
        reader.drop(**{"image.png": images["image.png"]})
        reader.wait_for_image()
        card = reader.text(".card")
        assert "Cannot assess" in card
        assert "No class is given." in card
        assert "too close for a class" in card
        assert tuple(scores_of(reader)) == LABELS
        assert sum(scores_of(reader).values()) == pytest.approx(100, abs=0.2)
        assert reader.page.locator(".scores .first").count() == 0
        with server.client() as client:
            (answer,) = send(client, images["image.png"]).json()["answers"]
        assert (answer["status"], answer["code"]) == ("cannot_assess", "not_sure")
        assert answer["label"] is None
        _, content = reader.saved("#save-csv")
        assert f"{max(answer['probabilities'].values())}" in content.decode()
        assert reader.saved("#save-pdf")[1].startswith(b"%PDF")
        reader.context.close()
        assert not reader.broken


def test_every_reason_to_give_no_class_has_words_of_its_own():
    words = (Path(quality_control.__file__).parents[1] / "serving/page/words.js").read_text()
    of_the_model = {"out_of_distribution", "not_sure"}
    for code in {
        "blank_or_noise",
        *(code for code, _ in quality_control._SAID.values()),
    } | of_the_model:
        assert re.search(rf'^  {code}: "', words, re.MULTILINE), code


def test_two_models_stand_side_by_side(reading, server, images):
    alone = scores_of(reading)
    reading.page.locator("#other").select_option("unknown")
    reading.settle()
    assert reading.page.locator(".card h3").all_inner_texts() == ["known", "unknown"]
    assert scores_of(reading, 0) == alone
    with server.client() as client:
        (answer,) = send(client, images["image.png"], model="unknown").json()["answers"]
    expected = {label: round(100 * p, 1) for label, p in answer["probabilities"].items()}
    assert scores_of(reading, 1) == pytest.approx(expected, abs=0.11)
    assert "Not calibrated" in reading.page.locator(".card").nth(1).inner_text()
    assert reading.text("#other-verdict") == "not audited"
    assert (reading.pixels(0) == reading.pixels(1)).all()
    assert reading.pixels(1).any()
    labels = [max(scores_of(reading, n), key=scores_of(reading, n).get) for n in (0, 1)]
    assert reading.page.locator(".differ").count() == (labels[0] != labels[1])

    reading.page.locator("#heat").click()
    reading.settle()
    assert (reading.pixels(0) != reading.pixels(1)).any()
    drag(reading, -50, 0)
    reading.page.locator("#other").select_option("")
    expect(reading.page.locator("#pane-1")).to_be_hidden()
    assert grey_scale(reading) == (206, 128)


LAID_OUT = """() => {
    const found = [];
    const shown = (one) => {
        const box = one.getBoundingClientRect();
        return box.width > 1 && box.height > 1 && one.checkVisibility({ visibilityProperty: true });
    };
    const name = (one) => one.id || one.className || one.tagName;
    const apart = (a, b) => {
        const [one, other] = [a.getBoundingClientRect(), b.getBoundingClientRect()];
        const across = Math.min(one.right, other.right) - Math.max(one.left, other.left);
        const down = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
        if (across > 1 && down > 1) found.push(`${name(a)} over ${name(b)}`);
    };
    const eachPair = (all) =>
        all.filter(shown).forEach((one, at, those) =>
            those.slice(at + 1).forEach((other) => apart(one, other))
        );
    const all = (selector) => [...document.querySelectorAll(selector)];

    const page = document.documentElement;
    if (page.scrollWidth > innerWidth) found.push(`page scrolls: ${page.scrollWidth}`);
    eachPair(all(".bar, .notice, .worklist, .viewer, .results").filter((one) => !one.hidden));
    eachPair(all(".brand, .model > *, .actions > *"));
    eachPair(all(".toolbar .tool, .toolbar .slider"));
    eachPair(all(".pane figcaption, .corner, .stage-message"));
    eachPair(all(".panel-head > *"));
    eachPair(all(".card"));
    for (const card of all(".card")) eachPair([...card.children]);
    for (const row of all(".card tr")) eachPair([...row.children]);
    for (const around of all(".bar, .toolbar, .panel-head, #answer, .card, .known")) {
        const box = around.getBoundingClientRect();
        for (const one of around.querySelectorAll(":not(.menu-list, .menu-list *, .sr-only)")) {
            const { left, right } = one.getBoundingClientRect();
            if (!shown(one) || (left >= box.left - 1 && right <= box.right + 1)) continue;
            found.push(`${name(one)} leaves ${name(around)}`);
        }
    }
    return found;
}"""
WIDTHS = {1280: 800, 1440: 900, 1920: 1080, 1024: 768, 360: 740}


def stages_of_every_width(reader, state):
    """Return where the image stands at each width; nothing may overlap or leave its place."""
    places = {}
    for width, height in WIDTHS.items():
        reader.page.set_viewport_size({"width": width, "height": height})
        reader.drawn()
        assert not reader.page.evaluate(LAID_OUT), (state, width)
        places[width] = reader.page.locator("#stage").bounding_box()
    return places


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_nothing_overlaps_in_any_state_of_two_models_and_the_image_stays(sit_down, images, scheme):
    reader = sit_down(color_scheme=scheme)
    page, held, holds = reader.page, [], []
    long_name = f"{'a-name-as-archives-give-them-' * 3}.png"
    reader.drop(**{long_name: images["image.png"], "flower.jpg": images["flower.jpg"]})
    reader.wait_for_image()
    places = {"one model": stages_of_every_width(reader, "one model")}

    def look(state):
        places[state] = stages_of_every_width(reader, state)

    def let_go():
        holds.clear()
        while held:
            held.pop().continue_()
        reader.settle()

    page.route("**/predictions*", lambda route: held.append(route) if holds else route.continue_())
    holds.append("answers")
    page.locator("#other").select_option("unknown")
    expect(page.locator(".card .busy").first).to_be_visible()
    look("the other is asked")
    let_go()
    assert page.locator(".card[data-status=ok]").count() == 2
    look("both have answered")
    page.locator(".card summary").first.click()
    look("details are open")
    holds.append("heat maps")
    page.locator("#heat").click()
    expect(page.locator(".card .busy")).to_have_count(2)
    look("heat maps are made")
    let_go()
    expect(page.locator(".neighbours")).to_have_count(1)  # of the other nothing is known
    look("heat maps are there")
    page.locator("#other").select_option("")
    reader.settle()
    look("one model again")
    reader.select("flower.jpg")
    page.locator("#other").select_option("unknown")
    reader.settle()
    look("no class")

    for width in WIDTHS:
        stages = [of_state[width] for of_state in places.values()]
        if width > 900:  # a phone's page scrolls; what stands above the image may grow
            assert len({(one["y"], one["height"]) for one in stages}) == 1, width
        if width == 1024:
            assert len({(one["x"], one["width"]) for one in stages}) == 1


def test_a_report_of_two_models_covers_both(reading):
    sizes = []
    for other in ("", "unknown"):
        reading.page.locator("#other").select_option(other)
        reading.settle()
        _, content = reading.saved("#save-pdf")
        assert len(re.findall(rb"/Type /Page\s", content)) == 2, "a summary and the image's page"
        sizes.append(len(content))
    assert sizes[1] > sizes[0], "the other model's part of the page"


def test_who_goes_through_the_list_looks_at_the_last_image_and_asks_for_few(reader):
    many = {f"{number:02}.png": as_bytes(phantom()) + bytes(number) for number in range(41)}
    reader.drop(**many)
    reader.wait_for_image()
    page, refused = reader.page, []
    page.on("response", lambda response: refused.append(response.status == 503))
    before = sum(url.endswith("v1/image") for url in reader.asked)
    page.locator("#images").focus()
    for _ in range(40):
        page.keyboard.press("ArrowDown")
    expect(page.locator('.image[aria-selected="true"] .image-name')).to_have_text("40.png")
    reader.wait_for_image()
    # The time between two presses is the machine's: on a busy one a few images are asked for.
    assert sum(url.endswith("v1/image") for url in reader.asked) - before <= 20
    assert not any(refused)


def test_a_long_list_is_sorted_and_searched_and_names_show_their_ends(reader):
    long = "a-very-long-name-of-a-study-from-somewhere-"
    many = {f"{long}{number}.png": as_bytes(phantom(number)) for number in (10, 9, 2)}
    reader.drop(**many)
    page, shown = reader.page, reader.page.locator(".image:visible .image-name")
    numbers = [text.removeprefix(long) for text in shown.all_text_contents()]
    assert numbers == ["10.png", "9.png", "2.png"]
    ends = shown.locator("span:last-child")
    for number in range(3):
        box, row = ends.nth(number).bounding_box(), shown.nth(number).bounding_box()
        assert box["x"] + box["width"] <= row["x"] + row["width"] + 1, "its end is not cut off"
    page.locator("#sort").select_option("name")
    texts = shown.all_text_contents()
    assert [text.removeprefix(long) for text in texts] == ["2.png", "9.png", "10.png"]
    page.locator("#sort").select_option("score")
    scores = [text.rpartition(" ")[2] for text in page.locator(".image-state").all_text_contents()]
    assert scores == sorted(scores, key=lambda score: -float(score.strip("<>")))
    page.locator("#find").fill("-9.")
    expect(shown).to_have_count(1)
    expect(page.locator("#summary")).to_contain_text("1 shown")
    page.locator("#images").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator('.image[aria-selected="true"] .image-name')).to_have_text(f"{long}9.png")
    page.locator("#find").fill("")
    expect(shown).to_have_count(3)


def test_what_was_taken_off_the_list_can_be_put_back_with_its_answers(reader, images):
    reader.drop(**{"a.png": images["image.png"], "flower.jpg": images["flower.jpg"]})
    page = reader.page
    states = page.locator(".image-state").all_text_contents()
    page.locator("#images").focus()
    page.keyboard.press("Delete")
    expect(page.locator("#note-text")).to_have_text("a.png taken off the list.")
    expect(page.locator(".image")).to_have_count(1)
    page.locator("#note-close").click()
    expect(page.locator(".image-name").first).to_have_text("a.png")
    asked = sum("/predictions" in url for url in reader.asked)
    page.locator("#clear").click()
    expect(page.locator(".image")).to_have_count(0)
    expect(page.locator("#note-close")).to_have_text("Undo")
    page.locator("#note-close").click()
    expect(page.locator(".image")).to_have_count(2)
    expect(page.locator("#note")).to_be_hidden()
    reader.settle()
    assert page.locator(".image-state").all_text_contents() == states
    assert sum("/predictions" in url for url in reader.asked) == asked, "answers were kept"


def test_all_that_was_taken_off_the_list_comes_back_at_once(reader):
    reader.drop(**{f"{number}.png": as_bytes(phantom(number)) for number in range(3)})
    page = reader.page
    page.locator("#images").focus()
    page.keyboard.press("Delete")
    page.keyboard.press("Delete")
    expect(page.locator("#note-text")).to_have_text("2 images taken off the list.")
    reader.drop(**{"3.png": as_bytes(phantom(3))})
    page.locator("#note-close").click()
    expect(page.locator(".image")).to_have_count(4)
    names = page.locator(".image-name").all_text_contents()
    assert names == [f"{number}.png" for number in range(4)]


def test_the_ends_of_short_names_are_shown_on_a_narrow_screen(reader):
    page = reader.page
    page.set_viewport_size({"width": 1024, "height": 768})
    names = [f"chest-pa-0000{number}.png" for number in (1, 2)]
    reader.drop(**{name: as_bytes(phantom(number)) for number, name in enumerate(names)})
    shown = page.locator(".image-name")
    assert shown.all_text_contents() == names
    # As it is read aloud: in one piece.
    expect(page.get_by_role("option", name=names[0])).to_have_count(1)
    for end, row in zip(shown.locator("span:last-child").all(), shown.all(), strict=True):
        assert re.search(r"[12]\.png$", end.text_content())
        box, within = end.bounding_box(), row.bounding_box()
        assert box["x"] + box["width"] <= within["x"] + within["width"] + 1, "it is cut off"


def test_a_report_says_how_far_it_is_and_can_be_cancelled(reader):
    many = {f"{number:02}.png": as_bytes(phantom()) + bytes(number) for number in range(24)}
    reader.drop(**many)
    page = reader.page
    page.locator("#downloads summary").click()
    page.locator("#save-pdf-all").click()
    # Seen and pressed in one go: on a quick machine it is done soon after.
    page.wait_for_function(
        """() => {
            const button = document.getElementById("note-close");
            const text = document.getElementById("note-text").textContent;
            if (!/made: [1-9]\\d* of 24 images/.test(text)) return false;
            window.onButton = button.textContent;
            button.click();
            return true;
        }"""
    )
    assert page.evaluate("window.onButton") == "Cancel"
    expect(page.locator("#note")).to_be_hidden()
    expect(page.locator("#live")).to_have_text("The report was cancelled.")
    # A new one is made as if there had been none, and the note goes with it.
    assert reader.saved("#save-pdf")[1].startswith(b"%PDF")
    expect(page.locator("#note")).to_be_hidden()


def test_what_is_known_of_a_model_is_told_before_and_beside_its_scores(reader, images):
    page, panel = reader.page, reader.page.locator("#about-panel")
    page.locator("#model-verdict").click()
    expect(panel).to_be_visible()
    assert panel.locator("h2").inner_text() == "known"
    assert "does not mean that it recognises a disease" in panel.inner_text()
    # An audit that names no scale was made of the network's own scores.
    assert "audited: as the network gives them." in panel.inner_text()
    assert "gives: calibrated (temperature 1.1)." in panel.inner_text()
    row = panel.locator(".checks tr")
    assert row.locator(".chip.fail").count() == 1
    assert "Images from elsewhere" in row.inner_text()
    assert "<b>3</b>" in row.inner_text()
    assert "Model card: known" in panel.locator("h3").all_inner_texts()
    assert panel.locator("h4").all_inner_texts() == ["Figures"]
    assert panel.locator("strong").all_inner_texts() == ["Weights", "two"]
    assert panel.locator("em").all_inner_texts() == ["not done"]
    assert "2 ** 3 <img src=x" in panel.inner_text()
    assert panel.locator("img").count() == 0
    assert panel.locator("table:not(.checks) td").all_inner_texts() == ["a|b", "7"]
    assert panel.locator("li").all_inner_texts() == ["one", "two"]
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()

    reader.drop(**{"image.png": images["image.png"]})
    page.locator("#other").select_option("unknown")
    reader.settle()
    expect(page.locator("#other-verdict")).to_be_disabled()
    assert page.get_by_role("button", name="Audit and model card").count() == 1
    page.get_by_role("button", name="Audit and model card").click()
    expect(panel).to_be_visible()


def test_answers_are_saved_as_csv_json_and_pdf(reader, images):
    name = '=cmd("a",b).png'
    reader.drop(**{name: images["image.png"], "flower.jpg": images["flower.jpg"]})
    called, content = reader.saved("#save-csv")
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert called == "answers.csv"
    assert [row["file"] for row in rows] == [f"'{name}", "flower.jpg"]
    assert [row["status"] for row in rows] == ["ok", "cannot_assess"]
    assert sum(float(rows[0][f"score_{label}"]) for label in LABELS) == pytest.approx(1, abs=1e-5)
    assert rows[1]["score_normal"] == ""
    assert {row["intended_use"] for row in rows} == {INTENDED_USE}

    called, content = reader.saved("#save-json")
    told = json.loads(content)
    assert called == "answers.json"
    assert told["intended_use"] == INTENDED_USE
    assert [answer["file"] for answer in told["answers"]] == [name, "flower.jpg"]
    assert told["answers"][0]["probabilities"]["normal"] == float(rows[0]["score_normal"])

    called, content = reader.saved("#save-pdf")
    assert called == "report.pdf"
    assert content.startswith(b"%PDF")


def test_what_cannot_be_read_does_not_take_the_rest_of_a_drop_with_it(reader):
    found = reader.page.evaluate(
        """async () => {
            const file = (name) => ({ name, fullPath: `/a/${name}`, isDirectory: false });
            const bad = { ...file("bad"), file: (_, fail) => fail(new Error("locked")) };
            const good = { ...file("good"), file: (give) => give(new File(["x"], "good")) };
            const parts = [[bad, good], []];
            const readEntries = (give) => give(parts.shift());
            const folder = { isDirectory: true, createReader: () => ({ readEntries }) };
            const items = [
                { kind: "file", webkitGetAsEntry: () => folder },
                { kind: "file", getAsFile: () => null },
                { kind: "file", getAsFile: () => new File(["x"], "alone") },
            ];
            const { found, lost } = await (await import("./intake.js")).dropped({ items });
            return [found.map(({ path }) => path), lost];
        }"""
    )
    assert found == [["a/good", "alone"], 2]


def test_no_cell_is_a_formula(reader):
    for text in ("=1+1", "+1", "-1", "@a", "\tb", "\rc"):
        cell = reader.page.evaluate(
            "async (text) => (await import('./export.js')).cell(text)", text
        )
        assert next(csv.reader(io.StringIO(cell, newline="")))[0] == f"'{text}"
    assert reader.page.evaluate("async () => (await import('./export.js')).cell(-1.5)") == "-1.5"


def test_what_a_file_is_called_is_text_and_nothing_else(reader, images):
    names = {
        "<img src=x onerror=alert(1)>.png": "<img src=x onerror=alert(1)>.png",
        "\u202egnp.exe": "\ufffdgnp.exe",
        "a\nb\x00c.png": "a\ufffdb\ufffdc.png",
        r"C:\windows\x.png": r"C:\windows\x.png",
        "CON": "CON",
        "ä" * 200 + ".png": "ä" * 200 + ".png",
    }
    contents = (images["notes.png"] + bytes(number) for number in range(len(names)))
    reader.drop(**dict(zip(names, contents, strict=True)))
    shown = reader.page.locator(".image-name").evaluate_all(
        "(all) => all.map((e) => e.textContent)"
    )
    assert shown == list(names.values())
    assert reader.page.locator("#images img, #answer img").count() == 0
    reader.select("<img src=x")
    assert "<img" not in reader.text("#answer")
    assert reader.text("#corner-name") == "<img src=x onerror=alert(1)>.png"


def test_a_folder_is_opened_to_its_ends(reader, images, tmp_path):
    for name in ("a.png", "deep/er/b.png", ".hidden/c.png", "__MACOSX/d.png", "Thumbs.db"):
        (tmp_path / "ward" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "ward" / name).write_bytes(images["notes.png"])
    session = reader.context.new_cdp_session(reader.page)
    data = {"items": [], "files": [str(tmp_path / "ward")], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 400, "y": 400, "data": data})
    expect(reader.page.locator(".image")).to_have_count(2, timeout=PATIENCE_MS)
    reader.settle()
    assert sorted(reader.page.locator(".image-name").all_text_contents()) == ["a.png", "b.png"]
    reader.page.locator("#clear").click()
    expect(reader.page.locator("#empty")).to_be_visible()

    reader.page.locator("#folder-input").set_input_files(tmp_path / "ward")
    expect(reader.page.locator(".image")).to_have_count(2, timeout=PATIENCE_MS)
    reader.settle()


def test_an_image_taken_off_the_list_is_gone(reader, images):
    reader.drop(**{name: images[name] for name in ("image.png", "flower.jpg")})
    reader.page.locator("#images").focus()
    reader.page.keyboard.press("Delete")
    reader.drawn()
    assert reader.page.locator(".image-name").all_text_contents() == ["flower.jpg"]
    assert "Cannot assess" in reader.text(".card")


def test_a_server_that_is_busy_is_asked_again(reader, images):
    refusals = []

    def refuse_twice(route):
        if len(refusals) == 2:
            return route.continue_()
        refusals.append(route.request.url)
        body = json.dumps({"code": "busy", "message": "Expected room, but there is none."})
        return route.fulfill(status=503, headers={"Retry-After": "0.2"}, body=body)

    reader.page.route("**/predictions*", refuse_twice)
    reader.drop(**{"image.png": images["image.png"]})
    assert len(refusals) == 2
    assert reader.page.locator(".card[data-status=ok]").count() == 1


def test_a_server_that_is_away_is_told_and_can_be_tried_again(reader, images):
    reader.page.route("**/predictions*", lambda route: route.abort())
    reader.drop(**{"image.png": images["image.png"]})
    assert "cannot be reached" in reader.text(".card")
    reader.page.unroute("**/predictions*")
    reader.page.get_by_role("button", name="Try again").click()
    reader.settle()
    assert reader.page.locator(".card[data-status=ok]").count() == 1


def test_all_that_got_no_answer_is_asked_for_again_at_once(reader, images):
    page = reader.page
    page.route("**/predictions*", lambda route: route.abort())
    reader.drop(**{"a.png": images["image.png"], "b.png": as_bytes(phantom())})
    assert reader.text("#summary") == "2 images, 0 answered, 2 without an answer"
    page.unroute("**/predictions*")
    page.locator("#again").click()
    reader.settle()
    assert reader.text("#summary") == "2 images, 2 answered"
    expect(page.locator("#again")).to_be_hidden()


def test_a_token_is_asked_for_once_and_kept_nowhere(browser, models, images):
    token = "0123456789abcdef-right"
    with running(models[1], CXR_TOKEN=token) as guarded:
        reader = Reader(browser, guarded.url, opens=None)
        page = reader.page
        expect(page.locator("#token-panel")).to_be_visible(timeout=PATIENCE_MS)
        expect(page.locator("#token-wrong")).to_be_hidden()
        page.locator("#token").fill(f"{token}r")
        page.keyboard.press("Enter")
        expect(page.locator("#token-wrong")).to_be_visible(timeout=PATIENCE_MS)
        page.locator("#token").fill(token)
        page.keyboard.press("Enter")
        expect(page.locator("#model")).to_have_value("unknown", timeout=PATIENCE_MS)
        reader.drop(**{"image.png": images["image.png"]})
        assert page.locator(".card[data-status=ok]").count() == 1
        assert page.evaluate("() => localStorage.length + sessionStorage.length") == 0
        assert token not in page.content()
        page.reload()
        expect(page.locator("#token-panel")).to_be_visible(timeout=PATIENCE_MS)
        page.keyboard.press("Escape")
        expect(page.locator("#note-text")).to_contain_text("was given none that it takes")
        assert "Bearer" not in reader.text("#note-text")
        reader.context.close()
        assert not reader.broken


def test_a_phone_scrolls_down_only(reader, images):
    reader.page.set_viewport_size(PHONE)
    wide = "document.documentElement.scrollWidth <= innerWidth"
    assert reader.page.evaluate(wide)
    reader.drop(**{"image.png": images["image.png"], "ä" * 100: images["notes.png"]})
    reader.wait_for_image()
    assert reader.page.evaluate(wide)
    reader.page.locator("#other").select_option("unknown")
    reader.settle()
    assert reader.page.evaluate(wide)
    reader.page.locator(".card").nth(1).scroll_into_view_if_needed()
    expect(reader.page.locator("#intended-use")).to_be_in_viewport()
    reader.page.keyboard.press("?")
    assert reader.page.locator("#help-panel").evaluate("(panel) => panel.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_theme_follows_the_system_until_it_is_chosen(sit_down, scheme):
    page = sit_down(color_scheme=scheme).page
    ground = "getComputedStyle(document.body).backgroundColor"
    first = page.evaluate(ground)
    assert (sum(map(int, re.findall(r"\d+", first)[:3])) > 380) == (scheme == "light")
    page.locator("#theme").click()
    chosen = page.evaluate(ground)
    assert chosen != first
    page.reload()
    assert page.evaluate(ground) == chosen


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_nothing(sit_down, images, scheme):
    reader = sit_down(color_scheme=scheme)

    look = partial(axe_finds_nothing, reader.page)

    look("nothing dropped yet")
    reader.drop(**{name: images[name] for name in ("image.png", "flower.jpg", "notes.png")})
    reader.wait_for_image()
    look("an image with scores")
    reader.page.locator("#heat").click()
    reader.page.locator("#other").select_option("unknown")
    reader.settle()
    look("two models with heat maps")
    reader.select("flower.jpg")
    look("cannot assess")
    reader.select("notes.png")
    look("cannot be read")
    reader.page.locator("#downloads summary").click()
    look("downloads")
    reader.page.locator("#help").click()
    look("help")
    reader.page.keyboard.press("Escape")
    reader.page.locator("#model-verdict").click()
    expect(reader.page.locator("#about-panel")).to_be_visible()
    look("audit and card")
    reader.page.set_viewport_size(PHONE)
    look("audit and card on a phone")
    assert reader.page.locator("#about-panel").evaluate("(p) => p.scrollWidth <= p.clientWidth")
    reader.page.keyboard.press("Escape")
    look("a phone")


def test_what_happens_is_said_to_those_who_do_not_see_it(reader, images):
    reader.drop(**{"image.png": images["image.png"]})
    live = reader.page.locator("#live")
    said = re.compile(
        r'image\.png, known: most like the training class "[\w -]+", class score [<>\d.]+ of 100'
    )
    expect(live).to_have_text(said)
    assert live.get_attribute("aria-live") == "polite"
    stage = reader.page.get_by_role("application", name="Image")
    assert stage.get_attribute("aria-describedby") == "stage-keys"
    assert reader.page.get_by_role("listbox", name="Images").get_by_role("option").count() == 1
    for name in ("Width", "Level", "Heat map opacity, percent"):
        assert reader.page.get_by_role("slider", name=name).count() == 1
