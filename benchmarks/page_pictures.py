"""Pictures of the page for the documentation, taken of a running server with Debian's chromium.

    python benchmarks/page_pictures.py MODEL OTHER [--out docs/images]

Models are given as to `cxr serve`. The images are that of ``pydicom-data`` and generated ones: no
other image may stand in this repository.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from pydicom.data import get_testdata_file

from cxr_transfer.datasets.phantom import draw_radiograph

SERVER = "import sys; from cxr_transfer.serving.server import serve; serve(sys.argv[1:], port=0)"
FINDINGS = ("normal", "bacterial", "covid19")
PATIENCE_MS = 300_000
QUALITY = 70  # of WebP: letters stay sharp


@contextlib.contextmanager
def running(models: list[str]) -> Iterator[str]:
    """Serve ``models`` meanwhile; return where."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, *models], stderr=subprocess.PIPE, text=True
    )
    try:
        port = json.loads(process.stderr.readline())["port"]
        while json.loads(process.stderr.readline())["event"] != "ready":
            pass
        # Whoever does not read a log stops its writer as soon as the pipe is full.
        rest = threading.Thread(target=deque, args=(process.stderr, 0), daemon=True)
        rest.start()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
        rest.join()
        process.stderr.close()


def images(folder: Path) -> list[Path]:
    """Write the images of the pictures into ``folder``."""
    paths = [folder / "RG1_UNCR.dcm"]
    shutil.copy(get_testdata_file("RG1_UNCR.dcm", download=False), paths[0])
    for seed, finding in enumerate(FINDINGS):
        paths.append(folder / f"generated-{finding}.png")
        drawn = draw_radiograph(finding, rng=np.random.default_rng(seed), pixels=900)
        Image.fromarray(drawn).save(paths[-1])
    return paths


def settle(page: Page) -> None:
    """Wait until all is answered and drawn, and nothing is in focus or pointed at."""
    page.wait_for_function(
        """() => [...document.querySelectorAll(".image")].every(
            (row) => row.dataset.drawn && !["waiting", "sending"].includes(row.dataset.kind)
        ) && !document.querySelector(".busy")"""
    )
    page.evaluate("document.activeElement.blur()")
    page.mouse.move(2, 2)
    page.wait_for_timeout(500)


def take(page: Page, path: Path, **options: bool) -> None:
    """Write a picture of what is seen."""
    with Image.open(io.BytesIO(page.screenshot(**options))) as picture:
        picture.convert("RGB").save(path, quality=QUALITY, method=6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs=2, metavar="MODEL")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        running(given.models) as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        paths = images(Path(folder))

        def opened(some: list[Path], width: int, height: int, scheme: str) -> Page:
            page = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme=scheme
            )
            page.set_default_timeout(PATIENCE_MS)
            page.goto(url)
            expect(page.locator("#model")).to_be_enabled(timeout=PATIENCE_MS)
            if some:
                page.locator("#file-input").set_input_files(some)
                settle(page)
            return page

        take(opened([], 1440, 900, "dark"), given.out / "page-empty.webp")
        page = opened(paths, 1440, 900, "dark")
        page.keyboard.press("h")
        settle(page)
        take(page, given.out / "page-dark.webp")
        page.emulate_media(color_scheme="light")
        page.locator("#other").select_option(index=2)
        settle(page)
        take(page, given.out / "page-two-models.webp")
        take(opened(paths[:1], 390, 844, "dark"), given.out / "page-phone.webp", full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
