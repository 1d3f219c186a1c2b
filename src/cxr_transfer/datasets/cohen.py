"""COVID-19 Image Data Collection: Cohen et al. 2020, github.com/ieee8023/covid-chestxray-dataset.

``metadata.csv`` and ``images/``; licence per row. Adults of many web pages and journals. Rows of
CT, of ``volumes/`` and of files that are absent are counted and told, never fatal.
"""

from __future__ import annotations

from pathlib import Path

from cxr_transfer.datasets.case import Case, Collection
from cxr_transfer.datasets.cells import age_or_none, patient_name
from cxr_transfer.datasets.csv_files import has_columns
from cxr_transfer.datasets.image_files import LeftOut, image_files
from cxr_transfer.datasets.published import published_rows

_NEEDED = {"patientid", "finding", "view", "modality", "filename"}


def is_cohen(folder: Path) -> bool:
    """Tell whether ``folder`` is a copy of the collection, by the columns of its table.

    Many a folder has a ``metadata.csv`` beside ``images/``: those are somebody else's.
    """
    return (folder / "images").is_dir() and has_columns(folder / "metadata.csv", _NEEDED)


def read_cohen(root: Path) -> Collection:
    """Read every X-ray row whose image is there; a file named by two rows is read once.

    An image's label is ``covid19`` for "COVID-19" and "COVID-19, ...", "unknown" for "todo", else
    the finding in lower case.

    Raises:
        DataError: ``collection`` when ``metadata.csv`` lacks a needed column.
    """
    cases: dict[str, Case] = {}
    same_image: dict[str, set[str]] = {}
    missing: list[str] = []
    for row in published_rows(root / "metadata.csv", _NEEDED):
        name = row["filename"]
        if row["modality"] != "X-ray":
            missing.append(f"{name}: {row['modality']}, not an X-ray")
        elif not (path := root / "images" / Path(name).name).is_file():
            missing.append(f"{name}: the file is absent")
        elif name in cases:
            same_image.setdefault(name, {cases[name].patient}).add(f"cohen:{row['patientid']}")
        else:
            cases[name] = _case(path, row)
    missing += [
        f"{name}: stands in several rows ({', '.join(sorted(patients))}), read once"
        for name, patients in same_image.items()
    ]
    left_out = LeftOut(root)
    named = {case.path for case in cases.values()}
    without_row = set(image_files(root / "images", left_out)) - named
    return Collection(
        "cohen",
        root,
        tuple(cases.values()),
        tuple(missing),
        left_out.total + len(without_row),
        notices=left_out.notices(),
    )


def _case(path: Path, row: dict[str, str]) -> Case:
    # Later copies say "Pneumonia/Viral/COVID-19".
    finding = row["finding"].rpartition("/")[2]
    if finding == "COVID-19" or finding.startswith("COVID-19,"):
        label = "covid19"
    else:
        label = "unknown" if finding in ("todo", "Unknown") else finding.lower()
    return Case(
        path=path,
        label=label,
        patient=f"cohen:{row['patientid'] if patient_name(row['patientid']) else path.name}",
        source="cohen",
        view=row["view"],
        age=age_or_none(row.get("age", "")),
        sex=row.get("sex", ""),
        licence=row.get("license", ""),
        finding=finding,
    )
