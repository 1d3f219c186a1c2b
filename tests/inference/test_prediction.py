"""Many answers as one list and one table."""

import builtins

import pytest

from cxr_transfer import Predictions, Predictor
from cxr_transfer.data_frame import data_frame
from cxr_transfer.errors import MachineError
from cxr_transfer.inference.prediction import Prediction, columns
from made import write_image

LABELS = ("normal", "covid19")
SURE = Prediction("a.png", "ok", label="normal", probabilities={"normal": 0.9, "covid19": 0.1})
DAMAGED = Prediction("b.png", "error", "corrupt_image", "damaged", warnings=("one", "two"))


def test_answers_are_a_list_and_a_row_each():
    answers = Predictions([SURE, DAMAGED], LABELS)
    assert list(answers) == [SURE, DAMAGED]
    assert answers[1] is DAMAGED
    assert list(answers[:1]) == [SURE]
    assert answers[:1].labels == LABELS
    table = answers.to_frame()
    assert list(table.columns) == columns(LABELS)
    assert table.loc[0, "score_covid19"] == 0.1
    assert table["score_covid19"].isna().tolist() == [False, True]
    assert table.loc[1, "warnings"] == "one; two"


def test_no_answers_are_a_table_with_its_columns():
    table = Predictions([], LABELS).to_frame()
    assert list(table.columns) == columns(LABELS)
    assert len(table) == 0


def test_a_predictor_keeps_the_answers_that_it_gives(checkpoint, tmp_path):
    files = [write_image(tmp_path / f"{number}.png", number) for number in range(2)]
    predictor = Predictor.open(checkpoint)
    answers = predictor.predict_many(files)
    alone = [predictor.predict(file) for file in files]
    assert [one.probabilities for one in answers] == [one.probabilities for one in alone]
    assert answers.to_frame()["label"].tolist() == [one.label for one in alone]
    with pytest.raises(TypeError, match="list"):
        predictor.predict_many(files[0])


def test_without_pandas_the_remedy_is_said(monkeypatch):
    found = builtins.__import__

    def absent(name, *rest):
        if name == "pandas":
            raise ImportError(name)
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MachineError, match="pip install pandas") as error:
        data_frame([])
    assert error.value.code == "missing_package"
