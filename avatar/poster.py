"""A still of the avatar at rest, for the page before it connects."""

from __future__ import annotations

import asyncio

import cv2

from core.errors import FaceError
from core.frames import FaceCue
from core.stages import Face


class Poster:
    """Draws the picture once, at its first use."""

    def __init__(self, face: Face, width: int, height: int) -> None:
        self._face = face
        self._size = (width, height)
        self._png: bytes | None = None

    async def png(self) -> bytes:
        """The picture as PNG. Raises `FaceError`."""
        if self._png is None:
            self._png = await asyncio.to_thread(self._draw)
        return self._png

    def _draw(self) -> bytes:
        picture = self._face.open(*self._size).draw(FaceCue(time=0.0))
        done, png = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_I420))
        if not done:
            raise FaceError("the poster could not be encoded")
        return png.tobytes()
