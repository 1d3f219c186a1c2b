"""The plan as a person reads it."""

import pytest

from cxr_transfer.acceptance.plan import plan_lines, plan_test
from cxr_transfer.errors import UsageError
from cxr_transfer.statistics.sample_size import MARGINS, images_needed


def test_a_plan_says_how_many_of_each_kind_and_in_a_row():
    plan = plan_test(0.9, 0.1, specificity=0.8, prevalence=0.2, images_per_patient=2)
    assert plan["design_effect"] == 1.5
    positives = images_needed(0.9, 0.1).images
    assert plan["positives"]["images"] == positives
    assert plan["positives"]["images_by_patient"] == -(-3 * positives // 2)
    assert plan["consecutive"] > 5 * plan["positives"]["images_by_patient"]
    assert [row["margin"] for row in plan["table"]] == list(MARGINS)
    text = "\n".join(plan_lines(plan))
    assert f"{plan['consecutive']} consecutive images" in text
    assert "negatives, power 0.9" in text


def test_without_a_specificity_only_positives_are_counted():
    plan = plan_test(0.1, 0.05)
    assert plan["negatives"] is None
    assert plan["consecutive"] is None
    last = plan["table"][-1]
    assert last["positives, power 0.8"] is None, "the margin leaves nothing of the promise"
    assert plan_lines(plan)[-1].strip().endswith("-")


def test_a_promise_that_cannot_be_shown_is_refused():
    with pytest.raises(UsageError):
        plan_test(0.9, 0.05, specificity=1.0)
