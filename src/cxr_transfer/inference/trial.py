"""One generated film, and what it must score: by this a network is known again.

The checkpoint's own network scores it when it is converted; whoever serves the conversion, on
whatever machine, compares. Knows nothing of networks, and of films only how this one is drawn.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import BaseModel, ConfigDict

from cxr_transfer.collections.phantom import draw_film
from cxr_transfer.errors import ModelError


class Trial(BaseModel):
    """What the checkpoint's own network makes of the film.

    Attributes:
        scores: By class, as the network gives them: not calibrated.
        tolerance: By how much a score of the converted network may differ.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scores: dict[str, float]
    tolerance: float

    def check(self, scores: npt.NDArray[np.float32], name: str) -> None:
        """Compare the scores (C,) that a network gives the film now.

        Args:
            scores: In the order of the classes.
            name: Of the network.

        Raises:
            ModelError: ``self_test``.
        """
        for (label, expected), found in zip(self.scores.items(), map(float, scores), strict=True):
            # Not `>`: what is no number must not pass.
            if not abs(found - expected) <= self.tolerance:
                raise ModelError(
                    "self_test",
                    f"Expected {name} to score the self-test film as its checkpoint's own network "
                    f"did ({label} {expected:.5f}, within {self.tolerance:.2g}), but got "
                    f"{found:.5f}; convert the checkpoint anew: with 'cxr export', or by deleting "
                    "what is kept of it in the cache folder.",
                )


def trial_film() -> bytes:
    """Return the film as a PNG: the same one every time."""
    content = io.BytesIO()
    Image.fromarray(draw_film("normal", rng=np.random.default_rng(0))).save(content, "PNG")
    return content.getvalue()
