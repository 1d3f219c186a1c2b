"""One report of a model, written into a folder: a checklist, a model card, or a paragraph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.evaluation.methods import Kind, methods
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.extras import installed, missing_package
from cxr_transfer.files import write_bytes, write_json, write_text
from cxr_transfer.provenance import short
from cxr_transfer.reports.author import HUGGING_FACE, read_author
from cxr_transfer.reports.chai_xml import chai_xml
from cxr_transfer.reports.checklist import fill
from cxr_transfer.reports.checklists import CHECKLISTS
from cxr_transfer.reports.documents import Documents, gather
from cxr_transfer.reports.evidence import collect
from cxr_transfer.reports.hugging_face import hugging_face_card, metadata
from cxr_transfer.reports.word import word_document

METHODS = "methods"
KINDS = (*CHECKLISTS, HUGGING_FACE, METHODS)
"""Reports by their names on the command line."""


@dataclass(frozen=True)
class Given:
    """Files from which a report is made.

    Attributes:
        checkpoint: Run folder, weights file, card or a released model's name.
        evaluation: Path of its ``report.json``; None looks in the run folder.
        audit: Path of its ``audit.json``; None looks in the run folder.
        validation: Path of its ``validation.json``; None looks in the run folder.
        author: Path of the author's words (.toml).
    """

    checkpoint: Path
    evaluation: Path | None = None
    audit: Path | None = None
    validation: Path | None = None
    author: Path | None = None


def check_kind(kind: str) -> None:
    """Refuse a report that there is not.

    Raises:
        UsageError: ``unknown_report``.
    """
    if kind not in KINDS:
        raise UsageError(
            "unknown_report",
            f"Expected a report of {', '.join(KINDS)}, but got {kind}; choose one.",
        )


def check_asked(checkpoint: Path | None, out: Path | None) -> tuple[Path, Path]:
    """Return the model and the folder of a report, both of which have to be given.

    Raises:
        UsageError: ``nothing_to_report``.
    """
    if checkpoint is None or out is None:
        raise UsageError(
            "nothing_to_report",
            "Expected a run folder and --out, but got "
            f"{'no run folder' if checkpoint is None else 'no --out'}; give both, or "
            "--new-author-file alone.",
        )
    return checkpoint, out


def write_report(
    kind: str, given: Given, out: Path, log: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Write one report into a folder; the caller holds it.

    Args:
        kind: Name of the report, one of `KINDS`.
        given: Files from which it is made.
        out: Folder of the report.
        log: Function that is told what is written, and what is left out.

    Returns:
        What the report says: the filled checklist; the metadata of a model card; the paragraph.

    Raises:
        UsageError: ``unknown_report``, ``bad_author``.
        DataError: ``no_evaluation``; what `gather` and `collect` raise.
        ModelError: What `gather` raises.
    """
    check_kind(kind)
    author = read_author(given.author, kind)
    documents = gather(
        given.checkpoint,
        evaluation=given.evaluation,
        audit=given.audit,
        validation=given.validation,
    )
    if kind == METHODS:
        text = methods_paragraph(documents)
        write_text(out / "methods.md", text)
        log(f"report: {out / 'methods.md'}")
        return {"methods": text}
    if kind == HUGGING_FACE:
        write_text(out / "README.md", hugging_face_card(given.checkpoint, documents, author))
        log(f"report: {out / 'README.md'}")
        return metadata(documents, author)
    content = fill(CHECKLISTS[kind], documents, collect(documents), author)
    _write_checklist(out, content, log)
    return content


def _write_checklist(out: Path, content: dict[str, Any], log: Callable[[str], None]) -> None:
    kind = content["checklist"]
    write_json(out / f"{kind}.json", content)
    shown = _with_commit_words(content)
    write_text(out / f"{kind}.md", render("checklist.md.j2", content=shown))
    log(f"report: {out / f'{kind}.md'}, {kind}.json")
    if kind == "chai":
        write_text(out / "chai.xml", chai_xml(content))
        log(f"schema: {out / 'chai.xml'}")
    if installed("docx"):
        write_bytes(out / f"{kind}.docx", word_document(shown))
        log(f"Word: {out / f'{kind}.docx'}")
    else:
        missing = missing_package("docx", "the report in Word")
        log(f"no Word document: {missing.message if missing else ''}")


def _with_commit_words(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a filled checklist in which every commit is also there in words."""

    def told(row: Mapping[str, Any]) -> dict[str, Any]:
        commit = row["commit"]
        return {**row, "commit_words": f"commit {short(commit)}" if commit else "no commit known"}

    items = [{**item, "facts": list(map(told, item["facts"]))} for item in content["items"]]
    return {**content, "items": items, "sources": list(map(told, content["sources"]))}


def methods_paragraph(documents: Documents) -> str:
    """Return the methods paragraph of a publication.

    Raises:
        DataError: ``no_evaluation`` where there is no evaluation or study of the model.
    """
    for document in (documents.evaluation, documents.study):
        if document is not None and "flow" in document.content:
            kind: Kind = "evaluation" if "evaluation" in document.content else "study"
            card = documents.card
            content = document.content
            return methods(kind, content, content["flow"], {card.name: card})
    raise DataError(
        "no_evaluation",
        f"Expected a report.json on {documents.card.name} for its methods, but there is none; run "
        "'cxr evaluate', and give its report.json as --evaluation.",
    )
