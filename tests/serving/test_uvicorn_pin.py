"""What `http_timeouts` takes of uvicorn that uvicorn does not promise: its version is pinned.

No server that Python has ends slow and trickling clients by itself, and uvicorn gives no place to
look at a connection. The protocol is subclassed, and its version is held to one minor release. A
new one is let in by hand, when this test and those of the limits pass with it.
"""

import inspect
import tomllib
from pathlib import Path

import h11
import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from cxr_transfer.serving.http_timeouts import TimeoutProtocol
from cxr_transfer.serving.server import _Server

TAKEN = ("config", "conn", "connections", "cycle", "flow", "loop", "transport")
METHODS = ("connection_made", "connection_lost", "data_received", "send_400_response", "shutdown")


def test_the_version_is_held_to_one_minor_release():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    needed = next(
        line
        for line in project["project"]["optional-dependencies"]["serve"]
        if line.startswith("uvicorn")
    )
    major, minor = uvicorn.__version__.split(".")[:2]
    assert needed == f"uvicorn>={major}.{minor},<{major}.{int(minor) + 1}"


@pytest.mark.parametrize("name", TAKEN)
def test_the_protocol_sets_what_is_taken_of_it(name):
    assert f"self.{name}" in inspect.getsource(H11Protocol)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_that_is_replaced_is_there_and_takes_the_same(name):
    theirs = inspect.signature(getattr(H11Protocol, name))
    assert list(inspect.signature(getattr(TimeoutProtocol, name)).parameters) == list(
        theirs.parameters
    )


def test_the_reader_of_a_connection_is_h11s():
    source = "".join(inspect.getsource(H11Protocol.__init__).split())
    assert "self.conn=h11.Connection(h11.SERVER" in source
    assert callable(h11.Connection.next_event)


def test_the_server_has_what_several_servers_need_to_open_and_close_their_port():
    theirs = inspect.signature(uvicorn.Server.startup)
    assert list(theirs.parameters) == list(inspect.signature(_Server.startup).parameters)
    source = inspect.getsource(uvicorn.Server)
    assert "self.servers.append(server)" in source
    assert "if self.started:\n            await self.shutdown" in source, "not where it never began"
