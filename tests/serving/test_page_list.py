"""The list of images: copies, what is shown of it, the time left, a server that is lost."""

import re

import pytest

from cxr_transfer.datasets.phantom import MARK
from serving.asking import as_bytes, phantom, running
from serving.page_reader import WORDS, Reader, axe_finds_nothing, expect


def requests(reader, part):
    return [url for url in reader.asked if part in url]


def test_an_image_is_uploaded_once_for_all_that_is_asked_of_it(reader, images):
    reader.drop(**{"image.png": images["image.png"]})
    reader.page.locator("#other").select_option("unknown")
    reader.settle()
    reader.page.locator("#heat").click()
    reader.settle()
    assert len([url for url in reader.asked if url.endswith("/v1/images")]) == 1
    assert len(requests(reader, "/predictions")) >= 3
    assert not requests(reader, "/v1/predict")


def test_what_the_server_has_forgotten_is_uploaded_again_and_not_for_ever(reader, images):
    reader.drop(**{"image.png": images["image.png"]})
    page, forgotten = reader.page, []
    body = '{"code": "unknown_image", "message": "Expected the hash of an image, but got another."}'

    def forget(route):
        if len(forgotten) < most:
            forgotten.append(route.request.url)
            return route.fulfill(status=404, content_type="application/json", body=body)
        return route.continue_()

    most = 1
    page.route("**/predictions*", forget)
    page.locator("#model").select_option("unknown")
    reader.settle()
    assert page.locator(".card[data-status=ok]").count() == 1
    assert len([url for url in reader.asked if url.endswith("/v1/images")]) == 2
    most = 100
    page.locator("#other").select_option("known")
    page.locator("#heat").click()
    reader.settle()
    assert len(forgotten) < 12


def test_copies_are_told_by_their_bytes_and_not_by_their_names(reader):
    one, other = as_bytes(phantom(1)), as_bytes(phantom(2))
    reader.drop(**{"a.png": one, "b.png": other, "c.png": one})
    copies = reader.page.locator(".image-copy")
    assert copies.all_text_contents() == ["", "", "same as a.png"]
    reader.page.locator("#images").focus()
    reader.page.keyboard.press("Home")
    reader.page.keyboard.press("Delete")
    expect(reader.page.locator(".image")).to_have_count(2)
    reader.drawn()
    assert copies.all_text_contents() == ["", ""], "its first is gone"


def test_the_list_is_filtered_by_class_and_by_state(reader, images):
    files = {f"{number}.png": as_bytes(phantom(number)) for number in range(5)}
    files |= {"flower.jpg": images["flower.jpg"], "notes.png": images["notes.png"]}
    reader.drop(**files)
    page, shown = reader.page, reader.page.locator(".image:visible .image-state")
    options = page.locator("#filter option").all_text_contents()
    assert options[0] == "all answers"
    assert {"not assessed", "not read"} <= set(options)
    assert "waiting" not in options
    for text in options[1:]:
        page.locator("#filter").select_option(label=text)
        reader.drawn()
        states = shown.all_text_contents()
        assert states
        wanted = {"not assessed": "cannot assess", "not read": "cannot be read"}.get(text, text)
        assert all(wanted in state for state in states)
        expect(page.locator("#summary")).to_contain_text(f"{len(states)} shown")
    classes = set(options) & set(WORDS.values())
    assert classes
    page.locator("#filter").select_option(label="all answers")
    expect(shown).to_have_count(len(files))


def test_the_pace_of_answers_tells_how_long_the_rest_takes(reader):
    told = reader.page.evaluate(
        """async () => {
            const { Pace } = await import("./summary.js");
            const after = (done, each, more, wait = 0) => {
                const pace = new Pace();
                for (let at = 0; at <= done; at += 1) pace.note(at, at * each);
                return pace.left(more, done * each + wait);
            };
            return [
                after(3, 1000, 100),       // too few to tell
                after(10, 1000, 5),        // soon over
                after(10, 1000, 30),
                after(10, 1000, 119),
                after(10, 60000, 400),
                after(10, 1000, 0),
                after(10, 1000, 30, 60000), // nothing came for a minute
            ];
        }"""
    )
    expected = ["", "", "about 30 s left", "about 2 min left", "about 7 h left", ""]
    assert told[:6] == expected
    assert re.fullmatch("about [2-4] min left", told[6])


def test_how_long_the_rest_takes_stands_beside_the_progress(reader):
    page, answered = reader.page, []
    # Four answers come, as if a minute lay between them; the rest waits.
    page.evaluate(
        """() => {
            const now = performance.now.bind(performance);
            const rows = () => document.querySelectorAll('[data-kind=ok]').length;
            performance.now = () => now() + 60000 * rows();
        }"""
    )

    def few(route):
        if len(answered) < 6:
            answered.append(route)
            route.continue_()

    page.route("**/predictions*", few)
    settle, reader.settle = reader.settle, lambda: None
    reader.drop(**{f"{number}.png": as_bytes(phantom(number)) for number in range(12)})
    expect(page.locator("#summary")).to_contain_text("12 images, 6 answered, about")
    expect(page.locator("#summary")).to_contain_text("min left")
    page.unroute_all(behavior="ignoreErrors")
    reader.settle = settle


def test_the_pictures_of_the_next_images_are_there_before_they_are_looked_at(reader):
    many = {f"{number}.png": as_bytes(phantom(number)) for number in range(6)}
    reader.drop(**many)
    reader.wait_for_image()
    page = reader.page
    page.wait_for_function(
        """() => {
            const names = performance.getEntriesByType("resource").map(({ name }) => name);
            return new Set(names.filter((name) => name.includes("/samples?"))).size >= 3;
        }"""
    )
    reader.drawn()
    asked = {re.search(r"images/(\w+)/", url)[1] for url in requests(reader, "/samples?")}
    assert len(asked) == 3, "the one that is shown, and two more"


def test_a_lost_server_is_told_until_it_is_back(browser, models):
    with running(models[1]) as mine:
        reader = Reader(browser, mine.url, opens="unknown")
        page = reader.page
        lost = page.locator("#lost")
        expect(lost).to_be_hidden()
        page.context.set_offline(True)
        settle, reader.settle = reader.settle, lambda: None
        reader.drop(**{"a.png": as_bytes(phantom())})
        reader.settle = settle
        expect(lost).to_be_visible()
        (line, main) = (one.bounding_box() for one in (lost, page.locator("main")))
        assert line["y"] + line["height"] <= main["y"] + 1, "nothing lies over it"
        assert lost.get_attribute("role") == "alert"
        expect(page.locator("#summary")).to_have_text("1 image, 0 answered, 1 without an answer")
        assert "not read" not in page.locator("#summary").text_content()
        page.context.set_offline(False)
        expect(lost).to_be_hidden()
        page.locator("#again").click()
        reader.settle()
        assert page.locator(".card").get_attribute("data-status") in {"ok", "cannot_assess"}
        reader.context.close()
        assert not [text for text in reader.broken if "ERR_INTERNET" not in text]


def test_a_stranger_sees_an_answer_to_generated_images_with_one_click(reader, page_server):
    page = reader.page
    assert "show no patient" in reader.text("#empty")
    page.get_by_role("button", name="Try generated images").click()
    expect(page.locator(".image")).to_have_count(3)
    reader.settle()
    expect(page.locator(".card")).to_be_visible()
    names = page.locator(".image-name").all_text_contents()
    assert names == [f"generated-{number}.png" for number in (1, 2, 3)]
    assert page.locator(".image-folder").first.text_content() == "generated images"
    with page_server.client() as client:
        content = client.get("/generated/generated-1.png").content
        assert MARK.encode() in content
        assert client.get("/generated/other.png").status_code == 404


def test_who_goes_to_another_image_hears_which_one_it_is(reader):
    reader.drop(**{f"{number}.png": as_bytes(phantom(number)) for number in range(3)})
    page = reader.page
    page.locator("#images").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#live")).to_contain_text("Image 2 of 3: 1.png")
    page.locator("#heat").click()
    expect(page.locator("#live")).to_contain_text("heat map")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_nothing_where_copies_are_or_the_server_is_lost(sit_down, scheme):
    reader = sit_down(color_scheme=scheme)
    one = as_bytes(phantom(1))
    reader.drop(**{"a.png": one, "b.png": one, "c.png": as_bytes(phantom(2))})
    reader.page.locator("#lost").evaluate("(line) => (line.hidden = false)")
    axe_finds_nothing(reader.page)
