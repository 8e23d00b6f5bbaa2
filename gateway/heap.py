"""Has the C library keep the memory of large bodies for the next ones, instead of asking the system for it each time anew.

By default glibc returns whatever lies free at the end of its heap beyond some 256 KiB, which one body of 150 KB is enough for:
each of the next pays for the same pages again, a system call and 37 page faults (mallopt(3), M_TRIM_THRESHOLD).
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

KEPT = 8 * 1024 * 1024  # bytes that may lie free at the end of the heap
LARGE = 1024 * 1024  # bytes of a block that the system is asked for, and that goes back to it
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed() -> bool:
    """Whether that could be said: another C library than glibc has no such knobs, and is left as it is."""
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(_TRIM_THRESHOLD, KEPT)) and bool(mallopt(_MMAP_THRESHOLD, LARGE))
    return False
