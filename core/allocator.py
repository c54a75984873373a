"""Keeps the C library from holding on to memory that was freed.

glibc gives each thread an arena of its own and rarely hands one back; with a dozen worker threads that is
tens of megabytes of nothing. Elsewhere than on glibc this does nothing.
"""

from __future__ import annotations

import ctypes
import sys

_M_ARENA_MAX = -8
"""mallopt(3)."""


def limit_arenas(count: int = 2) -> None:
    """Let all threads share `count` arenas. Call before threads are started."""
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_M_ARENA_MAX, count)


def release() -> None:
    """Hand free memory back to the system; for moments after much was freed. Takes milliseconds."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
