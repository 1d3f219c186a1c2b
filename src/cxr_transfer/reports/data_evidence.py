"""What the card and ``split.csv`` prove of the images that a model learnt from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from cxr_transfer.provenance import short
from cxr_transfer.reports.documents import Documents
from cxr_transfer.reports.model_evidence import Facts
from cxr_transfer.runs.run_folder import (
    PartRow,
    access_sentence,
    own_overlap,
    patients_in_several_parts,
    recorded_accesses,
)

_PARTS = ("train", "validation", "test")
_SPLIT = {
    "patient": "drawn at random by patient",
    "image": "drawn at random by image, so that a patient may be in several parts",
    "given": "as the data gave them",
}


def data_evidence(documents: Documents) -> Facts:
    """Return what is known of the images."""
    data, rows = documents.card.data, documents.rows
    of_card, of_table = documents.of_card, documents.of_table
    images = data.get("images") or {}
    split = _SPLIT.get(str(data.get("split_by")), "")
    return {
        "data.name": of_card(str(data.get("name") or ""), "$.data.name"),
        "data.hash": of_card(
            f"SHA-256 {data['data_hash']}" if data.get("data_hash") else "", "$.data.data_hash"
        ),
        "data.counts": of_card(
            ", ".join(f"{part} {images[part]}" for part in _PARTS if part in images),
            "$.data.images",
        ),
        "data.split": of_card(
            f"parts {split}; hash {short(str(data.get('split_hash', '')))}" if split else "",
            "$.data.split_by, $.data.split_hash",
        ),
        "data.left_out": of_card(_left_out(documents), "$.data.left_out, $.data.damaged"),
        "data.labels": of_card(_label_table(documents), "$.recipe.labels, $.labels"),
        "data.sources": of_table(_by_part(rows, lambda row: row.source), "source, split"),
        "data.licences": of_table(_stated(row.licence for row in rows), "licence"),
        "data.views": of_table(_stated(row.view for row in rows), "view"),
        "data.patients": of_table(f"{len({row.patient for row in rows})} patients", "patient"),
        "data.classes": of_table(_by_part(rows, lambda row: row.label), "label, split"),
        "data.demographics": of_table(_people(rows), "age, sex, split"),
        "data.missing": of_table(_missing(rows), "age, sex, view, licence"),
        "data.disjoint": of_table(
            f"{patients_in_several_parts(rows)} patients are in several parts; "
            f"{own_overlap(documents.card, rows)} test images were seen in training",
            "patient, split, pixels",
        ),
        "data.test_use": of_table(
            access_sentence(recorded_accesses(documents.folder)) if rows else "",
            "test_set_accesses.csv",
        ),
        "data.source_of_class": of_table(_of_one_source(rows), "label, source"),
    }


def _left_out(documents: Documents) -> str:
    data = documents.card.data
    if "damaged" not in data:
        return ""
    labels = [f"{count} with the label {label}" for label, count in data["left_out"].items()]
    return ", ".join([*labels, f"{data['damaged']} files that cannot be read"]) + " were left out"


def _label_table(documents: Documents) -> str:
    table = documents.card.label_table
    renamed = [f"{label} counts as {name or 'nothing'}" for label, name in table.items()]
    return "; ".join([f"classes: {', '.join(documents.card.labels)}", *renamed])


def _by_part(rows: Sequence[PartRow], name: Callable[[PartRow], str]) -> str:
    counts = Counter((name(row), row.split) for row in rows)
    each = {
        value: ", ".join(f"{part} {counts[value, part]}" for part in _PARTS if counts[value, part])
        for value in sorted({value for value, _ in counts})
    }
    return "; ".join(f"{value or 'not stated'} ({numbers})" for value, numbers in each.items())


def _stated(values: Iterable[str]) -> str:
    """Return the values, the most common first; "" when none is stated."""
    counts = Counter(values)
    if not set(counts) - {""}:
        return ""
    return ", ".join(f"{value or 'not stated'} {count}" for value, count in counts.most_common())


def _people(rows: Sequence[PartRow]) -> str:
    """Return age and sex of each part; "" where no row states them."""
    told = []
    for part in _PARTS:
        of_part = [row for row in rows if row.split == part]
        ages = sorted(float(row.age) for row in of_part if row.age)
        if ages:
            told.append(
                f"{part}: age {ages[0]:g} to {ages[-1]:g}, median {ages[len(ages) // 2]:g}, "
                f"stated for {len(ages)} of {len(of_part)} images; sex "
                f"{_stated(row.sex for row in of_part) or 'not stated'}"
            )
    return "; ".join(told)


def _missing(rows: Sequence[PartRow]) -> str:
    absent = {
        name: sum(not getattr(row, name) for row in rows)
        for name in ("label", "age", "sex", "view", "licence")
    }
    numbers = ", ".join(f"{name} {count}" for name, count in absent.items())
    return f"of {len(rows)} images so many do not state: {numbers}; nothing was imputed"


def _of_one_source(rows: Sequence[PartRow]) -> str:
    sources: dict[str, set[str]] = {}
    for row in rows:
        sources.setdefault(row.label, set()).add(row.source)
    single = [
        f"{label} ({', '.join(names)})" for label, names in sources.items() if len(names) == 1
    ]
    return f"all images of one source: {', '.join(single)}" if single else "no class has one source"
