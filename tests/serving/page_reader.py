"""Somebody before the page in a real browser: what they do, and what they see."""

import base64
import contextlib
import io
import itertools
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_transfer.statistics.score_errors import EDGES, ErrorRate, ScoreBand

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
if not CHROMIUM:
    pytest.skip(
        "Expected a browser, but found no chromium; run: apt-get install chromium.",
        allow_module_level=True,
    )
from playwright.sync_api import expect, sync_playwright  # noqa: E402

LABELS = ("normal", "bacterial", "covid19")
WORDS = {"normal": "normal", "bacterial": "bacterial pneumonia", "covid19": "COVID-19"}
BAND = {"errors": ErrorRate(images=60, wrong=9, low=0.0751, high=0.2549)}
BAND["sources"] = {"cohen": ErrorRate(images=5, wrong=4)}
BAND["sources"]["kermany"] = ErrorRate(images=55, wrong=5, low=0.0182, high=0.1818)
KNOWN_ERRORS = tuple(
    ScoreBand(above=above, up_to=up_to, **BAND) for above, up_to in itertools.pairwise(EDGES)
)
SIDE = 96
CARD = """# Model card: known

**Weights**: `SHA`, *not done*, 2 ** 3 <img src=x onerror=alert(1)>

## Figures

| class | images |
|---|---|
| a\\|b | 7 |

* one
* **two**
"""
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 360, "height": 740}
PATIENCE_MS = 60_000  # for a busy machine; nothing here is timed
expect.set_options(timeout=PATIENCE_MS)


def axe_finds_nothing(page, where=""):
    """Assert that axe finds nothing that keeps anybody out of a page as it stands."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="install axe-playwright-python"
    ).Axe()
    found = axe.run(page).response["violations"]
    assert not [(one["id"], [node["html"] for node in one["nodes"]]) for one in found], where


@contextlib.contextmanager
def chromium():
    """A browser without a window."""
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()


class Reader:
    """Somebody before the page; what no page may do is noted all the while."""

    def __init__(self, browser, url, *, opens="known", **options):
        self.context = browser.new_context(viewport=DESK, **options)
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.asked, self.broken = [], []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.broken.append(str(error)))
        self.page.on("dialog", lambda dialog: self.broken.append(dialog.message))
        self.page.on("console", self._hear)
        self.page.goto(url)
        if opens:
            expect(self.page.locator("#model")).to_have_value(opens, timeout=PATIENCE_MS)

    def _hear(self, message):
        # A refused image's 4xx stands on the console as an error of no page.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.broken.append(message.text)

    def drop(self, **images):
        """Drop files as a hand does: a DataTransfer that was made in the page."""
        coded = {name: base64.b64encode(content).decode() for name, content in images.items()}
        self.page.evaluate(
            """(images) => {
                const transfer = new DataTransfer();
                for (const [name, coded] of Object.entries(images)) {
                    const bytes = Uint8Array.from(atob(coded), (one) => one.charCodeAt(0));
                    const type = name.endsWith(".png") ? "image/png" : "";
                    transfer.items.add(new File([bytes], name, { type }));
                }
                for (const kind of ["dragenter", "dragover", "drop"]) {
                    const options = { dataTransfer: transfer, bubbles: true, cancelable: true };
                    document.body.dispatchEvent(new DragEvent(kind, options));
                }
            }""",
            coded,
        )
        self.settle()

    def settle(self):
        """Wait until nothing is waiting or being assessed, and the screen is drawn."""
        self.page.wait_for_function(
            """() => {
                const rows = [...document.querySelectorAll(".image")];
                const open = (row) => [undefined, "waiting", "sending"].includes(row.dataset.kind);
                return !rows.some(open) && !document.querySelector(".busy");
            }"""
        )
        self.drawn()

    def drawn(self):
        self.page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def pixels(self, pane=0):
        """Return what the image's canvas shows, (height, width, 4)."""
        self.drawn()
        url = self.page.locator(f"#pane-{pane} canvas").evaluate("(canvas) => canvas.toDataURL()")
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as picture:
            return np.asarray(picture.convert("RGBA"))

    def wait_for_image(self):
        expect(self.page.locator("#corner-size")).not_to_be_empty(timeout=PATIENCE_MS)
        self.drawn()

    def select(self, name):
        self.page.locator(".image", has_text=name).click()
        self.drawn()

    def text(self, selector):
        return self.page.locator(selector).inner_text()

    def saved(self, button):
        """Return the name and the content of what a button of the menu saves."""
        self.page.locator("#downloads summary").click()
        with self.page.expect_download() as download:
            self.page.locator(button).click()
        return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def scores_of(reader, card=0):
    rows = reader.page.locator(".card").nth(card).locator(".scores tbody tr")
    read = rows.evaluate_all(
        "(rows) => rows.map((row) => [row.dataset.label, row.querySelector('.number').innerText])"
    )
    return {label: float(number.lstrip("<>")) for label, number in read}


def drag(reader, across, down, button="left"):
    box = reader.page.locator("#pane-0").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse = reader.page.mouse
    mouse.move(x, y)
    mouse.down(button=button)
    mouse.move(x + across, y + down, steps=4)
    mouse.up(button=button)
    reader.drawn()


def grey_scale(reader):
    """Return window and level as they stand in the corner."""
    reader.drawn()
    return tuple(map(int, re.findall(r"-?\d+", reader.text("#corner-grey"))))
