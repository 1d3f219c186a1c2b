"""How commands are run by the fuzzers, and what is wrong with how they end."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cxr_transfer.cli

MEMORY = 1_000_000_000
ADDRESSES = 4 << 30  # beyond what this process has
SECONDS = 60.0
STILL = 600.0  # seconds by the clock
CODES = (0, 1, 2, 3, 4, 5)
OF_THE_MACHINE = ("[system]", "[memory]", "[disk_full]", "[not_writable]", "[forked]")


@dataclass
class Ended:
    """How a command ended.

    Attributes:
        code: Exit code; below 0 a signal.
        out: Standard output.
        err: Standard error.
        seconds: Processor time.
        memory: Most bytes that it held.
        wrong: What was wrong on the way: a traceback, no end; "" otherwise.
    """

    code: int
    out: bytes
    err: bytes
    seconds: float
    memory: int
    wrong: str = ""


# Running commands


def forked(words: Sequence[str], folder: Path) -> Ended:
    """Run ``cxr`` with these words in a fork, in a folder, and return how it ended."""
    assert threading.active_count() == 1, "a fork would take none of the threads with it"
    said = [os.memfd_create(name) for name in ("out", "err")]
    started, child = time.monotonic(), os.fork()
    if not child:
        _run(words, folder, said)
    wrong = ""
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        if _seconds(child) > SECONDS or time.monotonic() - started > STILL:
            wrong = f"no end in {SECONDS:g} s"
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    texts = []
    for place in said:
        texts.append(os.pread(place, os.fstat(place).st_size, 0))
        os.close(place)
    code = os.waitstatus_to_exitcode(status)
    seconds = usage.ru_utime + usage.ru_stime
    return Ended(code, *texts, seconds, usage.ru_maxrss * 1024, wrong)


def _run(words: Sequence[str], folder: Path, said: Sequence[int]) -> None:
    """Be the fork: run the command and end the process."""
    code = 70
    try:
        for place, number in zip(said, (1, 2), strict=True):
            os.dup2(place, number)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + ADDRESSES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        os.chdir(folder)
        sys.argv = ["cxr", *words]
        cxr_transfer.cli.main()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _seconds(pid: int) -> float:
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def program(words: Sequence[str], folder: Path, seconds: float) -> Ended:
    """Run ``cxr`` as a program of its own."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "cxr_transfer.cli", *words],
            cwd=folder,
            stdout=out,
            stderr=err,
            stdin=subprocess.DEVNULL,
        )
        wrong = ""
        while True:
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
            if done:
                break
            if _seconds(process.pid) > seconds or time.monotonic() - started > 10 * STILL:
                wrong = f"no end in {seconds:g} s"
                process.kill()
            time.sleep(0.05)
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for place in (out, err):
            place.seek(0)
            texts.append(place.read())
    spent = usage.ru_utime + usage.ru_stime
    return Ended(process.returncode, *texts, spent, usage.ru_maxrss * 1024, wrong)


# What an answer must be


def faults(ended: Ended, usual: int) -> Iterator[str]:
    """Yield what is wrong with how a command ended, whatever it was asked.

    Args:
        ended: How it ended.
        usual: Bytes that an undamaged input takes.
    """
    if ended.wrong:
        yield ended.wrong
        return
    if b"Traceback (most recent call last)" in ended.err:
        yield "traceback: " + ended.err.decode(errors="replace").strip().splitlines()[-1][:100]
        return
    if ended.code not in CODES:
        yield f"ended with {ended.code}"
        return
    if ended.memory - usual > MEMORY:
        yield "more than 1 GB of memory"
    text = ended.err.decode(errors="surrogateescape")
    if unprintable(text):
        yield "a control character on standard error"
    if ended.code < 2:
        return
    last = text.rstrip("\n").split("\n")[-1:]
    if "Usage: cxr" in text:  # Typer's own, in a box
        return
    if not last[0].startswith("cxr: ") or not last[0].endswith("]"):
        yield "no line of ours at the end of standard error"
    elif last[0].endswith(OF_THE_MACHINE):
        yield "called a fault of the machine: " + last[0].rpartition("[")[2].rstrip("]")
    if ended.out.strip():
        yield "an answer beside an error"


def unprintable(text: str) -> str:
    """Return the name of the first character that moves a terminal's cursor; "" without one."""
    for sign in text:
        if sign != "\n" and unicodedata.category(sign) in ("Cc", "Cf", "Zl", "Zp"):
            return f"U+{ord(sign):04X}"
    return ""


def said(ended: Ended) -> str:
    """Return exit code and error code."""
    last = ended.err.decode(errors="replace").rstrip().rpartition("\n")[2]
    code = last.rpartition("[")[2].rstrip("]") if last.endswith("]") else ""
    return f"{ended.code} {code}".strip() if ended.code > 1 else str(ended.code)


def strict_json(text: str) -> object:
    """Read JSON that holds no NaN.

    Raises:
        ValueError: It is none.
    """

    def refuse(constant: str) -> object:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)
