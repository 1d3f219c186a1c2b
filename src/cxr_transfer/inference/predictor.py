"""Files in, answers out: the only walk from a file to class scores, behind every door.

Order: file -> radiograph -> model input (decoding threads) -> class scores (OpenVINO, in batches)
-> `Prediction`. A film that cannot be read is an answer too, and never stops the others.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxr_transfer.collections.case import JUNK
from cxr_transfer.errors import FilmError
from cxr_transfer.inference.converted import Converted, kept_conversion, read_converted
from cxr_transfer.inference.engine import Engine
from cxr_transfer.models.card import checkpoint_files, read_card
from cxr_transfer.radiograph import read_film
from cxr_transfer.workers import in_order

BATCH = 16


@dataclass(frozen=True)
class Prediction:
    """What is answered for one file.

    Attributes:
        file: As it was given.
        status: "ok" or "error".
        code: Of the error; "" without one.
        message: One line for a person; "" without an error.
        label: The class with the highest score; None on an error.
        probabilities: Class scores in the network's order; empty on an error.
        calibrated: Whether the scores were fitted to observed frequencies; they are not yet.
        model: Name and first digits of the hash of the network's weights.
        warnings: What a reader should know of the film.
        ms: Decoding this film and its share of its batch's inference, milliseconds.
    """

    file: str
    status: str
    code: str = ""
    message: str = ""
    label: str | None = None
    probabilities: dict[str, float] = field(default_factory=dict)
    calibrated: bool = False
    model: str = ""
    warnings: tuple[str, ...] = ()
    ms: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return it as it stands in JSON."""
        return asdict(self)


class Predictor:
    """A network that answers for files.

    >>> predictor = Predictor.open("runs/study/model_3")  # doctest: +SKIP
    >>> predictor.predict("film.png").label  # doctest: +SKIP
    'normal'
    """

    def __init__(self, converted: Converted, engine: Engine) -> None:
        self.card = converted.card
        self.converted = converted
        self._engine = engine
        self._model = f"{self.card.name} {self.card.weights_sha256[:12]}"

    @classmethod
    def open(cls, model: str | Path, *, precision: str = "float32") -> Predictor:
        """Open a run folder, a weights file, its card, or a converted network (.xml).

        A checkpoint is converted when it is first opened (that needs torch and some seconds); the
        conversion is kept in the cache folder.

        Args:
            model: The path.
            precision: "float32" (the same scores on every machine), or "bfloat16".

        Raises:
            ModelError, UsageError, MachineError: What reading, converting and compiling raise.
        """
        path = Path(model)
        if path.suffix != ".xml":
            path = _converted(path)
        return cls(read_converted(path), Engine(path, precision=precision))

    def predict(self, file: str | Path) -> Prediction:
        """Answer for one file, without the threads that many are worth."""
        return next(self._answers([self._open(file)]))

    def predict_files(
        self, files: Iterable[str | Path], *, workers: int | None = None
    ) -> Iterator[Prediction]:
        """Answer for every file, in order, decoding ahead while the network computes.

        Args:
            files: Paths, taken as they are needed: there may be any number.
            workers: Decoding threads; None is one per processor, and one.
        """
        opened = in_order(self._open, files, workers=workers, ahead=4 * BATCH)
        while batch := list(islice(opened, BATCH)):
            yield from self._answers(batch)

    def _open(self, file: str | Path) -> _Opened:
        started = time.perf_counter()
        opened = _Opened(str(file))
        try:
            film = read_film(Path(file))
            opened.image = self.card.preprocessing.apply(film)
            opened.warnings = film.warnings
        except FilmError as error:
            opened.error = error
        opened.ms = 1000 * (time.perf_counter() - started)
        return opened

    def _answers(self, batch: list[_Opened]) -> Iterator[Prediction]:
        started = time.perf_counter()
        images = [opened.image[None] for opened in batch if opened.image is not None]
        scores = iter(self._engine.scores(np.stack(images)) if images else np.empty((0, 0)))
        each = 1000 * (time.perf_counter() - started) / max(1, len(images))
        for opened in batch:
            if opened.error:
                yield Prediction(
                    opened.file,
                    "error",
                    opened.error.code,
                    opened.error.message,
                    model=self._model,
                    ms=round(opened.ms, 2),
                )
                continue
            row = next(scores)
            yield Prediction(
                opened.file,
                "ok",
                label=self.card.labels[int(row.argmax())],
                probabilities={
                    label: round(float(score), 6)
                    for label, score in zip(self.card.labels, row, strict=True)
                },
                model=self._model,
                warnings=opened.warnings,
                ms=round(opened.ms + each, 2),
            )


@dataclass
class _Opened:
    """A file on its way: its model input or its error, not its full-size pixels."""

    file: str
    image: npt.NDArray[np.uint8] | None = None
    error: FilmError | None = None
    warnings: tuple[str, ...] = ()
    ms: float = 0.0


def _converted(checkpoint: Path) -> Path:
    """Return the conversion of a checkpoint, made now where it was not kept."""
    kept = kept_conversion(read_card(checkpoint_files(checkpoint)[0]))
    if not kept.with_suffix(".json").is_file():
        from cxr_transfer.inference.conversion import convert

        convert(checkpoint, kept)
    return kept


def films_in(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield files as they are given, and of folders all files below, sorted by name.

    Hidden files, and what operating systems leave behind, are passed over.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, below, names in os.walk(path):
            below[:] = sorted(name for name in below if not _is_clutter(name))
            yield from (Path(folder, name) for name in sorted(names) if not _is_clutter(name))


def _is_clutter(name: str) -> bool:
    return name.startswith(".") or name in JUNK
