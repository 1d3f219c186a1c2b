"""Quality control as it ships on real images, among them those that it was fitted on.

What it does with images that it has not seen stands in docs/results/quality_control.md.
"""

from pathlib import Path

import numpy as np
import pytest

from cxr_transfer.datasets.archives import read_archives
from cxr_transfer.datasets.case import FRONTAL_VIEWS
from cxr_transfer.radiograph import Radiograph, read_radiograph
from cxr_transfer.radiograph.quality_control import quality_issues

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
def images(cases):
    """Frontal images, evenly from the whole of each source."""
    found = {}
    for source in SOURCES:
        frontal = [
            case
            for case in cases
            if case.source == source and (source != "cohen" or case.view in FRONTAL_VIEWS)
        ]
        some = frontal[:: len(frontal) // OF_EACH][:OF_EACH]
        found[source] = [read_radiograph(case.path) for case in some]
    return found


def refusals(images):
    return [[each.code for each in quality_issues(image) if each.refuses] for image in images]


def test_at_most_three_percent_of_good_images_are_refused(images):
    said = [codes for some in images.values() for codes in refusals(some)]
    assert len(said) == len(SOURCES) * OF_EACH
    assert sum(map(bool, said)) <= 0.03 * len(said)


def test_laterals_are_refused_and_nearly_always_named(cases):
    lateral = [case for case in cases if case.source == "cohen" and case.view == "L"]
    said = refusals(read_radiograph(case.path) for case in lateral)
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
def test_spoiled_images_are_refused_and_nearly_always_named(images, code, spoiled):
    some = [image for each in images.values() for image in each if image.stored.dtype == np.uint8]
    said = refusals(
        Radiograph(np.ascontiguousarray(spoiled(image.stored)), image.format) for image in some
    )
    assert np.mean([bool(codes) for codes in said]) >= 0.99
    assert np.mean([codes == [code] for codes in said]) > 0.95
