"""Reasons not to believe a model's figures, as a public function: what `cxr audit` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cxr_transfer.api import Log, PathLike, Report, cases_of, path_of, reported, subject_of
from cxr_transfer.datasets.case import Case
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.errors import check_list


def audit(
    run: PathLike,
    cases: Dataset | Sequence[Case],
    *,
    out: PathLike | None = None,
    description: PathLike | None = None,
    saw: PathLike | None = None,
    compare_with: Dataset | Sequence[Case] = (),
    retrain: bool = False,
    weights: PathLike | None = None,
    finding: str | None = None,
    subgroups: Sequence[str] = (),
    device: str = "auto",
    precision: str = "auto",
    seed: int = 0,
    on_image: Callable[[], None] = lambda: None,
    log: Log = lambda line: None,
) -> Report:
    """Look for reasons not to believe a model's figures.

    Args:
        run: Model: run folder, checkpoint, folder of several, name of a released model; a file of
            another tool (.onnx, .xml, .keras, .h5, .hdf5, .pt, .torchscript); a table of scores
            (.csv); "python:package.module:function"; an address of a server.
        cases: Cases of all kinds: those of training (they are recognised, and not scored), others
            of the same sources, and images from elsewhere.
        out: Report folder; None keeps no files.
        description: Description (.toml) of a model of another tool; None looks beside its file.
        saw: Table (.csv) of images that it was trained on, with a column ``path``, ``sha256``,
            ``pixels`` or ``patient``, beside what it declares itself.
        compare_with: Cases of another data set: how far the others differ from them (drift).
        retrain: Whether to train the recipe again without each source (long; wants ``out``).
        weights: File with ResNet-50's ImageNet weights, for ``retrain``.
        finding: Finding to audit, of a model that tells several findings at once.
        subgroups: Further columns of the manifest by which groups are formed.
        device: Device: "auto", "cpu", "cuda" or "mps".
        precision: Precision of retraining and of scores of changed images.
        seed: Random seed of bootstrap, folds, noise and retraining.
        on_image: Function that is called after every image.
        log: Function that is told what happens.

    Returns:
        The content of ``audit.json`` (``report["verdict"]`` is "pass", "warn" or "fail"); as a
        table, a row per check.

    Raises:
        TypeError: An argument is of another type; ``retrain`` without ``out``.
        UsageError: ``several_findings`` for a model of findings without ``finding``.
        DataError: ``nothing_to_audit`` when training saw all cases with a known label.
    """
    from cxr_transfer.audits.run import audit as run_audit
    from cxr_transfer.subjects.one_finding import as_classes
    from cxr_transfer.subjects.opening import SubjectOptions, open_subject
    from cxr_transfer.training.device import resolve_device

    if retrain and out is None:
        raise TypeError("Expected out=FOLDER with retrain=True: its runs are kept, but got none.")
    check_list(subgroups, "columns")
    checked_cases = cases_of(cases)
    reference: Sequence[Case] = cases_of(compare_with) if compare_with else ()
    table = None if saw is None else path_of(saw, "saw")
    told = None if description is None else path_of(description, "description")
    opened = open_subject(subject_of(run, "run"), SubjectOptions(resolve_device(device), told))
    subject, (judged, reference) = as_classes(opened, finding, checked_cases, reference)

    def into(folder: Path) -> dict[str, Any]:
        return run_audit(
            subject,
            judged,
            folder,
            saw=table,
            compare_with=reference,
            retrain=retrain,
            weights=None if weights is None else path_of(weights, "weights"),
            columns=subgroups,
            device=device,
            precision=precision,
            seed=seed,
            on_image=on_image,
            log=log,
        )

    settings = {"audit_of": subject.identity}
    return reported(into, out, settings, "audit.md", lambda content: list(content["checks"]))
