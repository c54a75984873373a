"""Keeps memory small and collections short.

A closed connection leaves reference cycles that hold codecs and sockets, and a full garbage collection over
everything that the libraries loaded takes 50 to 100 ms: every picture would be late. So what is there at start
is taken out of the collector's sight, and it runs when a session has ended, over little.
glibc gives each thread an arena of its own and rarely hands one back; with a dozen worker threads that is
tens of megabytes of nothing. Elsewhere than on glibc that part does nothing.
A session wakes up a hundred times per second for little work, which finds caches and page tables cold: what was loaded
lies on large pages, where the system has them: 3 to 4 % less for a speaking session, a few megabytes more.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path

_M_ARENA_MAX = -8
"""mallopt(3)."""
_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25
"""madvise(2): from now on large pages; one large page of what is there, now (Linux 6.1)."""
_LARGE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
_LARGEST = 4 << 20
"""Bytes of a large page that is still worth it; some systems only have such of 32 MB and more."""
_MOST = 512 << 20
"""Bytes after which no further heap is looked at: the event loop waits meanwhile."""
_FULL = 0.75
"""Large pages are made where this share is in use already: the rest of them is new memory."""


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
    enlarge()


def enlarge() -> int:
    """Put heaps that are in use on large pages, and what they grow by; some 50 ms for 100 MB. Returns how many bytes
    of them lie there now; 0 where the system has none."""
    libc, size = _glibc(), _large_page()
    if libc is None or not size:
        return 0
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    known = ctypes.create_string_buffer(size // mmap.PAGESIZE)

    def used(at: int) -> float:
        """Share of the pages of a large one that are there."""
        return sum(page & 1 for page in known.raw) / len(known) if libc.mincore(at, size, known) == 0 else 0.0

    enlarged = 0
    for first, last in _private():
        places = range(-(-first // size) * size, last - size + 1, size)
        full = [at for at in places if used(at) >= _FULL]
        if enlarged < _MOST and full and len(full) >= len(places) / 2:  # a thread's stack is large and nearly empty
            libc.madvise(places[0], len(places) * size, _MADV_HUGEPAGE)
            enlarged += size * sum(libc.madvise(at, size, _MADV_COLLAPSE) == 0 for at in full)
    return enlarged


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


def _large_page() -> int:
    """Bytes of a large page; 0 where there is none, or none that is worth it."""
    try:
        size = int(_LARGE.read_text())
    except (OSError, ValueError):
        return 0
    return size if size <= _LARGEST else 0


def _private() -> Iterator[tuple[int, int]]:
    """First and last address of each part of this process's memory that is its own: the heaps."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, rights, _, _, file, *name = line.split(maxsplit=5)
        if rights == "rw-p" and file == "0" and not (name and name[0].startswith("[stack")):
            first, last = (int(address, 16) for address in where.split("-"))
            yield first, last
