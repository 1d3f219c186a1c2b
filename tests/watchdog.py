"""A watchdog for tests of decoders."""

import contextlib
import signal


@contextlib.contextmanager
def seconds(limit):
    """Fail where the body hangs, instead of hanging with it."""

    def stop(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(limit)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
