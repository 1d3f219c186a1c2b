"""The adult images: patients of NIH and studies of Valencia from names, else one per image."""

import pytest

from cxr_transfer.datasets.adult import is_adult, read_adult


@pytest.fixture
def root(tmp_path):
    names = ("rsna/Normal-1.png", "rsna/Normal-2.png", "valencia/0a1b_2c.jpg")
    names += ("valencia/0a1b_3d.jpg", "nih/00000061_002.png", "nih/00000061_007.png")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    labels = {"rsna": "normal", "valencia": "covid19", "nih": "pneumonia"}
    rows = [(name, labels[name.partition("/")[0]], name.partition("/")[0]) for name in names]
    rows.append(("rsna/Normal-3.png", "normal", "rsna"))
    text = "filename,label,source\r\n" + "".join(",".join(row) + "\r\n" for row in rows)
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8-sig", newline="")
    return tmp_path


def test_rows_are_read_in_their_order(root):
    cases = read_adult(root).cases
    assert [(case.label, case.patient, case.source) for case in cases] == [
        ("normal", "rsna:Normal-1", "rsna"),
        ("normal", "rsna:Normal-2", "rsna"),
        ("covid19", "valencia:0a1b", "valencia"),
        ("covid19", "valencia:0a1b", "valencia"),
        ("pneumonia", "nih:00000061", "nih"),
        ("pneumonia", "nih:00000061", "nih"),
    ]
    assert all(case.path.is_file() for case in cases)
    of_valencia = {case.licence for case in cases if case.source == "valencia"}
    assert of_valencia == {"academic and non-commercial use (SIIM-FISABIO-RSNA)"}


def test_an_absent_image_is_told(root):
    assert read_adult(root).missing == ("rsna/Normal-3.png: the file is absent",)


def test_only_a_table_of_exactly_these_columns_is_one(root):
    assert is_adult(root)
    (root / "labels.csv").write_text("filename,label\n")
    assert not is_adult(root)
    (root / "labels.csv").write_text("")
    assert not is_adult(root)
    (root / "labels.csv").unlink()
    assert not is_adult(root)


def test_the_same_columns_with_other_sources_are_somebody_elses(root):
    table = root / "labels.csv"
    table.write_text("filename,label,source\na.png,normal,clinic\n")
    assert not is_adult(root)
    table.write_text("filename,label,source\nrsna/a.png,normal,rsna\na.png,normal,clinic\n")
    assert not is_adult(root)
    table.write_text("filename,label,source\nrsna/a.png,normal,rsna\n")
    assert is_adult(root)


def test_somebody_elses_latin_1_table_is_passed_over(root):
    (root / "labels.csv").write_bytes("Größe,label\n1,é\n".encode("latin-1"))
    assert not is_adult(root)
