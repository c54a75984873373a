"""Keeps memory small and collections short.

A closed connection leaves reference cycles that hold codecs and sockets, and a full garbage collection over
everything that the libraries loaded takes 50 to 100 ms: every picture would be late. So what is there at start
is taken out of the collector's sight, and it runs when a session has ended, over little.
glibc gives each thread an arena of its own and rarely hands one back; with a dozen worker threads that is
tens of megabytes of nothing. Elsewhere than on glibc that part does nothing.
"""

from __future__ import annotations

import ctypes
import gc
import sys

_M_ARENA_MAX = -8
"""mallopt(3)."""


def limit_arenas(count: int = 2) -> None:
    """Let all threads share `count` arenas. Call before threads are started."""
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_M_ARENA_MAX, count)


def settle() -> None:
    """Loading is over: collect what it left and take the rest out of the collector's sight."""
    gc.collect()
    gc.freeze()
    release()


def release() -> None:
    """Much was freed: collect cycles (a millisecond or two once settled) and hand free memory back to the system."""
    gc.collect()
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
