"""Every film of an audit decoded once: its hashes, what its file tells, and the model input.

In come cases, out go the same cases indexed, their films as `load_films` gives them, and their
files' features as `file_features` does. (What changes no finding is done to films before they are
reduced and equalised: for that, and where a network wants it, an audit reads its films once more.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from cxr_transfer.collections.case import Case
from cxr_transfer.collections.image_files import printable
from cxr_transfer.collections.index import described, index
from cxr_transfer.errors import FilmError
from cxr_transfer.evaluation.baselines import file_features
from cxr_transfer.labels import LabelSet
from cxr_transfer.radiograph import Preprocessing, read_film
from cxr_transfer.training.films import Films
from cxr_transfer.workers import in_order


@dataclass(frozen=True, eq=False)
class Decoded:
    """Films and all that was read with them, row for row.

    Attributes:
        cases: Indexed.
        films: Model inputs and targets; -1 where the label is not among the network's.
        files: `baselines.file_features` of each; none where they were not asked for.
    """

    cases: tuple[Case, ...]
    films: Films
    files: tuple[dict[str, float], ...]


def decode_once(
    cases: Sequence[Case],
    preprocessing: Preprocessing,
    labels: LabelSet,
    *,
    files: bool = True,
    each: Callable[[], None] = lambda: None,
) -> Decoded:
    """Decode ``cases`` in their order; ``each`` is called after every film.

    Args:
        cases: Films of any label.
        preprocessing: Of the network.
        labels: Of the network.
        files: Whether to ask what the files tell; `Decoded.files` is empty otherwise.
        each: Called after every film.

    Raises:
        DataError: ``damaged_films`` or ``changed_films``, as `index`.
    """
    images = np.empty((len(cases), 1, preprocessing.height, preprocessing.width), np.uint8)

    def work(case: Case) -> tuple[Case, npt.NDArray[np.uint8], dict[str, float] | None] | None:
        try:
            film = read_film(case.path)
        except FilmError:
            return None
        told = file_features(case.path, film) if files else None
        return described(case, film), preprocessing.apply(film), told

    done: list[Case] = []
    told: list[dict[str, float]] = []
    for row, (case, outcome) in enumerate(zip(cases, in_order(work, cases), strict=True)):
        if outcome is None or case.sha256 not in ("", outcome[0].sha256):
            index(cases)  # names every film that is damaged or changed
            raise FilmError(
                "unreadable",
                f"Expected to read {printable(case.file)}, but it is changing; try again.",
            )
        known, images[row, 0], features = outcome
        done.append(known)
        if features:
            told.append(features)
        each()
    targets = [labels.target(case.label) if case.label in labels else -1 for case in done]
    films = Films(torch.from_numpy(images), torch.tensor(targets, dtype=torch.int64))
    return Decoded(tuple(done), films, tuple(told))
