"""Criteria are strict when read, and what the plan writes can be read."""

import pytest

from cxr_transfer.acceptance.criteria import Criteria, read_criteria, write_criteria
from cxr_transfer.errors import UsageError
from cxr_transfer.labels import LabelSet

LEAST = 'positive = "ill"\n[sensitivity]\nminimum = 0.9\n'


def refused(path, text):
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        read_criteria(path)
    return error.value


def test_the_commented_file_says_what_it_was_asked_for(tmp_path):
    facts = {"positive": 'a "b"', "sensitivity": 0.95, "margin": 0.04, "level": 0.9}
    for name, specificity in (("with.toml", 0.8), ("without.toml", None)):
        path = tmp_path / name
        write_criteria(path, facts | {"specificity": specificity})
        criteria, _ = read_criteria(path)
        assert (criteria.positive, criteria.level) == (('a "b"',), 0.9)
        assert criteria.sensitivity.floor == pytest.approx(0.91)
        assert (criteria.specificity is None) == (specificity is None)
        assert criteria.abstention
        assert criteria.subgroups
    with pytest.raises(UsageError) as error:
        write_criteria(path, facts | {"specificity": None})
    assert error.value.code == "out_exists"


def test_all_that_is_wrong_is_said_at_once_with_the_key_that_was_meant(tmp_path):
    text = LEAST + 'margn = 0.1\n[thresholds]\nrule = "value"\n[abstention]\nmaximum = 2\n'
    error = refused(tmp_path / "c.toml", text)
    assert error.code == "bad_criteria"
    assert "sensitivity.margn; did you mean 'margin'?" in error.message
    assert "there is no key thresholds; did you mean 'threshold'?" in error.message
    assert "abstention.maximum" in error.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the key positive is absent"),
        ("positive = ", "Invalid value"),
        (LEAST + "margin = 0.95\n", "is not below minimum"),
        (LEAST + "margin = nan\n", "margin"),
        (LEAST + '[threshold]\nrule = "value"\n', "needs key value"),
        (LEAST + '[threshold]\nrule = "validation"\nvalue = 0.5\n', "takes no key value"),
        ("positive = []\n[sensitivity]\nminimum = 0.9\n", "positive"),
        ("x" * 70_000, "more than 65536 bytes"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, text, said):
    assert said in refused(tmp_path / "c.toml", text).message


def test_a_file_that_is_not_there_is_named(tmp_path):
    for path in (tmp_path / "absent.toml", tmp_path):
        with pytest.raises(UsageError) as error:
            read_criteria(path)
        assert error.value.code == "no_criteria"


def test_positive_classes_are_those_of_the_model(tmp_path):
    criteria = Criteria.model_validate({"positive": ["ill"], "sensitivity": {"minimum": 0.9}})
    criteria.check_classes(LabelSet(("well", "ill")))
    for names in (("well", "ills"), ("ill", "iller")):
        other = criteria.model_copy(update={"positive": ("ills", "iller", *names)})
        with pytest.raises(UsageError) as error:
            other.check_classes(LabelSet(names))
        assert error.value.code == "unknown_class"
