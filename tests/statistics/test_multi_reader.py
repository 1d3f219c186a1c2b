"""The mean over readers: against a published example; how often its interval holds the truth."""

import numpy as np
import pytest

from cxr_transfer.statistics.auroc import areas_and_covariance
from cxr_transfer.statistics.multi_reader import differences, mean_over_readers

# Van Dyke's 114 patients, five readers, two ways to image; areas, covariances and what follows from
# them as the documentation of MRMCaov (Smith & Hillis 2020, SPIE 11316:113160K) prints them.
AREAS = np.array(
    [
        [0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066],
        [0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169],
    ]
)
ERROR, COV1, COV3 = 0.0008022883, 0.0003466137, 0.0002390284
COV2 = (0.0004839618, 0.0002041879)


def published_covariance():
    same, other = np.eye(5, dtype=bool), ~np.eye(5, dtype=bool)
    within = [np.where(other, cov2, ERROR) for cov2 in COV2]
    across = np.where(same, COV1, COV3)
    return np.block([[within[0], across], [across, within[1]]])


def test_the_difference_of_two_ways_to_read_is_the_published_one():
    found = mean_over_readers(*differences(AREAS[::-1], published_covariance()[::-1, ::-1]))
    assert found.estimate.value == pytest.approx(-0.04380032, abs=1e-7)
    assert found.standard_error == pytest.approx(0.02074862, abs=1e-7)
    assert found.degrees_of_freedom == pytest.approx(15.25967, rel=1e-4)
    assert found.p == pytest.approx(0.05166569, rel=1e-4)
    assert found.estimate.low == pytest.approx(-0.0879594986, abs=1e-6)
    assert found.estimate.high == pytest.approx(0.0003588544, abs=1e-6)


@pytest.mark.parametrize(
    ("way", "error", "freedom", "low", "high"),
    [
        (0, 0.03317360, 12.74465, 0.8252236, 0.9688505),
        (1, 0.02156637, 12.71019, 0.8941378, 0.9875369),
    ],
)
def test_the_mean_of_one_way_to_read_is_the_published_one(way, error, freedom, low, high):
    rows = slice(5 * way, 5 * way + 5)
    found = mean_over_readers(AREAS[way], published_covariance()[rows, rows])
    assert found.standard_error == pytest.approx(error, abs=1e-7)
    assert found.degrees_of_freedom == pytest.approx(freedom, rel=1e-4)
    assert (found.estimate.low, found.estimate.high) == pytest.approx((low, high), abs=1e-6)


def read(rng, readers, cases, gain):
    """Scores of a study as Roe & Metz 1997 (Acad. Radiol. 4:298) draw them, (2, J, N), and truth.

    Readers differ, cases differ, and either differs between the ways to read; the second way adds
    `gain` to what separates the classes.
    """
    truth = np.arange(cases) % 3 == 0
    scores = np.empty((2, readers, cases))
    case = rng.normal(0, np.sqrt(0.3), cases)
    skill = rng.normal(0, np.sqrt(0.03), (readers, 2))  # for either class
    for way in range(2):
        of_way = rng.normal(0, np.sqrt(0.1), cases)
        for reader in range(readers):
            own = rng.normal(0, np.sqrt(0.03), 2)
            own_error = rng.normal(0, np.sqrt(0.6), cases)
            shift = np.where(truth, 1.5 + gain * way + skill[reader, 1] + own[1], 0)
            shift = shift + np.where(truth, 0, skill[reader, 0] + own[0])
            scores[way, reader] = shift + case + of_way + own_error
    return scores, truth


def analysed(scores, truth):
    ways, readers, cases = scores.shape
    rows = scores.reshape(ways * readers, cases)
    flags = np.broadcast_to(truth, rows.shape)
    areas, covariance = areas_and_covariance(flags, rows, [str(n) for n in range(cases)])
    return areas.reshape(ways, readers), covariance


@pytest.mark.slow
def test_the_interval_of_the_difference_holds_no_difference_as_often_as_it_says():
    rng = np.random.default_rng(11)
    held = [
        mean_over_readers(*differences(*analysed(*read(rng, 5, 60, 0.0)))).estimate
        for _ in range(400)
    ]
    share = np.mean([one.low <= 0 <= one.high for one in held])
    # 400 draws: 95 % are within 2.2 points of the truth. Hillis found 95 to 96 %.
    assert 0.925 <= share <= 0.985


def test_readers_that_are_taken_for_the_only_ones_would_make_the_interval_too_narrow():
    """What the analysis is for: DeLong's variance of the mean alone misses the readers."""
    rng = np.random.default_rng(5)
    narrow = 0
    for _ in range(200):
        figures, covariance = differences(*analysed(*read(rng, 4, 90, 0.0)))
        alone = np.sqrt(covariance.mean())
        narrow += abs(figures.mean()) > 1.96 * alone
    assert narrow / 200 > 0.07


def test_a_gain_is_found():
    scores, truth = read(np.random.default_rng(2), 6, 150, 1.2)
    found = mean_over_readers(*differences(*analysed(scores, truth)))
    assert found.estimate.low > 0
    assert found.p < 0.01


def test_readers_that_do_not_differ_have_infinite_degrees_of_freedom():
    found = mean_over_readers(np.array([0.8, 0.8]), np.full((2, 2), 4e-4))
    assert found.degrees_of_freedom == np.inf
    assert found.standard_error == pytest.approx(0.02)
    assert mean_over_readers(np.zeros(3), np.zeros((3, 3))).p == 1
