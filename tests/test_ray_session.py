"""A cluster that is not there is said at once, in one line."""

import socket
from types import SimpleNamespace

import pytest

from cxr_transfer.errors import MachineError
from cxr_transfer.ray_session import _start, ray_session


def test_an_address_where_nobody_answers_is_refused_without_ray(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"

    def waits(**_):
        raise AssertionError("Ray waits for minutes")

    util = SimpleNamespace(get_node_ip_address=lambda: "127.0.0.1")
    with pytest.raises(MachineError) as error:
        _start(SimpleNamespace(init=waits, util=util), address, 1, str(tmp_path))
    assert error.value.code == "no_cluster"
    assert "refused" in error.value.message
    assert "give the HOST:PORT" in error.value.message


def test_an_empty_address_starts_no_cluster():
    with pytest.raises(MachineError) as error, ray_session(" ", 1):
        raise AssertionError("a cluster was started")
    assert error.value.code == "no_cluster"
