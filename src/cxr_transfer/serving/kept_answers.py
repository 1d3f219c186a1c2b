"""Answers of a server, kept for the watch over it: scores and hashes, a file for each day.

`cxr accept monitor` reads the folder. No picture, no name of a file and nothing of a client is
kept: an image is known by the SHA-256 of its bytes. What cannot be written stops no answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr_transfer import provenance
from cxr_transfer.errors import MachineError
from cxr_transfer.files import append_line, scratch_file
from cxr_transfer.serving.event_log import log
from cxr_transfer.serving.metrics import Metrics

_FIELDS = ("sha256", "model", "status", "code", "label", "probabilities", "findings")
_NAMED_BY = 16  # digits of a hash: enough to tell images apart, and short in a table


class KeptAnswers:
    """A folder of answers, ``answers-YYYY-MM-DD.jsonl`` for each day (UTC).

    Args:
        folder: Folder; it is made where it is not there.
        metrics: Metrics, which tell how many answers could not be written.

    Attributes:
        lost: Number of answers that could not be written.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """

    def __init__(self, folder: Path, metrics: Metrics) -> None:
        self.lost = 0
        self._folder = folder
        with scratch_file(folder, 1):
            pass  # What cannot be written is said before the server answers.
        metrics.watch("cxr_answers_lost", "Answers that were not kept.", lambda: self.lost)

    def keep(self, facts: Iterable[Mapping[str, Any]]) -> None:
        """Add the facts of answers, a line each, in one piece."""
        time = provenance.now()
        lines = [json.dumps({"time": time, **kept}) for kept in facts]
        try:
            append_line(self._folder / f"answers-{time[:10]}.jsonl", "\n".join(lines))
        except MachineError as error:
            self.lost += len(lines)
            log("answers_not_kept", answers=len(lines), code=error.code)


def kept_facts(weights: str, issues: Sequence[str], answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of an answer.

    Args:
        weights: SHA-256 of the network's weights.
        issues: Codes of what quality control remarked.
        answer: Answer as it stands in JSON, with the image's hash.
    """
    flags = [name for name in ("unusual", "trained_on") if answer.get(name)]
    return {
        "file": f"sha256:{answer['sha256'][:_NAMED_BY]}",
        "weights": weights,
        **{name: answer[name] for name in _FIELDS if name in answer},
        "warnings": [*issues, *flags],
    }
