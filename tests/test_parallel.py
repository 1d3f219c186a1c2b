"""Order, memory and the end of work done in threads."""

import itertools
import threading

import pytest

from cxr_transfer.parallel import in_order


def test_results_stand_in_the_order_of_the_items_however_long_each_takes():
    turns = {0: threading.Event(), 1: threading.Event()}

    def work(item):
        if item == 0:
            assert turns[1].wait(10), "the second was not begun beside the first"
        turns.get(item, threading.Event()).set()
        return -item

    assert list(in_order(work, range(20), workers=2)) == [-item for item in range(20)]


def test_no_more_is_done_than_is_asked_for_and_some_ahead():
    begun = itertools.count()

    def work(_):
        return next(begun)

    results = in_order(work, itertools.count(), workers=2, ahead=5)  # items without an end
    assert next(results) == 0
    results.close()
    assert next(begun) <= 7


def test_an_error_comes_at_its_place():
    def work(item):
        if item == 2:
            raise ValueError(item)
        return item

    results = in_order(work, range(5), workers=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="2"):
        next(results)
