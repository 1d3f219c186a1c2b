"""The applied model card of the Coalition for Health AI in the form of its schema, version 0.2.

An element that must be there and that nothing answers says that the author must write it; one that
may be absent is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from cxr_transfer.reports.checklist import NOT_APPLICABLE
from cxr_transfer.text import for_terminal

NAMESPACE = "https://mc.chai.org/v0.2/schema.xsd"
_MAY_BE_ABSENT = frozenset(
    {
        *("RegulatoryApproval", "FoundationModels", "Security", "Transparency"),
        *("ThirdPartyInformation", "EvaluationReferences", "ClinicalTrial", "ReimbursementStatus"),
    }
)


def chai_xml(content: Mapping[str, Any]) -> str:
    """Return the XML of what `checklist.fill` returned for CHAI, its items in their order."""
    ElementTree.register_namespace("", NAMESPACE)
    root = ElementTree.Element(f"{{{NAMESPACE}}}AppliedModelCard")
    for item in content["items"]:
        *parents, name = item["number"].split("/")
        if name in _MAY_BE_ABSENT and not (item["facts"] or item["author_wrote"]):
            continue
        parent = root
        for place in parents:
            inner = parent.find(f"{{{NAMESPACE}}}{place}")
            parent = _child(parent, place) if inner is None else inner
        element = _child(parent, name)
        if name == "Results":
            _add_results(element, item)
        elif name == "Keywords":
            _child(element, "Keyword").text = _words(item)
        else:
            element.text = _words(item)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _child(parent: ElementTree.Element, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, f"{{{NAMESPACE}}}{name}")


def _add_results(element: ElementTree.Element, item: Mapping[str, Any]) -> None:
    """Add a result for each fact; one that says that there is none, where there is none."""
    facts = {fact["fact"]: fact["words"] for fact in item["facts"]}
    for label, words in (facts or {"none": _words(item)}).items():
        result = _child(element, "MetricResult")
        _child(result, "Label").text = label
        _child(result, "ValueJson").text = json.dumps(for_terminal(words))


def _words(item: Mapping[str, Any]) -> str:
    """Return what is known of an item, and what the author must still write, as one text."""
    parts = [fact["words"] for fact in item["facts"]]
    if item["author_wrote"]:
        parts.append(f"In the author's words: {item['author_wrote']}")
    elif item["status"] == NOT_APPLICABLE:
        parts.append(f"Not applicable: {item['why_not_applicable']}")
    elif item["author_adds"]:
        parts.append(f"The author must write: {item['author_adds']}.")
    parts += [f"Absent: {fact['how']}." for fact in item["absent"]]
    return for_terminal(" ".join(parts))
