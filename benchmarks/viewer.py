"""How soon an image of 30 megapixels is seen and answered in the page, and how fluid it is then.

    python benchmarks/viewer.py [MODEL] [--images 500] [--out docs/results/viewer.json]

The page stands before a server on this machine, in Debian's chromium. Times are medians of five
images of 6,000 x 5,000 pixels and 16 bits, as TIFF; each is another image, so that nothing is kept
of it. Then the key for the next image is pressed as fast as a held key repeats, and a long list of
generated images is gone through, while the page's memory is measured. The page beside the figures
also shows what `server_start.py` and `report_time.py` wrote in the same folder.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import CDPSession, Page, expect, sync_playwright

from cxr_transfer import INTENDED_USE, provenance
from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.files import write_json, write_text
from page_pictures import PATIENCE_MS, running

HEIGHT, WIDTH = 6000, 5000
TIMES = 5
PRESSES, REPEAT_MS = 40, 33  # a held key repeats about thirty times a second
MIB = 2**20
ACTS = (("pan", "fit"), ("window", "fit"), ("pan", "actual"), ("window", "actual"))
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
    for act, size in ACTS:
        page.locator(f"#{size}").click()
        page.wait_for_timeout(3000)
        took = page.evaluate(FRAMES, {"act": act, "times": 60})
        found[f"{act}_{size}_frame_ms"] = facts(took)
    return found


def arrows(page: Page, folder: Path) -> dict[str, Any]:
    """Hold the key for the next image; return when the last one is seen, and what was asked for."""
    paths = drawn_images(folder, PRESSES + 1, "arrow")
    asked: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    page.on("request", lambda request: asked.update([request.method]))
    page.on("response", lambda response: refused.update([str(response.status)]))
    page.locator("#clear").click()
    page.locator("#file-input").set_input_files(paths)
    page.locator("#images").focus()
    expect(page.locator("#corner-size")).not_to_be_empty(timeout=PATIENCE_MS)
    for _ in range(PRESSES):
        page.keyboard.press("ArrowDown")
        page.wait_for_timeout(REPEAT_MS)
    pressed = time.perf_counter()
    expect(page.locator("#corner-name")).to_have_text(paths[-1].name, timeout=PATIENCE_MS)
    expect(page.locator("#corner-size")).not_to_be_empty(timeout=PATIENCE_MS)
    seen = time.perf_counter() - pressed
    done = page.locator(".image[data-kind=ok], .image[data-kind=refused], .image[data-kind=error]")
    expect(done).to_have_count(len(paths), timeout=10 * PATIENCE_MS)
    return {
        "presses": PRESSES,
        "last_seen_ms": round(1000 * seen, 1),
        "requests": dict(sorted(asked.items())),
        "answers": dict(sorted(refused.items())),
    }


def drawn_images(folder: Path, number: int, name: str) -> list[Path]:
    """Write generated images of one megapixel and 16 bits."""
    paths = []
    for seed in range(number):
        drawn = draw_radiograph("normal", rng=np.random.default_rng(seed), pixels=1024)
        paths.append(folder / f"{name}-{seed:03}.png")
        Image.fromarray(drawn.astype(np.uint16) * 128 + seed).save(paths[-1], compress_level=1)
    return paths


def memory(page: Page, session: CDPSession, folder: Path, images: int) -> list[dict[str, float]]:
    """Go through a list of images; return the page's memory after each fifth of it."""
    paths = drawn_images(folder, images, "image")
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


def page_of(found: dict[str, Any], out: Path) -> str:
    """Return the table of goals as Markdown."""
    frames = [f"{found[f'{act}_{size}_frame_ms']['median']:.0f}" for act, size in ACTS]
    first, last = found["memory"][0], found["memory"][-1]
    grown = last["buffers_mib"] + last["heap_mib"] - first["buffers_mib"] - first["heap_mib"]
    keys = found["arrows"]
    busy = keys["answers"].get("503", 0) + keys["answers"].get("429", 0)
    told = [
        ("a TIFF of 30 megapixels and 16 bits is seen", "1.5 s", ms(found["seen_ms"])),
        ("and answered", "3 s", ms(found["answered_ms"])),
        (f"{keys['presses']} presses of the key for the next image: the last one is seen",
         "1 s", f"{keys['last_seen_ms'] / 1000:.2f} s; {sum(keys['requests'].values())} requests, "
         f"{busy} refused as too many"),
        (f"memory of the page over {last['images']} images", "flat",
         f"{grown:+.0f} MiB from image {first['images']} to {last['images']}: heap "
         f"{first['heap_mib']:.0f} to {last['heap_mib']:.0f}, buffers "
         f"{first['buffers_mib']:.0f} to {last['buffers_mib']:.0f} MiB"),
        ("a frame of the large image: " + ", ".join(f"{act} {size}" for act, size in ACTS),
         "none set", ", ".join(frames) + " ms"),
    ]  # fmt: skip
    report, start = out.with_name("report-time.json"), out.with_name("server_start.json")
    if report.is_file():
        facts = json.loads(report.read_text())
        told.append((f"report of {facts['images']} images", "10 s", f"{facts['seconds']:.1f} s"))
    if start.is_file():
        facts = json.loads(start.read_text())
        now, before = (facts["median_seconds"].get(name) for name in ("now", "before"))
        for what, seconds in now.items():
            beside = f"; before {before[what]:.1f} s" if before else ""
            name = f"start with {len(facts['models'])} models: {what}"
            told.append((name, "seconds", f"{seconds:.1f} s{beside}"))
    machine = found["machine"]
    return "\n".join(
        (
            "# The page\n",
            f"Written by `benchmarks/viewer.py`; numbers in [{out.name}]({out.name}). Server, "
            f"browser (Chromium {found['browser']}) and page share {machine['cores']} cores "
            f"({machine['processor']}). Model: {found['model']}. Times are medians, and the "
            f"least and the most of {TIMES}. Measured {found['time'][:10]} at "
            f"`{found['commit'][:12]}`.\n",
            INTENDED_USE + "\n",
            "| what | goal | measured |",
            "|---|---|---|",
            *(f"| {' | '.join(row)} |" for row in told),
            "",
        )
    )


def ms(facts: dict[str, float]) -> str:
    """Return times as text, in seconds."""
    median, least, most = (facts[name] / 1000 for name in ("median", "least", "most"))
    return f"{median:.2f} s ({least:.2f} to {most:.2f})"


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
            found["arrows"] = arrows(page, folder)
            found["memory"] = memory(page, session, folder, options.images)
            browser.close()
    write_json(options.out, found)
    write_text(options.out.with_suffix(".md"), page_of(found, options.out))
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
