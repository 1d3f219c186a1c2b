"""Exact bounds: defined by tail probabilities, which are summed here term by term."""

from math import comb

import pytest

from cxr_transfer.errors import UsageError
from cxr_transfer.statistics.exact import clopper_pearson, one_sided_bounds


def tail(least, total, share):
    """P(X >= least) of a binomial, term by term."""
    return sum(
        comb(total, hits) * share**hits * (1 - share) ** (total - hits)
        for hits in range(least, total + 1)
    )


@pytest.mark.parametrize(("hits", "total"), [(0, 7), (1, 7), (6, 7), (7, 7), (45, 50)])
def test_bounds_are_the_shares_at_which_the_count_becomes_surprising(hits, total):
    low, high = one_sided_bounds(hits, total, 0.95)
    assert low == 0 if hits == 0 else tail(hits, total, low) == pytest.approx(0.05)
    assert high == 1 if hits == total else 1 - tail(hits + 1, total, high) == pytest.approx(0.05)
    both = clopper_pearson(hits, total, 0.9)
    assert (both.low, both.high) == pytest.approx((low, high))


def test_without_an_image_nothing_is_known():
    assert not clopper_pearson(0, 0).defined
    with pytest.raises(UsageError):
        clopper_pearson(1, 2, level=1.0)
