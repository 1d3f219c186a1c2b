"""What this package is: its version, what it is for, and the model that answers by default."""

from __future__ import annotations

__version__ = "0.1.0"

INTENDED_USE = (
    "Research use only. Not a medical device. Not for diagnosis, screening, triage or any "
    "decision about a patient."
)
"""Said at every entry point: README, ``--help``, reports, model cards."""

DEFAULT_MODEL = "multi_source"
"""The released model that answers when none is named."""
