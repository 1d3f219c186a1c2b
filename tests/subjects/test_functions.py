"""Functions of the user's own as models."""

import logging

import numpy as np
import pytest

from cxr_transfer.errors import CxrError
from cxr_transfer.subjects.functions import open_function

CODE = """
import numpy as np
def scores(images):
    return images.mean(axis=(1, 2, 3))
def fails(images):
    raise RuntimeError("no weights")
def leaves(images):
    raise SystemExit(0)
def turns(images):
    return scores(images) + 1j
def speaks(images):
    print("loading")
    return scores(images)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "own_scores_module.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_function_in_this_folder_answers(here):
    answer = open_function("python:own_scores_module:scores")
    assert answer(np.full((2, 1, 4, 4), 0.5, np.float32)).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("name", "code", "word"),
    [
        ("python:own_scores_module", "bad_function", "module:function"),
        ("python:../own_scores_module:scores", "bad_function", "module:function"),
        ("python:absent_module:scores", "bad_function", "absent_module"),
        ("python:own_scores_module:absent", "bad_function", "absent"),
    ],
)
def test_what_is_not_there_is_refused(here, name, code, word):
    with pytest.raises(CxrError) as refused:
        open_function(name)
    assert refused.value.code == code
    assert word in refused.value.message


@pytest.mark.parametrize(
    ("name", "word"), [("fails", "no weights"), ("leaves", "SystemExit"), ("turns", "complex")]
)
def test_what_it_raises_is_told(here, name, word):
    with pytest.raises(CxrError) as refused:
        open_function(f"python:own_scores_module:{name}")(np.zeros((1, 1, 4, 4), np.float32))
    assert refused.value.code == "bad_model"
    assert word in refused.value.message


def test_what_it_prints_is_no_answer(here, capsys, caplog, monkeypatch):
    logger = logging.getLogger("cxr_transfer")
    monkeypatch.setattr(logger, "propagate", True)  # A command before this test may have ended it.
    caplog.set_level("DEBUG", "cxr_transfer")
    open_function("python:own_scores_module:speaks")(np.zeros((1, 1, 4, 4), np.float32))
    assert capsys.readouterr().out == ""
    assert "python:own_scores_module:speaks: loading" in caplog.text
