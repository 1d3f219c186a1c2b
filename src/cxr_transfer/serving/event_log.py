"""What a service tells of itself: a line of JSON for each event, on standard error.

Knows no web framework: the server, its decoding processes and the DICOM node all write here.
"""

from __future__ import annotations

import json
import logging
import time

LOGGER = logging.getLogger("cxr_transfer.serving")


def log(event: str, **facts: object) -> None:
    """Write one line of what happened; never of whom an image shows."""
    LOGGER.info(json.dumps({"event": event, **facts}))


def one_line_each(handler: logging.Handler) -> None:
    """Let ``handler`` write what the server tells, a line of JSON for each event.

    Of what libraries say, only errors, and only that there was one: they may quote a client.
    """
    handler.setFormatter(_Lines())
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    LOGGER.addHandler(handler)
    root = logging.getLogger()
    root.setLevel(logging.ERROR)
    root.addHandler(handler)


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        message = record.getMessage()
        if record.name != LOGGER.name:
            kind = record.exc_info[0] if record.exc_info else None
            event = {"event": "library", "library": record.name, "type": kind and kind.__name__}
            message = json.dumps(event)
        return f'{{"time": "{stamp}Z", {message[1:]}'
