import io
import itertools

import numpy as np
import pytest
from PIL import Image

from cxr_transfer.datasets.near_duplicates import (
    DISTANCE,
    confirmed,
    hashes,
    near_duplicates,
)
from cxr_transfer.datasets.phantom import draw_radiograph
from cxr_transfer.errors import DataError, UsageError
from made import encoded, grey

SIDE = 160
FINDINGS = ("normal", "bacterial", "viral", "covid19")


def sized(image, side=SIDE):
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))


def drawn(number=24):
    """Model inputs of so many patients: (number, SIDE, SIDE) uint8."""
    return np.stack(
        [
            sized(draw_radiograph(FINDINGS[i % 4], rng=np.random.default_rng(i), pixels=140))
            for i in range(number)
        ]
    )


def saved_as_jpeg(image):
    return np.asarray(Image.open(io.BytesIO(encoded(image, "JPEG", quality=30))))


COPIES = {
    "saved as a JPEG": saved_as_jpeg,
    "resized": lambda image: sized(sized(image, 90)),
    "brightened": lambda image: (image * 0.9 + 25).astype(np.uint8),
    "darkened": lambda image: (255 * (image / 255) ** 1.1).astype(np.uint8),
}


@pytest.fixture(scope="module")
def images():
    return drawn()


def test_images_of_different_patients_are_no_near_duplicates(images):
    assert near_duplicates(hashes(images)) == []


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("mirrored", [False, True])
def test_copies_are_found_and_nothing_else(images, kind, mirrored):
    turned = images[:, :, ::-1] if mirrored else images
    copies = np.stack([COPIES[kind](np.ascontiguousarray(image)) for image in turned])
    both = np.concatenate([images, copies])
    found = near_duplicates(hashes(both))
    right = [pair for pair in found if pair[1] == pair[0] + len(images)]
    assert len(right) == len(images)
    assert {pair[3] for pair in right} == {mirrored}
    # The hash alone may join strangers; their details do not agree.
    assert [pair for pair, _ in confirmed(both, found)] == right


def test_an_exact_copy_and_an_exact_mirror_image_lie_at_distance_0():
    image = sized(grey(3))
    found = near_duplicates(hashes(np.stack([image, image, image[:, ::-1]])))
    assert found == [(0, 1, 0, False), (0, 2, 0, True), (1, 2, 0, True)]


def test_confirming_takes_most_strangers_out(images):
    strangers = near_duplicates(hashes(images), distance=14)
    assert len(strangers) > 20
    # Not all: drawn chests have more in common, their ribs above all, than real ones.
    assert len(confirmed(images, strangers)) < len(strangers) / 10
    ((pair, agreement),) = confirmed(images[[0, 0]], [(0, 1, 0, False)])
    assert pair == (0, 1, 0, False)
    assert agreement == pytest.approx(1.0, abs=1e-5)
    assert confirmed(images[[0, 0]], [(0, 1, 0, True)]) == []  # as if one were mirrored


def test_an_image_without_detail_is_confirmed_with_nothing():
    even = np.full((2, 64, 64), 90, dtype=np.uint8)
    assert confirmed(even, [(0, 1, 0, False)]) == []


@pytest.mark.parametrize("distance", [0, 9, 22, 64])
def test_pairs_are_those_of_a_comparison_one_by_one(distance):
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 2**64, size=(70, 2), dtype=np.uint64)
    # Some near, one exact, in other blocks too; the highest bit is one like any other.
    codes[40:50] = codes[:10] ^ np.uint64(0b1011 << 60)
    codes[60, 1] = codes[7, 0]
    expected = []
    for i, j in itertools.combinations(range(70), 2):
        plain, mirror = ((int(codes[i, 0]) ^ int(codes[j, k])).bit_count() for k in (0, 1))
        if min(plain, mirror) <= distance:
            expected.append((i, j, min(plain, mirror), mirror < plain))
    assert expected
    for block in (7, 128):
        assert near_duplicates(codes, distance=distance, block=block) == expected


def test_no_image_and_one_image_have_no_pair():
    for number in (0, 1):
        assert near_duplicates(hashes(np.zeros((number, 32, 32), dtype=np.uint8))) == []


@pytest.mark.parametrize(
    "wrong", [np.zeros((3, 32, 32)), np.zeros((32, 32), np.uint8), np.zeros((1, 3, 8, 8), np.uint8)]
)
def test_what_are_no_model_inputs_is_refused(wrong):
    for work in (hashes, lambda images: confirmed(images, [])):
        with pytest.raises(DataError, match="uint8") as error:
            work(wrong)
        assert error.value.code == "images"


def test_what_are_no_hashes_is_refused_and_so_is_a_distance_beyond_64():
    good = np.zeros((2, 2), dtype=np.uint64)
    for wrong in (good.astype(np.int64), good[:, :1], good[0]):
        with pytest.raises(DataError) as error:
            near_duplicates(wrong)
        assert error.value.code == "hashes"
    for distance in (-1, 65):
        with pytest.raises(UsageError, match=f"got {distance}"):
            near_duplicates(good, distance=distance)
    assert 0 < DISTANCE < 64
