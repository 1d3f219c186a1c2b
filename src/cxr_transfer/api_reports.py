"""Reports that people must hand in, as a public function: what `cxr report` does."""

from __future__ import annotations

from cxr_transfer.api import Log, PathLike, Report, path_of
from cxr_transfer.own_folder import lock_folder


def report(
    checkpoint: PathLike,
    kind: str,
    *,
    out: PathLike,
    evaluation: PathLike | None = None,
    audit: PathLike | None = None,
    validation: PathLike | None = None,
    author: PathLike | None = None,
    log: Log = lambda line: None,
) -> Report:
    """Fill a checklist, a model card or a methods paragraph from evidence.

    Args:
        checkpoint: Run folder, checkpoint or a released model's name.
        kind: Kind of report: "claim-2024", "tripod-ai", "stard-ai", "chai", "hf" or "methods".
        out: Folder of the report, made where it is absent.
        evaluation: Path of its ``report.json``; None looks in the run folder.
        audit: Path of its ``audit.json``; None looks in the run folder.
        validation: Path of its ``validation.json``; None looks in the run folder.
        author: Path of the author's words (.toml).
        log: Function that is told what is written, a line at a time.

    Returns:
        The content of the checklist's JSON, the metadata of a card, or the paragraph; as a table, a
        row for each item of a checklist.

    Raises:
        TypeError: An argument is of another type.
        CxrError: What `cxr report` says; see its codes.
    """
    from cxr_transfer.reports.writing import Given, check_kind, write_report

    check_kind(kind)
    given = Given(
        path_of(checkpoint, "checkpoint"),
        *(
            None if path is None else path_of(path, name)
            for name, path in (
                ("evaluation", evaluation),
                ("audit", audit),
                ("validation", validation),
                ("author", author),
            )
        ),
    )
    folder = path_of(out, "out")
    with lock_folder(folder):
        content = write_report(kind, given, folder, log=log)
    plain = ("number", "section", "topic", "status", "software_can_know")
    rows = [{name: item[name] for name in plain} for item in content.get("items", ())]
    lines = [f"{number} {status}" for status, number in content.get("counts", {}).items()]
    return Report(content, "\n".join(lines), rows, folder)
