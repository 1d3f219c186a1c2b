"""CheXpert on a miniature tree: positive, uncertain, several, none; devices; official parts."""

import pytest

from cxr_transfer.datasets.chexpert import is_chexpert, read_chexpert
from made_collections import CHEXPERT_COLUMNS, chexpert, chexpert_row, table


def test_the_label_is_what_is_positive_or_uncertain(tmp_path):
    labels = [case.label for case in read_chexpert(chexpert(tmp_path)).cases]
    assert labels == [
        "Edema?|Pneumonia",
        "Pneumonia",
        "No Finding",
        "none stated",
        "Cardiomegaly|Fracture",
    ]


def test_patients_views_ages_and_sexes_are_those_of_the_table(tmp_path):
    cases = read_chexpert(chexpert(tmp_path)).cases
    assert [case.patient for case in cases] == [
        *["chexpert:patient00001"] * 2,
        *["chexpert:patient00002"] * 2,
        "chexpert:patient64541",
    ]
    assert [case.view for case in cases] == ["AP", "L", "PA", "AP", "AP"]
    assert [case.sex for case in cases] == ["M", "M", "F", "", "M"]
    assert [case.age for case in cases] == [65, 65, 65, 0, 65]


def test_devices_are_no_finding_but_a_column_to_form_groups_by(tmp_path):
    cases = read_chexpert(chexpert(tmp_path)).cases
    assert [dict(case.extra)["support_devices"] for case in cases] == ["", "", "yes", "", ""]


def test_the_official_parts_are_kept(tmp_path):
    cases = read_chexpert(chexpert(tmp_path)).cases
    assert [case.split for case in cases] == [*["train"] * 4, "validation"]


@pytest.mark.parametrize("top", ["CheXpert-v1.0", "CheXpert-v1.0-small", "unpacked elsewhere"])
def test_images_are_found_whatever_the_folder_is_called(tmp_path, top):
    root = chexpert(tmp_path)
    root = root.rename(root.parent / top)
    assert len(read_chexpert(root).cases) == 5


def test_an_absent_table_and_absent_images_are_no_failure(tmp_path):
    root = chexpert(tmp_path)
    (root / "valid.csv").unlink()
    (root / "train/patient00001/study1/view1_frontal.jpg").unlink()
    found = read_chexpert(root)
    assert len(found.cases) == 3
    assert found.missing == (
        "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg: the file is absent",
    )


def test_no_row_leads_out_of_the_collection(tmp_path):
    root = chexpert(tmp_path)
    secret = tmp_path / "patient1.jpg"
    secret.touch()
    rows = [chexpert_row(path) for path in ("x/../../patient1.jpg", str(secret))]
    table(root / "train.csv", CHEXPERT_COLUMNS, rows)
    found = read_chexpert(root)
    assert (len(found.cases), len(found.missing)) == (1, 2)


def test_the_columns_are_its_sign(tmp_path):
    root = chexpert(tmp_path)
    assert is_chexpert(root)
    for name in ("train.csv", "valid.csv"):
        (root / name).write_text("Path,Sex,Age\n")
    assert not is_chexpert(root)
