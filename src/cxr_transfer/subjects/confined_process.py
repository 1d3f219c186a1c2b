"""A process in which a foreign network is opened and asked, and that can do nothing else.

Started by `foreign_files` with a socket, a kind and a path. It confines itself before it imports a
library, opens the file, and answers arrays with arrays, until the socket closes. Messages are JSON
and ``.npy`` without objects: whatever the network makes of this process, it cannot make its parent
run code.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from cxr_transfer.subjects.confinement import confine

if TYPE_CHECKING:
    from cxr_transfer.subjects.foreign_networks import ForeignNetwork

SYSTEM = (
    *(
        "/usr",
        "/lib",
        "/lib64",
        "/opt",
        "/etc/ld.so.cache",
        "/etc/localtime",
        "/etc/ssl/openssl.cnf",
    ),
    *("/dev/null", "/dev/urandom", "/dev/shm", "/sys/devices/system", "/sys/fs/cgroup"),
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat"),
    *("/proc/sys/vm/overcommit_memory",),
)
"""What libraries read of a system beside their own folders."""

_WRAP = "wrap the network in a function: python:package.module:function"
_MEANINGS = {
    "constants.pkl": "it holds weights or a pickled module, no TorchScript; save it with "
    "torch.jit.script or torch.jit.trace",
    "No model config found": "it holds weights alone; save the whole network (model.save)",
    "`Lambda` layer": f"it has a Lambda layer, which is code and is not run; {_WRAP}",
    "Unknown layer": f"it has a layer of its makers' own, which is code and is not run; {_WRAP}",
    "could not be deserialized": "it has a layer that Keras does not know, which is code and is "
    f"not run; {_WRAP}",
}
"""Words in what a library says, and what they mean for the one who named the file."""

FREE = "free"
"""Last argument of a process that need not be confined."""


def main(arguments: list[str]) -> None:
    """Answer until the parent goes away.

    Args:
        arguments: Number of the socket, kind of the network, path of its file, folder that it may
            read, folder that it may write, number of the output that is read or "", and `FREE`
            where it need not be confined.
    """
    connection = Connection(int(arguments[0]))
    kind, path, folder, scratch, number, freedom = arguments[1:7]
    own = [sys.prefix, sys.base_prefix, *filter(None, sys.path)]
    parent = os.getppid()
    kept_from = () if freedom == FREE else confine([*SYSTEM, *own, folder], scratch)
    threading.Thread(target=_end_with, args=(parent, scratch), daemon=True).start()
    try:
        if freedom != FREE and not {"files", "network"} <= set(kept_from):
            _tell(connection, {"error": "not_confined", "why": ", ".join(kept_from)})
            return
        from cxr_transfer.subjects.foreign_networks import open_foreign

        network = open_foreign(kind, path, int(number) if number else None)
        _tell(connection, {"kept_from": list(kept_from), "facts": network.facts})
        _answer(connection, network)
    except EOFError:  # where the parent was killed, nobody else empties the folder
        shutil.rmtree(scratch, ignore_errors=True)
    except Exception as error:  # whatever the file, or a library, raises: told to the parent
        _tell(connection, {"error": "bad_model", "why": _why(error)})


def _end_with(parent: int, scratch: str) -> None:
    """End when the parent has: also where it was killed while a network computes without an end."""
    while os.getppid() == parent:
        time.sleep(1.0)
    shutil.rmtree(scratch, ignore_errors=True)
    signal.raise_signal(signal.SIGKILL)


def _answer(connection: Connection, network: ForeignNetwork) -> None:
    """Answer arrays with arrays."""
    import numpy as np

    while True:
        images = np.load(io.BytesIO(connection.recv_bytes()), allow_pickle=False)
        try:
            outputs = np.asarray(network.answer(images))
        except Exception as error:  # of one batch: the next may have another size
            _tell(connection, {"error": "bad_model", "why": _why(error)})
            continue
        content = io.BytesIO()
        np.save(content, outputs, allow_pickle=False)
        connection.send_bytes(content.getvalue())


def _why(error: Exception) -> str:
    """Return the kind of an error and the line that says most: TorchScript's comes last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # OpenVINO begins with where in its own sources it was.
    lines = [line for line in lines if not line.startswith(("Exception from ", "Check '"))] or [""]
    line = lines[-1] if "Traceback" in str(error) else lines[0]
    for word, meaning in _MEANINGS.items():
        if word in str(error):
            line = meaning
    return f"{type(error).__name__}: {line}"[:600]


def _tell(connection: Connection, message: dict[str, Any]) -> None:
    with suppress(OSError):  # the parent may be gone
        connection.send_bytes(json.dumps(message).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
