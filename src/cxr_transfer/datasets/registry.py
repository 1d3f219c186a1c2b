"""The table of collections: how each is recognised and read, what it is, and where it is from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cxr_transfer.datasets import adult, chexpert, cohen, kermany, nih, rsna, siim, tuberculosis
from cxr_transfer.datasets.case import Collection
from cxr_transfer.labels import NO_FINDING
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
        labels: Class of each of its labels in the data set of all sources: label, or pattern of
            labels with "*", to class, or to "" to leave its images out. Labels that stand in the
            table of findings need no row.
        licence: Licence, or the terms of use.
        citation: Paper to cite.
        where: Place where it is published; "" where it is not public.
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


_LIBRARY_OF_MEDICINE = "public, of the U.S. National Library of Medicine; cite the paper"
_JAEGER = (
    "Jaeger et al. 2014, Quant Imaging Med Surg 4:475, doi 10.3978/j.issn.2223-4292.2014.11.20"
)

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
        "nih": CollectionReader(
            "NIH ChestX-ray14",
            nih.is_nih,
            nih.read_nih,
            (NO_FINDING, *nih.FINDINGS, "several joined by |"),
            {NO_FINDING: "normal", "Pneumonia": "other_pneumonia", "*": ""},
            licence="free to use; name the NIH Clinical Center and link the download page",
            citation="Wang et al. 2017, doi 10.1109/CVPR.2017.369",
            where="nihcc.app.box.com/v/ChestXray-NIHCC or Kaggle nih-chest-xrays/data",
        ),
        "rsna": CollectionReader(
            "RSNA Pneumonia Detection Challenge",
            rsna.is_rsna,
            rsna.read_rsna,
            rsna.CLASSES,
            {"Normal": "normal", rsna.LUNG_OPACITY: "other_pneumonia", "*": ""},
            licence="any use with attribution (RSNA's terms)",
            citation="Shih et al. 2019, doi 10.1148/ryai.2019180041; Wang et al. 2017",
            where="Kaggle rsna-pneumonia-detection-challenge",
        ),
        "siim": CollectionReader(
            "SIIM-FISABIO-RSNA COVID-19 Detection Challenge",
            siim.is_siim,
            siim.read_siim,
            siim.CLASSES,
            {"Negative for Pneumonia": "normal", "Typical Appearance": "covid19", "*": ""},
            licence="academic and non-commercial use",
            citation="Lakhani et al. 2023, doi 10.1007/s10278-022-00706-8; de la Iglesia Vaya et "
            "al. 2020, arXiv:2006.01174",
            where="Kaggle siim-covid19-detection",
        ),
        "chexpert": CollectionReader(
            "CheXpert",
            chexpert.is_chexpert,
            chexpert.read_chexpert,
            (NO_FINDING, *chexpert.FINDINGS, "several joined by |", "uncertain with ?"),
            {NO_FINDING: "normal", "Pneumonia": "other_pneumonia", "*": ""},
            licence="Stanford University's Research Use Agreement, not commercial",
            citation="Irvin et al. 2019, arXiv:1901.07031",
            where="stanfordmlgroup.github.io/competitions/chexpert",
        ),
        "shenzhen": CollectionReader(
            "Shenzhen tuberculosis set",
            tuberculosis.is_shenzhen,
            tuberculosis.read_shenzhen,
            tuberculosis.CLASSES,
            licence=_LIBRARY_OF_MEDICINE,
            citation=_JAEGER,
            where="openi.nlm.nih.gov, ChinaSet_AllFiles.zip",
        ),
        "montgomery": CollectionReader(
            "Montgomery County tuberculosis set",
            tuberculosis.is_montgomery,
            tuberculosis.read_montgomery,
            tuberculosis.CLASSES,
            licence=_LIBRARY_OF_MEDICINE,
            citation=_JAEGER,
            where="openi.nlm.nih.gov, NLM-MontgomeryCXRSet.zip",
        ),
    },
    group="cxr_transfer.collections",
)
"""Collections by name, in the order in which a folder is asked whether it is one."""

OWN = ("manifest", "folder", "unlabelled")
"""Names of what is no public collection: a user's own images."""

OF_THE_PAPER = ("kermany", "cohen")
"""Collections that the paper's data sets are made of."""


def where_from() -> str:
    """Return where the paper's collections are to be had, for a message."""
    return "; ".join(f"{name.capitalize()}: {COLLECTIONS[name].where}" for name in OF_THE_PAPER)


def stands_alone(archives: Sequence[Collection]) -> bool:
    """Tell whether what was read is a data set of its own labels: one collection that is one.

    Images of a user's own always are.
    """
    return len(archives) == 1 and (
        archives[0].name in OWN or COLLECTIONS[archives[0].name].stands_alone
    )
