"""Pictures behind a presenter, of any shape."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from avatar.face.backdrop import Studio, backdrop

STUDIO = Studio(np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize(("width", "height"), [(512, 512), (320, 180), (180, 320)])
@pytest.mark.parametrize("tall", [False, True])
def test_a_picture_is_cut_about_its_middle(tmp_path: Path, width: int, height: int, tall: bool) -> None:
    image = np.zeros((300, 900, 3), np.uint8)
    image[:, 350:550] = 200
    place = str(tmp_path / "wall.png")
    cv2.imwrite(place, image.transpose(1, 0, 2) if tall else image)
    seen = backdrop(STUDIO, width, height, place)
    assert seen.shape == (height, width, 3)
    assert seen[height // 2, width // 2, 0] == pytest.approx(200, abs=4)
    rows, columns = np.indices((height, width))
    weight = seen[..., 0] / seen[..., 0].sum()
    assert (weight * rows).sum() == pytest.approx((height - 1) / 2, abs=1), "as much is cut off on each side"
    assert (weight * columns).sum() == pytest.approx((width - 1) / 2, abs=1)


@pytest.mark.parametrize("shape", [(3, 2000, 3), (2000, 3, 3), (1, 1, 3)])
def test_a_long_thin_picture_takes_no_more_memory_than_others(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    place = str(tmp_path / "strip.png")
    cv2.imwrite(place, np.full(shape, 90, np.uint8))
    tracemalloc.start()
    try:
        seen = backdrop(STUDIO, 512, 512, place)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.allclose(seen, 90, atol=1)
    assert most < 20e6
