"""Write PNG figures of a folder with a palette, a third as large, where that does not show.

    python tools/small_figures.py docs/results/figures docs/results/audits/figures

For figures that are committed. It takes longer than to draw them, so that commands do not do it.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cxr_transfer.files import write_bytes

SEEN, SEEN_SHARE = 16, 1e-3
"""Grey levels by which a pixel may be off unseen, and the share that may be more off."""


def with_palette(png: bytes) -> bytes:
    """Return a PNG with at most 256 colours, or as it was where that shows or is no smaller.

    A drawing has few colours. Photographs in colour have many, and stay as they are.
    """
    with Image.open(io.BytesIO(png)) as opened:
        drawn = opened.convert("RGB")
        reduced = drawn.quantize(dither=Image.Dither.NONE)
        meta = PngInfo()
        if "Software" in opened.info:
            meta.add_text("Software", opened.info["Software"])
    off = np.abs(np.asarray(drawn, np.int16) - np.asarray(reduced.convert("RGB"), np.int16))
    if np.mean(off.max(-1) > SEEN) > SEEN_SHARE:
        return png
    content = io.BytesIO()
    reduced.save(content, "PNG", optimize=True, dpi=opened.info.get("dpi"), pnginfo=meta)
    return min(png, content.getvalue(), key=len)


def main() -> None:
    """Rewrite the figures of the folders that are named, and say what that saved."""
    for folder in map(Path, sys.argv[1:]):
        for path in sorted(folder.glob("*.png")):
            before = path.read_bytes()
            after = with_palette(before)
            write_bytes(path, after)
            print(f"{path}: {len(before):,} -> {len(after):,} bytes")


if __name__ == "__main__":
    main()
