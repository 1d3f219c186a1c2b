"""Sample sizes against exact binomial sums, number by number."""

import numpy as np
import pytest
from scipy.stats import beta, binom

from cxr_transfer.errors import UsageError
from cxr_transfer.statistics.sample_size import (
    _safe_size,
    consecutive_images,
    design_effect,
    fewest_hits,
    images_needed,
)


def power_of(images, promised, margin, level=0.95):
    """Power by enumeration: every possible count, its Clopper-Pearson bound, its probability."""
    hits = np.arange(images + 1)
    lower = beta.ppf(1 - level, hits, images - hits + 1)
    lower[0] = 0
    return binom.pmf(hits, images, promised)[lower > promised - margin].sum()


@pytest.mark.parametrize(
    ("promised", "margin", "power"), [(0.9, 0.1, 0.8), (0.95, 0.1, 0.9), (0.8, 0.15, 0.8)]
)
def test_the_size_is_the_smallest_from_which_on_the_power_never_falls_below(
    promised, margin, power
):
    plan = images_needed(promised, margin, power)
    powers = [power_of(images, promised, margin) for images in range(1, 4 * plan.images)]
    assert powers[plan.images - 1] == pytest.approx(plan.reached)
    assert min(powers[plan.images - 1 :]) >= power
    assert powers[plan.images - 2] < power, "one image fewer"
    assert powers[plan.first - 1] >= power
    assert max(powers[: plan.first - 1]) < power
    assert plan.first < plan.images, "the power is a saw-tooth here"


def test_fewest_hits_are_those_whose_bound_lies_above():
    for images in (5, 20, 57, 200):
        (fewest,) = fewest_hits(np.array([images]), 0.85)
        for hits, is_above in ((fewest - 1, False), (fewest, True)):
            if hits <= images:
                assert (beta.ppf(0.05, hits, images - hits + 1) > 0.85) == is_above


def test_beyond_the_sizes_that_are_computed_the_power_is_proved():
    last = _safe_size(0.1, 0.8, 0.95)
    sizes = np.arange(last, 4 * last)
    powers = binom.sf(fewest_hits(sizes, 0.8) - 1, sizes, 0.9)
    assert powers.min() >= 0.8


@pytest.mark.parametrize(("positives", "negatives", "share"), [(20, 0, 0.1), (20, 30, 0.4)])
def test_consecutive_images_hold_both_kinds(positives, negatives, share):
    images = consecutive_images(positives, negatives, share)

    def surety(total):
        counts = np.arange(total + 1)
        is_enough = (counts >= positives) & (total - counts >= negatives)
        return binom.pmf(counts, total, share)[is_enough].sum()

    assert surety(images) >= 0.9 > surety(images - 1)


def test_what_no_number_of_images_shows_is_refused():
    for words, code in (
        ((1.0, 0.05), "bad_promise"),
        ((0.9, 0.9), "bad_margin"),
        ((0.9, 0.001), "bad_margin"),
        ((0.9, float("nan")), "bad_margin"),
        ((0.9, 0.05, 1.0), "bad_power"),
    ):
        with pytest.raises(UsageError) as error:
            images_needed(*words)
        assert error.value.code == code
    with pytest.raises(UsageError):
        design_effect(0.5, 0.5)
    with pytest.raises(UsageError):
        consecutive_images(10, 10, 0)
