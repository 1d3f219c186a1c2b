"""Generated images, and what they must score: by these a network is known again.

One is scored by the checkpoint's own network when it is converted, and goes the whole way from a
file in whoever serves the conversion. Several are scored by the conversion where it is compared
with the checkpoint, and again where it is opened on a processor with other abilities. Knows nothing
of networks, and of images only how these are drawn.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.errors import ModelError
from cxr_transfer.radiograph import Preprocessing, Radiograph

ImageTensors = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]
Weights = Literal["float32", "int8"]

LARGEST_DIFFERENCE = 1e-4
"""Of a float32 conversion's score from the checkpoint's."""

LARGEST_MEAN_DIFFERENCE = 0.02
"""Of an int8 conversion's scores, over images and classes."""


class SelfTest(BaseModel):
    """Scores that networks give generated images, and how close they must come.

    Attributes:
        scores: Scores of `self_test_image` by the checkpoint's own network, by class, not
            calibrated.
        tolerance: Largest difference of a score of the converted network.
        drawn: Scores of `drawn_images` by the converted network, a row for each, where it was
            compared with the checkpoint's own.
        drawn_tolerance: Largest difference of these elsewhere (float32: of any; int8: on average):
            what the comparison left of its bound.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scores: dict[str, float]
    tolerance: float
    drawn: tuple[tuple[float, ...], ...] = Field(min_length=1)
    drawn_tolerance: float = Field(ge=0, le=LARGEST_MEAN_DIFFERENCE)

    def check(self, scores: Scores, name: str) -> None:
        """Compare the scores (C,) that a network gives the image now.

        Args:
            scores: Scores in the order of the classes.
            name: Name of the network.

        Raises:
            ModelError: ``self_test``.
        """
        for (label, expected), score in zip(self.scores.items(), map(float, scores), strict=True):
            # Not `>`: what is no number must not pass.
            if not abs(score - expected) <= self.tolerance:
                raise ModelError(
                    "self_test",
                    f"Expected {name} to score the self-test image as its checkpoint's own network "
                    f"did ({label} {expected:.5f}, within {self.tolerance:.2g}), but got "
                    f"{score:.5f}; convert the checkpoint anew: with 'cxr export', or by deleting "
                    "what is kept of it in the cache folder.",
                )

    def check_drawn(
        self,
        network: Callable[[ImageTensors], Scores],
        preprocessing: Preprocessing,
        precision: Weights,
        name: str,
    ) -> None:
        """Compare what a converted network makes of the drawn images here and where it was made.

        What was found there, against the checkpoint's own network, then holds here.

        Args:
            network: Scores (N, C) for images (N, 1, H, W).
            preprocessing: Preprocessing of the network.
            precision: Precision of its weights, which decides what is tolerated.
            name: Name of the network.

        Raises:
            ModelError: ``other_processor``.
        """
        scores = network(drawn_images(preprocessing, len(self.drawn)))
        apart = np.abs(scores - np.array(self.drawn, np.float32))
        difference = float(apart.mean() if precision == "int8" else apart.max())
        # Not `>`: what is no number must not pass.
        if not difference <= self.drawn_tolerance:
            raise ModelError(
                "other_processor",
                f"Expected {name} in {precision} to score on this processor as on the one that it "
                f"was converted on (within {self.drawn_tolerance:.2g}), but generated images score "
                f"{difference:.2g} apart; convert the checkpoint on this machine: with 'cxr "
                "export', or by deleting what is kept of it in the cache folder.",
            )


def self_test_image() -> bytes:
    """Return the image as a PNG: the same one every time."""
    content = io.BytesIO()
    Image.fromarray(draw_radiograph("normal", rng=np.random.default_rng(0))).save(content, "PNG")
    return content.getvalue()


def drawn_images(preprocessing: Preprocessing, number: int = 8) -> ImageTensors:
    """Return ``number`` generated images, (N, 1, H, W), the same ones every time."""
    findings = ("normal", "bacterial", "viral", "covid19")
    drawn = [
        draw_radiograph(findings[seed % 4], rng=np.random.default_rng(seed))
        for seed in range(number)
    ]
    return np.stack(
        [preprocessing.apply(Radiograph(radiograph, "PNG"))[None] for radiograph in drawn]
    )
