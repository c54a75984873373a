"""The presenter cut out: colours that go on beyond the outline, and the matte that says where the figure is."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Plane = NDArray[np.uint8]

TRANSPARENT = "transparent"
"""The background that sends colour and matte side by side."""

_SPREADS = (0.05, 0.012, 0.004, 0.0015)
"""How far colours are spread beyond the outline, coarse to fine, as shares of the picture's height."""


_QUARTER: Any = (64.0, 0.0, 0.0, 0.0)
"""A scalar as OpenCV takes it; its type stubs don't know."""


def bled(figure: Floats) -> Floats:
    """The colours of a premultiplied B G R A figure (h, w, 4), 0..255, not multiplied, going on beyond its outline.

    Without this, whoever averages or compresses pixels at the outline would mix in black. Returns B G R, (h, w, 3).
    """
    alpha = figure[..., 3:] / 255
    total = max(float(alpha.sum()), 1e-3)
    out = np.empty((*figure.shape[:2], 3), np.float32)
    out[:] = figure[..., :3].sum(axis=(0, 1)) / total
    small = max(1, figure.shape[0] // 256)
    for spread in _SPREADS:
        sigma = max(0.7, spread * figure.shape[0])
        # Wide blurs are made of a smaller picture: nobody sees the difference, and it is many times faster.
        step = small if sigma > 4 * small else 1
        size = max(1, figure.shape[1] // step), max(1, figure.shape[0] // step)
        source = figure if step == 1 else cv2.resize(figure, size, interpolation=cv2.INTER_AREA)
        blur = np.asarray(cv2.GaussianBlur(source, (0, 0), sigma / step), np.float32)
        if step > 1:
            blur = np.asarray(cv2.resize(blur, (figure.shape[1], figure.shape[0])), np.float32)
        cover = blur[..., 3:] / 255
        near = np.clip((cover - 0.004) * 12, 0, 1)
        out += (blur[..., :3] / np.maximum(cover, 1e-3) - out) * near
    sure = np.clip((alpha - 0.1) / 0.4, 0, 1)
    out += (figure[..., :3] / np.maximum(alpha, 1e-3) - out) * sure
    return np.asarray(np.clip(out, 0, 255, out=out), np.float32)


def limited(matte: Plane) -> Plane:
    """A matte 0..255 as luma: 16 is empty, 235 is full."""
    return np.asarray(np.rint(16 + matte.astype(np.float32) * (219 / 255)), np.uint8)


def mix(front: Plane, back: Plane, matte: Plane, out: Plane) -> None:
    """`front` over `back` where `matte` (0..255) says so; all of one shape, uint8."""
    covered = cv2.multiply(front, matte, scale=1 / 255)
    rest = cv2.multiply(back, cv2.bitwise_not(matte), scale=1 / 255)
    cv2.add(covered, rest, dst=out)


def sharpened(matte: Plane) -> Plane:
    """A matte of twice the size, its outline about a pixel wide again: a quarter of the work of moving a large one."""
    size = 2 * matte.shape[1], 2 * matte.shape[0]
    fine = cv2.resize(matte, size, interpolation=cv2.INTER_LINEAR)
    # Twice the slope about the middle, by operations that stop at 0 and 255.
    above = cv2.subtract(fine, _QUARTER)
    return np.asarray(cv2.add(above, above), np.uint8)
