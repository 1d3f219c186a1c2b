"""The table of collections: how each is recognised and read, what it is, and where it is from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cxr_transfer.datasets import adult, cohen, kermany
from cxr_transfer.datasets.case import Collection
from cxr_transfer.tables import Table


@dataclass(frozen=True)
class CollectionReader:
    """A public collection of radiographs, as it is published.

    Attributes:
        title: Name for people.
        is_here: Function that tells, by names alone and at once, whether a folder is its root.
        read: Function that reads it from its root: every image that is there, with the label that
            the collection gives it. ``Collection.name`` is the name of the row.
        classes: Labels that it holds.
        labels: What a label of it counts as in the data set of all sources: label to class, or to
            "" to leave its images out. Labels that stand in the table of findings need no row.
        licence: Licence, or the terms of use.
        citation: Whom to cite.
        where: Where it is to be had; "" where that is not public.
        stands_alone: Whether its labels make a data set by themselves.
    """

    title: str
    is_here: Callable[[Path], bool]
    read: Callable[[Path], Collection]
    classes: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""
    citation: str = ""
    where: str = ""
    stands_alone: bool = True


COLLECTIONS = Table(
    "collection",
    CollectionReader,
    {
        "kermany": CollectionReader(
            "Chest X-Ray Images (Pneumonia)",
            kermany.is_kermany,
            kermany.read_kermany,
            ("normal", "bacterial", "viral"),
            licence="CC BY 4.0",
            citation="Kermany, Zhang & Goldbaum 2018, doi 10.17632/rscbjbr9sj",
            where="Mendeley Data doi 10.17632/rscbjbr9sj or Kaggle "
            "paultimothymooney/chest-xray-pneumonia",
            stands_alone=False,
        ),
        "cohen": CollectionReader(
            "COVID-19 Image Data Collection",
            cohen.is_cohen,
            cohen.read_cohen,
            ("covid19", "unknown", "and other findings"),
            licence="by image, as its metadata.csv says",
            citation="Cohen, Morrison & Dao 2020, arXiv:2003.11597",
            where="GitHub ieee8023/covid-chestxray-dataset",
            stands_alone=False,
        ),
        "adult": CollectionReader(
            "Adults of RSNA, NIH and Valencia",
            adult.is_adult,
            adult.read_adult,
            ("normal", "pneumonia", "covid19", "atypical"),
            licence="NIH: open; SIIM-FISABIO-RSNA: academic and non-commercial use",
            citation="RSNA Pneumonia Challenge 2018; Wang et al. 2017 (ChestX-ray14); "
            "SIIM-FISABIO-RSNA 2021",
            stands_alone=False,
        ),
    },
    group="cxr_transfer.collections",
)
"""Collections by name, in the order in which a folder is asked whether it is one."""

OF_THE_PAPER = ("kermany", "cohen")
"""Collections that the paper's data sets are made of."""


def where_from() -> str:
    """Return where the collections are to be had, for a message."""
    return "; ".join(
        f"{name.capitalize()}: {row.where}" for name, row in COLLECTIONS.items() if row.where
    )
