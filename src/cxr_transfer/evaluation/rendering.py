"""Pages of Markdown and HTML: in come facts and the name of a template, out goes the page.

Templates have the words, Python decides which facts hold. They lie in ``templates/`` of the package
that writes the page, and may borrow from those of evaluation. A fact that a template wants and
nobody gave is an error, never a blank. Pages of HTML are escaped by themselves. In Markdown,
names that others chose go through the filter ``markdown``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.text import latex, markdown

if TYPE_CHECKING:
    from jinja2 import Environment

Found = Estimate | Mapping[str, float | None] | None
"""An estimate, or what `Estimate.as_dict` made of it."""

PACKAGE = Path(__file__).parent.parent
FOLDERS = tuple(
    PACKAGE / name / "templates"
    for name in ("evaluation", "audits", "studies", "acceptance", "reports")
)


def render(template: str, /, **facts: object) -> str:
    """Return the page that ``template`` makes of ``facts``.

    Raises:
        LookupError: The template wants a fact that is not there.
    """
    from jinja2 import UndefinedError

    try:
        return _environment().get_template(template).render(facts)
    except UndefinedError as error:
        raise LookupError(error.message) from error


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(FOLDERS),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=lambda name: ".html" in (name or ""),  # a page of Markdown has `markdown`
    )
    made.globals["intended_use"] = INTENDED_USE
    filters = (markdown, latex, number, percent, complement, written, digits, joined, ended)
    made.filters |= {function.__name__: function for function in filters}
    return made


def number(value: object, form: str) -> str:
    """Return a number in a form of Python's, as ``.2f``.

    >>> number(0.12345, ".2f"), number(7, "d")
    ('0.12', '7')
    """
    return format(value, form)


def percent(estimate: Found, absent: str = "not defined") -> str:
    """Return an estimate in percent; where there is none, ``absent``.

    >>> percent({"value": 0.5, "low": 0.25, "high": 0.75}), percent(None, "too few")
    ('50.0 [25.0, 75.0]', 'too few')
    """
    return absent if estimate is None else _estimate(estimate).percent()


def complement(estimate: Found) -> str:
    """Return what an estimate of a share leaves, in percent, as false alarms of a specificity.

    >>> complement({"value": 0.75, "low": 0.5, "high": 1.0})
    '25.0 [0.0, 50.0]'
    """
    whole = _estimate(estimate)
    return Estimate(1 - whole.value, 1 - whole.high, 1 - whole.low).percent()


def written(estimate: Found, decimals: int = 3) -> str:
    """Return an estimate as it is.

    >>> written(Estimate(0.5, 0.25, 0.75), 1)
    '0.5 [0.2, 0.8]'
    """
    return _estimate(estimate).written(decimals)


def _estimate(estimate: Found) -> Estimate:
    return estimate if isinstance(estimate, Estimate) else Estimate.from_dict(estimate)


def digits(hashed: str) -> str:
    """Return the first digits of a hash that stands in a file of somebody else's.

    >>> digits("`|<00b>1234567890")
    '00b12345'
    """
    return "".join(sign for sign in hashed[:12] if sign.isalnum())


def joined(texts: Iterable[str], between: str) -> str:
    """Return texts as one; Jinja's own filter takes what is no text, too.

    >>> joined(["normal", "covid19"], " and ")
    'normal and covid19'
    """
    return between.join(texts)


def ended(text: str) -> str:
    r"""Return a line of a template, without its line end, as a sentence that ends.

    >>> ended("drawn by patient\n"), ended("three (of four)")
    ('drawn by patient.', 'three (of four)')
    """
    text = text.removesuffix("\n")
    return text if text.endswith((".", ")", "*")) else f"{text}."
