"""What is behind the presenter."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import FaceError

Floats = NDArray[np.float32]


def backdrop(studio: NDArray[np.uint8], width: int, height: int, background: str | None) -> Floats:
    """The presenter's own studio (B G R uint8, any size), a "#rrggbb" colour, or an image file softly out of focus.

    Returns B G R float32 (height, width, 3). Raises `FaceError`.
    """
    if background is None:
        smooth = cv2.GaussianBlur(studio.astype(np.float32), (0, 0), studio.shape[0] / 64)
        wide = np.asarray(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
        # One grey level of noise keeps the gradients free of bands after 8-bit rounding and encoding.
        noise = np.random.default_rng(1).random((height, width, 1), np.float32)
        return wide + (noise - np.float32(0.5)) * np.float32(1.4)
    if background.startswith("#"):
        return np.broadcast_to(_colour(background), (height, width, 3)).copy()
    image = read_image(background)
    zoom = max(width / image.shape[1], height / image.shape[0])
    size = max(width, round(image.shape[1] * zoom)), max(height, round(image.shape[0] * zoom))
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    cut = scaled[top : top + height, left : left + width].astype(np.float32)
    # Depth of field; it also hides that the picture around a moving head moves along a little.
    return np.asarray(cv2.GaussianBlur(cut, (0, 0), max(1.0, height / 90)), np.float32)


def check_background(background: str | None) -> None:
    """Raises `FaceError` when `backdrop` would."""
    if background is not None and background.startswith("#"):
        _colour(background)
    elif background is not None:
        read_image(background)


def read_image(path: str) -> NDArray[np.uint8]:
    """An image file as B G R uint8 (h, w, 3). Raises `FaceError`."""
    image = cv2.imread(path, cv2.IMREAD_COLOR) if Path(path).is_file() else None
    if image is None:
        raise FaceError(f"background {path!r} is neither a #rrggbb colour nor a readable image file", adapter="vector")
    return np.asarray(image, np.uint8)


def _colour(text: str) -> Floats:
    try:
        value = int(text[1:], 16) if len(text) == 7 else -1
    except ValueError:
        value = -1
    if value < 0:
        raise FaceError(f"background {text!r} is no colour: write it as #rrggbb", adapter="vector")
    return np.array([value & 255, value >> 8 & 255, value >> 16], np.float32)
