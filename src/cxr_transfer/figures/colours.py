"""Colours of all figures, and of heat maps wherever one is drawn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
"""Okabe & Ito 2008, told apart with every common colour blindness; by place in the label set."""

BARS = (PALETTE[5], PALETTE[1])
"""Light enough for a dark whisker to show."""

INK, GREY, PALE = "#222222", "#6B6B6B", "#E6E6E6"

# Dark to light in even steps for every common colour blindness: matplotlib's "inferno", at nine
# even places.
HEAT = (
    (0, 0, 4),
    (33, 12, 74),
    (87, 16, 110),
    (138, 34, 106),
    (188, 55, 84),
    (228, 90, 49),
    (249, 142, 9),
    (249, 203, 53),
    (252, 255, 164),
)
OPAQUE = 0.7
"""Opacity where a map is highest: the image is still seen below."""


def coloured(heat: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return the colours of a heat map, the higher the less transparent.

    Args:
        heat: (H, W), values in [0, 1].

    Returns:
        (H, W, 4) uint8: red, green, blue, opacity.
    """
    levels = np.linspace(0, 1, 256)
    table = np.empty((256, 4))
    for channel, anchors in enumerate(zip(*HEAT, strict=True)):
        table[:, channel] = np.interp(levels, np.linspace(0, 1, len(HEAT)), anchors)
    table[:, 3] = 255 * OPAQUE * levels
    drawn: npt.NDArray[np.uint8] = np.rint(table).astype(np.uint8)[
        np.rint(255 * heat).astype(np.uint8)
    ]
    return drawn
