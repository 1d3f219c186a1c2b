"""Parameters of a request: all that its description does not name are refused.

A misspelt parameter would have no effect, and its answer would be another than was asked for. The
same holds for one without a value, and for one of two values. Values become flags, numbers and
changes, or are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from starlette.requests import Request

from cxr_transfer.radiograph.reorientation import ROTATIONS, Reorientation
from cxr_transfer.serving.schemas import ApiError
from cxr_transfer.tables import nearest
from cxr_transfer.text import for_terminal

_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
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
            raise _repeated(name, f"in the {where}")
        seen.add(name)


def with_query(request: Request, fields: Mapping[str, str], where: str) -> dict[str, str]:
    """Return the fields of a body and those of the query; none may stand in both.

    Args:
        request: Request whose query was checked.
        fields: Fields of its body, which were checked.
        where: What the body is: "form" or "body".

    Raises:
        ApiError: 422 ``repeated_field``.
    """
    values = dict(request.query_params)
    for name in fields:
        if name in values:
            raise _repeated(name, f"in the query or in the {where}")
    return values | dict(fields)


def whole_number(
    fields: Mapping[str, str], name: str, least: int, most: int, otherwise: int
) -> int:
    """Return a field that is a whole number.

    Args:
        fields: Fields of a request.
        name: Name of the field.
        least: Lowest number that it may be.
        most: Highest number that it may be.
        otherwise: Number where the field is missing.

    Raises:
        ApiError: 422 ``bad_field``.
    """
    text = fields.get(name)
    if text is None:
        return otherwise
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if not least <= number <= most:
        raise ApiError(
            422,
            "bad_field",
            f"Expected a whole number of {least} to {most} in {name}, but got another.",
        )
    return number


def flag(fields: Mapping[str, str], name: str) -> bool:
    """Return a field that is true or false; false without one.

    Raises:
        ApiError: 422 ``bad_field``.
    """
    value = fields.get(name, "false").lower()
    if value not in _TRUE + _FALSE:
        raise bad_value(name, "true or false", value)
    return value in _TRUE


REORIENTATION = ("rotate", "flip", "invert")


def reorientation(fields: Mapping[str, str]) -> Reorientation:
    """Return how the images of a request are to be changed.

    Raises:
        ApiError: 422 ``bad_field``.
    """
    rotate = fields.get("rotate", "0")
    if rotate not in map(str, ROTATIONS):
        raise bad_value("rotate", "0, 90, 180 or 270", rotate)
    return Reorientation(int(rotate), flag(fields, "flip"), flag(fields, "invert"))


def bad_value(name: str, expected: str, value: str) -> ApiError:
    """Return the refusal of a field's value.

    Args:
        name: Name of the field.
        expected: What it may be, in words.
        value: Value that came, which is not quoted.
    """
    came = "something else" if value else "no value"
    return ApiError(
        422,
        "bad_field",
        f"Expected {expected} in {name}, but got {came}; mend it, or leave {name} out.",
    )


def _repeated(name: str, where: str) -> ApiError:
    return ApiError(
        422,
        "repeated_field",
        f"Expected {name} once {where}, but got it again; send one value.",
    )
