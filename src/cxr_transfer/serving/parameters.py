"""Parameters of a request: all that its description does not name are refused.

A misspelt parameter would have no effect, and its answer would be another than was asked for. Knows
nothing of values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from starlette.requests import Request

from cxr_transfer.serving.schemas import ApiError
from cxr_transfer.tables import nearest
from cxr_transfer.text import for_terminal

_SHOWN = 40  # characters of a name that a client made up


async def check_query(request: Request) -> None:
    """Refuse a query with parameters that its route does not describe, or with one twice.

    Pages are not described: what a link to one carries is the browser's affair.

    Raises:
        ApiError: 422 ``unknown_field``, ``repeated_field``.
    """
    route = request.scope["route"]
    if not route.include_in_schema:
        return
    described = (route.openapi_extra or {}).get("parameters", ())
    allowed = [parameter["name"] for parameter in described if parameter["in"] == "query"]
    check_names([name for name, _ in request.query_params.multi_items()], allowed, "query")


def check_names(names: Iterable[str], allowed: Sequence[str], where: str) -> None:
    """Refuse a name that is not allowed, or that comes twice.

    Args:
        names: Names of what was sent.
        allowed: Names that may come, each once.
        where: Place where they stand: "query" or "form".

    Raises:
        ApiError: 422 ``unknown_field``, ``repeated_field``.
    """
    seen = set()
    for name in names:
        if name not in allowed:
            hint = nearest(name[:_SHOWN], list(allowed)) or "; leave it out."
            raise ApiError(
                422,
                "unknown_field",
                f"Expected {' or '.join(allowed) or 'nothing'} in the {where}, but got "
                f"'{for_terminal(name[:_SHOWN])}'{hint}",
            )
        if name in seen:
            raise ApiError(
                422,
                "repeated_field",
                f"Expected {name} once in the {where}, but got it again; send one value.",
            )
        seen.add(name)
