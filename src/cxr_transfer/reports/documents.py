"""What a report is filled from: the files of one run, and of its evaluation, audit, validation.

In come paths; out go their contents, each with the name by which a report cites it. A file of
another model is refused. Scores no image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxr_transfer.errors import DataError
from cxr_transfer.evaluation.card_reports import check_given, read_report, report_beside
from cxr_transfer.models.metadata import Checkpoint, checkpoint_files, read_card
from cxr_transfer.models.reference import TrainingReference, reference_beside
from cxr_transfer.runs.run_folder import PartRow, own_parts, run_folder

_NAMES = ("name", "title", "dataset")
"""Keys of a recipe that change nothing of what is trained."""


@dataclass(frozen=True)
class Fact:
    """One thing that a file proves.

    Attributes:
        words: Value in words.
        file: File that says it, by its name and that of its folder.
        path: Place in that file: a JSON path, or the columns of a table.
        commit: Commit of the software that wrote the file; "" where it is not known.
    """

    words: str
    file: str
    path: str
    commit: str


@dataclass(frozen=True)
class Document:
    """A file that was read.

    Attributes:
        path: Path of the file.
        content: JSON in it.
    """

    path: Path
    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the file with that of its folder, without the rest of the machine's path."""
        return named(self.path)

    def fact(self, words: str, path: str) -> Fact | None:
        """Return what this file says at ``path``; None without words."""
        return Fact(words, self.name, path, commit_of(self.content)) if words else None


@dataclass(frozen=True)
class Documents:
    """All that is known of one model.

    Attributes:
        card: Card of its checkpoint.
        card_path: Path of the card.
        folder: Folder of its run.
        rows: Images of ``split.csv``, if they are those of which the card tells.
        reference: Reference beside it; None where there is none.
        evaluation: Its ``report.json``.
        study: The ``report.json`` of the study in whose folder the run lies.
        audit: Its ``audit.json``.
        validation: Its ``validation.json``.
    """

    card: Checkpoint
    card_path: Path
    folder: Path
    rows: Sequence[PartRow] = ()
    reference: TrainingReference | None = None
    evaluation: Document | None = None
    study: Document | None = None
    audit: Document | None = None
    validation: Document | None = None

    @property
    def commit(self) -> str:
        """Commit of the software that trained the model."""
        return str(self.card.provenance.get("commit", ""))

    def of_card(self, words: str, path: str) -> Fact | None:
        """Return what the card says at ``path``; None without words."""
        return Fact(words, named(self.card_path), path, self.commit) if words else None

    def of_table(self, words: str, columns: str) -> Fact | None:
        """Return what ``split.csv`` says in some columns; None without words."""
        words = words if self.rows else ""
        return (
            Fact(words, named(self.folder / "split.csv"), columns, self.commit) if words else None
        )

    @property
    def sources(self) -> list[dict[str, str]]:
        """Files that were read, each with its SHA-256 and the commit that wrote it, for JSON."""
        read = {self.card_path: self.commit}
        if self.rows:
            read[self.folder / "split.csv"] = self.commit
        for document in (self.evaluation, self.study, self.audit, self.validation):
            if document is not None:
                read[document.path] = commit_of(document.content)
        return [
            {
                "file": named(path),
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "commit": commit,
            }
            for path, commit in read.items()
        ]


def named(path: Path) -> str:
    """Return the name of a file with that of its folder.

    >>> named(Path("/home/anybody/runs/mine/split.csv"))
    'mine/split.csv'
    """
    return f"{path.absolute().parent.name}/{path.name}"


def commit_of(content: Mapping[str, Any]) -> str:
    """Return the commit that a report names; "" where it names none."""
    commit = content.get("commit", "")
    return commit if isinstance(commit, str) else ""


def gather(
    checkpoint_path: Path,
    *,
    evaluation: Path | None = None,
    audit: Path | None = None,
    validation: Path | None = None,
) -> Documents:
    """Read all that is known of a model.

    Args:
        checkpoint_path: Run folder, weights file, card or a released model's name.
        evaluation: Path of a ``report.json`` of ``evaluate`` or ``study``. None looks into the run
            folder, and into ``test/`` in it.
        audit: Path of an ``audit.json``. None looks into the run folder, and into ``audit/`` in it.
        validation: Path of a ``validation.json``. None looks in the same way.

    Raises:
        DataError: ``not_json``; ``other_weights`` for a file on another model; ``other_report`` for
            one of another kind.
        ModelError: What `checkpoint_files`, `read_card` and `reference_beside` raise.
    """
    card_path, weights = checkpoint_files(checkpoint_path)
    card = read_card(card_path)
    folder = run_folder(checkpoint_path)
    beside = reference_beside(weights, card.weights_sha256)
    evaluated = _given(card, evaluation, ("evaluation", "models"))
    audited = _given(card, audit, ("checks",))
    return Documents(
        card=card,
        card_path=card_path,
        folder=folder,
        rows=own_parts(card, folder),
        reference=beside[1] if beside else None,
        evaluation=evaluated or _first(card, folder, "report.json", "test"),
        study=_first(card, folder.parent, "report.json"),
        audit=audited or _first(card, folder, "audit.json", "audit"),
        validation=_given_validation(card, validation) or _validation_beside(card, folder),
    )


def _given(card: Checkpoint, path: Path | None, holds: Sequence[str]) -> Document | None:
    """Return a file that a person named."""
    if path is None:
        return None
    content = read_report(path)
    check_given(card, content, holds)
    return Document(path, content)


def _first(card: Checkpoint, folder: Path, name: str, inner: str = "") -> Document | None:
    """Return the first of these reports that is there and of this model."""
    for path in (folder / name, *((folder / inner / name,) if inner else ())):
        content = report_beside(card, path)
        if content is not None:
            return Document(path, content)
    return None


def _given_validation(card: Checkpoint, path: Path | None) -> Document | None:
    if path is None:
        return None
    content = read_report(path)
    if not {"sources", "summary"} <= content.keys():
        raise DataError(
            "other_report",
            f"Expected the validation.json of 'cxr validate' in {path}, but got something else.",
        )
    if not _validates(card, content):
        raise DataError(
            "other_weights",
            f"Expected a validation of {card.name}, by its weights {card.weights_sha256[:12]} or "
            f"by its recipe, but {path} is of another model; give the one that was made with it.",
        )
    return Document(path, content)


def _validation_beside(card: Checkpoint, folder: Path) -> Document | None:
    for path in (folder / "validation.json", folder / "validation" / "validation.json"):
        if path.is_file():
            try:
                return _given_validation(card, path)
            except DataError:
                continue
    return None


def _validates(card: Checkpoint, content: Mapping[str, Any]) -> bool:
    """Tell whether a validation is of these weights, or of the recipe that made them.

    A recipe is validated by training it anew without each source: name and title don't matter.
    """
    if content.get("kind") == "model":
        return card.weights_sha256 in (content.get("weights_sha256") or ())
    recipe = content.get("recipe")
    if not isinstance(recipe, dict) or list(content.get("labels", ())) != list(card.labels):
        return False
    of_recipe, of_card = (
        {key: value for key, value in one.items() if key not in _NAMES}
        for one in (recipe, card.recipe)
    )
    return of_recipe == of_card
