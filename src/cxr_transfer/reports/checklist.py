"""A checklist as a table, and what evidence and an author's words answer of it.

An item is filled only where every fact that it rests on is there. What software can't know is asked
of the author. The wording of topics is ours; numbers are those of the publications.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.reports.documents import Documents
from cxr_transfer.reports.evidence import Evidence, how

FILLED, PARTLY, AUTHORS, OPEN, NOT_APPLICABLE = (
    "filled",
    "partly filled",
    "in the author's words",
    "author must write",
    "not applicable",
)
STATUSES = (FILLED, PARTLY, AUTHORS, OPEN, NOT_APPLICABLE)
"""Status of an item, and their order on the first page."""


@dataclass(frozen=True)
class Item:
    """One item of a checklist.

    Attributes:
        number: Number in the publication.
        section: Section of the publication.
        topic: Topic in our own words.
        facts: Names of the facts that it rests on.
        author: What the author has to add; "" where software can know all of it.
        not_applicable: Reason why it does not apply to a network of images; "" where it does.
    """

    number: str
    section: str
    topic: str
    facts: tuple[str, ...] = ()
    author: str = ""
    not_applicable: str = ""

    @property
    def software(self) -> bool:
        """Whether software can know all that it asks for."""
        return bool(self.facts) and not self.author and not self.not_applicable


@dataclass(frozen=True)
class Checklist:
    """One checklist.

    Attributes:
        key: Name on the command line.
        title: Title.
        publication: Reference to the publication.
        items: Items in the order of the publication.
        note: What is to be known of the numbering.
    """

    key: str
    title: str
    publication: str
    items: tuple[Item, ...]
    note: str = ""


def answered(item: Item, evidence: Evidence, words: str = "") -> dict[str, Any]:
    """Return what is known of an item, for JSON.

    Args:
        item: Item of a checklist.
        evidence: Facts by name.
        words: Words of the author; "" for none.
    """
    known = {name: fact for name in item.facts if (fact := evidence.get(name)) is not None}
    absent = [name for name in item.facts if name not in known]
    if words:
        status = AUTHORS
    elif item.not_applicable:
        status = NOT_APPLICABLE
    elif known and not absent and not item.author:
        status = FILLED
    else:
        status = PARTLY if known else OPEN
    return {
        "number": item.number,
        "section": item.section,
        "topic": item.topic,
        "status": status,
        "software_can_know": item.software,
        "facts": [{"fact": name, **asdict(fact)} for name, fact in known.items()],
        "absent": [{"fact": name, "how": how(name)} for name in absent] if not words else [],
        "author_adds": "" if words else item.author,
        "author_wrote": words,
        "why_not_applicable": "" if words else item.not_applicable,
    }


def fill(
    checklist: Checklist, documents: Documents, evidence: Evidence, author: Mapping[str, str]
) -> dict[str, Any]:
    """Return a checklist filled from evidence and the author's words, for JSON.

    Args:
        checklist: Checklist to fill.
        documents: Files that the evidence is from.
        evidence: Facts by name.
        author: Words of the author by the number of the item.
    """
    items = [answered(item, evidence, author.get(item.number, "")) for item in checklist.items]
    return {
        "intended_use": INTENDED_USE,
        "checklist": checklist.key,
        "title": checklist.title,
        "publication": checklist.publication,
        "note": checklist.note,
        "model": documents.card.name,
        "weights_sha256": documents.card.weights_sha256,
        "counts": counts(items),
        "software": software_share(items),
        "sources": documents.sources,
        "items": items,
    }


def counts(items: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many items have each status."""
    by_status = Counter(item["status"] for item in items)
    return {status: by_status[status] for status in STATUSES}


def software_share(items: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many items software can know wholly, and how many of these are filled."""
    known = [item for item in items if item["software_can_know"]]
    return {"items": len(known), "filled": sum(item["status"] == FILLED for item in known)}
