"""A filter of system calls: this process stays one, and signals no other.

Called once, before a thread is begun. Threads may begin later, further processes not: each would
have memory of its own, and might live on after this one. Knows no network. Source: Linux,
userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

_SET_SECCOMP, _FILTER = 22, 2
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _MACHINE, _FIRST = 0, 4, 16
"""Offsets of a call's number, its machine and its first argument."""

_THREAD = 0x10000
_OTHER_NUMBERS = 0x40000000
"""Numbers from here on are a second way to the same calls (x32)."""

_CLONE3 = 435
_MACHINES = {
    "x86_64": (0xC000003E, 56, 234, (57, 58, 62, 129, 200, 297, 424)),
    "aarch64": (0xC00000B7, 220, 131, (129, 130, 138, 240, 424)),
}
"""Number of the machine, of clone, of tgkill, and of calls that are refused: fork, vfork, kill,
tkill, rt_sigqueueinfo, rt_tgsigqueueinfo, pidfd_send_signal."""


def stay_one_process(libc: ctypes.CDLL) -> bool:
    """Take from this process, for good, that it begins or signals another; return whether it did.

    Args:
        libc: The system's library. The process may gain no new privileges any more.
    """
    if platform.machine() not in _MACHINES:
        return False
    rules = _rules(*_MACHINES[platform.machine()])
    content = ctypes.create_string_buffer(b"".join(rules))
    program = struct.pack("HxxxxxxP", len(rules), ctypes.addressof(content))
    return bool(libc.prctl(_SET_SECCOMP, _FILTER, ctypes.c_char_p(program), 0, 0) == 0)


def _rules(machine: int, clone: int, tgkill: int, refused: tuple[int, ...]) -> list[bytes]:
    """Return the program: a rule is a code, two jumps (if so, if not) and a value."""
    forbidden = _ERROR | errno.EPERM
    absent = _ERROR | errno.ENOSYS  # libraries go on with clone, whose flags can be looked at

    def rule(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
        return struct.pack("HBBI", code, yes, no, value)

    rules = [
        *(rule(_LOAD, _MACHINE), rule(_EQUAL, machine, 1), rule(_RETURN, forbidden)),
        *(rule(_LOAD, _NUMBER), rule(_AT_LEAST, _OTHER_NUMBERS, 0, 1), rule(_RETURN, forbidden)),
        *(rule(_EQUAL, _CLONE3, 0, 1), rule(_RETURN, absent)),
    ]
    for number in refused:
        rules += [rule(_EQUAL, number, 0, 1), rule(_RETURN, forbidden)]
    # Of clone a thread alone; of tgkill this process alone, which may end itself.
    for number, code, value in ((clone, _ANY_BIT, _THREAD), (tgkill, _EQUAL, os.getpid())):
        rules += [
            *(rule(_EQUAL, number, 0, 4), rule(_LOAD, _FIRST), rule(code, value, 1, 0)),
            *(rule(_RETURN, forbidden), rule(_RETURN, _ALLOW)),
        ]
    return [*rules, rule(_RETURN, _ALLOW)]
