"""What takes the place of identifiers: UIDs, names of patients, dates, all by one secret key.

The same key gives the same again, so that images of a patient stay together over several exports.
Without the key nothing leads back; whoever has it can tell whether a guess is right.
"""

from __future__ import annotations

import hmac
import os
import re
import uuid
from datetime import date, timedelta
from typing import Any

from pydicom.uid import UID

LEAST_KEY = 16
"""Bytes of a key: fewer could be guessed."""

LONGEST_SHIFT = 1825
"""Days by which dates are moved into the past at most: five years."""

_DAY = re.compile(r"(\d{4})(\d{2})(\d{2})(.*)", re.DOTALL)
_OLDEST_AGE = 89
_DUMMIES: dict[str, Any] = {
    **dict.fromkeys(("LO", "SH", "LT", "ST", "UT", "UC", "PN", "CS", "AE"), "ANONYMIZED"),
    "DA": "19000101",
    "TM": "000000",
    "DT": "19000101000000",
    "AS": "000Y",
    "UR": "urn:none",
    **dict.fromkeys(("IS", "DS"), "0"),
    **dict.fromkeys(("US", "SS", "UL", "SL", "FL", "FD", "SV", "UV"), 0),
    **dict.fromkeys(("OB", "OW", "OF", "OD", "OL", "OV", "UN"), b"\0\0\0\0\0\0\0\0"),
    "SQ": [],
}


class Replacements:
    """Replacements by one key.

    Args:
        key: Secret key of at least `LEAST_KEY` bytes; None draws one that nobody keeps.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = os.urandom(32) if key is None else key

    def uid(self, value: str) -> UID:
        """Return another UID for a UID, always the same."""
        number = uuid.UUID(bytes=self._digest("uid", value)[:16], version=5).int
        return UID(f"2.25.{number}")

    def patient(self, value: str) -> str:
        """Return a name for a patient that tells nothing."""
        return f"ANON-{self._digest('patient', value).hex()[:16].upper()}"

    def days(self, patient: str) -> int:
        """Return by how many days all dates of a patient are moved into the past."""
        return 1 + int.from_bytes(self._digest("days", patient)[:8]) % LONGEST_SHIFT

    def _digest(self, purpose: str, value: str) -> bytes:
        words = f"{purpose}\0{value}".encode(errors="surrogateescape")
        return hmac.digest(self._key, words, "sha256")


def shifted(value: str, days: int) -> str:
    """Return a date, or a date with its time, some days earlier; "" for what is none.

    >>> shifted("20260102", 3), shifted("20260102101112.5", 2), shifted("2026", 3)
    ('20251230', '20251231101112.5', '')
    """
    parts = _DAY.fullmatch(value)
    try:
        day = date(*map(int, parts.groups()[:3])) if parts else None
        return f"{day - timedelta(days):%Y%m%d}{parts[4]}" if day and parts else ""
    except (ValueError, OverflowError):
        return ""


def blunted(age: str) -> str:
    """Return an age; of the very old, of whom there are few, only that they are 90 or older.

    >>> blunted("093Y"), blunted("041Y"), blunted("005M")
    ('090Y', '041Y', '005M')
    """
    years = age[:-1] if age.endswith("Y") else ""
    return "090Y" if years.isascii() and years.isdecimal() and int(years) > _OLDEST_AGE else age


def dummy(vr: str) -> Any:  # noqa: ANN401 - of the type that the VR has
    """Return a value that says nothing, for an element that must have one."""
    return _DUMMIES.get(vr, "")
