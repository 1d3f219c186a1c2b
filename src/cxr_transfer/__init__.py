"""cxr-transfer: chest radiographs told apart from few examples, and how far to trust it.

The walk, front door to back: ``radiograph`` (a file becomes a film), ``collections`` (archives
become cases and splits), ``models``, ``training``, ``evaluation``, and ``cli`` at the door.
"""

__version__ = "0.1.0"

INTENDED_USE = (
    "Research use only. Not a medical device. Not for diagnosis, screening, triage or any "
    "decision about a patient."
)
"""Said at every door: README, ``--help``, reports, model cards."""
