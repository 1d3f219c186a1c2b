from contextlib import ExitStack

from cxr_transfer.serving.admission import Admission, BodyMemory


def test_images_are_let_in_until_the_queue_is_full():
    load = Admission(queue=3, longest_wait_s=1000)
    with ExitStack() as held:
        for _ in range(3):
            assert not load.is_full()
            held.enter_context(load.holding(1))
        assert load.is_full()
        assert load.retry_after_s >= 1
    assert load.images == 0
    assert not load.is_full()


def test_what_would_wait_too_long_is_not_let_in():
    load = Admission(queue=1000, longest_wait_s=2 * 0.05)
    with load.holding(1):
        assert not load.is_full()
        assert load.is_full(2)


def test_a_few_clients_with_slow_images_are_not_sent_away(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("cxr_transfer.serving.admission.time.monotonic", lambda: now[0])
    load = Admission(queue=100, longest_wait_s=2, always=8)
    for _ in range(100):
        with load.holding(1):  # two seconds each: any second one would wait too long
            now[0] += 2
    with ExitStack() as held:
        for _ in range(8):
            assert not load.is_full()
            held.enter_context(load.holding(1))
        assert load.is_full()
        assert load.retry_after_s == 16


def test_nobody_is_let_in_who_would_have_given_up(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("cxr_transfer.serving.admission.time.monotonic", lambda: now[0])
    load = Admission(queue=100, longest_wait_s=2, always=8)
    for _ in range(100):
        with load.holding(1):
            now[0] += 6
    with load.holding(2):
        assert not load.is_full()
    with load.holding(3):
        assert load.is_full()


def test_one_large_request_may_come_when_nobody_waits():
    load = Admission(queue=2, longest_wait_s=0)
    assert not load.is_full(32)
    with load.holding(32):
        assert load.is_full()


def test_an_error_gives_the_place_back():
    load = Admission(queue=1, longest_wait_s=1)
    try:
        with load.holding(1):
            raise ValueError
    except ValueError:
        pass
    assert load.images == 0


def test_one_image_that_hangs_does_not_close_the_door(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("cxr_transfer.serving.admission.time.monotonic", lambda: now[0])
    load = Admission(queue=100, longest_wait_s=1)
    with load.holding(1):
        now[0] += 1000
    with load.holding(4):
        assert not load.is_full()


def test_a_few_slow_images_at_the_start_do_not_send_later_ones_away(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("cxr_transfer.serving.admission.time.monotonic", lambda: now[0])
    load = Admission(queue=100, longest_wait_s=2)
    for seconds in [1.5] * 5 + [0.06] * 16:  # processes that start; then two seconds of work
        with load.holding(1):
            now[0] += seconds
    with load.holding(7):
        assert not load.is_full()
    for _ in range(20):  # images that are slow from now on are learnt as well
        with load.holding(1):
            now[0] += 1.5
    assert 1 < load.seconds_each < 1.6


def test_what_an_image_takes_is_learnt(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("cxr_transfer.serving.admission.time.monotonic", lambda: now[0])
    load = Admission(queue=100, longest_wait_s=1)
    for _ in range(1000):
        with load.holding(2):  # two at once in 0.4 s are 0.2 s each
            now[0] += 0.4
        now[0] += 10  # time in which there is nothing to do does not count
    assert abs(load.seconds_each - 0.2) < 1e-3


def test_a_body_grows_while_it_is_no_larger_than_what_is_free():
    held = BodyMemory(100)
    assert held.has_room(0, 50)
    assert not held.has_room(0, 51)
    held.take(50)
    assert not held.has_room(50, 1)
    assert held.has_room(0, 25)
    assert not held.has_room(0, 26)
    assert held.has_room(50, 0), "what has come already stays"
    held.release(50)
    assert held.size == 0


def test_large_bodies_leave_as_much_free_as_each_of_them_has():
    for number in (1, 2, 5, 20):
        held, bodies = BodyMemory(512 * 1024), [0] * number
        growing = True
        while growing:  # a piece for each in turn, as long as one is taken
            growing = False
            for at, body in enumerate(bodies):
                if held.has_room(body, 64):
                    held.take(64)
                    bodies[at], growing = body + 64, True
        each = 512 * 1024 / (number + 1)
        assert all(abs(body - each) <= 64 * (number + 1) for body in bodies)
        assert held.has_room(0, int(each / 2))
