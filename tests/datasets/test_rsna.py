"""The RSNA challenge on a miniature tree: classes, headers, and what contradicts itself."""

from cxr_transfer.datasets.rsna import is_rsna, read_rsna
from made_collections import dcm, rsna


def test_the_class_is_that_of_the_table_and_a_row_for_each_box_is_one_image(tmp_path):
    cases = read_rsna(rsna(tmp_path)).cases
    assert [(case.label, case.patient) for case in cases] == [
        ("Lung Opacity", "rsna:a1"),
        ("Normal", "rsna:b2"),
        ("No Lung Opacity / Not Normal", "rsna:c3"),
    ]


def test_age_sex_and_view_are_those_of_the_headers(tmp_path):
    for case in read_rsna(rsna(tmp_path)).cases:
        assert (case.age, case.sex, case.view, case.source) == (51, "F", "AP", "rsna")


def test_that_its_images_are_nihs_is_told(tmp_path):
    assert "NIH ChestX-ray14" in " ".join(read_rsna(rsna(tmp_path)).notices)


def test_what_is_absent_or_contradicts_itself_is_told_and_left_out(tmp_path):
    root = rsna(tmp_path)
    (root / "stage_2_train_images" / "b2.dcm").unlink()
    dcm(root / "stage_2_train_images" / "of no row.dcm")
    table = root / "stage_2_detailed_class_info.csv"
    table.write_text(table.read_text().replace("No Lung Opacity / Not Normal", "Lung Opacity"))
    found = read_rsna(root)
    assert found.missing == (
        "b2: the file is absent",
        "c3: its two tables contradict each other",
    )
    assert [case.path.stem for case in found.cases] == ["a1"]
    assert found.ignored == 2


def test_both_tables_are_its_sign(tmp_path):
    root = rsna(tmp_path)
    assert is_rsna(root)
    (root / "stage_2_detailed_class_info.csv").unlink()
    assert not is_rsna(root)
