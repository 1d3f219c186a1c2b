"""The SIIM challenge on a miniature tree: readings of studies, and patients over studies."""

from cxr_transfer.datasets.siim import is_siim, read_siim
from made_collections import SIIM_CLASSES, dcm, siim, table


def test_an_image_has_the_reading_of_its_study(tmp_path):
    found = read_siim(siim(tmp_path))
    assert {case.path.stem: case.label for case in found.cases} == {
        "i1": "Negative for Pneumonia",
        "i2": "Typical Appearance",
        "i3": "Typical Appearance",
        "i4": "Atypical Appearance",
    }
    assert {case.source for case in found.cases} == {"valencia"}
    assert {case.sex for case in found.cases} == {"M"}


def test_studies_of_one_patient_are_one_patient(tmp_path):
    patients = {case.path.stem: case.patient for case in read_siim(siim(tmp_path)).cases}
    assert patients == {
        "i1": "valencia:s1",
        "i2": "valencia:s2",
        "i3": "valencia:s2",
        "i4": "valencia:s1",
    }
    assert "P7" not in str(patients), "a Patient ID is kept nowhere"


def test_headers_that_name_nobody_leave_each_study_a_patient(tmp_path):
    root = siim(tmp_path)
    for seed, path in enumerate(sorted(root.rglob("*.dcm"))):
        dcm(path, seed, PatientID="ANONYMOUS")
    patients = [case.patient for case in read_siim(root).cases]
    assert patients == ["valencia:s1", "valencia:s2", "valencia:s2", "valencia:s3"]


def test_what_is_absent_or_without_one_reading_is_told(tmp_path):
    root = siim(tmp_path)
    next(root.rglob("i1.dcm")).unlink()
    rows = [("s1_study", 1, 0, 0, 0), ("s2_study", 1, 1, 0, 0)]
    table(root / "train_study_level.csv", ("id", *SIIM_CLASSES), rows)
    found = read_siim(root)
    assert found.cases == ()
    assert found.missing == (
        "i1: the file is absent",
        *(f"{name}: its study has 2 readings instead of one" for name in ("i2", "i3")),
        "i4: its study has 0 readings instead of one",
    )


def test_both_tables_are_its_sign(tmp_path):
    root = siim(tmp_path)
    assert is_siim(root)
    (root / "train_image_level.csv").write_text("id,label\n")
    assert not is_siim(root)
