from contextlib import ExitStack

from cxr_transfer.serving.load import Load


def test_films_are_let_in_until_the_queue_is_full():
    load = Load(queue=3, longest_wait_s=1000)
    with ExitStack() as held:
        for _ in range(3):
            assert not load.is_full()
            held.enter_context(load.holding(1))
        assert load.is_full()
        assert load.retry_after_s >= 1
    assert load.films == 0
    assert not load.is_full()


def test_what_would_wait_too_long_is_not_let_in():
    load = Load(queue=1000, longest_wait_s=2 * 0.05)
    with load.holding(1):
        assert not load.is_full()
        assert load.is_full(2)


def test_one_large_request_may_come_when_nobody_waits():
    load = Load(queue=2, longest_wait_s=0)
    assert not load.is_full(32)
    with load.holding(32):
        assert load.is_full()


def test_an_error_gives_the_place_back():
    load = Load(queue=1, longest_wait_s=1)
    try:
        with load.holding(1):
            raise ValueError
    except ValueError:
        pass
    assert load.films == 0


def test_one_film_that_hangs_does_not_close_the_door(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("cxr_transfer.serving.load.time.monotonic", lambda: now[0])
    load = Load(queue=100, longest_wait_s=1)
    with load.holding(1):
        now[0] += 1000
    with load.holding(4):
        assert not load.is_full()


def test_what_a_film_takes_is_learnt(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("cxr_transfer.serving.load.time.monotonic", lambda: now[0])
    load = Load(queue=100, longest_wait_s=1)
    for _ in range(1000):
        with load.holding(2):  # two at once in 0.4 s are 0.2 s each
            now[0] += 0.4
        now[0] += 10  # time in which there is nothing to do does not count
    assert abs(load.seconds_each - 0.2) < 1e-3
