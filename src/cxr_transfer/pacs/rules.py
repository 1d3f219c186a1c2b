"""Which objects are judged, by which model, and where the answers go: the rules of a node.

Comes in: what a header says of an object. Goes out: the rule that holds for it, or why none does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from pydantic import BaseModel, ConfigDict, Field

from cxr_transfer.about import DEFAULT_MODEL
from cxr_transfer.pacs.answer_objects import Kind

Patterns = tuple[str, ...]

ELEMENTS: dict[str, tuple[str, ...]] = {
    "modality": ("Modality",),
    "body_part": ("BodyPartExamined",),
    "view": ("ViewPosition",),
    "institution": ("InstitutionName",),
    "procedure": (
        *("RequestedProcedureDescription", "PerformedProcedureStepDescription"),
        *("ProtocolName", "StudyDescription"),
    ),
    "series": ("SeriesDescription",),
    "station": ("StationName",),
}
"""DICOM elements that each key of a match looks at, by keyword; one of them is enough."""


class Match(BaseModel):
    """What an object has to be; all keys that are given must hold.

    Each pattern may hold ``*`` and ``?``. Capitals count as small letters. An element that the
    object does not have is "".

    Attributes:
        modality: Patterns of the modality, such as "DX".
        body_part: Patterns of Body Part Examined, such as "CHEST*" or "".
        view: Patterns of View Position, such as "PA".
        institution: Patterns of the institution's name.
        procedure: Patterns of the procedure's description, the protocol or the study.
        series: Patterns of the series' description.
        station: Patterns of the station's name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    modality: Patterns | None = None
    body_part: Patterns | None = None
    view: Patterns | None = None
    institution: Patterns | None = None
    procedure: Patterns | None = None
    series: Patterns | None = None
    station: Patterns | None = None

    def missed(self, header: Mapping[str, str]) -> str:
        """Return the first key that does not hold for an object; "" where all do.

        Args:
            header: Texts of the header's elements by keyword; one that is missing is "".
        """
        for key, keywords in ELEMENTS.items():
            patterns = getattr(self, key)
            if patterns is None:
                continue
            texts = [header.get(keyword, "").strip().lower() for keyword in keywords]
            if not any(
                fnmatchcase(text, pattern.lower()) for text in texts for pattern in patterns
            ):
                return key
        return ""


class Rule(BaseModel):
    """One rule; the first that holds is taken.

    Attributes:
        name: Name of the rule, for status and log.
        model: Model that judges: a name or a path, as for ``cxr predict --model``.
        match: What an object has to be.
        answer_to: Names of the destinations; empty sends to all.
        send: Kinds of answers: "sr", "sc", "pdf".
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")
    model: str = DEFAULT_MODEL
    match: Match = Match()
    answer_to: tuple[str, ...] = ()
    send: tuple[Kind, ...] = Field(("sr", "sc"), min_length=1)


EVERYTHING = Rule(name="all")
"""Rule of a node that was given none: every image that it takes is judged."""


def chosen_rule(rules: Sequence[Rule], header: Mapping[str, str]) -> tuple[Rule | None, str]:
    """Return the first rule that holds, or None and the key that kept each rule from holding.

    >>> dx = Rule(name="dx", match=Match(modality=("DX",)))
    >>> chosen_rule([dx], {"Modality": "CR"})
    (None, 'dx: modality')

    Args:
        rules: Rules in their order.
        header: Texts of the header's elements by keyword.
    """
    reasons = []
    for rule in rules:
        missed = rule.match.missed(header)
        if not missed:
            return rule, ""
        reasons.append(f"{rule.name}: {missed}")
    return None, "; ".join(reasons)
