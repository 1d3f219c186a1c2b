"""DeLong's areas and variances are those of the definition, and its test keeps its level."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from cxr_transfer.errors import DataError
from cxr_transfer.evaluation.delong import areas_and_covariance, delong
from cxr_transfer.evaluation.metrics import Scores
from cxr_transfer.labels import LabelSet

LABELS = LabelSet(("normal", "covid19"))


def by_definition(positive, scores):
    """DeLong et al. 1988, equations 4 to 6, pair by pair."""
    above, below = [], []
    for row in scores:
        pairs = row[positive][:, None] - row[~positive][None]
        wins = (pairs > 0) + 0.5 * (pairs == 0)
        above.append(wins.mean(axis=1))
        below.append(wins.mean(axis=0))
    m, n = positive.sum(), (~positive).sum()
    areas = np.mean(above, axis=1)
    covariance = np.zeros((len(scores), len(scores)))
    for r in range(len(scores)):
        for s in range(len(scores)):
            s10 = ((above[r] - areas[r]) * (above[s] - areas[s])).sum() / (m - 1)
            s01 = ((below[r] - areas[r]) * (below[s] - areas[s])).sum() / (n - 1)
            covariance[r, s] = s10 / m + s01 / n
    return areas, covariance


def drawn(films=60, seed=0, decimals=8, models=2):
    rng = np.random.default_rng(seed)
    positive = rng.random(films) < 0.3
    shared = rng.normal(size=films)
    scores = np.stack([positive + shared + rng.normal(size=films) for _ in range(models)])
    return positive, np.round(scores, decimals)


@pytest.mark.parametrize("decimals", [8, 1, 0], ids=["all differ", "some equal", "most equal"])
@pytest.mark.parametrize("seed", range(4))
def test_midranks_give_what_the_definition_gives(decimals, seed):
    positive, scores = drawn(seed=seed, decimals=decimals, models=3)
    areas, covariance = areas_and_covariance(positive, scores)
    expected, expected_covariance = by_definition(positive, scores)
    assert areas == pytest.approx(expected)
    assert covariance == pytest.approx(expected_covariance)
    for area, row in zip(areas, scores, strict=True):
        assert area == pytest.approx(roc_auc_score(positive, row))
        u = mannwhitneyu(row[positive], row[~positive]).statistic
        assert area == pytest.approx(u / positive.sum() / (~positive).sum())


def scores_of(positive, row):
    ill = 1 / (1 + np.exp(-row))
    files = tuple(f"{i}.png" for i in range(len(row)))
    return Scores(LABELS, positive.astype(int), np.stack([1 - ill, ill], 1), files, files)


def test_the_test_is_symmetric_and_of_both_classes_alike():
    positive, (a, b) = drawn()
    one, other = scores_of(positive, a), scores_of(positive, b)
    found, turned = delong(one, other, "covid19"), delong(other, one, "covid19")
    assert found.p == pytest.approx(turned.p)
    assert found.difference.value == pytest.approx(-turned.difference.value)
    assert found.difference.low == pytest.approx(-turned.difference.high)
    # Of two classes one's score is the other's turned round.
    assert delong(one, other, "normal").p == pytest.approx(found.p)


def test_models_that_rank_alike_do_not_differ():
    positive, (a, _) = drawn()
    found = delong(scores_of(positive, a), scores_of(positive, 3 * a + 1), "covid19")
    assert found.p == 1.0
    assert found.difference.value == found.difference.low == found.difference.high == 0


def test_a_better_model_is_told_from_a_worse_one():
    positive, (a, b) = drawn(films=400)
    found = delong(scores_of(positive, a), scores_of(positive, b + 4 * positive), "covid19")
    assert found.p < 1e-6
    assert found.difference.low > 0


def test_models_that_are_alike_are_told_apart_in_one_of_twenty_data_sets():
    ps = []
    for seed in range(400):
        positive, (a, b) = drawn(films=120, seed=seed)
        ps.append(delong(scores_of(positive, a), scores_of(positive, b), "covid19").p)
    assert 0.025 < np.mean(np.array(ps) < 0.05) < 0.085


def test_too_few_films_have_no_test():
    positive = np.array([True, False, False])
    with pytest.raises(DataError) as error:
        areas_and_covariance(positive, np.zeros((2, 3)))
    assert error.value.code == "no_curve"


def test_other_films_are_refused():
    positive, (a, b) = drawn()
    with pytest.raises(DataError) as error:
        delong(scores_of(positive, a), scores_of(~positive, b), "covid19")
    assert error.value.code == "not_paired"
