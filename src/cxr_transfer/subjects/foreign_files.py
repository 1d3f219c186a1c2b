"""A file of another tool, asked in a process of its own that can do nothing else.

In come arrays as the network wants them, out go its numbers. What a foreign file could do is
bounded by the operating system (`confinement`), not by trust in it.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import cxr_transfer
from cxr_transfer.errors import CxrError, MachineError, ModelError
from cxr_transfer.models.backbones import TRUSTED
from cxr_transfer.models.folder import sha256, strict_json
from cxr_transfer.subjects.confined_process import FREE
from cxr_transfer.subjects.foreign_networks import SUFFIXES, checked_facts
from cxr_transfer.text import for_terminal

OPENING = 180.0
"""Seconds after which a file that is not open yet is given up; a library's first import is slow."""

ANSWERING = 120.0
"""Seconds after which a network that has not answered a batch is given up."""

LARGEST_ANSWER = 64 * 2**20
"""Bytes of an answer at most: thousands of numbers for each image of a batch."""

_KEPT = ("PATH", "LANG", "LC_ALL", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "LD_LIBRARY_PATH")
"""Variables of this process that the other one gets: no token, no address."""


class ForeignFile:
    """A network in a file of another tool.

    Args:
        path: Path of the file.
        output: Number of the output that is read; None for a network with one.

    Attributes:
        kind: Kind of the file, a key of `foreign_networks.KINDS`.
        sha256: SHA-256 of the file.
        facts: What it says of itself.
        kept_from: What its process cannot reach: "files", "network", "memory"; none where the
            environment names the file as trusted.

    Raises:
        ModelError: ``bad_model`` when its library cannot open it; ``no_model``.
        MachineError: ``not_confined`` where this system cannot confine a process, and nobody has
            said that the file may do what it likes; ``missing_package``.
    """

    def __init__(self, path: Path, output: int | None = None) -> None:
        check_there(path)
        self.path, self.kind, self.sha256 = path, SUFFIXES[path.suffix.lower()], sha256(path)
        trusted = {name.strip() for name in os.environ.get(TRUSTED, "").split(",")}
        ours, theirs = socket.socketpair()
        self._scratch = Path(tempfile.mkdtemp(prefix="cxr-"))
        self._said = self._scratch / "said.txt"
        resolved = path.resolve()
        package = str(Path(cxr_transfer.__file__).resolve().parent.parent)
        with theirs, self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "cxr_transfer.subjects.confined_process"),
                    *(str(theirs.fileno()), self.kind, str(resolved), str(resolved.parent)),
                    str(self._scratch),
                    "" if output is None else str(output),
                    FREE if self.sha256 in trusted else "",
                ],
                env={name: os.environ[name] for name in _KEPT if name in os.environ}
                | {
                    "PYTHONPATH": package,
                    "KERAS_BACKEND": "torch",
                    "HOME": str(self._scratch),
                    "TMPDIR": str(self._scratch),
                },
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=resolved.parent,
                # Ctrl-C is for this process; that one ends with it.
                start_new_session=True,
            )
        self._connection = Connection(ours.detach())
        self._close = weakref.finalize(self, _ended, self._process, self._connection, self._scratch)
        try:
            told = self._told(self._received(OPENING, "be opened"))
            if "error" in told:
                raise self._refused(told)
            self.facts = checked_facts(told.get("facts"))
            self.kept_from = tuple(map(str, told.get("kept_from", ())))
        except ValueError as error:
            self.close()
            raise self._bad(f"it says of itself what cannot be: {error}") from None
        except BaseException:
            self.close()
            raise

    def answer(self, images: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Return the network's numbers for images.

        Args:
            images: Images as it wants them.

        Raises:
            ModelError: ``bad_model`` where it does not take them, gives something else, or takes
                longer than `ANSWERING` seconds.
        """
        content = io.BytesIO()
        np.save(content, images, allow_pickle=False)
        answer = self._received(ANSWERING, "answer", content.getvalue())
        try:
            if answer.startswith(b"{"):
                raise self._refused(self._told(answer))
            return np.load(io.BytesIO(answer), allow_pickle=False)  # type: ignore[no-any-return]
        except CxrError:
            raise
        except Exception:  # a header of .npy may be wrong in many ways
            raise self._bad("it answered with something that is no array") from None

    def close(self) -> None:
        """End its process."""
        self._close()

    def _received(self, seconds: float, purpose: str, content: bytes | None = None) -> bytes:
        """Return its next message, after one to it; in so many seconds in all."""
        late = threading.Event()

        def give_up() -> None:
            late.set()
            _kill(self._process)

        # Not by waiting for the first byte: it may never send the last, or never take what is sent.
        limit = threading.Timer(seconds, give_up)
        limit.daemon = True
        limit.start()
        try:
            if content is not None:
                self._connection.send_bytes(content)
            return self._connection.recv_bytes(LARGEST_ANSWER)
        except (EOFError, OSError) as error:
            if late.is_set():
                self.close()
                raise self._bad(f"it took more than {seconds:.0f} seconds to {purpose}") from None
            if str(error) == "bad message length":
                self.close()
                raise self._bad(f"it sent more than {LARGEST_ANSWER} bytes") from None
            raise self._gone() from None
        finally:
            limit.cancel()

    def _told(self, message: bytes) -> dict[str, Any]:
        """Return the JSON object that a message is.

        Raises:
            ValueError: It is none.
        """
        told = strict_json(message)
        if not isinstance(told, dict):
            raise ValueError("no table")
        return told

    def _gone(self) -> ModelError:
        """Return what its process said before it ended."""
        text = self._said.read_bytes()[-4000:] if self._said.is_file() else b""
        self.close()
        lines = text.decode(errors="replace").strip().splitlines()
        return self._bad(f"its process ended: {lines[-1] if lines else 'without a word'}")

    def _refused(self, told: dict[str, Any]) -> ModelError | MachineError:
        why = for_terminal(str(told.get("why", "")))
        if told.get("error") == "not_confined":
            return MachineError(
                "not_confined",
                f"Expected a system that can keep {self.path} from files and network (Linux 6.7 or "
                f"newer, or namespaces), but this one keeps it from {why or 'nothing'} alone; run "
                f"it on another system, or, if you trust the file, set {TRUSTED}={self.sha256}.",
            )
        if why.startswith("MachineError: "):
            return MachineError("missing_package", why.removeprefix("MachineError: "))
        return self._bad(why)

    def _bad(self, why: str) -> ModelError:
        return ModelError(
            "bad_model",
            f"Expected a network ({self.kind}) that answers in {self.path}, but {for_terminal(why)}"
            ".".replace("..", "."),
        )


def check_there(path: Path) -> None:
    """Refuse a file that is not there.

    Raises:
        ModelError: ``no_model``.
    """
    if not path.is_file():
        raise ModelError(
            "no_model", f"Expected a network at {path}, but there is no such file; mend the path."
        )


def _ended(process: subprocess.Popen[bytes], connection: Connection, scratch: Path) -> None:
    with suppress(OSError):
        connection.close()
    _kill(process)
    process.wait()
    shutil.rmtree(scratch, ignore_errors=True)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and all others of its session."""
    if process.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
