"""What a report cannot do without."""

from __future__ import annotations

from pathlib import Path

from cxr_transfer.errors import UsageError


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
