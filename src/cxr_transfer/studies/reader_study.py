"""A reader study: what each reader and the model can do, alone and together, on the same images.

In come exported readings and the truth; out go figures as JSON, page and picture. Opens no image
but to take its hash. The page of `cxr serve` makes the readings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxr_transfer import provenance
from cxr_transfer.about import INTENDED_USE
from cxr_transfer.errors import DataError, listing
from cxr_transfer.evaluation.rendering import render
from cxr_transfer.figures.dots import Panel, dot_panels
from cxr_transfer.files import write_json, write_text
from cxr_transfer.statistics.intervals import Estimate
from cxr_transfer.studies.reader_figures import (
    Read,
    agreements,
    gains,
    means,
    model_figures,
    reader_figures,
)
from cxr_transfer.studies.reader_tables import (
    CONDITIONS,
    Reading,
    Truth,
    identity,
    read_readings,
    read_truth,
    refuse_repeated,
)
from cxr_transfer.text import for_terminal

READER_STUDY = "readers.json"
INTERVALS = (
    "sensitivity, specificity and kappas: bootstrap by patient, percentiles (Wilson's over "
    "patients where nothing varies); AUROC of one reader: DeLong's variance by patient "
    "(Obuchowski's), as in evaluations; differences of AUROC on the same images: the same "
    "variance, normal; means over readers: Obuchowski and Rockette's model with Hillis' degrees of "
    "freedom"
)


def study_readers(
    paths: Sequence[Path],
    truth: Path,
    out: Path,
    *,
    resamples: int = 2000,
    seed: int = 0,
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Judge the readers of a study, and write the report into ``out``.

    Args:
        paths: Files of readings that the page exported (CSV or JSON), of all readers.
        truth: Manifest, or another CSV with ``label`` and ``sha256``, ``path`` or ``file``.
        out: Report folder, owned by the caller.
        resamples: Number of resamples of the bootstrap by patient.
        seed: Random seed of the bootstrap.
        log: Function that is told what is left out.

    Returns:
        The content of ``readers.json``.

    Raises:
        DataError: ``bad_readings``, ``bad_truth``, ``two_labels``, ``repeated_readings``,
            ``other_targets``, ``other_models``, ``no_common_images``.
    """
    readings = [reading for path in paths for reading in read_readings(path)]
    target = _one_target(readings)
    model = _one_model(readings)
    digests = frozenset(reading.sha256 for reading in readings)
    truths, by = read_truth(truth, frozenset() if "" in digests else digests)
    refuse_repeated(readings, by)
    known, without_truth = _with_truth(readings, truths, by)
    if without_truth:
        log(f"{without_truth} images that were read are left out: the truth has no label of them")
    read = Read.of(known, truths, target, by)
    others = _labels_of_nobody(read, truths)
    if others:
        log(f"labels of the truth that no reader could choose count as not of the target: {others}")
    again = {"resamples": resamples, "seed": seed}
    readers = {name: reader_figures(read, name, **again) for name in read.readers}
    content = {
        "intended_use": INTENDED_USE,
        "intervals": INTERVALS,
        "target": list(target),
        "matched_by": by,
        "images": len(read.images),
        "patients": len(set(read.patients)),
        "positive": int(read.positive.sum()),
        "without_truth": without_truth,
        "other_labels": others,
        "seen_before": len({identity(each, by) for each in known if each.seen_before}),
        "readers": readers,
        "model": {"name": model, **model_figures(read, **again)} if model else None,
        "gains": {name: gains(read, name, **again) for name in read.readers},
        "agreement": {way: agreements(read, way, **again) for way in CONDITIONS},
        "means": means(read),
        "resamples": resamples,
        "seed": seed,
        "commit": provenance.commit(),
        "time": provenance.now(),
        "versions": provenance.versions(),
    }
    if content["seen_before"]:
        log(
            f"of {content['seen_before']} images the model's answer was on the screen before the "
            "study: those readings are not blinded"
        )
    _write(out, content)
    return content


def _labels_of_nobody(read: Read, truths: Mapping[str, Truth]) -> str:
    """Return labels of the truth that are none of the study's, each with its number of images."""
    offered = set(read.target)
    for reading in read.table.values():
        offered |= {reading.label, *reading.model_scores}
    times = Counter(truths[name].label for name in read.images)
    return listing(
        f"{for_terminal(label)} ({number})"
        for label, number in sorted(times.items())
        if label not in offered
    )


def _one_target(readings: Sequence[Reading]) -> tuple[str, ...]:
    """Return the classes that all readings looked for.

    Raises:
        DataError: ``other_targets``.
    """
    targets = sorted({tuple(sorted(reading.target)) for reading in readings})
    if len(targets) > 1:
        shown = "; ".join(" or ".join(map(for_terminal, target)) for target in targets)
        raise DataError(
            "other_targets",
            f"Expected readings that looked for the same, but got {shown}; give those of one "
            "study.",
        )
    return readings[0].target


def _one_model(readings: Sequence[Reading]) -> str:
    """Return the model that answered; "" for none.

    Raises:
        DataError: ``other_models``.
    """
    names = sorted({reading.model for reading in readings if reading.model})
    if len(names) > 1:
        raise DataError(
            "other_models",
            f"Expected answers of one model, but got {'; '.join(map(for_terminal, names))}; give "
            "the readings of one study.",
        )
    return names[0] if names else ""


def _with_truth(
    readings: Sequence[Reading], truths: Mapping[str, Truth], by: str
) -> tuple[list[Reading], int]:
    """Return the readings of images whose truth is known, and how many other images there are.

    Raises:
        DataError: ``no_common_images``.
    """
    known = [reading for reading in readings if identity(reading, by) in truths]
    if not known:
        raise DataError(
            "no_common_images",
            f"Expected the truth of some of the images that were read, but it names none of them "
            f"by {'SHA-256' if by == 'sha256' else 'name'}; give the table of these images.",
        )
    lost = {identity(reading, by) for reading in readings} - set(truths)
    return known, len(lost)


def _write(out: Path, content: Mapping[str, Any]) -> None:
    write_json(out / READER_STUDY, content)
    write_text(out / "readers.md", render("reader_study.md.j2", content=content))
    names, panels = _dots(content)
    dot_panels(
        out / "figures" / "readers.png", names, panels, f"Readers on {content['images']} images"
    )
    dot_panels(out / "figures" / "readers", names, panels)


def _dots(content: Mapping[str, Any]) -> tuple[list[str], list[Panel]]:
    """Return the rows of the figure, readers and then the model, and what is drawn of them."""
    rows: list[tuple[str, Mapping[str, Any]]] = []
    for name, of_reader in content["readers"].items():
        ways = [way for way in CONDITIONS if of_reader[way]]
        for way in ways:
            suffix = f"\n{way} the model" if len(ways) > 1 or way == "with" else ""
            rows.append((f"{for_terminal(name)[:40]}{suffix}", of_reader[way]))
    if content["model"]:
        rows.append(("the model", content["model"]))
    titles = {"auroc": "AUROC", "sensitivity": "sensitivity", "specificity": "specificity"}
    panels = [
        Panel(
            f"{title}, % [95 %]",
            [Estimate.from_dict(figures[key]) for _, figures in rows],
            bounds=(0.0, 100.0),
        )
        for key, title in titles.items()
    ]
    return [name for name, _ in rows], panels
