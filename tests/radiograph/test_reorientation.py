"""An image that a reader turns, mirrors or inverts before it is assessed."""

import numpy as np
import pytest

from cxr_transfer.errors import UsageError
from cxr_transfer.radiograph import Radiograph
from cxr_transfer.radiograph.full_depth import of_8_bits
from cxr_transfer.radiograph.reorientation import AS_STORED, ROTATIONS, Reorientation

STORED = np.arange(12, dtype=np.uint8).reshape(3, 4)


def changed(stored=STORED, **change):
    radiograph = Radiograph(stored, "PNG", ("first",), full_depth=of_8_bits(STORED))
    return Reorientation(**change).apply(radiograph)


def test_it_is_mirrored_first_and_turned_clockwise_then():
    assert changed(rotate=90).stored.tolist() == [[8, 4, 0], [9, 5, 1], [10, 6, 2], [11, 7, 3]]
    assert changed(flip=True).stored[0].tolist() == [3, 2, 1, 0]
    assert changed(rotate=90, flip=True).stored[0].tolist() == [11, 7, 3]
    assert changed(rotate=180).stored[0].tolist() == [11, 10, 9, 8]


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_four_turns_two_mirrors_and_two_inversions_change_nothing(kind):
    stored = STORED if kind == np.uint8 else STORED.astype(kind) / 11
    image = Radiograph(stored, "PNG")
    for change in ({"rotate": 90}, {"flip": True}, {"invert": True}):
        turned = image
        for _ in range(4):
            turned = Reorientation(**change).apply(turned)
        assert turned.stored.dtype == kind
        assert np.allclose(turned.stored, stored, atol=1e-6)


def test_what_was_done_is_said_after_all_else_and_what_is_left_alone_stays_the_same_object():
    image = changed(rotate=270, flip=True, invert=True)
    words = "mirrored, turned clockwise by 270 degrees, inverted"
    assert image.warnings == ("first", f"{words}, as was asked: not as the file has it")
    assert image.full_depth is None
    assert image.stored.flags.c_contiguous
    plain = Radiograph(STORED, "PNG")
    assert AS_STORED.apply(plain) is plain
    assert not AS_STORED
    assert all(Reorientation(rotate=one) for one in ROTATIONS if one)


@pytest.mark.parametrize("rotate", [45, -90, 360, None, "90"])
def test_another_rotation_is_refused(rotate):
    with pytest.raises(UsageError, match="0, 90, 180 or 270"):
        Reorientation(rotate=rotate)
