"""What one cell of a manifest, or the name of a class folder, says once it is cleaned.

Tables come from spreadsheets, pandas, DICOM headers and copied web pages: a missing value is
written as a word, a label hides a zero-width space, one class is spelled in two ways. None of that
may become a class or a number. Knows nothing of files.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from cxr_transfer.errors import listing

OLDEST = 130
"""Years; a greater age is a code or a mistake."""

_MISSING = frozenset(
    {
        *("", "nan", "none", "null", "(null)", "nil", "nat", "na", "n/a", "n.a.", "n.a", "<na>"),
        *("#n/a", "#na", "#value!", "#ref!", "-", "--", "---", "?", ".", "\N{EN DASH}"),
        "\N{EM DASH}",
    }
)
_NO_PATIENT = frozenset(
    {
        *("unknown", "unk", "anonymous", "anonym", "anon", "anonymized", "anonymised", "noid"),
        *("deidentified", "de-identified", "removed", "redacted", "hidden", "patient", "patientid"),
        *("no id", "no name", "not available", "not known", "not stated", "missing", "empty"),
    }
)
# Not zeros: 000 may be the first of numbered patients, and a wrong union is no leak.
_PLACEHOLDER = re.compile(r"xx+|[\W_]+")
_WHOLE = re.compile(r"([0-9]+)\.0+")  # how pandas writes whole numbers of a column with gaps
_YEARS = re.compile(r"[0-9]{1,3}(?:\.[0-9]+)?")
_DICOM_AGE = re.compile(r"([0-9]{1,3})([DWMY])")  # VR AS: DICOM PS3.5, section 6.2
_IN_YEARS = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Drawn as nothing, and of no category that says so.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\ufe0e\ufe0f\uffa0")
_SEXES = {
    **dict.fromkeys(("m", "male", "man", "boy"), "M"),
    **dict.fromkeys(("f", "female", "woman", "girl"), "F"),
    # Known, and neither of the two that groups are formed of; or said not to be known.
    **dict.fromkeys(("o", "other", "u", "x", "unknown", "undifferentiated", "d", "diverse"), ""),
}
_VIEWS = {
    "pa": "PA",
    "ap": "AP",
    "ap supine": "AP Supine",
    "unknown": "",
    **dict.fromkeys(("l", "ll", "rl", "lat", "lateral"), "L"),
}


def clean(text: str) -> str:
    r"""Return ``text`` as it is seen: composed (NFC), without invisible characters, spaces single.

    >>> clean("\ufeffnor\u200bmal\u00a0 lung ")
    'normal lung'
    """
    if text.isascii() and text.isprintable():  # most cells, and many times as fast
        return " ".join(text.split())
    composed = unicodedata.normalize("NFC", text)
    seen = (
        " " if sign.isspace() else sign
        for sign in composed
        if sign.isspace() or not (unicodedata.category(sign) in ("Cc", "Cf") or sign in _BLANK)
    )
    return " ".join("".join(seen).split())


def spelling_key(text: str) -> str:
    """Return what is the same for all spellings of ``text``: case and Unicode forms put aside.

    >>> spelling_key("Normal") == spelling_key("ＮＯＲＭＡＬ")
    True
    """
    seen = clean(text)
    if seen.isascii():
        return seen.casefold()
    folded = unicodedata.normalize("NFKC", seen).casefold()
    return unicodedata.normalize("NFKC", folded)


def is_missing(text: str) -> bool:
    """Tell whether a cell stands for no value: empty, or a word that programs write for that."""
    return spelling_key(text) in _MISSING


def patient_name(text: str) -> str:
    """Return a patient's name or number; "" for none, and for what stands for many.

    >>> patient_name("12.0"), patient_name("nan"), patient_name("ANONYMOUS"), patient_name("000")
    ('12', '', '', '000')
    """
    name, key = clean(text), spelling_key(text)
    if key in _MISSING or key in _NO_PATIENT or _PLACEHOLDER.fullmatch(key):
        return ""
    whole = _WHOLE.fullmatch(name)
    return whole[1] if whole else name


def age_in_years(text: str) -> float | None:
    """Return an age in years; None where the cell states none.

    Args:
        text: A number of years, or a DICOM age such as "018M".

    Raises:
        ValueError: The cell is no age from 0 to `OLDEST`.

    >>> age_in_years("12.0"), age_in_years("018M"), age_in_years("NaN")
    (12.0, 1.5, None)
    """
    if is_missing(text):
        return None
    cell = clean(text).upper()
    dicom = _DICOM_AGE.fullmatch(cell)
    if dicom:
        years = int(dicom[1]) / _IN_YEARS[dicom[2]]
    elif _YEARS.fullmatch(cell):
        years = float(cell)
    else:
        years = -1.0
    if not 0 <= years <= OLDEST:
        raise ValueError(
            f"age must be years from 0 to {OLDEST} (or as DICOM writes them, 045Y) or empty, but "
            f"is {_shown(text)}"
        )
    return years


def sex_of(text: str) -> str:
    """Return "M", "F", or "" where the cell states neither.

    Raises:
        ValueError: The cell cannot be understood.
    """
    sex = "" if is_missing(text) else _SEXES.get(spelling_key(text))
    if sex is None:
        raise ValueError(f"sex must be M, F or empty, but is {_shown(text)}")
    return sex


def age_or_none(text: str) -> float | None:
    """Return an age in years; None where the cell states none, or is none that can be.

    For published tables and headers, which nobody here can correct.

    >>> age_or_none("058Y"), age_or_none("411"), age_or_none("")
    (58.0, None, None)
    """
    try:
        return age_in_years(text)
    except ValueError:
        return None


def sex_or_unknown(text: str) -> str:
    """Return "M", "F", or "" for all else; for published tables and headers, as `age_or_none`."""
    try:
        return sex_of(text)
    except ValueError:
        return ""


def view_of(text: str) -> str:
    """Return a view in the words of `Case.view`; one of other words is kept as it is."""
    return "" if is_missing(text) else _VIEWS.get(spelling_key(text), clean(text))


def whole_number(text: str, name: str) -> int:
    """Return a whole number; 0 for a missing one.

    Args:
        text: The cell.
        name: Name of the column.

    Raises:
        ValueError: The cell is no whole number from 0 on.
    """
    if is_missing(text):
        return 0
    cell = _WHOLE.sub(r"\1", clean(text))
    if not (cell.isascii() and cell.isdigit() and len(cell) < 10):
        raise ValueError(f"{name} must be a whole number or empty, but is {_shown(text)}")
    return int(cell)


def sha256_of(text: str, name: str) -> str:
    """Return a SHA-256 in lower case; "" for a missing one.

    Args:
        text: The cell.
        name: Name of the column.

    Raises:
        ValueError: The cell is no SHA-256.
    """
    cell = "" if is_missing(text) else clean(text).lower()
    if cell and not _SHA256.fullmatch(cell):
        raise ValueError(f"{name} must be 64 hexadecimal digits or empty, but is {_shown(text)}")
    return cell


def label_of(text: str) -> str:
    """Return a label as it is written.

    Raises:
        ValueError: The cell names no class.
    """
    if is_missing(text):
        what = _shown(text) if clean(text) else "empty"
        raise ValueError(
            f"label must name a class, but is {what}; name the class, or leave the image out"
        )
    return text.strip()


def one_spelling(
    written: Sequence[str], what: str, *, preferred: Iterable[str] = ()
) -> tuple[list[str], tuple[str, ...]]:
    """Give names that differ in case, spaces or invisible characters alone one spelling.

    Args:
        written: Names as written, one for each image.
        what: Plural noun for the names, in the notice.
        preferred: Spellings that are taken where a name is one of them; else the most frequent one.

    Returns:
        The names in their order, and a notice where names were merged.
    """
    spelled: dict[str, Counter[str]] = defaultdict(Counter)
    for name in written:
        spelled[spelling_key(name)][name] += 1
    wanted = {spelling_key(name): name for name in preferred}
    chosen: dict[str, str] = {}
    merged: list[str] = []
    for key, counts in spelled.items():
        # The most frequent as it is seen; the first in the alphabet of equally frequent ones.
        seen: Counter[str] = Counter()
        for name, number in counts.items():
            seen[clean(name)] += number
        best = min(seen, key=lambda name: (-seen[name], name))
        chosen[key] = wanted.get(key, best)
        others = {name: number for name, number in counts.items() if name != chosen[key]}
        if others and (len(counts) > 1 or key in wanted):
            merged.append(f"{_counted(others)} taken as {_shown(chosen[key])}")
    notices = (f"{what} that differ in spelling alone are one: {listing(merged)}",)
    return [chosen[spelling_key(name)] for name in written], notices if merged else ()


def _counted(names: Mapping[str, int]) -> str:
    return ", ".join(f"{_shown(name)} ({number})" for name, number in sorted(names.items()))


def _shown(text: str) -> str:
    """Return a cell for a message, with what cannot be seen written out."""
    return ascii(text) if clean(text) != text else repr(text)
