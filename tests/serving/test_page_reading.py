"""A blinded reading before the page: what stays hidden, what is kept, and what is exported."""

import csv
import hashlib
import io
import json
import threading
from functools import partial
from pathlib import Path

import pytest

from serving.asking import as_bytes, phantom
from serving.page_reader import LABELS, PHONE, WORDS, axe_finds_nothing, expect

MODEL_WORDS = ("class score", "most like the training", 'like "', "audit", "cannot assess")
FILES = {f"covid19-{number}.png": as_bytes(phantom(number)) for number in range(3)}
DIGESTS = {hashlib.sha256(content).hexdigest(): name for name, content in FILES.items()}


def open_study(reader, *, reveal="each", again=False, who="R1", seed=7, target="covid19"):
    page = reader.page
    page.locator("#reading").click()
    page.locator("#reading-reader").fill(who)
    page.locator("#reading-target").select_option(json.dumps([target]))
    page.locator(f"#reading-{reveal}").check()
    page.locator("#reading-again").set_checked(again)
    page.locator("#reading-seed").fill(str(seed))


def start(reader, **settings):
    open_study(reader, **settings)
    reader.page.locator("#reading-start").click()
    expect(reader.page.locator(".reading-form")).to_be_visible()
    reader.drawn()


def read(reader, label, confidence, notes=""):
    """Commit a reading of the image that is shown."""
    page = reader.page
    page.locator(f'.reading-form input[value="{label}"]').check()
    page.locator("#reading-confidence").evaluate(
        """(range, value) => {
            range.value = value;
            range.dispatchEvent(new Event("input"));
        }""",
        confidence,
    )
    page.locator("#reading-notes").fill(notes)
    page.locator(".reading-form button[type=submit]").click()
    reader.drawn()


def button(reader, name):
    return reader.page.locator("#reading-slot").get_by_role("button", name=name)


def saved(reader, name):
    with reader.page.expect_download() as download:
        button(reader, name).click()
    return download.value.suggested_filename, Path(download.value.path()).read_text("utf-8")


def session(reader):
    return json.loads(saved(reader, "Save session")[1])


def seen(reader):
    """All text of the page's list, image and answer, whether or not it is on the screen."""
    return " ".join(
        reader.page.locator(part).text_content()
        for part in (".worklist", "#stage", ".results", ".models", "#live", "#summary")
    )


def asked_for_answers(reader):
    return [url for url in reader.asked if "/predictions" in url]


@pytest.fixture
def dropped(reader):
    """A reader whose images came in while no answer could: nothing of a model was seen."""
    reader.page.route("**/predictions*", lambda route: None)
    drop_without_waiting(reader, FILES)
    expect(reader.page.locator(".image")).to_have_count(3)
    yield reader
    reader.page.unroute_all(behavior="ignoreErrors")


def drop_without_waiting(reader, files):
    settle, reader.settle = reader.settle, lambda: None
    reader.drop(**files)
    reader.settle = settle


@pytest.fixture
def blinded(reader, page_server, tmp_path):
    """A study whose images come in after it has begun: no answer of them was ever asked for."""

    def begin(*, reveal="each", again=False):
        with page_server.client() as client:
            card = client.get("/v1/models").json()["models"][0]
        images = [
            {"place": 0, "sha256": sha256, "file": name, "readings": [], "answer": None}
            | {"answer_seen_before": False}
            for sha256, name in DIGESTS.items()
        ]
        model = {name: card[name] for name in ("name", "weights_sha256", "labels")}
        settings = {"format": "cxr-transfer reading session 1", "reader": "R1", "seed": 7}
        settings |= {"target": ["covid19"], "reveal": reveal, "again": again, "model": model}
        settings |= {"started": "2026-01-01T00:00:00Z", "finished": None, "images": images}
        path = tmp_path / "begin.json"
        path.write_text(json.dumps(settings))
        load(reader, path)
        expect(reader.page.locator("#note-text")).to_contain_text("3 of 3 images")
        drop_without_waiting(reader, FILES)
        expect(reader.page.locator(".image")).to_have_count(3)
        expect(reader.page.locator(".reading-form")).to_be_visible()
        return reader

    return begin


def load(reader, path):
    reader.page.locator("#reading").click()
    reader.page.locator("#reading-file").set_input_files(path)


def test_nothing_of_the_model_is_seen_or_asked_for_before_a_reading_is_committed(blinded):
    reader = blinded()
    reader.wait_for_image()
    for words in MODEL_WORDS:
        assert words.lower() not in seen(reader).lower()
    assert reader.page.locator(".card").count() == 0
    assert "covid19-" not in reader.page.content(), "a file's name may tell what it shows"
    for hidden in ("#model-verdict", "#downloads", "#arrange", "#clear"):
        expect(reader.page.locator(hidden)).to_be_hidden()
    expect(reader.page.locator("#heat")).to_be_disabled()
    reader.page.locator("#stage").focus()
    reader.page.keyboard.press("h")
    reader.page.keyboard.press("n")
    reader.wait_for_image()
    assert not asked_for_answers(reader)
    assert reader.text("#summary") == "0 of 3 read"


def test_after_the_reading_the_answer_is_shown_and_the_reading_stays(blinded):
    reader = blinded()
    read(reader, "normal", 12, "clear lungs")
    expect(reader.page.locator(".card[data-status=ok]")).to_have_count(1)
    assert len(asked_for_answers(reader)) == 1, "of this image alone"
    assert reader.page.locator(".reading-form").count() == 0
    committed = reader.text(".committed")
    assert committed == "Without the answer: normal, COVID-19 12 of 100"
    assert reader.text("#summary") == "1 of 3 read"
    button(reader, "Next image").click()
    expect(reader.page.locator(".reading-form")).to_be_visible()
    assert reader.page.locator(".card").count() == 0
    reader.page.keyboard.press("p")
    expect(reader.page.locator(".card[data-status=ok]")).to_have_count(1)
    assert reader.page.locator(".reading-form").count() == 0, "it cannot be read a second time"


def test_nothing_is_committed_without_a_class_and_a_confidence(blinded):
    reader = blinded()
    commit = reader.page.locator(".reading-form button[type=submit]")
    expect(commit).to_be_disabled()
    assert reader.text(".confidence") == "not set"
    reader.page.locator('.reading-form input[value="cannot_say"]').check()
    expect(commit).to_be_disabled()
    # Who means the middle says so: a click on it counts, what merely stands there does not.
    reader.page.locator("#reading-confidence").click()
    assert reader.text(".confidence") in {"50 of 100", "49 of 100", "51 of 100"}
    expect(commit).to_be_enabled()


def test_all_of_a_study_is_done_by_keys(dropped):
    page = dropped.page
    page.locator("#reading").focus()
    page.keyboard.press("Enter")
    page.locator("#reading-reader").press_sequentially("keys only")
    page.keyboard.press("Enter")
    for _ in FILES:
        expect(page.locator('.reading-form input[type="radio"]').first).to_be_focused()
        page.keyboard.press("Space")
        page.keyboard.press("ArrowDown")  # the next class
        page.keyboard.press("Tab")
        page.keyboard.press("Home")  # certainly not
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        expect(page.locator(".reading-form button[type=submit]")).to_be_focused()
        page.keyboard.press("Enter")
        if page.locator(".onwards").count():
            expect(page.locator(".onwards")).to_be_focused()
            page.keyboard.press("Enter")
    found = session(dropped)
    assert found["reader"] == "keys only"
    readings = [one for image in found["images"] for one in image["readings"]]
    assert [one["label"] for one in readings] == [LABELS[1]] * 3
    assert {one["confidence"] for one in readings} == {1}


def test_at_the_end_all_is_revealed_at_once_and_until_then_readings_may_change(blinded):
    reader = blinded(reveal="end")
    page = reader.page
    for number in range(3):
        read(reader, "covid19", 60 + number)
    assert not asked_for_answers(reader)
    assert reader.page.locator(".card").count() == 0
    expect(page.locator(".reading-form button[type=submit]")).to_have_text("Change the reading")
    read(reader, "normal", 5)
    button(reader, "Finish and reveal").click()
    expect(page.locator("#confirm-text")).to_contain_text("cannot be changed afterwards")
    page.locator("#confirm-act").click()
    expect(page.locator(".card[data-status=ok]")).to_have_count(1)
    for _ in range(3):
        page.keyboard.press("n")
        expect(page.locator(".card[data-status=ok]")).to_have_count(1)
    assert len(asked_for_answers(reader)) == 3
    assert page.locator(".reading-form").count() == 0
    found = session(reader)
    assert found["finished"] is not None
    readings = [one for image in found["images"] for one in image["readings"]]
    assert sorted(one["confidence"] for one in readings) == [5, 60, 61]
    assert sorted(one["changes"] for one in readings) == [0, 0, 1]
    assert all(image["answer"]["status"] == "ok" for image in found["images"])


def test_a_second_reading_with_the_answer_is_kept_beside_the_first(blinded):
    reader = blinded(again=True)
    read(reader, "normal", 20)
    expect(reader.page.locator(".card[data-status=ok]")).to_have_count(1)
    assert "with the answer in sight" in reader.text(".reading-form h3")
    assert reader.page.locator('.reading-form input[value="normal"]').is_checked()
    read(reader, "covid19", 80)
    expect(reader.page.locator(".card")).to_have_count(0)
    assert reader.text("#summary") == "1 of 3 read, 1 again with the answer"
    first = session(reader)["images"][0]
    assert [(one["condition"], one["label"], one["confidence"]) for one in first["readings"]] == [
        ("without", "normal", 20),
        ("with", "covid19", 80),
    ]


def test_the_order_is_of_the_seed_and_not_of_the_drop(reader):
    orders = reader.page.evaluate(
        """async () => {
            const { shuffled } = await import("./reading.js");
            const items = Array.from({ length: 40 }, (_, at) => ({ sha256: String(100 + at) }));
            const order = (some, seed) => shuffled(some, seed).map(({ sha256 }) => sha256);
            const first = order(items, 1);
            return [first, order([...items].reverse(), 1), order(items, 2), order(items, 3)];
        }"""
    )
    assert orders[0] == orders[1]
    assert len({tuple(order) for order in orders}) == 3
    assert all(sorted(order) == sorted(orders[0]) for order in orders)
    unmoved = sum(a == b for a, b in zip(orders[2], sorted(orders[2]), strict=True))
    assert unmoved < 10


def test_every_place_is_as_likely_for_every_image(reader):
    firsts = reader.page.evaluate(
        """async () => {
            const { shuffled } = await import("./reading.js");
            const items = Array.from({ length: 5 }, (_, at) => ({ sha256: String(at) }));
            const counts = [0, 0, 0, 0, 0];
            for (let seed = 0; seed < 2000; seed += 1) counts[shuffled(items, seed)[0].sha256] += 1;
            return counts;
        }"""
    )
    assert all(300 < count < 500 for count in firsts), firsts


def test_csv_and_json_have_the_reading_and_the_answer_beside(blinded, page_server):
    reader = blinded()
    read(reader, "covid19", 91, '=1+1, "so"')
    expect(reader.page.locator(".card[data-status=ok]")).to_have_count(1)
    name, text = saved(reader, "Readings as CSV")
    assert name == "reading-R1.csv"
    (row,) = csv.DictReader(io.StringIO(text))
    with page_server.client() as client:
        card = client.get("/v1/models").json()["models"][0]
    assert (row["reader"], row["reading"], row["label"], row["confidence"]) == (
        ("R1", "without", "covid19", "91")
    )
    assert DIGESTS[row["sha256"]] == row["file"]
    assert row["notes"].startswith("'="), "no cell is a formula"
    assert row["target"] == "covid19"
    assert float(row["seconds"]) >= 0
    assert row["answer_seen_before"] == "no"
    assert (row["model"], row["weights_sha256"]) == (card["name"], card["weights_sha256"])
    assert row["model_status"] == "ok"
    scores = [float(row[f"score_{label}"]) for label in LABELS]
    assert sum(scores) == pytest.approx(1, abs=1e-4)
    assert row["model_label"] == LABELS[scores.index(max(scores))]
    found = session(reader)
    assert found["images"][0]["readings"][0]["notes"] == '=1+1, "so"'
    assert "Research use only" in found["intended_use"]
    assert [image["place"] for image in found["images"]] == [1, 2, 3]
    assert found["images"][1]["answer"] is None


def test_a_session_that_was_saved_goes_on_where_it_was(blinded, sit_down, tmp_path):
    reader = blinded(again=True)
    read(reader, "normal", 33)
    expect(reader.page.locator(".card[data-status=ok]")).to_have_count(1)
    path = tmp_path / "session.json"
    path.write_text(saved(reader, "Save session")[1])
    later = sit_down()
    later.page.route("**/predictions*", lambda route: route.abort())
    drop_without_waiting(later, dict(list(FILES.items())[:1]))
    expect(later.page.locator(".image")).to_have_count(1)
    load(later, path)
    expect(later.page.locator("#note-text")).to_contain_text("2 of 3 images of this session")
    later.page.unroute_all(behavior="ignoreErrors")
    drop_without_waiting(later, {**FILES, "other.png": as_bytes(phantom(9))})
    expect(later.page.locator(".image")).to_have_count(3)
    expect(later.page.locator("#note-text")).to_contain_text("2 of what was added are no images")
    assert later.text("#summary") == "1 of 3 read, 0 again with the answer"
    expect(later.page.locator(".reading-form")).to_be_visible()
    for _ in range(2):
        read(later, "normal", 40)
        expect(later.page.locator(".card[data-status=ok]")).to_have_count(1)
        read(later, "normal", 45)
    read(later, "covid19", 70)
    expect(later.page.locator("#summary")).to_have_text("3 of 3 read, 3 again with the answer")
    found = session(later)
    first, *_ = found["images"]
    assert [one["confidence"] for one in first["readings"]] == [33, 70]
    assert found["started"] == json.loads(path.read_text())["started"]


def changed(text, **entries):
    return json.dumps(json.loads(text) | entries)


def without(text, name):
    return json.dumps({key: value for key, value in json.loads(text).items() if key != name})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: "no json", "no session of readings"),
        (lambda text: text.replace("session 1", "session 9"), "no session of readings"),
        (lambda text: text.replace('"known"', '"gone"'), "not served here"),
        (lambda text: text.replace('"weights_sha256": "', '"weights_sha256": "0'), "other weights"),
        (lambda text: text.replace('"confidence": 50', '"confidence": 500'), "0 to 100"),
        (lambda text: without(text, "model"), "the name and the weights of a model"),
        (lambda text: changed(text, seed="abc"), "expected a seed"),
        (lambda text: changed(text, target=["zebra"]), "classes normal, bacterial, covid19"),
        (lambda text: changed(text, images=[]), "at least one image"),
        (lambda text: changed(text, reader="x" * 5000), "1 to 40 characters"),
        (lambda text: text.replace('"label": "normal"', '"label": "zebra"'), "found zebra"),
    ],
)
def test_what_is_no_session_of_here_is_refused_with_words(
    blinded, sit_down, tmp_path, change, words
):
    reader = blinded()
    read(reader, "normal", 50)
    path = tmp_path / "session.json"
    path.write_text(change(saved(reader, "Save session")[1]))
    later = sit_down()
    load(later, path)
    expect(later.page.locator("#reading-wrong")).to_contain_text(words)
    assert later.page.locator(".reading").count() == 0


def test_who_leaves_with_readings_that_are_not_saved_is_warned(blinded):
    reader = blinded()
    leaves = """() => {
        const event = new Event("beforeunload", { cancelable: true });
        dispatchEvent(event);
        return event.defaultPrevented;
    }"""
    assert not reader.page.evaluate(leaves)
    read(reader, "normal", 50)
    assert reader.page.evaluate(leaves)
    button(reader, "End the study").click()
    expect(reader.page.locator("#confirm-text")).to_contain_text("not saved")
    reader.page.locator("#confirm-panel button[value=no]").click()
    expect(reader.page.locator(".reading")).to_be_visible()
    session(reader)
    assert not reader.page.evaluate(leaves)
    button(reader, "End the study").click()
    expect(reader.page.locator(".reading")).to_have_count(0)
    reader.settle()
    assert sorted(reader.page.locator(".image-name").all_text_contents()) == sorted(FILES)
    expect(reader.page.locator("#model-verdict")).to_be_visible()


def test_answers_that_were_seen_before_and_copies_are_told(reader):
    reader.drop(**FILES, **{"copy.png": FILES["covid19-0.png"]})
    start(reader)
    note = reader.text("#note-text")
    assert "Left out: 1 copy of other images." in note
    assert "The model's answer to 3 of these images was on this page before" in note
    assert reader.page.locator(".image").count() == 3
    assert reader.page.locator(".card").count() == 0
    found = session(reader)
    assert all(image["answer_seen_before"] for image in found["images"])
    button(reader, "End the study").click()
    expect(reader.page.locator(".image")).to_have_count(4)


@pytest.mark.parametrize("reveal", ["each", "end"])
def test_answers_that_were_seen_since_a_session_was_saved_are_told(
    blinded, sit_down, tmp_path, reveal
):
    reader = blinded(reveal=reveal)
    read(reader, "normal", 33)
    path = tmp_path / "session.json"
    path.write_text(saved(reader, "Save session")[1])
    later = sit_down()
    later.drop(**FILES)
    load(later, path)
    expect(later.page.locator("#note-text")).to_contain_text("answer to 2 of these images was")
    assert marks(later) == [False, True, True], "what was read before was read blinded"
    if reveal == "end":
        later.select("Image 1")
        read(later, "covid19", 80)
        assert marks(later) == [True, True, True], "it was changed with the answer known"


def marks(reader):
    images = sorted(session(reader)["images"], key=lambda image: image["place"])
    return [image["answer_seen_before"] for image in images]


def wait_for_images(reader, **settings):
    open_study(reader, **settings)
    assert "no image yet" in reader.text("#reading-none")
    reader.page.locator("#reading-start").click()
    expect(reader.page.locator("#reading-waiting")).to_contain_text("waits for its images")


def test_a_study_may_begin_before_its_images_are_there(reader, images):
    wait_for_images(reader, who="first")
    drop_without_waiting(reader, {"notes.txt": images["notes.png"], **FILES})
    expect(reader.page.locator(".reading-form")).to_be_visible()
    expect(reader.page.locator("#reading-waiting")).to_be_hidden()
    expect(reader.page.locator(".image")).to_have_count(3)
    told = "Left out, since they cannot be read as images: notes.txt."
    expect(reader.page.locator("#note-text")).to_have_text(told)
    assert not asked_for_answers(reader)
    found = session(reader)
    assert not any(image["answer_seen_before"] for image in found["images"])
    assert {image["sha256"] for image in found["images"]} == set(DIGESTS)


def test_a_study_waits_on_for_images_that_can_be_read_and_for_the_server(reader, images):
    page, note = reader.page, reader.page.locator("#note-text")
    wait_for_images(reader)
    drop_without_waiting(reader, {"notes.png": images["notes.png"]})
    expect(note).to_contain_text("None of these files can be read as an image: notes.png.")
    page.route("**/v1/images", lambda route: route.abort())
    drop_without_waiting(reader, FILES)
    expect(note).to_contain_text("The server cannot be reached. It still waits")
    page.locator("#note-close").click()
    expect(page.locator("#reading-waiting")).to_be_visible()
    page.unroute("**/v1/images")
    # The others come before the first is looked at: else it would begin the study alone.
    held = []
    released = threading.Event()
    page.route(
        "**/v1/images",
        lambda route: route.continue_() if released.is_set() else held.append(route),
    )
    first, *rest = FILES
    drop_without_waiting(reader, {first: FILES[first]})
    while not held:
        page.wait_for_timeout(20)
    drop_without_waiting(reader, {name: FILES[name] for name in rest})
    released.set()
    for route in held:
        route.continue_()
    expect(page.locator(".image")).to_have_count(3)
    expect(page.locator(".reading-form")).to_be_visible()
    assert not asked_for_answers(reader)


def test_who_does_not_wait_any_more_has_images_assessed(reader):
    wait_for_images(reader)
    reader.page.locator("#reading-waiting-end").click()
    expect(reader.page.locator("#reading-waiting")).to_be_hidden()
    reader.drop(**FILES)
    expect(reader.page.locator(".card[data-status=ok]")).to_have_count(1)


def test_a_reading_with_the_answer_waits_until_the_answer_is_in_sight(blinded):
    reader = blinded(again=True)
    page, held = reader.page, []
    commit = page.locator(".reading-form button[type=submit]")
    lacking = page.locator(".reading-form .caution")
    is_away = False
    page.route("**/predictions*", lambda route: route.abort() if is_away else held.append(route))
    read(reader, "normal", 20)
    expect(lacking).to_contain_text("once the model's answer is in sight: it is being asked for")
    expect(commit).to_be_disabled()
    is_away = True
    held[0].abort()
    expect(lacking).to_contain_text("The server cannot be reached")
    expect(commit).to_be_disabled()
    page.unroute("**/predictions*")
    page.locator("#again").click()
    expect(page.locator(".card[data-status=ok]")).to_have_count(1)
    expect(lacking).to_be_empty()
    commit.click()
    expect(page.locator("#summary")).to_have_text("1 of 3 read, 1 again with the answer")
    expect(page.locator("#again")).to_be_hidden()
    assert session(reader)["images"][0]["answer"]["status"] == "ok"


def test_nothing_is_put_back_into_a_study(dropped):
    page = dropped.page
    page.locator("#images").focus()
    page.keyboard.press("Delete")
    expect(page.locator("#note")).to_contain_text("Undo")
    start(dropped)
    assert "Undo" not in page.locator("#note").text_content()  # It ends by itself, later.
    expect(page.locator(".image")).to_have_count(2)


def test_what_cannot_be_a_study_is_told(reader, images):
    page = reader.page
    reader.drop(**{"notes.png": images["notes.png"]})
    open_study(reader)
    page.locator("#reading-start").click()
    told = "None of these files can be read as an image: notes.png."
    expect(page.locator("#reading-wrong")).to_have_text(told)


def test_any_class_but_normal_may_be_looked_for(dropped):
    page = dropped.page
    page.locator("#reading").click()
    texts = page.locator("#reading-target option").all_text_contents()
    assert texts == ["any class but normal", *(WORDS[label] for label in LABELS)]
    page.locator("#reading-reader").fill("R2")
    page.locator("#reading-start").click()
    assert "bacterial pneumonia or COVID-19" in dropped.text(".confidence-field label")
    assert session(dropped)["target"] == ["bacterial", "covid19"]


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_nothing_in_a_study(sit_down, scheme):
    reader = sit_down(color_scheme=scheme)

    look = partial(axe_finds_nothing, reader.page)

    reader.page.locator("#reading").click()
    look("the dialog without images")
    reader.page.keyboard.press("Escape")
    reader.drop(**FILES)
    open_study(reader, again=True)
    look("the dialog")
    reader.page.locator("#reading-start").click()
    expect(reader.page.locator(".reading-form")).to_be_visible()
    look("before a reading")
    read(reader, "normal", 10)
    expect(reader.page.locator(".card[data-status=ok]")).to_be_visible()
    look("a second reading beside the answer")
    button(reader, "End the study").click()
    look("a question")
    reader.page.keyboard.press("Escape")
    reader.page.set_viewport_size(PHONE)
    look("on a phone")
    assert reader.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
