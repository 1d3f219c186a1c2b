"""Time a report of 29 radiographs, from the request to the PDF, as the page asks for it.

    python benchmarks/report_time.py --images 29

Starts the server with its default model and sends the radiograph of the package ``pydicom-data``,
enlarged to 2,048 pixels and shifted a little in brightness each time, so that all images
differ. Writes ``docs/results/report-time.json``. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from pydicom.data import get_testdata_file

from cxr_transfer import provenance
from cxr_transfer.files import write_json
from cxr_transfer.radiograph.reading import decode

RESULT = Path(__file__).resolve().parent.parent / "docs/results/report-time.json"
SIDE = 2048
PORT = 8754


def radiographs(number: int) -> list[bytes]:
    """Return so many PNG files of about four megapixels, all different."""
    content = Path(get_testdata_file("RG1_UNCR.dcm", download=False)).read_bytes()
    pixels = np.rint(255 * decode(content).pixels).astype(np.uint8)
    large = Image.fromarray(pixels).resize((SIDE, SIDE * pixels.shape[0] // pixels.shape[1]))
    images = []
    for row in range(number):
        file = io.BytesIO()
        large.point(lambda grey, row=row: min(255, grey + row)).save(file, "PNG", compress_level=1)
        images.append(file.getvalue())
    return images


def made(client: httpx.Client, images: list[bytes]) -> tuple[float, int]:
    """Return the seconds that a report took, and its bytes."""
    files = [("files", (f"{row:02}.png", image)) for row, image in enumerate(images)]
    started = time.monotonic()
    where = client.post("/v1/reports", files=files).raise_for_status().headers["Location"]
    while client.get(where).json()["report_status"] == "running":
        time.sleep(0.05)
    pdf = client.get(f"{where}/pdf").raise_for_status().content
    return time.monotonic() - started, len(pdf)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=29)
    given = parser.parse_args()
    images = radiographs(given.images)
    words = [sys.executable, "-m", "cxr_transfer.cli", "serve", "--port", str(PORT)]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=120) as client:
            for _ in range(600):
                try:
                    if client.get("/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.2)
            first, _ = made(client, images[:1])  # loads what draws heat maps
            seconds, size = made(client, images)
            models = client.get("/v1/models").json()["models"]
    finally:
        process.terminate()
        process.wait()
    content = {
        "images": given.images,
        "width": SIDE,
        "seconds": round(seconds, 1),
        "first_report_of_one_image_seconds": round(first, 1),
        "pdf_bytes": size,
        "model": models[0]["model"],
        "seed": None,
        "time": provenance.now(),
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
    }
    write_json(RESULT, content)
    print(f"{seconds:.1f} s, {size / 1e6:.1f} MB; the first one {first:.1f} s")


if __name__ == "__main__":
    main()
