"""The images of one place with the scores of what is tested; what was left out is counted.

Order: what the data hold -> each image opened once: hashes, quality control, pixels -> those that
training met are left out -> scores, and which images get an answer. A table of scores has its
answers already: its images are opened for their hashes, or, without data, not at all.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.acceptance.measured import further_columns
from cxr_transfer.acceptance.tested_model import TestedModel
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.cells import age_in_years, sex_of, view_of
from cxr_transfer.datasets.damaged import Damaged
from cxr_transfer.datasets.decode import Record, Wanted, decode_image, sha256_of_file
from cxr_transfer.datasets.index import data_hash, index_readable, refuse_damaged
from cxr_transfer.datasets.loading import open_all
from cxr_transfer.datasets.selection import of_classes
from cxr_transfer.errors import DataError, Notice, UsageError
from cxr_transfer.files import read_csv
from cxr_transfer.models.folder import read_text
from cxr_transfer.progress import Tell, counting, of_images
from cxr_transfer.radiograph import Preprocessing
from cxr_transfer.runs.predictions import NAMING, CaseScores, read_predictions
from cxr_transfer.statistics.external import answered
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.subjects.declared_images import met_images
from cxr_transfer.subjects.subject import Subject
from cxr_transfer.text import for_terminal

Flags = npt.NDArray[np.bool_]
Log = Callable[[str], None]

ANSWERED, NOT_SURE, OUT = "answered", "not_sure", "out_of_distribution"


@dataclass(frozen=True)
class LocalData:
    """What is given of the place.

    Attributes:
        data: Archives, a manifest (.csv), or a folder per class; None where the table of scores
            has labels itself.
        mapping: Labels of the data to classes; "" leaves images out.
        saw: Table of images that the model was trained on; None for none.
        skip_damaged: Whether files that cannot be read are left out.
        columns: Columns that form groups; they are looked for before an image is opened.
    """

    data: Path | None
    mapping: Mapping[str, str] = dataclasses.field(default_factory=dict)
    saw: Path | None = None
    skip_damaged: bool = False
    columns: tuple[str, ...] = ()

    def check_groups(self, cases: Sequence[Case]) -> None:
        """Refuse columns of groups that the data do not have.

        Raises:
            UsageError: ``unknown_subgroup``, ``bad_subgroup``.
        """
        further_columns(self.columns, cases)


@dataclass(frozen=True, eq=False)
class LocalImages:
    """Images of one place, scored.

    Attributes:
        cases: Images with a score, N of them.
        scores: Their scores on the scale on which they are given.
        answers: `ANSWERED`, `NOT_SURE` or `OUT` of each.
        refused: Images that quality control refused, each with the code; None of a table, where
            nobody looked.
        met: Number of images that were left out since training met them.
        damaged: Files that cannot be read.
        declared: Sentence on what is known of the training.
        facts: What the record says of the data: ``name``, ``sha256`` and ``data_hash``.
    """

    cases: tuple[Case, ...]
    scores: Scores
    answers: tuple[str, ...]
    refused: tuple[tuple[Case, str], ...] | None
    met: int
    damaged: tuple[Damaged, ...]
    declared: str
    facts: dict[str, Any]

    @property
    def is_answered(self) -> Flags:
        """(N,) which images get an answer."""
        return np.array([answer == ANSWERED for answer in self.answers], dtype=np.bool_)


def score_local(subject: TestedModel, given: LocalData, log: Log, progress: Tell) -> LocalImages:
    """Score the images of one place.

    Args:
        subject: What is tested.
        given: Images of the place.
        log: Function that is told what is left out.
        progress: Function that is told the phase and which share of it is done.

    Raises:
        UsageError: ``no_data`` for a model without images.
        DataError: ``empty``, ``seen_images``, ``damaged_images``, ``bad_predictions``,
            ``no_common_images``; what `open_all` raises.
    """
    if given.data is None:
        if subject.model.table is None or subject.model.path is None:
            raise UsageError(
                "no_data",
                "Expected the local images of a model, but got none; give --data a manifest (.csv) "
                "or a folder per class. Only a table of scores may have the labels itself.",
            )
        return _of_table_alone(subject.model.path, given)
    cases = _opened(subject, given, log)
    count = counting(progress, of_images("reading", len(cases)), len(cases))
    if subject.model.table is not None:
        return _of_table(subject.model, subject.model.table, cases, given, log, count)
    return _of_model(subject.model, cases, given, count, progress)


def _opened(subject: TestedModel, given: LocalData, log: Log) -> list[Case]:
    """Read what the data hold; nothing is opened yet."""
    assert given.data is not None, "it was asked for"
    read = open_all(
        given.data, subject.labels, mapping=given.mapping, table=subject.model.label_table
    )
    cases, notices = of_classes(read, subject.labels)
    for line in notices:
        log(Notice(line))
    if not cases:
        names = ", ".join(
            for_terminal(name) for name in dict.fromkeys(case.label for case in read.cases)
        )
        raise DataError(
            "no_class",
            f"Expected images of the classes {', '.join(subject.labels)}, but their labels are "
            f"{names}; say with --label LABEL=CLASS what they count as.",
        )
    given.check_groups(cases)
    return cases


def _of_model(
    model: Subject,
    cases: Sequence[Case],
    given: LocalData,
    count: Callable[..., None],
    progress: Tell,
) -> LocalImages:
    decoded, pixels, codes, damaged = _decoded(cases, model.preprocessing, count)
    _check_readable(decoded, damaged, given, len(cases))
    met, declared = met_images(model, decoded, given.saw)
    fit = np.array([not code for code in codes], dtype=np.bool_) & ~met
    refused = tuple(
        (case, code)
        for case, code, was_met in zip(decoded, codes, met, strict=True)
        if code and not was_met
    )
    if not fit.any():
        why = ", ".join(sorted({code for _, code in refused}))
        raise DataError(
            "no_images",
            f"Expected images that can be judged, but quality control refused all {len(refused)} "
            f"({why}); look at them with 'cxr predict'.",
        )
    kept = [case for case, is_fit in zip(decoded, fit, strict=True) if is_fit]
    total = max(1, len(model.cards)) * len(kept)
    counted = counting(progress, of_images("scoring", len(kept)), total)
    answers = model.scored(pixels[fit], with_features=True, on_image=counted)
    statuses = None
    if model.reference and answers.features is not None:
        statuses = model.reference.ood_status(answers.features)
    scores = Scores.of(model.labels, _targets(kept, model), answers.given, kept)
    has_class, out = answered(
        scores, confidence_threshold=model.confidence_threshold, statuses=statuses
    )
    return LocalImages(
        cases=tuple(kept),
        scores=scores,
        answers=tuple(map(_answer, has_class.tolist(), out.tolist())),
        refused=refused,
        met=int(met.sum()),
        damaged=damaged,
        declared=declared,
        facts=_facts(given.data, data_hash(kept)),
    )


def _decoded(
    cases: Sequence[Case], preprocessing: Preprocessing, count: Callable[..., None]
) -> tuple[tuple[Case, ...], npt.NDArray[np.uint8], list[str], tuple[Damaged, ...]]:
    """Open each image once: indexed cases, pixels (N, 1, H, W), codes of refusal, damaged files."""
    shape = (len(cases), 1, preprocessing.height, preprocessing.width)
    pixels, codes = np.empty(shape, np.uint8), list[str]()

    def keep(record: Record) -> None:
        pixels[len(codes), 0] = record.images[preprocessing]
        codes.append(next((issue.code for issue in record.quality or () if issue.refuses), ""))

    read = functools.partial(_record, wanted=Wanted((preprocessing,), quality=True))
    indexed, damaged = index_readable(cases, on_image=count, read=read, keep=keep)
    return indexed, pixels[: len(indexed)], codes, damaged


def _record(case: Case, *, wanted: Wanted) -> Record:
    return decode_image(case.path, wanted)


def _of_table(
    model: Subject,
    table: CaseScores,
    cases: Sequence[Case],
    given: LocalData,
    log: Log,
    count: Callable[..., None],
) -> LocalImages:
    """Match a table's rows with images, which are opened for their hashes alone."""
    indexed, damaged = index_readable(cases, on_image=count)
    _check_readable(indexed, damaged, given, len(cases))
    rows = table.rows_of(indexed)
    log(table.matched(rows))
    scored = [indexed[row] for row in np.flatnonzero(rows >= 0)]
    met, declared = met_images(model, scored, given.saw)
    kept = [case for case, was_met in zip(scored, met, strict=True) if not was_met]
    values = table.scores[rows[rows >= 0]][~met]
    return LocalImages(
        cases=tuple(kept),
        scores=Scores.of(model.labels, _targets(kept, model), values, kept),
        answers=(ANSWERED,) * len(kept),
        refused=None,
        met=int(met.sum()),
        damaged=damaged,
        declared=declared,
        facts=_facts(given.data, data_hash(kept)),
    )


def _of_table_alone(path: Path, given: LocalData) -> LocalImages:
    """Take labels, patients and groups from the table itself."""
    table = read_predictions(path)
    rows = {row["file"]: row for row in read_csv(read_text(path))}
    scores = table.scores
    cases = [
        _case(path, rows[file], scores.labels.names[target], patient)
        for file, target, patient in zip(scores.files, scores.targets, scores.patients, strict=True)
    ]
    given.check_groups(cases)
    words = {"": ANSWERED, "class": ANSWERED, NOT_SURE: NOT_SURE, OUT: OUT}
    named = [rows[file].get("answer", "") for file in scores.files]
    return LocalImages(
        cases=tuple(cases),
        scores=scores,
        answers=tuple(words.get(name, ANSWERED) for name in named),
        refused=None,
        met=0,
        damaged=(),
        declared=f"{path.stem} declares nothing of what it was trained on: whether it met these "
        "images is not known.",
        facts=_facts(path, data_hash(cases) if all(case.sha256 for case in cases) else None),
    )


def _case(path: Path, row: Mapping[str, str], label: str, patient: str) -> Case:
    """Return a row of a table of predictions as an image of which there is no file."""
    further = [
        name
        for name in row
        if name not in (*NAMING, "view", "age", "sex", "predicted", "answer")
        and not name.startswith("score_")
    ]
    try:
        view, age = view_of(row.get("view", "")), age_in_years(row.get("age", ""))
        sex = sex_of(row.get("sex", ""))
    except ValueError as error:
        raise DataError(
            "bad_predictions",
            f"Expected view, age and sex as a manifest has them in {path}, but got: {error}; mend "
            "or empty that cell.",
        ) from None
    return Case(
        path=Path(row["file"]),
        label=label,
        patient=patient,
        source=row.get("source", ""),
        view=view,
        age=age,
        sex=sex,
        sha256=row.get("sha256", ""),
        written=row["file"],
        extra=tuple((name, row[name]) for name in further if name),
    )


def _check_readable(
    cases: Sequence[Case], damaged: Sequence[Damaged], given: LocalData, number: int
) -> None:
    if not given.skip_damaged:
        refuse_damaged(damaged, number)
    if not cases:
        raise DataError("empty", f"Expected images that can be read, but all {number} are damaged.")


def _targets(cases: Sequence[Case], model: Subject) -> npt.NDArray[np.int64]:
    return np.array([model.labels.target(case.label) for case in cases], dtype=np.int64)


def _answer(has_class: bool, is_out: bool) -> str:
    return OUT if is_out else ANSWERED if has_class else NOT_SURE


def _facts(data: Path | None, hashed: str | None) -> dict[str, Any]:
    assert data is not None, "it was read"
    digest = sha256_of_file(data) if data.is_file() else None
    return {"name": for_terminal(data.stem), "sha256": digest, "data_hash": hashed}
