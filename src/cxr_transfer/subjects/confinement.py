"""A process that takes from itself what a foreign network has no business with.

Called once, before any library is imported and any thread begun: what begins later has no more
rights. Files can then be read below some folders alone, written in one that is thrown away, and
none can be run; no machine can be reached; no process can be begun; memory is bounded. Linux's
Landlock and namespaces do it, and need no privilege. Knows no network. Source: Linux,
userspace-api/landlock.rst.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress

from cxr_transfer.subjects.one_process import stay_one_process

MEMORY = 12 * 2**30
"""Bytes that a confined process may hold."""

LARGEST_FILE = 256 * 2**20
"""Bytes of the largest file that it may write."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_BENEATH = 1
_NO_NEW_PRIVILEGES = 38
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000

_RUN, _READ_FILE, _READ_FOLDER = 1 << 0, 1 << 2, 1 << 3
_RIGHTS_BY_VERSION = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Number of rights on files that each version of Landlock knows; later ones know no more."""
_TCP = 0b11
_SCOPES = 0b11


def confine(readable: Iterable[str], scratch: str) -> tuple[str, ...]:
    """Confine this process for good.

    Args:
        readable: Folders and files that may still be read; what is not there is left out.
        scratch: Folder in which files may be written.

    Returns:
        What it is kept from: "memory" always, "files", "network" and "processes" where the system
        can.
    """
    done = ["memory"]
    # Private memory: what is mapped from files and never touched does not count.
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    if not sys.platform.startswith("linux"):
        return tuple(done)
    libc = ctypes.CDLL(None, use_errno=True)
    alone = _without_network(libc)
    version = libc.syscall(_CREATE_RULESET, None, 0, _VERSION)
    if version >= 1 and _restrict(libc, version, readable, scratch):
        done.append("files")
        alone = alone or version >= 4
    if alone:
        done.append("network")
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if stay_one_process(libc):
        done.append("processes")
    return tuple(done)


def _without_network(libc: ctypes.CDLL) -> bool:
    """Move into a network of its own, in which there is nobody; return whether that was allowed."""
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_USER | _NEW_NETWORK) != 0:
        return False
    # The same user inside as outside: without this, files of the user's own could not be read.
    with suppress(OSError):
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    return True


def _restrict(libc: ctypes.CDLL, version: int, readable: Iterable[str], scratch: str) -> bool:
    rights = (1 << _RIGHTS_BY_VERSION.get(version, 16)) - 1
    parts = [rights]
    if version >= 4:
        parts.append(_TCP)
    if version >= 6:
        parts.append(_SCOPES)
    wanted = struct.pack(f"{len(parts)}Q", *parts)
    rules = libc.syscall(_CREATE_RULESET, wanted, len(wanted), 0)
    if rules < 0:
        return False
    try:
        for path in readable:
            _allow(libc, rules, path, _READ_FILE | _READ_FOLDER)
        _allow(libc, rules, scratch, rights & ~_RUN)
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        return bool(libc.syscall(_RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)


def _allow(libc: ctypes.CDLL, rules: int, path: str, wanted: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not on this system
    try:
        right = wanted if os.path.isdir(path) else wanted & _READ_FILE
        libc.syscall(_ADD_RULE, rules, _BENEATH, struct.pack("=Qi", right, opened), 0)
    finally:
        os.close(opened)
