"""What PS3.15, table E.1-1, says of each element: the Basic Profile, and options that keep more.

``confidentiality_profile.csv`` has the table as of edition 2024e: tag, action of the Basic Profile,
and a letter for each supported option that keeps (or, of dates, changes) the element. Options that
ask somebody to clean text or pixels are not supported: such elements go as the Basic Profile says.
"""

from __future__ import annotations

import csv
import functools
import importlib.resources
from typing import Literal, NamedTuple, get_args

from highdicom._standard_utils import (
    get_iod_module_map,
    get_module_attribute_map,
    get_sop_class_iod_map,
)
from pydicom.datadict import keyword_for_tag
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

Option = Literal["uids", "device", "institution", "patient", "dates", "shifted-dates"]
OPTIONS: tuple[Option, ...] = get_args(Option)

BASIC: Code = codes.cid7050.BasicApplicationConfidentialityProfile
_KEEPS_DATES = codes.cid7050.RetainLongitudinalTemporalInformationFullDatesOption
_SHIFTS_DATES = codes.cid7050.RetainLongitudinalTemporalInformationModifiedDatesOption
OPTION_CODES: dict[Option, Code] = {
    "uids": codes.cid7050.RetainUidsOption,
    "device": codes.cid7050.RetainDeviceIdentityOption,
    "institution": codes.cid7050.RetainInstitutionIdentityOption,
    "patient": codes.cid7050.RetainPatientCharacteristicsOption,
    "dates": _KEEPS_DATES,
    "shifted-dates": _SHIFTS_DATES,
}
"""Code of each option in CID 7050, as a file says by what it was de-identified."""

_LETTERS: dict[Option, str] = {
    "uids": "u",
    "device": "d",
    "institution": "i",
    "patient": "p",
    "dates": "f",
    "shifted-dates": "m",
}
_REPEATED = range(0x5000, 0x6100, 2)


class Row(NamedTuple):
    """What the table says of an element.

    Attributes:
        basic: Actions of the Basic Profile, of which the IOD decides: "X" removes, "Z" empties,
            "D" gives a dummy, "U" gives another UID.
        options: Letters of the options that keep or change it.
    """

    basic: tuple[str, ...]
    options: str


@functools.cache
def profile() -> dict[str, Row]:
    """Return the table by tag, eight small hexadecimal digits, "xx" for a repeating group."""
    file = importlib.resources.files("cxr_transfer.pacs") / "confidentiality_profile.csv"
    rows = csv.DictReader(file.read_text(encoding="ascii").splitlines())
    return {row["tag"]: Row(tuple(row["basic"].split("/")), row["options"]) for row in rows}


def row_of(tag: int) -> Row | None:
    """Return what the table says of an element; None of one that it does not have."""
    table, digits = profile(), f"{tag:08x}"
    if digits in table or (tag >> 16) not in _REPEATED:
        return table.get(digits)
    repeated = f"{digits[:2]}xx"
    return table.get(repeated + digits[4:]) or table.get(f"{repeated}xxxx")


def is_kept(row: Row, options: frozenset[Option]) -> bool:
    """Tell whether one of the options keeps an element as it is."""
    return any(_LETTERS[option] in row.options for option in options if option != "shifted-dates")


def is_shifted(row: Row, options: frozenset[Option]) -> bool:
    """Tell whether dates of an element are to be moved."""
    return "shifted-dates" in options and "m" in row.options


def action(row: Row, sop_class: str, path: tuple[str, ...]) -> str:
    """Return which of its actions an element gets: the most that its IOD allows to take away.

    Args:
        row: What the table says of it.
        sop_class: SOP class of the object.
        path: Keywords of the sequences around the element, and its own.
    """
    if len(row.basic) == 1:
        return row.basic[0]
    # An element that must have a value may have no other action than a dummy, and so on.
    wanted = {"1": "UD", "2": "ZD"}.get(_types(sop_class).get(path, "3")[0], "XZD")
    return next((found for found in wanted if found in row.basic), row.basic[-1])


@functools.cache
def _types(sop_class: str) -> dict[tuple[str, ...], str]:
    """Return the strictest type that a module of the IOD gives each attribute."""
    types: dict[tuple[str, ...], str] = {}
    modules = get_module_attribute_map()
    for module in get_iod_module_map().get(get_sop_class_iod_map().get(sop_class, ""), []):
        for row in modules.get(module["key"], []):
            path = (*row["path"], row["keyword"])
            types[path] = min(row["type"], types.get(path, "3"))
    return types


def keyword(tag: int) -> str:
    """Return the keyword of an element; "" of one that the standard does not know."""
    return keyword_for_tag(tag)
