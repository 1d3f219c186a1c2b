"""Tables of predictions, of ours and of other programs."""

import numpy as np
import pytest

from cxr_transfer.errors import DataError
from cxr_transfer.evaluation.scoring import write_scores
from cxr_transfer.labels import DATASET_1, LabelSet
from cxr_transfer.runs.predictions import read_case_scores, read_predictions
from made import case

LABELS = LabelSet(("clear", "cloudy"))


def written(path, text):
    path.write_text(text)
    return path


def test_what_an_evaluation_wrote_is_read_back(tmp_path):
    cases = [case(f"{n}.png", label, sha256=f"{n}" * 64) for n, label in enumerate(LABELS)]
    scored = np.array([[0.75, 0.25], [0.4, 0.6]])
    write_scores(tmp_path / "predictions.csv", LABELS, scored, cases, temperature=1.5)
    table = read_predictions(tmp_path / "predictions.csv")
    assert table.scores.labels == LABELS
    assert table.scores.probabilities == pytest.approx(scored)
    assert list(table.scores.targets) == [0, 1]
    assert table.scores.patients == tuple(each.patient for each in cases)
    assert table.has_patients
    assert table.sha256 == ("0" * 64, "1" * 64)


def test_a_table_of_another_program_needs_three_kinds_of_columns(tmp_path):
    text = "file,label,score_a,score_b\n1.png,a,0.9,0.1\n2.png,b,0.3,0.7\n3.png,other,0.5,0.5\n"
    table = read_predictions(written(tmp_path / "theirs.csv", text))
    assert table.scores.files == ("1.png", "2.png")
    assert table.other_labels == 1
    assert not table.has_patients
    assert table.scores.patients == table.scores.files, "each image is a patient of its own"


def test_of_several_seeds_their_mean_is_read(tmp_path):
    rows = "".join(
        f"{file},a,{seed},{score},{1 - score}\n"
        for seed, score in (("mean", 0.625), ("0", 0.5), ("1", 0.75))
        for file in ("1.png", "2.png")
    )
    table = read_predictions(
        written(tmp_path / "cv.csv", f"file,label,seed,score_a,score_b\n{rows}")
    )
    assert table.scores.probabilities[:, 0] == pytest.approx([0.625, 0.625])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "no rows"),
        ("file,label,score_a,score_b\n", "no rows"),
        ("file,score_a,score_b\n1.png,0.5,0.5\n", "no column label"),
        ("file,label,score_a\n1.png,a,1\n", "score_CLASS, at least twice"),
        ("file,label,score_a,score_b\n1.png,a,0.5,half\n", "no number"),
        ("file,label,score_a,score_b\n1.png,a,0.5,0.9\n", "sum to 1"),
        ("file,label,score_a,score_b\n1.png,a,1.5,-0.5\n", "sum to 1"),
        ("file,label,score_a,score_b\n1.png,a,nan,nan\n", "sum to 1"),
        ("file,label,score_a,score_b\n1.png,c,0.5,0.5\n", "no row has a label"),
        ("file,label,seed,score_a,score_b\n1.png,a,0,1,0\n1.png,a,1,1,0\n", "several seeds"),
        ("model,file,label,score_a,score_b\nm,1.png,a,1,0\nn,1.png,a,1,0\n", "several models"),
    ],
)
def test_another_table_is_refused_by_what_it_lacks(text, names, tmp_path):
    with pytest.raises(DataError) as error:
        read_predictions(written(tmp_path / "table.csv", text))
    assert error.value.code == "bad_predictions"
    assert names in error.value.message


def test_an_image_that_stands_there_twice_is_refused(tmp_path):
    text = "file,label,score_a,score_b\n1.png,a,0.9,0.1\n1.png,a,0.3,0.7\n"
    with pytest.raises(DataError) as error:
        read_predictions(written(tmp_path / "table.csv", text))
    assert error.value.code == "repeated_images"


def test_equal_files_of_other_names_are_told_apart_in_one_way(tmp_path):
    head = "file,sha256,label,score_a,score_b\n"
    one = read_predictions(
        written(tmp_path / "1.csv", f"{head}x/1.png,aa,a,1,0\nx/2.png,aa,a,0,1\n")
    )
    other = read_predictions(
        written(tmp_path / "2.csv", f"{head}y/2.png,aa,a,0,1\ny/1.png,aa,a,1,0\n")
    )
    assert one.identities(by_content=True) == ["aa 1", "aa 2"]
    assert other.identities(by_content=True) == ["aa 2", "aa 1"]
    assert one.identities(by_content=False) == ["x/1.png", "x/2.png"]


def test_scores_of_cases_are_matched_by_hash_by_name_or_by_last_name(tmp_path):
    digest = "a" * 64
    text = (
        "case,sha256,view,b,a\nin/1.png,,PA,0.1,0.9\nrenamed.png,"
        f"{digest},AP,0.8,0.2\nelsewhere/3.png,,,0.5,0.5\n"
    )
    table = read_case_scores(written(tmp_path / "theirs.csv", text))
    assert table.labels == LabelSet(("b", "a")), "a column that is known to be none is no class"
    cases = [
        case("in/1.png"),
        case("2.png", sha256=digest),
        case("here/3.png"),
        case("other/4.png"),
    ]
    assert table.rows_of(cases).tolist() == [0, 1, 2, -1]
    assert table.scores[table.rows_of(cases[:2])] == pytest.approx(
        np.array([[0.1, 0.9], [0.8, 0.2]])
    )
    # Two images of one last name: it tells neither.
    assert table.rows_of([case("here/3.png"), case("there/3.png")]).tolist() == [-1, -1]


def test_classes_of_ours_come_in_our_order(tmp_path):
    text = "file,score_covid19,score_normal,score_bacterial\n1.png,0.5,0.2,0.3\n"
    table = read_case_scores(written(tmp_path / "theirs.csv", text))
    assert table.labels == DATASET_1
    assert table.scores.tolist() == [[0.2, 0.3, 0.5]]


def test_a_spreadsheets_table_of_scores_is_read(tmp_path):
    text = "\ufeffcase,clear,cloudy\n1.png,0.25,0.75\n"
    assert read_case_scores(written(tmp_path / "scores.csv", text)).names == ("1.png",)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("case;clear;cloudy\n1.png;0.25;0.75\n", "'case;clear;cloudy'"),
        ("case,clear,cloudy,note\n1.png,0.25,0.75,seen\n", "clear, cloudy, note"),
        ("case,clear,cloudy\n1.png,0.25,0.25\n", "clear, cloudy"),
    ],
)
def test_what_is_no_table_of_scores_is_refused_by_its_columns(tmp_path, text, word):
    with pytest.raises(DataError) as refused:
        read_case_scores(written(tmp_path / "scores.csv", text))
    assert refused.value.code == "bad_predictions"
    assert word in refused.value.message
    assert "one with the probability of each class" in refused.value.message
