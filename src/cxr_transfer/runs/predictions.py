"""Tables of predictions: an image in each row, what it is, and the score of each class.

Written by an evaluation, a study and a cross-validation; read back to compare models. A table of
another program is read, too, where it has the columns ``file``, ``label`` and ``score_CLASS``.
Opens no image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.csv_files import separator_of
from cxr_transfer.errors import LISTED, DataError, ModelError
from cxr_transfer.files import read_csv
from cxr_transfer.labels import DATASET_0, DATASET_1, MULTI_SOURCE, LabelSet
from cxr_transfer.models.folder import read_json, read_text
from cxr_transfer.statistics.scores import Scores
from cxr_transfer.text import for_terminal

PREDICTIONS = "predictions.csv"
ENSEMBLE = "mean"
"""Stands in the column ``seed`` of the rows whose scores are the mean over all seeds."""

NAMING = ("file", "patient", "source", "split", "sha256", "label")
"""Columns that name an image."""

_BESIDE = (
    *("case", "path", "pixels", "number", "model", "fold", "seed", "recipe", "run", "answer"),
    *("predicted", "temperature", "split_hash", "view", "age", "sex"),
)
"""Other columns of tables of predictions that are no class."""

_PREFIX = "score_"
_SHOWN = 100
"""Signs of a header that an error shows."""

_SUM = 0.01
"""How far from 1 the scores of an image may sum: they are rounded, each by itself."""


def score_columns(labels: LabelSet) -> list[str]:
    """Return the names of the columns of the scores."""
    return [f"{_PREFIX}{name}" for name in labels]


def score_row(labels: LabelSet, case: Case, scored: npt.NDArray[np.float64]) -> dict[str, object]:
    """Return a row of a table of predictions.

    Args:
        labels: Classes of the network.
        case: Image.
        scored: Scores of its classes, (C,).
    """
    return (
        {name: getattr(case, name) for name in NAMING}
        | {"predicted": labels.names[int(scored.argmax())]}
        | {name: f"{value:.6f}" for name, value in zip(score_columns(labels), scored, strict=True)}
    )


@dataclass(frozen=True, eq=False)
class PredictionTable:
    """Scores that were read from a table.

    Attributes:
        scores: Scores of the images whose label is one of the classes.
        sha256: SHA-256 of each of their files; "" where the table does not say.
        has_patients: Whether the table names patients; else each image is one.
        other_labels: Number of rows whose label is none of the classes.
    """

    scores: Scores
    sha256: tuple[str, ...]
    has_patients: bool
    other_labels: int = 0

    def identities(self, *, by_content: bool) -> list[str]:
        """Return what tells each image from all others.

        Args:
            by_content: Whether by the file's content; else by its name.
        """
        return identities(self.scores.files, self.sha256 if by_content else ())


def identities(files: Sequence[str], sha256: Sequence[str]) -> list[str]:
    """Return what tells each image from all others.

    Args:
        files: Names of the files; of the same content they are told apart by the order of these.
        sha256: SHA-256 of each file; none tells the images apart by their names.
    """
    if not sha256:
        return list(files)
    copies: dict[str, int] = {}
    identities = [""] * len(sha256)
    for row in sorted(range(len(sha256)), key=lambda row: files[row]):
        number = copies[sha256[row]] = copies.get(sha256[row], 0) + 1
        identities[row] = f"{sha256[row]} {number}"
    return identities


def read_predictions(path: Path) -> PredictionTable:
    """Read a table of predictions; where it has several seeds, the rows of their mean.

    Raises:
        DataError: ``bad_predictions`` for another table; ``repeated_images`` for an image that
            stands in it twice.
        ModelError: What `models.folder.opened` raises.
    """
    rows = table_rows(path, _bad)
    columns = list(rows[0])
    names = [name.removeprefix(_PREFIX) for name in columns if name.startswith(_PREFIX)]
    absent = [name for name in ("file", "label") if name not in columns]
    if absent or len(names) < 2:
        missing = [*absent, *([f"{_PREFIX}CLASS, at least twice"] if len(names) < 2 else [])]
        raise _bad(path, f"there is no column {', '.join(missing)}")
    labels = LabelSet(tuple(names))
    rows = one_model(path, rows)
    scored_rows = [row for row in rows if row["label"] in labels]
    if not scored_rows:
        raise _bad(path, "no row has a label that is one of its classes")
    files = tuple(row["file"] for row in scored_rows)
    refuse_repeated(path, files)
    has_patients = all(row.get("patient") for row in scored_rows)
    scores = Scores(
        labels=labels,
        targets=np.array([labels.target(row["label"]) for row in scored_rows], dtype=np.int64),
        probabilities=_probabilities(path, scored_rows, score_columns(labels)),
        patients=tuple(row["patient"] for row in scored_rows) if has_patients else files,
        files=files,
    )
    sha256 = tuple(row.get("sha256", "") for row in scored_rows)
    return PredictionTable(scores, sha256, has_patients, len(rows) - len(scored_rows))


@dataclass(frozen=True, eq=False)
class CaseScores:
    """Scores of images that a table names, whose labels stand elsewhere.

    Attributes:
        labels: Classes, in the order of the columns of ``scores``.
        names: Name of each image's file, M of them.
        sha256: SHA-256 of each file; "" where the table does not say.
        scores: Scores, (M, C), rows summing to 1.
    """

    labels: LabelSet
    names: tuple[str, ...]
    sha256: tuple[str, ...]
    scores: npt.NDArray[np.float64]

    def rows_of(self, cases: Sequence[Case]) -> npt.NDArray[np.int64]:
        """Return the row of each case, (N,); -1 where none names it.

        By the SHA-256, by the file as the data name it or its whole path, or by the file's last
        name where it is no other image's.

        Args:
            cases: Indexed cases, N of them.
        """
        by_hash = {digest: row for row, digest in enumerate(self.sha256) if digest}
        by_name = {name: row for row, name in enumerate(self.names)}
        short = Counter(PurePosixPath(name).name for name in self.names)
        shorter = Counter(case.path.name for case in cases)
        by_short = {
            PurePosixPath(name).name: row
            for row, name in enumerate(self.names)
            if short[PurePosixPath(name).name] == 1
        }

        def row_of(case: Case) -> int:
            for table, name in (
                (by_hash, case.sha256),
                (by_name, case.file),
                (by_name, case.path.as_posix()),
            ):
                if name in table:
                    return table[name]
            return by_short.get(case.path.name, -1) if shorter[case.path.name] == 1 else -1

        return np.array([row_of(case) for case in cases], dtype=np.int64)

    def matched(self, rows: npt.NDArray[np.int64]) -> str:
        """Say how many images have scores; refuse a table that has none of them.

        Args:
            rows: Result of `rows_of`.

        Raises:
            DataError: ``no_common_images``.
        """
        matched = int((rows >= 0).sum())
        if not matched:
            raise DataError(
                "no_common_images",
                f"Expected the scores of some of {len(rows)} images, but no row of "
                f"{len(self.names)} names one of them by its file or its SHA-256; name them as the "
                "manifest does.",
            )
        return f"{matched} of {len(rows)} images have scores, {len(self.names)} rows name images"


def read_case_scores(path: Path) -> CaseScores:
    """Read the scores of any model: a column ``case`` or ``file``, and one for each class.

    Columns of classes are called ``score_CLASS``; where none is, every column that `NAMING` and
    `_BESIDE` do not know is a class. A table of several seeds gives the rows of their mean.

    Raises:
        DataError: ``bad_predictions`` for another table; ``repeated_images``.
        ModelError: What `models.folder.opened` raises.
    """
    rows = table_rows(path, _bad_scores)
    columns = list(rows[0])
    naming = next((name for name in ("file", "case", "path") if name in columns), None)
    named = [name for name in columns if name.startswith(_PREFIX)]
    classes = named or [name for name in columns if name not in (*NAMING, *_BESIDE)]
    if naming is None or len(classes) < 2:
        missing = "case" if naming is None else "for each of two classes"
        raise _bad_scores(
            path,
            f"there is no column {missing} beside {', '.join(map(repr, columns[:LISTED]))}",
        )
    rows = one_model(path, rows, _bad_scores)
    names = tuple(row[naming] for row in rows)
    refuse_repeated(path, names)
    labels = _in_known_order(tuple(name.removeprefix(_PREFIX) for name in classes))
    prefix = _PREFIX if named else ""
    scores = _probabilities(path, rows, [f"{prefix}{label}" for label in labels], _bad_scores)
    return CaseScores(labels, names, tuple(row.get("sha256", "") for row in rows), scores)


def _in_known_order(names: tuple[str, ...]) -> LabelSet:
    """Return classes in the order that the package has for them; else as they stand."""
    label_sets = (DATASET_0, DATASET_1, MULTI_SOURCE)
    return next((labels for labels in label_sets if set(labels) == set(names)), LabelSet(names))


def refuse_repeated(path: Path, files: Sequence[str]) -> None:
    """Refuse a table that names an image twice.

    Raises:
        DataError: ``repeated_images``.
    """
    twice = next((file for file, times in Counter(files).items() if times > 1), None)
    if twice is not None:
        raise DataError(
            "repeated_images",
            f"Expected each image once in {path}, but {twice!r} stands there several times; keep "
            "one row of each image.",
        )


Refusal = Callable[[Path, str], DataError]
"""Function that makes the error of a table of the reason why it is none."""


def table_rows(path: Path, refused: Refusal) -> list[dict[str, str]]:
    """Return the rows of a table of predictions, one at least.

    Raises:
        DataError: What ``refused`` makes.
        ModelError: What `models.folder.opened` raises.
    """
    text = read_text(path)
    header = text.partition("\n")[0]
    if "\0" in header or any("\udc80" <= sign <= "\udcff" for sign in header):
        raise refused(path, "it is no text in UTF-8 (save it as CSV UTF-8)")
    separator = separator_of(header)
    if separator != ",":
        word = "tabs" if separator == "\t" else "semicolons"
        shown = for_terminal(header.strip()[:_SHOWN])
        raise refused(path, f"its columns, {shown!r}, are separated by {word} (save with commas)")
    try:
        rows = read_csv(text)
    except ValueError as error:
        raise refused(path, for_terminal(str(error))) from None
    if not rows:
        raise refused(path, "it has no rows")
    return rows


def is_of_classes(path: Path) -> bool:
    """Tell whether a table has columns of class scores, whatever separates them.

    Raises:
        ModelError: What `models.folder.opened` raises.
    """
    return _PREFIX in read_text(path).partition("\n")[0]


def no_predictions(path: Path) -> DataError:
    """Return the error of a path that is neither a run nor a table, nor a folder with one."""
    return DataError(
        "no_predictions",
        f"Expected a run folder, a folder with {PREDICTIONS}, or such a table, but got {path}; "
        "give the --out of cxr train or cxr evaluate.",
    )


def nothing_common(by: str) -> DataError:
    """Return the error of models without a common image.

    Args:
        by: "content" or "name": what tells their images apart.
    """
    return DataError(
        "no_common_images",
        f"Expected images that all models were tested on, but there is none by {by}; compare "
        "models on the same test images.",
    )


def seen_beside(table: Path) -> int:
    """Return how many images an evaluation scored that training had seen; 0 without its report."""
    try:
        report = read_json(table.parent / "report.json")
    except (ModelError, ValueError):
        return 0
    seen = report.get("seen_in_training", 0) if isinstance(report, dict) else 0
    return seen if isinstance(seen, int) else 0


def one_model(
    path: Path, rows: list[dict[str, str]], refused: Refusal | None = None
) -> list[dict[str, str]]:
    """Return the rows of one model: those of the mean, where there are several seeds."""
    refused = refused or _bad
    models = {row.get("model", "") for row in rows}
    if len(models) > 1:
        raise refused(path, f"it has the rows of several models ({', '.join(sorted(models))})")
    seeds = {row.get("seed", "") for row in rows}
    if len(seeds) == 1:
        return rows
    if ENSEMBLE not in seeds:
        raise refused(path, f"it has several seeds and no rows of their mean (seed {ENSEMBLE!r})")
    return [row for row in rows if row["seed"] == ENSEMBLE]


def _probabilities(
    path: Path,
    rows: Sequence[Mapping[str, str]],
    columns: Sequence[str],
    refused: Refusal | None = None,
) -> npt.NDArray[np.float64]:
    refused = refused or _bad
    try:
        scored = np.array([[float(row[name]) for name in columns] for row in rows])
    except ValueError as error:
        named = ", ".join(columns[:LISTED])
        raise refused(path, f"a score of {named} is no number ({error})") from None
    sums = scored.sum(axis=1, keepdims=True)
    if not (np.isfinite(scored).all() and (scored >= 0).all() and (abs(sums - 1) < _SUM).all()):
        named = ", ".join(columns[:LISTED])
        raise refused(path, f"the scores of an image ({named}) are not probabilities that sum to 1")
    return np.asarray(scored / sums)


def _bad(path: Path, why: str) -> DataError:
    return DataError(
        "bad_predictions",
        f"Expected a table of one model's predictions (file, label, {_PREFIX}CLASS ...) in {path}, "
        f"but {why}; give the predictions.csv of an evaluation or a cross-validation.",
    )


def _bad_scores(path: Path, why: str) -> DataError:
    return DataError(
        "bad_predictions",
        "Expected a table of scores (a column case, and one with the probability of each class) in "
        f"{path}, but {why}; mend it: where there are other columns, call those of the classes "
        f"{_PREFIX}CLASS.",
    )
