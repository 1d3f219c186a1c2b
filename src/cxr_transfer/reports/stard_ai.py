"""STARD-AI: the checklist for diagnostic accuracy studies, in our own words.

STARD-AI (Sounderajah et al. 2025, Nature Medicine) extends STARD 2015 (Bossuyt et al. 2015, BMJ
351:h5527) to 40 items. The numbers here are those of STARD 2015. We could not check the numbers of
the items that STARD-AI adds: their topics have letters of ours.
"""

from __future__ import annotations

from cxr_transfer.reports.checklist import Checklist, Item

_PEOPLE, _TEST, _ANALYSIS = "Methods: participants", "Methods: test methods", "Methods: analysis"
_RESULTS, _OTHER, _ADDED = "Results: participants", "Other", "Added for AI (letters are ours)"

ITEMS = (
    Item("1", "Title", "The title or abstract names a measure of accuracy",
         ("figures.metrics",), "the title"),
    Item("2", "Abstract", "Structured summary", author="the abstract"),
    Item("3", "Introduction", "Background, and the role of the test",
         author="background and intended role"),
    Item("4", "Introduction", "Aims and hypotheses", author="aims and hypotheses"),
    Item("5", "Methods: design", "Data collected before or after the tests were planned",
         author="whether data collection came before"),
    Item("6", _PEOPLE, "Who was eligible", ("data.left_out",), "eligibility criteria"),
    Item("7", _PEOPLE, "How eligible people were found", author="how they were identified"),
    Item("8", _PEOPLE, "Where and when", ("data.sources",), "setting, place and dates"),
    Item("9", _PEOPLE, "One after the other, at random, or as they came to hand",
         author="kind of series"),
    Item("10a", _TEST, "The test, so that it can be repeated",
         ("model.architecture", "model.preprocessing", "model.output", "model.weights",
          "training.software")),
    Item("10b", _TEST, "The reference standard, so that it can be repeated", ("data.labels",),
         "how each label was obtained"),
    Item("11", _TEST, "Why that reference standard", author="why this reference standard"),
    Item("12a", _TEST, "Threshold or classes of the test, set before or found here",
         ("model.output", "model.scale", "model.abstention")),
    Item("12b", _TEST, "Threshold or classes of the reference standard", ("data.labels",),
         "thresholds of the reference standard"),
    Item("13a", _TEST, "What those who did the test knew",
         not_applicable="A program reads the image and nothing else."),
    Item("13b", _TEST, "What those who gave the truth knew", author="what the assessors knew"),
    Item("14", _ANALYSIS, "How accuracy was estimated and compared",
         ("figures.metrics", "figures.intervals")),
    Item("15", _ANALYSIS, "Results that tell nothing",
         ("model.abstention", "figures.abstention")),
    Item("16", _ANALYSIS, "Data that are missing", ("data.missing", "data.left_out")),
    Item("17", _ANALYSIS, "Differences in accuracy between groups", ("figures.subgroups",),
         "which analyses were planned before"),
    Item("18", _ANALYSIS, "How many, and why that many", ("data.counts",),
         "how the number was chosen"),
    Item("19", _RESULTS, "Flow of participants, as a diagram", ("figures.flow",)),
    Item("20", _RESULTS, "Who they are", ("data.demographics", "data.classes")),
    Item("21a", _RESULTS, "How severe the disease is in those who have it",
         author="spread of severity"),
    Item("21b", _RESULTS, "Other diagnoses in those who do not have it",
         ("data.classes",), "alternative diagnoses"),
    Item("22", _RESULTS, "Time and treatment between test and truth",
         author="the interval, and what happened in it"),
    Item("23", "Results: test", "Results of the test against the truth, as a table",
         ("figures.confusion",)),
    Item("24", "Results: test", "Accuracy with its intervals",
         ("figures.performance", "figures.by_class")),
    Item("25", "Results: test", "Harm by the test or the reference standard",
         author="adverse events"),
    Item("26", "Discussion", "Limits, bias, how far results carry",
         ("data.source_of_class", "audit.failed"), "the limits of the study"),
    Item("27", "Discussion", "What it means for practice", author="implications"),
    Item("28", _OTHER, "Registration", author="the registration, or that there is none"),
    Item("29", _OTHER, "Where the protocol stands", author="the protocol"),
    Item("30", _OTHER, "Who paid, and what their part was", author="funding and its role"),
    Item("A", _ADDED, "Data of making and testing, and how they were kept apart",
         ("data.split", "data.disjoint", "data.counts")),
    Item("B", _ADDED, "Version of the model, its software and hardware",
         ("model.weights", "training.commit", "training.software", "training.machine")),
    Item("C", _ADDED, "Bias and fairness between groups of people",
         ("figures.subgroups", "figures.gaps")),
    Item("D", _ADDED, "Test on data from elsewhere",
         ("validation.external", "validation.sources")),
    Item("E", _ADDED, "Whether code, model and data can be had",
         ("model.licence", "data.licences"), "where they can be had"),
)  # fmt: skip

STARD_AI = Checklist(
    "stard-ai",
    "STARD-AI",
    "Sounderajah et al. 2025, Nature Medicine; numbers of STARD 2015, BMJ 351:h5527",
    ITEMS,
    "Numbers are those of STARD 2015, which STARD-AI extends to 40 items. Letters are ours, for "
    "topics of AI: look up the numbers of STARD-AI before you hand it in. The wording is ours.",
)
