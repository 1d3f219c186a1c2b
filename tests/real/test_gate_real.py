"""The gate as it ships on real films, among them those that it was fitted on.

What it does with films that it has not seen stands in docs/results/gate.md.
"""

from pathlib import Path

import numpy as np
import pytest

from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.case import FRONTAL_VIEWS
from cxr_transfer.radiograph import Radiograph, read_film
from cxr_transfer.radiograph.quality_control import concerns

DATA = Path(__file__).parents[2].parent / "shared" / "data"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the real collections are not at {DATA}"),
]
SOURCES = ("kermany", "cohen", "rsna", "valencia", "nih")
OF_EACH = 30


@pytest.fixture(scope="module")
def cases():
    return [case for collection in read_archives(DATA) for case in collection.cases]


@pytest.fixture(scope="module")
def films(cases):
    """Frontal films, evenly from the whole of each source."""
    found = {}
    for source in SOURCES:
        frontal = [
            case
            for case in cases
            if case.source == source and (source != "cohen" or case.view in FRONTAL_VIEWS)
        ]
        some = frontal[:: len(frontal) // OF_EACH][:OF_EACH]
        found[source] = [read_film(case.path) for case in some]
    return found


def refusals(films):
    return [[each.code for each in concerns(film) if each.refuses] for film in films]


def test_at_most_three_percent_of_good_films_are_refused(films):
    said = [codes for some in films.values() for codes in refusals(some)]
    assert len(said) == len(SOURCES) * OF_EACH
    assert sum(map(bool, said)) <= 0.03 * len(said)


def test_laterals_are_refused_and_nearly_always_named(cases):
    lateral = [case for case in cases if case.source == "cohen" and case.view == "L"]
    said = refusals(read_film(case.path) for case in lateral)
    assert len(said) > 50
    assert all(said)
    assert np.mean([codes == ["view"] for codes in said]) > 0.9


@pytest.mark.parametrize(
    ("code", "spoiled"),
    [
        ("inverted", lambda stored: 255 - stored),
        ("rotated", np.rot90),
        ("upside_down", np.flipud),
    ],
)
def test_spoiled_films_are_refused_and_nearly_always_named(films, code, spoiled):
    some = [film for each in films.values() for film in each if film.stored.dtype == np.uint8]
    said = refusals(
        Radiograph(np.ascontiguousarray(spoiled(film.stored)), film.format) for film in some
    )
    assert np.mean([bool(codes) for codes in said]) >= 0.99
    assert np.mean([codes == [code] for codes in said]) > 0.95
