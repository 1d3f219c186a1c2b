"""Who asked what, and when: a file to which a line is added for each request of the API.

A line has the name of the token, the route, the images' hashes and the status: no token, no picture
and no identity of a patient. What cannot be written stops no answer, and is told.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cxr_transfer import provenance
from cxr_transfer.about import __version__
from cxr_transfer.errors import MachineError
from cxr_transfer.files import append_line
from cxr_transfer.serving.metrics import Metrics


class AuditTrail:
    """File of lines of JSON.

    Args:
        path: File; a line is added when the server starts.
        names: Names of the tokens that may ask.
        metrics: Metrics, which tell how many lines could not be written.

    Attributes:
        lost: Number of lines that could not be written.

    Raises:
        MachineError: ``disk_full`` or ``not_writable``.
    """

    def __init__(self, path: Path, names: Sequence[str], metrics: Metrics) -> None:
        self.lost = 0
        self._path = path
        facts = {"event": "started", "version": __version__, "names": list(names)}
        append_line(path, json.dumps({"time": provenance.now()} | facts))
        metrics.watch("cxr_audit_lines_lost", "Lines that were not written.", lambda: self.lost)

    def add(
        self, request_id: str, by: str | None, asked: str, images: Sequence[str], status: int
    ) -> MachineError | None:
        """Add a request; return why it could not be written.

        Args:
            request_id: Number of the request in the log.
            by: Name of the token; None where there was none, or another.
            asked: Method and route.
            images: SHA-256 of each image.
            status: Status of the answer; 499 where the client left before.
        """
        facts = {"event": "request", "request_id": request_id, "by": by, "asked": asked}
        line = {"time": provenance.now(), **facts, "images": list(images), "status": status}
        try:
            append_line(self._path, json.dumps(line))
        except MachineError as error:
            self.lost += 1
            return error
        return None
