"""An answer in stages that other machines can take over: read, prepare, infer; a row in, a row out.

Comes in: the names of a chunk of a table. It is read in batches of `BATCH` files, as `Predictor`
takes them, and a batch stays together: what a network computes may depend on its neighbours. Each
stage calls what `Predictor` calls. Knows nothing of what moves rows between machines.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from cxr_transfer.errors import CxrError, ImageError, MachineError
from cxr_transfer.inference.predictor import BATCH, Predictor
from cxr_transfer.inference.prepare import prepare
from cxr_transfer.parallel import in_order
from cxr_transfer.radiograph import Preprocessing, named_format, read_content

Row: TypeAlias = dict[str, Any]
"""Number of a chunk, place of a batch in it, what the stage before made; or an error for all."""

TRAVELS = 128 * 1024 * 1024
"""Bytes of images in a row, at most; what is beyond them is read where it is prepared."""

AT_ONCE = 8
"""Files of a batch that are read at once, for one that waits for a store."""


def chunk_row(number: int, files: Sequence[str]) -> Row:
    """Return the row that the first stage takes: a chunk's number, and its files' names."""
    return {"number": number, "files": json.dumps(list(files))}


def read(row: Row) -> Iterator[Row]:
    """Read the files of a chunk, batch by batch.

    What cannot be read travels without content: the next stage tries again, and says why.
    """
    files = json.loads(row["files"])
    for first in range(0, len(files), BATCH):
        batch, contents = files[first : first + BATCH], list[bytes | None]()
        failed, room = b"", TRAVELS
        try:
            for content in in_order(_content, batch, workers=AT_ONCE, ahead=AT_ONCE):
                room -= len(content or b"")
                contents.append(content if room >= 0 else None)
        except CxrError as error:
            failed = pickle.dumps(error)
        yield {
            "number": row["number"],
            "first": first,
            "files": json.dumps(batch),
            "contents": pickle.dumps(contents),
            "failed": failed,
        }


def _content(file: str) -> bytes | None:
    try:
        return read_content(_place(file))
    except ImageError:
        return None


def _place(file: str) -> str | Path:
    return file if "://" in file else Path(file)


class Preparing:
    """A process that makes model inputs out of contents: decoding, quality control, resizing."""

    def __init__(self, preprocessing: Preprocessing, any_modality: bool) -> None:
        _one_thread()
        self._preprocessing = preprocessing
        self._any_modality = any_modality

    def __call__(self, row: Row) -> Row:
        """Return the row with prepared images in the place of contents."""
        made: Row = {name: row[name] for name in ("number", "first", "failed")}
        prepared = []
        try:
            if not row["failed"]:
                pairs = zip(json.loads(row["files"]), pickle.loads(row["contents"]), strict=True)
                prepared = [self._prepared(file, content) for file, content in pairs]
        except CxrError as error:
            made["failed"] = pickle.dumps(error)
        return {**made, "prepared": pickle.dumps(prepared)}

    def _prepared(self, file: str, content: bytes | None) -> Any:  # noqa: ANN401 - Prepared
        return prepare(
            _place(file) if content is None else content,
            self._preprocessing,
            file=file,
            named=named_format(file),
            any_modality=self._any_modality,
        )


class Inferring:
    """A process that holds a network: prepared images in, answers out."""

    def __init__(self, model: str, options: Mapping[str, Any]) -> None:
        _one_thread()
        self._predictor: Predictor | None = None
        self._failed = b""
        try:
            self._predictor = Predictor.open(model, **options)
        except CxrError as error:
            # Told as an answer: raised here, the process would be started again and again.
            said = f"Expected every machine to open the model, but one said: {error.message}"
            self._failed = pickle.dumps(MachineError("node_failed", said))

    def __call__(self, row: Row) -> Row:
        """Return the row with answers, as a table keeps them, in the place of images."""
        answers: list[dict[str, Any]] = []
        failed = row["failed"] or self._failed
        if self._predictor and not failed:
            batch = pickle.loads(row["prepared"])
            answers = [answer.as_dict() for answer in self._predictor.answers(batch)]
        return {
            "number": row["number"],
            "first": row["first"],
            "answers": json.dumps(answers),
            "failed": failed,
        }


def answers_of(row: Row) -> list[dict[str, Any]]:
    """Return the answers of the last stage.

    Raises:
        CxrError: What a stage met that ends the run.
    """
    if row["failed"]:
        raise pickle.loads(row["failed"])
    answers: list[dict[str, Any]] = json.loads(row["answers"])
    return answers


def _one_thread() -> None:
    # One processor each: the network's threads would fight for those of the others.
    os.environ["OMP_NUM_THREADS"] = "1"
