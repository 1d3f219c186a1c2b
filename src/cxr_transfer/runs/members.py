"""Which runs a path stands for: one, or all in a folder that are evaluated together."""

from __future__ import annotations

from pathlib import Path

from cxr_transfer.errors import ModelError
from cxr_transfer.models.folder import read_json
from cxr_transfer.models.metadata import CARD

MOST = 200
"""Runs that are evaluated together: 10 folds of 20 seeds."""

_DEPTHS = ("*", "*/*", "*/*/*")


def member_folders(path: Path) -> tuple[Path, ...]:
    """Return the paths of the checkpoints that a path stands for.

    Args:
        path: Path or name of a checkpoint; or a folder without one of its own, with run folders up
            to three levels below it. A cross-validation and each of its folds have such folders.

    Returns:
        The path itself where it names a checkpoint, or nothing; else the run folders, sorted. A
        cross-validation that chose recipes gives the folders that were chosen.

    Raises:
        ModelError: ``too_many_members``.
    """
    if not path.is_dir() or (path / CARD).is_file():
        return (path,)
    folders = _chosen(path) or sorted(
        card.parent for depth in _DEPTHS for card in path.glob(f"{depth}/{CARD}")
    )
    if len(folders) > MOST:
        raise ModelError(
            "too_many_members",
            f"Expected at most {MOST} checkpoints in {path}, but got {len(folders)}; give a folder "
            "with fewer.",
        )
    return tuple(folders) or (path,)


def _chosen(path: Path) -> list[Path]:
    """Return the runs whose scores a cross-validation reports; none where there is no report."""
    try:
        report = read_json(path / "report.json")
    except (ModelError, ValueError):
        return []
    names = report.get("members") if isinstance(report, dict) else None
    if not isinstance(names, list):
        return []
    folders = [path / name for name in names if isinstance(name, str)]
    home = path.resolve()
    return [folder for folder in folders if folder.resolve().is_relative_to(home)]
