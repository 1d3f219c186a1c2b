"""How far work is: shares only grow, and the time left follows from the pace of the phase."""

from cxr_transfer.progress import Clock, counting


class Hand:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 50.0

    def __call__(self):
        return self.now


def test_what_goes_item_by_item_tells_the_share_that_is_done():
    told = []
    step = counting(lambda *each: told.append(each), "reading", 4)
    step()
    step(2)
    step(5)
    assert told == [("reading", 0.0), ("reading", 0.25), ("reading", 0.75), ("reading", 1.0)]


def test_a_phase_without_items_is_done_at_once():
    told = []
    counting(lambda *each: told.append(each), "reading", 0)(1)
    assert told[-1] == ("reading", 1.0)


def test_the_time_left_is_that_of_the_phase_which_runs():
    shown, hand = [], Hand()
    clock = Clock(shown.append, hand)
    clock.tell("reading", 0.0)
    assert shown[-1].seconds_left is None
    hand.now += 100
    clock.tell("training", 0.0)
    hand.now += 6
    clock.tell("training", 0.25)
    assert (shown[-1].title, shown[-1].seconds_left) == ("training", 18)


def test_what_was_done_before_a_stop_does_not_make_the_pace_look_faster():
    shown, hand = [], Hand()
    clock = Clock(shown.append, hand)
    clock.tell("predicting", 0.5)
    hand.now += 10
    clock.tell("predicting", 0.75)
    assert shown[-1].seconds_left == 10
