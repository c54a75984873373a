"""The cache of rasterised drawings: used when there, never in the way."""

from __future__ import annotations

import time
from pathlib import Path

from avatar.face.cache import MOST_FILES, WORTH_KEEPING_S, remembered


def slow(calls: list[int]) -> bytes:
    calls.append(1)
    time.sleep(WORTH_KEEPING_S * 1.5)
    return b"png"


def test_a_slow_drawing_is_drawn_once(tmp_path: Path) -> None:
    calls: list[int] = []
    for _ in range(3):
        assert remembered("<svg/>", 8, 8, lambda: slow(calls), tmp_path) == b"png"
    assert len(calls) == 1


def test_another_drawing_or_size_is_drawn_anew(tmp_path: Path) -> None:
    calls: list[int] = []
    for text, width in (("<svg/>", 8), ("<svg />", 8), ("<svg/>", 16)):
        remembered(text, width, 8, lambda: slow(calls), tmp_path)
    assert len(calls) == 3


def test_a_quick_drawing_is_not_kept(tmp_path: Path) -> None:
    remembered("<svg/>", 8, 8, lambda: b"png", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unusable_folder_is_no_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert remembered("<svg/>", 8, 8, lambda: slow([]), blocked / "below") == b"png"


def test_the_cache_is_bounded(tmp_path: Path) -> None:
    for number in range(MOST_FILES + 5):
        (tmp_path / f"{number}.png").write_bytes(b"old")
    remembered("<svg/>", 8, 8, lambda: slow([]), tmp_path)
    assert len(list(tmp_path.glob("*.png"))) == MOST_FILES
