"""Answers as lines of JSON, each sent when it is there, and a last line that says that all came.

Comes in: answers, one after the other. Goes out: a response. A client that leaves ends the work.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse

from cxr_transfer.serving.event_log import log
from cxr_transfer.serving.schemas import ApiError, envelope, refused

NDJSON = "application/x-ndjson"
_JSON = ("application/json", "application/*", "*/*")
_WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")  # RFC 9110, 12.4.2


def wants_lines(request: Request) -> bool:
    """Tell whether a client asks for lines: by their name, and no less than for JSON."""
    weights = _weights(",".join(request.headers.getlist("accept")))
    # What is most specific counts; a wildcard alone asks for nothing but the usual.
    json_weight = next((weights[kind] for kind in _JSON if kind in weights), 0.0)
    return 0 < weights.get(NDJSON, 0.0) >= json_weight


def _weights(accept: str) -> dict[str, float]:
    """Return how much each type of a header Accept is wanted, from 0 (not at all) to 1."""
    weights: dict[str, float] = {}
    for entry in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        given = [one[2:].strip() for one in parameters if one.startswith("q=")]
        is_sound = not given or _WEIGHT.fullmatch(given[0])
        weights[kind] = (float(given[0]) if given else 1.0) if is_sound else 0.0
    return weights


class LinesResponse(StreamingResponse):
    """Lines of answers, and the last one.

    What fails on the way is the last line, as problem details: the status was sent before.

    Args:
        answers: Answers, in order.
        request_id: Identifier of the request.
        facts: Facts for the line of log, which are completed at the end.
    """

    def __init__(
        self,
        answers: AsyncIterator[dict[str, Any]],
        request_id: str,
        facts: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(self._lines(answers, request_id, facts), media_type=NDJSON)

    async def _lines(
        self,
        answers: AsyncIterator[dict[str, Any]],
        request_id: str,
        facts: dict[str, Any] | None,
    ) -> AsyncIterator[bytes]:
        counts: Counter[str] = Counter()
        last: dict[str, Any]
        try:
            async for answer in answers:
                counts[answer["status"]] += 1
                yield _line(answer)
        except ApiError as refusal:
            last = refused(refusal, request_id)
        except Exception as error:
            log("failed", request_id=request_id, type=type(error).__name__)
            failed = ApiError(500, "internal", "Expected to answer, but failed; ask again.")
            last = refused(failed, request_id)
        else:
            names = ("ok", "cannot_assess", "error")
            last = envelope(request_id) | {"end": True} | {name: counts[name] for name in names}
        if facts is not None:
            facts |= {"answered": dict(counts)}
        yield _line(last)


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\n"
