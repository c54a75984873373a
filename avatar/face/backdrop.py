"""What is behind the presenter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.face.image_file import read_image
from avatar.face.matte import TRANSPARENT
from core.errors import FaceError

Floats = NDArray[np.float32]


STUDIO = "studio"
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True)
class Studio:
    """A presenter's own background."""

    picture: NDArray[np.uint8]
    """B G R, any size."""
    blur: float = 1.0
    """How far it is softened, 0..1."""
    cover: bool = False
    """Whether it is cut to the shape of the picture instead of stretched."""


def backdrop(studio: Studio, width: int, height: int, background: str) -> Floats:
    """What `background` names: "studio", "#rrggbb", "#rrggbb-#rrggbb" (from top to bottom), or an image file, softly
    out of focus.

    Returns B G R float32 (height, width, 3). Raises `FaceError`.
    """
    if background == STUDIO:
        smooth = studio.picture.astype(np.float32)
        if studio.blur:
            smooth = np.asarray(cv2.GaussianBlur(smooth, (0, 0), studio.blur * smooth.shape[0] / 64), np.float32)
        if studio.cover:
            return _dithered(covering(smooth, width, height))
        return _dithered(np.asarray(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR), np.float32))
    if background.startswith("#"):
        colours = _colours(background)
        if len(colours) == 1:
            return np.broadcast_to(colours[0], (height, width, 3)).copy()
        ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
        return _dithered(np.broadcast_to(colours[0] + (colours[1] - colours[0]) * ramp, (height, width, 3)))
    cut = covering(read_image(background, width, height), width, height)
    # Depth of field; it also hides that the picture around a moving head moves along a little.
    return np.asarray(cv2.GaussianBlur(cut, (0, 0), max(1.0, height / 90)), np.float32)


def check_background(background: str) -> None:
    """Raises `FaceError` when `backdrop` would. A picture is read: call it in a thread."""
    if background.startswith("#"):
        _colours(background)
    elif background not in (STUDIO, TRANSPARENT):
        if not Path(background).is_file():
            raise FaceError(
                f"background {background!r} is neither a #rrggbb colour nor an image file",
                adapter="vector",
                code="unknown_background",
            )
        read_image(background, 1, 1)


def covering(image: NDArray[np.uint8] | Floats, width: int, height: int) -> Floats:
    """Cut to the shape of width × height, centred, and scaled. The other way round a long thin picture would become
    gigabytes on its way."""
    rows, columns = image.shape[:2]
    zoom = max(width / columns, height / rows)
    wide, high = min(columns, max(1, round(width / zoom))), min(rows, max(1, round(height / zoom)))
    left, top = (columns - wide) // 2, (rows - high) // 2
    cut = image[top : top + high, left : left + wide]
    if zoom < 1:  # as it is: large pictures as floats are four times as large
        return np.asarray(cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA), np.float32)
    return np.asarray(cv2.resize(cut.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _dithered(picture: Floats) -> Floats:
    """With one grey level of noise, which keeps gradients free of bands after 8-bit rounding and encoding."""
    noise = np.random.default_rng(1).random((*picture.shape[:2], 1), np.float32)
    return np.asarray(picture + (noise - np.float32(0.5)) * np.float32(1.4), np.float32)


def _colours(text: str) -> list[Floats]:
    """One colour, or the two of a gradient, B G R."""
    parts = text.split("-")
    if len(parts) > 2 or not all(_COLOUR.fullmatch(part) for part in parts):
        raise FaceError(
            f"background {text!r} is no colour: write it as #rrggbb, or a gradient as #rrggbb-#rrggbb",
            adapter="vector",
            code="unknown_background",
        )
    values = [int(part[1:], 16) for part in parts]
    return [np.array([value & 255, value >> 8 & 255, value >> 16], np.float32) for value in values]
