"""Every image opened once: hashes and size for the manifests, damaged ones found before training.

Comes in: cases. Goes out: the same cases with ``sha256``, ``pixels``, ``width``, ``height``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.damaged import Damaged
from cxr_transfer.datasets.decode import Record, decode_image
from cxr_transfer.errors import DataError, ImageError, listing
from cxr_transfer.parallel import in_order
from cxr_transfer.text import for_terminal


def index(
    cases: Sequence[Case], *, on_image: Callable[[], None] = lambda: None
) -> tuple[Case, ...]:
    """Return ``cases`` with hashes and sizes; ``on_image`` is called after every image.

    Raises:
        DataError: ``damaged_images`` or ``changed_images`` (other bytes than the manifest's hash),
            naming the first 20.
    """
    indexed, damaged = index_readable(cases, on_image=on_image)
    refuse_damaged(damaged, len(cases))
    return indexed


def index_readable(
    cases: Sequence[Case],
    *,
    on_image: Callable[[], None] = lambda: None,
    read: Callable[[Case], Record] = lambda case: decode_image(case.path),
    keep: Callable[[Record], None] = lambda record: None,
) -> tuple[tuple[Case, ...], tuple[Damaged, ...]]:
    """Return those of ``cases`` that can be read, with hashes and sizes, and the files that cannot.

    Args:
        cases: Cases, indexed or not.
        on_image: Function that is called after every file.
        read: Function that decodes a case, in several threads.
        keep: Function that takes the record of each case that is returned, in their order.

    Raises:
        DataError: ``changed_images``, as `index`, where every image can be read.
    """
    readable: list[Case] = []
    damaged: list[Damaged] = []
    changed: list[str] = []

    def decoded(case: Case) -> Record | ImageError:
        try:
            return read(case)
        except ImageError as error:
            return error

    for case, outcome in zip(cases, in_order(decoded, cases), strict=True):
        on_image()
        if isinstance(outcome, ImageError):
            damaged.append(Damaged.of(case, outcome))
        elif case.sha256 and case.sha256 != outcome.sha256:
            changed.append(for_terminal(case.file))
        else:
            readable.append(outcome.described(case))
            keep(outcome)
    if changed:
        raise changed_images(changed, len(cases))
    return tuple(readable), tuple(damaged)


def changed_images(names: Sequence[str], number: int) -> DataError:
    """Return the error for images of other bytes than the manifest's hash.

    Args:
        names: Names of those images, fit to be shown.
        number: Number of all images.
    """
    return DataError(
        "changed_images",
        f"Expected the images that the manifest's hashes name, but {len(names)} of {number} have "
        f"other bytes: {listing(names)}; prepare the manifest anew.",
    )


def refuse_damaged(damaged: Sequence[Damaged], number: int) -> None:
    """Refuse images that cannot be read.

    Args:
        damaged: Files that cannot be read.
        number: Number of all images.

    Raises:
        DataError: ``damaged_images``, naming the first 20.
    """
    if damaged:
        named = (f"{for_terminal(file.path)} ({file.code})" for file in damaged)
        raise DataError(
            "damaged_images",
            f"Expected images that can be read, but {len(damaged)} of {number} cannot: "
            f"{listing(named)}; replace or remove them, or leave them out with --skip-damaged, "
            "which lists them.",
        )


def data_hash(cases: Iterable[Case]) -> str:
    """Return one SHA-256 for a data set: its images' bytes and labels, in whatever order or place.

    Raises:
        DataError: ``not_indexed`` when a case has no content hash.
    """
    lines = sorted(f"{case.sha256} {case.label}" for case in cases)
    if any(line.startswith(" ") for line in lines):
        raise DataError("not_indexed", "Expected indexed cases, but some have no content hash.")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
