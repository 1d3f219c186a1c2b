"""Answers of a server, kept for the watch over it: scores and hashes, a file for each day.

`cxr accept monitor` reads the folder. No picture, no name of a file and nothing of a client is
kept: an image is known by the SHA-256 of its bytes. What cannot be written stops no answer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cxr_transfer import provenance
from cxr_transfer.errors import MachineError
from cxr_transfer.files import append_line, scratch_file

_log = logging.getLogger(__name__)

_FIELDS = ("sha256", "model", "status", "code", "label", "probabilities", "findings")


class KeptAnswers:
    """A folder of answers, ``answers-YYYY-MM-DD.jsonl`` for each day (UTC).

    Args:
        folder: Folder; it is made where it is not there.

    Attributes:
        lost: Number of answers that could not be written.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """

    def __init__(self, folder: Path) -> None:
        self.lost = 0
        self._folder = folder
        with scratch_file(folder, 1):
            pass  # What cannot be written is said before the server answers.

    def keep(self, answers: Iterable[Mapping[str, Any]]) -> None:
        """Add answers, a line each, in one piece."""
        time = provenance.now()
        lines = [
            json.dumps(
                {"time": time, "file": answer["sha256"]}
                | {name: answer[name] for name in _FIELDS if name in answer}
            )
            for answer in answers
        ]
        try:
            append_line(self._folder / f"answers-{time[:10]}.jsonl", "\n".join(lines))
        except MachineError as error:
            self.lost += len(lines)
            _log.error("answers are not kept: %s", error.code)
