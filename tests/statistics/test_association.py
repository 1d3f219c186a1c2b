import dataclasses
import json
import math

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from cxr_transfer.errors import DataError, UsageError
from cxr_transfer.statistics.association import (
    corrected_cramers_v,
    cramers_v,
    source_by_class,
)
from cxr_transfer.statistics.intervals import patient_weights
from made import case


def images(counts, per_patient=1):
    """Cases by ``counts[source][label]``; a patient's images are of one source and label."""
    return [
        dataclasses.replace(
            case(f"{source}-{label}-{i}.png", label, f"{source}-{label}-{i // per_patient}"),
            source=source,
        )
        for source, by_label in counts.items()
        for label, number in by_label.items()
        for i in range(number)
    ]


WARDS = {"east": {"normal": 30, "covid19": 10}, "west": {"normal": 10, "covid19": 30}}


def by_hand(table):
    """V from its definition: observed and expected counts, cell by cell."""
    table = np.asarray(table, dtype=float)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    chi_squared = ((table - expected) ** 2 / expected).sum()
    return math.sqrt(chi_squared / table.sum() / (min(table.shape) - 1))


def test_the_table_holds_every_image_once_zeros_written():
    counts = {"west": {"viral": 3}, "": {"normal": 4}, "east": {"normal": 2, "covid19": 1}}
    found = source_by_class(images(counts, per_patient=2), resamples=10)
    assert found["sources"] == ["east", "west", "not stated"]
    assert found["labels"] == ["covid19", "normal", "viral"]
    assert found["counts"] == {
        "east": {"covid19": 1, "normal": 2, "viral": 0},
        "west": {"covid19": 0, "normal": 0, "viral": 3},
        "not stated": {"covid19": 0, "normal": 4, "viral": 0},
    }
    assert (found["images"], found["patients"]) == (10, 6)


def test_v_worked_by_hand():
    # Expected 20 in every cell: chi-squared 4 * 100 / 20 = 20 over 80 images, V = sqrt(1/4).
    found = source_by_class(images(WARDS), resamples=10)
    assert found["cramers_v_plain"]["value"] == pytest.approx(0.5)
    # (1/4 - 1/79) / (1 - 1/79) = 18.75 / 78.
    assert found["cramers_v"] == pytest.approx(math.sqrt(18.75 / 78))


def test_the_corrected_v_of_an_oblong_table_worked_by_hand():
    # Three sources of 20, 20 and 20, two classes of 30: expected 10, chi-squared 2 * 10 = 20.
    table = [[15, 5], [5, 15], [10, 10]]
    assert cramers_v(table) == pytest.approx(math.sqrt((4 * 25 / 10) / 60))
    squared = 10 / 60 - 2 / 59
    most = min(3 - 4 / 59, 2 - 1 / 59) - 1
    assert corrected_cramers_v(table) == pytest.approx(math.sqrt(squared / most))


def test_v_is_that_of_the_definition_and_of_scipys_chi_squared_on_random_tables():
    rng = np.random.default_rng(0)
    for _ in range(50):
        table = rng.integers(1, 40, size=rng.integers(2, 6, size=2))
        chi_squared = chi2_contingency(table, correction=False).statistic
        v = math.sqrt(chi_squared / table.sum() / (min(table.shape) - 1))
        assert cramers_v(table) == pytest.approx(v, abs=1e-12)
        assert cramers_v(table) == pytest.approx(by_hand(table), abs=1e-12)
        assert 0 <= corrected_cramers_v(table) <= cramers_v(table)


def test_the_correction_takes_chance_away_and_leaves_what_is_there():
    rng = np.random.default_rng(0)

    def means(chances, images_each):
        tables = rng.multinomial(images_each, np.ravel(chances), size=400).reshape(-1, 5, 3)
        return np.mean([[cramers_v(t), corrected_cramers_v(t)] for t in tables], axis=0)

    independent = np.full((5, 3), 1 / 15)
    plain, corrected = means(independent, 100)
    assert plain > 0.18  # where the truth is 0
    assert corrected < 0.07
    tied = independent.copy()
    tied[0] = [0.2, 0, 0]
    plain, corrected = means(tied, 100)
    assert plain - by_hand(tied) > 0.03
    assert corrected == pytest.approx(by_hand(tied), abs=0.02)


def test_empty_rows_and_columns_are_absent():
    assert cramers_v([[30, 0, 10], [0, 0, 0], [10, 0, 30]]) == pytest.approx(0.5)
    table = [[30, 10], [10, 30]]
    padded = [[30, 10, 0], [10, 30, 0], [0, 0, 0]]
    assert corrected_cramers_v(padded) == corrected_cramers_v(table)


def test_the_interval_is_the_quantiles_of_v_over_tables_of_patients_drawn_again():
    # A source of one patient and a class of one: many resamples are without either or both.
    counts = WARDS | {"east": WARDS["east"] | {"viral": 2}, "": {"normal": 1}}
    cases = images(counts, per_patient=2)
    found = source_by_class(cases, resamples=200, seed=7)["cramers_v_plain"]
    weights = patient_weights([c.patient for c in cases], resamples=200, seed=7)
    sources, labels = sorted(counts), ["covid19", "normal", "viral"]
    cells = [sources.index(c.source) * 3 + labels.index(c.label) for c in cases]
    replicates, shapes = [], set()
    for times in weights:
        table = np.bincount(cells, weights=times, minlength=9).reshape(3, 3)
        kept = table[table.any(axis=1)][:, table.any(axis=0)]
        replicates.append(by_hand(kept))
        shapes.add(kept.shape)
    assert shapes == {(3, 3), (2, 3), (3, 2), (2, 2)}
    low, high = np.quantile(replicates, (0.025, 0.975))
    assert (found["low"], found["high"]) == pytest.approx((low, high), abs=1e-12)
    assert low < found["value"] < high


def test_images_of_one_patient_widen_the_interval():
    def width(cases):
        found = source_by_class(cases, resamples=400)["cramers_v_plain"]
        return found["high"] - found["low"]

    # Five times as many images as patients: sqrt(5) = 2.2 times as wide.
    tenfold = {s: {label: 10 * n for label, n in by.items()} for s, by in WARDS.items()}
    ratio = width(images(tenfold, per_patient=5)) / width(images(tenfold))
    assert ratio == pytest.approx(5**0.5, rel=0.15)


def test_where_every_source_has_one_class_v_is_1_and_its_bounds_are_unknown():
    found = source_by_class(images({"a": {"normal": 30}, "b": {"covid19": 20}}), resamples=50)
    assert found["cramers_v"] == pytest.approx(1)
    plain = found["cramers_v_plain"]
    assert plain == {"value": pytest.approx(1), "low": None, "high": None}


@pytest.mark.parametrize(
    "counts", [{"a": {"normal": 5, "covid19": 5}}, {"a": {"normal": 5}, "b": {"normal": 5}}]
)
def test_one_source_or_one_class_has_a_table_and_no_v(counts):
    found = source_by_class(images(counts), resamples=10)
    assert found["cramers_v"] is None
    assert found["cramers_v_plain"] == {"value": None, "low": None, "high": None}
    assert found["images"] == 10


def test_a_source_for_every_image_leaves_nothing_to_correct():
    found = source_by_class(images({"a": {"normal": 1}, "b": {"covid19": 1}}), resamples=10)
    assert found["cramers_v"] is None


def test_the_result_is_json_and_the_seed_alone_decides():
    cases = images(WARDS)
    one, again, other = (source_by_class(cases, resamples=50, seed=seed) for seed in (0, 0, 1))
    assert one == again == source_by_class(cases[::-1], resamples=50)
    assert one["cramers_v_plain"]["low"] != other["cramers_v_plain"]["low"]
    assert json.loads(json.dumps(one, allow_nan=False)) == one


def test_no_images_and_no_resamples_are_refused():
    with pytest.raises(DataError, match="at least one image") as error:
        source_by_class([])
    assert error.value.code == "no_images"
    with pytest.raises(UsageError, match="got 0"):
        source_by_class(images(WARDS), resamples=0)
