"""Memory that stays is put on large pages, and nothing else."""

from __future__ import annotations

import ctypes
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import allocator

_SIZE = 8 << 20


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[mmap.mmap]:
    """Memory that nobody has touched yet; the tests' own heaps, which may be large, are left as they are."""
    memory = mmap.mmap(-1, _SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    monkeypatch.setattr(allocator, "_private", lambda: iter([(first, first + _SIZE)]))
    yield memory
    memory.close()


def _large(memory: mmap.mmap) -> int:
    """Bytes of it that lie on large pages."""
    first = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    found, total = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if place := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            found = int(place[1], 16) < first + _SIZE and first < int(place[2], 16)
        elif found and line.startswith("AnonHugePages:"):
            total += int(line.split()[1]) * 1024
    return total


@pytest.mark.skipif(not allocator._large_page(), reason="this system has no large pages")
def test_memory_in_use_comes_to_lie_on_large_pages_unchanged(memory: mmap.mmap) -> None:
    for at in range(0, _SIZE, mmap.PAGESIZE):
        memory[at : at + 8] = at.to_bytes(8, "big")
    if not allocator.enlarge():
        pytest.skip("this system makes none when asked")
    assert _large(memory) >= _SIZE // 2
    assert all(memory[at : at + 8] == at.to_bytes(8, "big") for at in range(0, _SIZE, mmap.PAGESIZE))


@pytest.mark.skipif(not allocator._large_page(), reason="this system has no large pages")
def test_memory_that_is_hardly_used_stays_small(memory: mmap.mmap) -> None:
    before = _large(memory)
    for at in range(0, _SIZE, 4 * mmap.PAGESIZE):
        memory[at] = 1
    allocator.enlarge()
    assert _large(memory) <= before


def test_a_system_without_large_pages_goes_on_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(allocator, "_LARGE", tmp_path / "none")
    assert allocator.enlarge() == 0
    (tmp_path / "none").write_text(str(512 << 20))
    assert allocator.enlarge() == 0
