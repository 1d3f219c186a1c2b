"""Labels that join findings: one meaning for each, whoever wrote them."""

import dataclasses

import numpy as np
import pytest

from cxr_transfer.datasets.chexpert import FINDINGS, read_chexpert
from cxr_transfer.datasets.loading import open_cases, open_dataset
from cxr_transfer.datasets.nih import read_nih
from cxr_transfer.datasets.paper import Dataset
from cxr_transfer.datasets.several_findings import (
    as_findings,
    present_words,
    rows_of,
    strata,
    unknown_findings,
)
from cxr_transfer.datasets.splits import split
from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.labels import LabelSet
from made import case, write_image
from made_collections import chexpert, nih

PAIR = LabelSet(("Edema", "Mass"), exclusive=False)


def labelled(*labels, **known):
    return [case(f"{row}.png", label, **known) for row, label in enumerate(labels)]


def labels_of(found):
    return [one.label for one in found.cases]


def test_one_meaning_has_one_form():
    found = as_findings(labelled("Mass|Edema", "edema | Mass?", "no finding", "normal"), {})
    assert labels_of(found) == ["Edema|Mass", "Edema|Mass?", "No Finding", "No Finding"]
    assert found.names == ("Edema", "Mass")
    assert "'edema' (1) taken as 'Edema'" in found.notices[0]


def test_the_label_as_it_was_stays_known():
    (one,) = as_findings(labelled("Mass|Edema"), {}).cases
    assert one.finding == "Mass|Edema"


def test_what_a_column_says_is_not_stated_is_missing_unless_the_label_says_it():
    given = labelled("Edema", extra=(("not_stated", "Mass|Edema"), ("ward", "3")))
    (one,) = as_findings(given, {}).cases
    assert one.label == "Edema|Mass?"
    assert one.extra == (("ward", "3"),)


def test_nothing_stated_says_nothing_but_what_the_column_lists_is_exact():
    bare, listed = labelled("none stated", "none stated")
    listed = dataclasses.replace(listed, extra=(("not_stated", "Mass"),))
    found = as_findings([bare, listed], {})
    assert rows_of(PAIR, found.cases).tolist() == [[-1, -1], [0, -1]]


def test_findings_are_renamed_and_left_out_one_by_one():
    given = labelled("Mass|Hernia", "Nodule?", "Mass|Nodule?", "Hernia", "Edema")
    found = as_findings(given, {"Mass": "lesion", "Nodule": "lesion", "Hernia": ""})
    assert labels_of(found) == ["lesion", "lesion?", "lesion", "No Finding", "Edema"]
    assert any("Hernia (2 images)" in line for line in found.notices)


def test_a_mapping_that_nothing_fits_is_refused():
    with pytest.raises(UsageError) as refused:
        as_findings(labelled("Mass"), {"Masss": ""})
    assert refused.value.code == "unused_option"


def test_a_name_that_a_network_does_not_know_makes_all_labels_missing():
    found = as_findings(labelled("edema", "Edema|Massive", "Mass"), {}, labels=PAIR)
    assert rows_of(PAIR, found.cases).tolist() == [[1, 0], [-1, -1], [0, 1]]
    assert "Massive (1 images)" in unknown_findings(PAIR, found.cases)[0]
    left_out = as_findings(labelled("Edema|Massive"), {"Massive": ""}, labels=PAIR)
    assert rows_of(PAIR, left_out.cases).tolist() == [[1, 0]]


def test_images_are_sorted_by_their_rarest_finding():
    cases = labelled("Edema", "Edema|Mass", "Edema", "No Finding", "Mass?")
    assert strata(PAIR, cases).tolist() == [0, 1, 0, 2, 2]


def test_rare_sets_of_findings_are_told_by_their_number():
    cases = labelled("A|B", "A|B", "A|C", "A", "No Finding", "A|B?")
    assert present_words(cases, 1000)[-1] == "A"
    words = present_words(cases, 4)
    assert len(set(words)) <= 4
    assert words[:2] == ["A|B", "A|B"] or words[:2] == ["2 findings"] * 2


def test_chexperts_blanks_are_missing_and_its_zeros_are_not(tmp_path):
    found = as_findings(read_chexpert(chexpert(tmp_path)).cases, {})
    labels = LabelSet(tuple(sorted(FINDINGS)), exclusive=False)
    said = [dict(zip(labels, row, strict=True)) for row in rows_of(labels, found.cases).tolist()]
    assert (said[0]["Pneumonia"], said[0]["Edema"], said[0]["Fracture"]) == (1, -1, -1)
    assert set(said[2].values()) == {0}, "No Finding says of each that it is not there"
    assert (said[3]["Edema"], said[3]["Pneumonia"]) == (0, -1)


def test_nihs_findings_are_all_known(tmp_path):
    found = as_findings(read_nih(nih(tmp_path)).cases, {})
    labels = LabelSet(found.names, exclusive=False)
    assert (rows_of(labels, found.cases) >= 0).all()
    assert rows_of(labels, found.cases).sum() > len(found.names)


@pytest.mark.parametrize("names", [("a|b", "c"), ("a?", "c"), ("No Finding", "c"), ("a", " c")])
def test_a_name_that_could_not_stand_in_a_joined_label_is_none(names):
    with pytest.raises(DataError) as refused:
        LabelSet(names, exclusive=False)
    assert refused.value.code == "label_set"
    LabelSet(names)  # As classes they may stand.


@pytest.mark.parametrize(
    ("labels", "lacking"), [(("Edema", "Edema|Mass"), "no Edema"), (("Edema", "Mass?"), "Mass")]
)
def test_a_finding_that_all_or_no_images_have_is_refused(labels, lacking):
    with pytest.raises(DataError) as refused:
        Dataset("made", PAIR, tuple(labelled(*labels)))
    assert refused.value.code == "classes"
    assert lacking in refused.value.message


@pytest.mark.parametrize("seed", range(4))
def test_every_part_has_each_finding_both_ways_and_no_patient_twice(seed):
    rng = np.random.default_rng(seed)
    names = ("A", "B", "C")
    labels = LabelSet(names, exclusive=False)
    has = rng.random((300, 3)) < (0.5, 0.3, 0.2)
    cases = tuple(
        case(
            f"{row}.png",
            "|".join(name for name, is_there in zip(names, each, strict=True) if is_there)
            or "No Finding",
            f"p{row // 2}",
        )
        for row, each in enumerate(has)
    )
    drawn = split(Dataset("made", labels, cases), seed=seed)
    for part in ("train", "validation", "test"):
        told = rows_of(labels, drawn.part(part))
        assert (told == 1).any(axis=0).all()
        assert (told == 0).any(axis=0).all()
    patients = [{one.patient for one in drawn.part(part)} for part in ("train", "test")]
    assert not patients[0] & patients[1]
    shares = [rows_of(labels, drawn.part(part)).mean(axis=0) for part in ("train", "test")]
    assert np.abs(shares[0] - shares[1]).max() < 0.15


def test_a_manifest_is_read_for_the_task_that_is_asked_for(tmp_path):
    lines = ["path,label,not_stated"]
    for row, label in enumerate(("Edema", "Mass", "Edema|Mass", "No Finding", "Mass?")):
        write_image(tmp_path / f"{row}.png", seed=row)
        lines.append(f"{row}.png,{label},{'Edema' if row == 4 else ''}")
    (tmp_path / "images.csv").write_text("\n".join(lines))
    found = open_dataset(tmp_path / "images.csv", None, task="multi_label")
    assert found.labels == PAIR
    assert found.counts() == {"Edema": 2, "no Edema": 2, "Mass": 2, "no Mass": 2}
    read = open_cases(tmp_path / "images.csv", labels=PAIR)
    assert rows_of(PAIR, read.cases).tolist()[-1] == [-1, -1]


def test_one_finding_is_two_classes(tmp_path):
    for row in range(2):
        write_image(tmp_path / f"{row}.png", seed=row)
    (tmp_path / "images.csv").write_text("path,label\n0.png,Mass\n1.png,No Finding\n")
    with pytest.raises(DataError) as refused:
        open_dataset(tmp_path / "images.csv", None, task="multi_label")
    assert refused.value.code == "label_set"
    assert "multi_class" in refused.value.message
