"""How soon an image of 30 megapixels is seen and answered in the page, and how fluid it is then.

    python benchmarks/viewer.py [MODEL] [--images 500] [--out docs/results/viewer.json]

The page stands before a server on this machine, in Debian's chromium. Times are medians of five
images of 6,000 x 5,000 pixels and 16 bits, as TIFF; each is another image, so that nothing is kept
of it. Then a list of generated images is gone through, and the page's memory is measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import CDPSession, Page, expect, sync_playwright

from cxr_transfer import provenance
from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.files import write_json
from page_pictures import PATIENCE_MS, running

HEIGHT, WIDTH = 6000, 5000
TIMES = 5
MIB = 2**20
WATCH = """() => {
    const times = { start: null, seen: null, answered: null };
    window.cxrTimes = times;
    document.querySelector("#file-input").addEventListener("change", () => {
        Object.assign(times, { start: performance.now(), seen: null, answered: null });
        const look = () => {
            const canvas = document.querySelector("#pane-0 canvas");
            const middle = [canvas.width / 2, canvas.height / 2, 1, 1];
            const since = performance.now() - times.start;
            const pixel = canvas.getContext("2d").getImageData(...middle).data;
            if (times.seen === null && pixel[3]) times.seen = since;
            const kind = document.querySelector(".image[aria-selected=true]")?.dataset.kind;
            const answered = ["ok", "refused", "error"].includes(kind);
            if (times.answered === null && answered) times.answered = since;
            if (times.seen === null || times.answered === null) requestAnimationFrame(look);
        };
        requestAnimationFrame(look);
    }, { capture: true });
}"""
FRAMES = """async ({ act, times }) => {
    const stage = document.querySelector("#pane-0 canvas");
    const box = stage.getBoundingClientRect();
    const at = (type, x, y, button) => stage.dispatchEvent(new PointerEvent(type, {
        pointerId: 1, button, clientX: box.x + x, clientY: box.y + y, bubbles: true,
    }));
    stage.setPointerCapture = () => {};
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    const took = [];
    at("pointerdown", 300, 300, act === "pan" ? 1 : 2);
    for (let i = 0; i < times; i += 1) {
        at("pointermove", 300 + (i % 40), 300 + (i % 25), -1);
        const started = performance.now();
        await frame();
        await new Promise((done) => setTimeout(done));
        took.push(performance.now() - started);
    }
    at("pointerup", 300, 300, 0);
    return took;
}"""


def large(folder: Path, seed: int) -> Path:
    """Write an image of 30 megapixels and 16 bits."""
    rng = np.random.default_rng(seed)
    drawn = draw_radiograph("normal", rng=rng, pixels=1000)
    picture = Image.fromarray(drawn.astype(np.float32)).resize((WIDTH, HEIGHT), Image.BICUBIC)
    noise = rng.normal(0, 300, (HEIGHT, WIDTH)).astype(np.float32)
    samples = (np.asarray(picture) * 200 + 4000 + noise).clip(0, 65_535).astype(np.uint16)
    path = folder / f"large-{seed}.tiff"
    Image.fromarray(samples).save(path)
    return path


def seen_and_answered(page: Page, folder: Path) -> dict[str, Any]:
    """Add large images one after the other, the list being cleared between them."""
    page.evaluate(WATCH)
    seen, answered = [], []
    for seed in range(TIMES + 1):
        path = large(folder, seed)
        page.locator("#file-input").set_input_files(path)
        page.wait_for_function(
            "() => window.cxrTimes.seen !== null && window.cxrTimes.answered !== null",
            timeout=PATIENCE_MS,
        )
        times = page.evaluate("() => window.cxrTimes")
        if seed:  # the first one warms up what reads and what draws
            seen.append(times["seen"])
            answered.append(times["answered"])
        path.unlink()
        if seed < TIMES:
            page.locator("#clear").click()
            page.wait_for_timeout(500)
    return {"seen_ms": facts(seen), "answered_ms": facts(answered)}


def fluid(page: Page) -> dict[str, Any]:
    """Move and window the last large image, fitted and one to one: milliseconds for each frame."""
    found = {}
    for size in ("fit", "actual"):
        page.locator(f"#{size}").click()
        page.wait_for_timeout(3000)
        for act in ("pan", "window"):
            took = page.evaluate(FRAMES, {"act": act, "times": 60})
            found[f"{act}_{size}_frame_ms"] = facts(took)
    return found


def memory(page: Page, session: CDPSession, folder: Path, images: int) -> list[dict[str, float]]:
    """Go through a list of images; return the page's memory after each fifth of it."""
    paths = []
    for seed in range(images):
        drawn = draw_radiograph("normal", rng=np.random.default_rng(seed), pixels=1024)
        paths.append(folder / f"image-{seed:03}.png")
        Image.fromarray(drawn.astype(np.uint16) * 128 + seed).save(paths[-1], compress_level=1)
    page.locator("#clear").click()
    page.locator("#file-input").set_input_files(paths)
    page.locator("#images").focus()
    rows = []
    for number in range(1, images + 1):
        expect(page.locator("#corner-size")).not_to_be_empty(timeout=PATIENCE_MS)
        if number % (images // 5) == 0:
            session.send("HeapProfiler.collectGarbage")
            used = session.send("Runtime.getHeapUsage")
            rows.append(
                {
                    "images": number,
                    "heap_mib": round(used["usedSize"] / MIB, 1),
                    "buffers_mib": round(used["backingStorageSize"] / MIB, 1),
                }
            )
        page.keyboard.press("ArrowDown")
        page.wait_for_timeout(120)  # as long as the page waits before it opens an image
    return rows


def facts(values: list[float]) -> dict[str, float]:
    """Return the median, the least and the most of some times, in ms."""
    numbers = (statistics.median(values), min(values), max(values))
    return dict(zip(("median", "least", "most"), (round(one, 1) for one in numbers), strict=True))


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="model_3")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("docs/results/viewer.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running([options.model]) as url:
        folder = Path(name)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path="/usr/bin/chromium", args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            session = page.context.new_cdp_session(page)
            page.goto(url)
            expect(page.locator("#model")).to_have_value(options.model, timeout=PATIENCE_MS)
            found = {
                "model": options.model,
                "pixels": HEIGHT * WIDTH,
                "bits": 16,
                "browser": browser.version,
                "seed": 0,
                "time": provenance.now(),
                "commit": provenance.commit(),
                "versions": provenance.versions(),
                "machine": provenance.machine(),
            }
            found |= seen_and_answered(page, folder)
            found |= fluid(page)
            found["memory"] = memory(page, session, folder, options.images)
            browser.close()
    write_json(options.out, found)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
