"""Freed memory is kept by the process instead of being given back and fetched again.

Training frees and takes the same hundreds of megabytes in every step. glibc gives large blocks
back to the kernel at once, which then hands out zeroed pages again: about a quarter of the CNN's
training time on two cores went into that (docs/log.md). Changes no result.
"""

from __future__ import annotations

import ctypes
import sys

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Tell glibc's allocator to keep what is freed; elsewhere do nothing.

    Returns:
        Whether it took effect.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # musl and others have no such knob.
    return bool(
        mallopt(_M_MMAP_MAX, 0)
        and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        and mallopt(_M_TOP_PAD, 64 * 1024 * 1024)
    )
