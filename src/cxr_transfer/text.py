"""Text that somebody else wrote, made safe for the place where it is shown.

The name of a file, patient or source, a label and a model's title may hold whatever their writer
liked. Sequences move a terminal's cursor or retitle its window. Marks turn the direction of writing
round. A spreadsheet runs a formula, and a browser a tag. Comes in: text. Goes out: the same text,
readable and inert. Knows nothing of what the text is about.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping

# OWASP, "CSV Injection": what a spreadsheet takes for the beginning of a formula, in the full width
# of Japanese keyboards too. A number is none.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")

# CommonMark, 2.4 and 6; "|" ends a cell of GitHub's tables. Brackets are a link only before another
# bracket, and an underscore inside a word emphasises nothing: intervals and class names stay as
# they are.
_MARKDOWN = re.compile(r"[\\`*|~]|\](?=[(\[])|(?<![^\W_])_|_(?![^\W_])")
_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
}
"""The ten signs that are commands of TeX, and four that its oldest encoding draws as others."""

_HTML = {"<": "&lt;", "&": "&amp;"}
_IS_HTML = re.compile(r"<|&(?=#?\w+;)")
_BLOCK = re.compile(r"(?=[#+\-=:>\[])|(?<=[0-9])(?=[.)](\s|$))")
_STARTS_A_BLOCK = re.compile(r"[#+\-=:>\[]|[0-9]{1,9}[.)](\s|$)")


def human_size(size: int) -> str:
    """Return a number of bytes as a person reads it, no smaller than it is.

    Units are powers of 1,024, as most file managers have them.

    >>> human_size(512), human_size(64 * 2**20), human_size(64 * 2**20 + 1), human_size(3 * 2**30)
    ('512 bytes', '64 MB', '64.1 MB', '3 GB')
    """
    for exponent, unit in ((30, "GB"), (20, "MB"), (10, "kB")):
        if size >= 2**exponent:
            return f"{math.ceil(10 * size / 2**exponent) / 10:g} {unit}"
    return f"{size} bytes"


def for_terminal(text: str, *, lines: bool = False) -> str:
    r"""Return ``text`` with every character that is no printable one written as an escape.

    Control characters (C0, DEL, C1), marks of direction, zero-width and unassigned characters, and
    bytes that are no text.

    Args:
        text: Text of any origin.
        lines: Whether line ends are kept, for text of several lines that we composed.

    >>> for_terminal("image\x1b]0;owned\x07\u202egnp.exe\udcff")
    'image\\x1b]0;owned\\x07\\u202egnp.exe\\xff'
    >>> for_terminal("a\nb"), for_terminal("a\nb", lines=True)
    ('a\\nb', 'a\nb')
    """
    if text.isprintable():
        return text
    return "".join(
        sign if _is_shown(sign) or (lines and sign == "\n") else _escaped(sign) for sign in text
    )


def latex(text: object) -> str:
    r"""Return a value as LaTeX that shows it: no command, no comment, no new cell.

    Signs that only a font of its own has stay as they are: the document is UTF-8.

    >>> print(latex("50 % of covid_19 & others {\\input} <b>"))
    50 \% of covid\_19 \& others \{\textbackslash{}input\} \textless{}b\textgreater{}
    >>> print(latex("[95 %]"), latex("* a~b^c#$"))
    {[}95 \%] {*} a\textasciitilde{}b\textasciicircum{}c\#\$
    """
    shown = "".join(_LATEX.get(sign, sign) for sign in for_terminal(str(text)))
    # Behind the end of a row both would be read as a part of the command that ends it.
    return f"{{{shown[0]}}}{shown[1:]}" if shown[:1] in ("[", "*") else shown


def _is_shown(sign: str) -> bool:
    # Spaces of other widths are no printable characters to Python, and do no harm.
    return sign.isprintable() or unicodedata.category(sign) == "Zs"


def _escaped(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":  # a byte of a name that is no UTF-8
        return f"\\x{ord(sign) - 0xDC00:02x}"
    return sign.encode("unicode_escape").decode("ascii")


def for_json(text: str) -> str:
    r"""Return JSON text with what is not printable in its strings written as JSON's escapes.

    It is the same JSON: outside of strings only spaces and line ends are not printable.

    >>> for_json('{"file": "a\u202eb\x9b"}')
    '{"file": "a\\u202eb\\u009b"}'
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign == "\n" else _json_escaped(sign) for sign in text
    )


def _json_escaped(sign: str) -> str:
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def cell(value: object) -> object:
    """Return a value as a CSV cell that no spreadsheet takes for a formula; see `cell_text`.

    An apostrophe before the text, which spreadsheets do not show. Numbers, and text that is a
    number, stay as they are; nothing is an empty cell.

    >>> cell("=HYPERLINK(1)"), cell("'=a"), cell("'a"), cell("-5"), cell("-5+1"), cell(None)
    ("'=HYPERLINK(1)", "''=a", "'a", '-5', "'-5+1", '')
    """
    if value is None:
        return ""
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def cell_text(written: str) -> str:
    """Return what `cell` was given: the text without the apostrophe that was put before it.

    >>> [cell_text(text) for text in ("'=HYPERLINK(1)", "''=a", "'a", "-5", "")]
    ['=HYPERLINK(1)', "'=a", "'a", '-5', '']
    """
    return written[1:] if written.startswith("'") and _FORMULA.match(written) else written


def cell_texts(row: Mapping[str, str]) -> dict[str, str]:
    """Return a row of a table with `cell_text` of each of its cells; a missing cell is empty."""
    return {name: cell_text(written or "") for name, written in row.items()}


def markdown(text: object) -> str:
    r"""Return a value as Markdown that shows it: one line, no markup, no HTML, no new cell.

    >>> print(markdown("<img src=x onerror=alert(1)> | ![a](http://b) &lt; other_pneumonia _x_"))
    &lt;img src=x onerror=alert(1)> \| ![a\](http://b) &amp;lt; other_pneumonia \_x\_
    >>> print(markdown("# a\n- b"), markdown("0.98 [0.90, 1.00]"))
    \# a\n- b 0.98 [0.90, 1.00]
    """
    shown = _MARKDOWN.sub(r"\\\g<0>", str(text))
    shown = _IS_HTML.sub(lambda sign: _HTML[sign[0]], shown)
    # After the escapes above: a backslash before an "n" of ours is shown as it is.
    shown = for_terminal(shown)
    # A heading, a list, a link's address: only at the start of a line.
    return _BLOCK.sub(r"\\", shown, count=1) if _STARTS_A_BLOCK.match(shown) else shown
