"""cxr-transfer: chest radiographs told apart from few examples, and how far to trust it.

The walk, front door to back: ``radiograph`` (a file becomes a film), ``collections`` (archives
become cases and splits), ``models``, ``training``, ``evaluation``, ``inference``, ``serving``, and
``cli`` at the door. To answer for films from Python:

>>> from cxr_transfer import Predictor
>>> predictor = Predictor.released("model_3")  # doctest: +SKIP
>>> predictor.predict("film.dcm").probabilities  # doctest: +SKIP
{'normal': 0.02, 'bacterial': 0.01, 'covid19': 0.97}
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxr_transfer.inference.predictor import Prediction, Predictor

__all__ = ["DEFAULT_MODEL", "INTENDED_USE", "Prediction", "Predictor", "__version__"]

__version__ = "0.1.0"

INTENDED_USE = (
    "Research use only. Not a medical device. Not for diagnosis, screening, triage or any "
    "decision about a patient."
)
"""Said at every door: README, ``--help``, reports, model cards."""

DEFAULT_MODEL = "multi_source"
"""The released model that answers when none is named."""


def __getattr__(name: str) -> object:
    # Only whoever asks for a predictor waits for what it imports.
    if name in ("Prediction", "Predictor"):
        from cxr_transfer.inference import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
