"""Stills and short moving previews of the presenters, for pages."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.mouths import NO_MOUTHS, Mouths, draw_mouths
from core.errors import FaceError
from core.frames import Activity, Expression, FaceChoice, FaceCue, Gesture, MouthShape, Picture
from core.stages import Face, FaceStream

THUMBNAIL = 320
"""Side of a presenter's still, pixels."""
PREVIEW = 224
"""Side of a preview."""
PREVIEW_FPS = 12.5
_SETTLE_S = 1.0
"""Drawn before a preview begins: what a face does at first is not what it looks like."""
_SPOKEN_S = 1.2
_PREVIEW_S = 3.2
_SEAM = 5
"""Pictures over which the end of a preview fades into its beginning."""
_QUALITY = 74
_STILL_QUALITY = 88

Bgr = NDArray[np.uint8]
K = TypeVar("K")
V = TypeVar("V")


class Posters:
    """Draws each picture once, at its first use, in `executor`. `width`, `height`: of the sessions' pictures."""

    def __init__(self, face: Face, width: int, height: int, executor: Executor) -> None:
        self._face = face
        self._size = (width, height)
        self._executor = executor
        self._drawn: dict[tuple[str, str], asyncio.Future[bytes]] = {}
        self._mouths: dict[tuple[str, Expression], asyncio.Future[Mouths]] = {}

    async def poster(self) -> bytes:
        """The avatar of the settings at rest, as large as it will be in a session, as PNG. Raises `FaceError`."""
        return await self._once("poster", "", lambda: _png(self._still("", *self._size)))

    async def still(self, presenter: str) -> bytes:
        """A presenter's face, as PNG of `THUMBNAIL` pixels. The name must be one of the face's: each is kept."""
        return await self._once("still", presenter, lambda: _png(self._still(presenter, THUMBNAIL, THUMBNAIL)))

    async def portrait(self, presenter: str, background: str = "") -> bytes:
        """A presenter as large as in a session, before `background` ("": that of the settings), as WebP.

        Presenter and background must be among those offered: each picture is kept.
        """
        return await self._once(
            f"portrait {background}", presenter, lambda: _webp(self._still(presenter, *self._size, background))
        )

    async def cutout(self, presenter: str) -> bytes:
        """The same without anything behind them, as WebP with alpha. Raises `FaceError` where a face can't do that."""
        return await self._once("cutout", presenter, lambda: _webp(self._cut(presenter)))

    async def preview(self, presenter: str) -> bytes:
        """A few seconds of a presenter who greets, as an endless animated WebP of `PREVIEW` pixels."""
        return await self._once("preview", presenter, lambda: self._moving(presenter))

    async def mouths(self, presenter: str, mood: Expression = Expression.NEUTRAL) -> Mouths:
        """A presenter's mouths and lids, as large as in a session. Raises `FaceError`; that there are none is kept."""
        key = presenter, mood
        return await self._kept(self._mouths, key, lambda: draw_mouths(self._face, presenter, *self._size, mood))

    async def _once(self, kind: str, presenter: str, draw: Callable[[], bytes]) -> bytes:
        return await self._kept(self._drawn, (kind, presenter), draw)

    async def _kept(self, kept: dict[K, asyncio.Future[V]], key: K, draw: Callable[[], V]) -> V:
        if key not in kept:
            kept[key] = asyncio.get_running_loop().run_in_executor(self._executor, draw)
        drawing = kept[key]
        try:
            return await asyncio.shield(drawing)  # one who leaves does not take it from the others
        finally:
            if drawing.done() and (drawing.cancelled() or _passing(drawing.exception())):
                kept.pop(key, None)  # the next one tries again

    def _still(self, presenter: str, width: int, height: int, background: str = "") -> Bgr:
        return _bgr(self._open(presenter, width, height, background=background).draw(FaceCue(time=0.0)))

    def _cut(self, presenter: str) -> Bgr:
        """B G R A, from a picture that is colour and matte side by side."""
        width, height = self._size
        stream = self._face.open(width, height, choice=FaceChoice(presenter, "transparent"))
        both = _bgr(stream.draw(FaceCue(time=0.0)))
        if both.shape[:2] != (height, 2 * width):
            raise FaceError("this face is never transparent", code="unknown_background")
        return np.ascontiguousarray(np.dstack([both[:, :width], both[:, width:, 1]]))

    def _open(self, presenter: str, width: int, height: int, seed: int = 0, background: str = "") -> FaceStream:
        stream = self._face.open(width, height, seed=seed, choice=FaceChoice(presenter, background))
        if stream.draw(FaceCue(time=-1.0)).shape[1] > width:  # transparent, which a picture in a page is not
            return self._face.open(width, height, seed=seed, choice=FaceChoice(presenter, "studio"))
        return stream

    def _moving(self, presenter: str) -> bytes:
        stream = self._open(presenter, PREVIEW, PREVIEW, seed=4)
        skip = round(25 / PREVIEW_FPS)
        first = round(_SETTLE_S * 25)
        pictures = [stream.draw(_greeting(number / 25 - _SETTLE_S)) for number in range(first + round(_PREVIEW_S * 25))]
        shown = _seamless([_bgr(picture) for picture in pictures[first::skip]])
        animation = cv2.Animation()
        animation.frames = shown
        animation.durations = [round(1000 / PREVIEW_FPS)] * len(shown)
        animation.loop_count = 0
        done, webp = cv2.imencodeanimation(".webp", animation, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
        if not done:
            raise FaceError("the preview could not be encoded")
        return bytes(webp)


def _passing(error: BaseException | None) -> bool:
    """Whether it may go better the next time: all but a face's being as it is."""
    return error is not None and getattr(error, "code", "") != NO_MOUTHS


def _greeting(time: float) -> FaceCue:
    """What the face does at `time` seconds after the beginning of its preview: a nod, two syllables, a smile."""
    at = time + _SETTLE_S
    if not 0.1 <= time < 0.1 + _SPOKEN_S:
        return FaceCue(at, expression=Expression.HAPPY)
    wave = max(0.0, math.sin((time - 0.1) / _SPOKEN_S * 3 * math.pi)) * 0.8 + 0.06
    late = (time - 0.1) / _SPOKEN_S
    mouth = MouthShape(jaw_open=0.5 * wave, stretch=0.5 * wave * (1 - late), funnel=0.7 * wave * late, teeth=0.3 * wave)
    return FaceCue(
        at, mouth, Activity.SPEAKING, 0.12 * wave, Expression.HAPPY, Gesture.NOD, gesture_start=_SETTLE_S + 0.1
    )


def _seamless(pictures: list[Bgr]) -> list[Bgr]:
    """Without the last `_SEAM` pictures, which the first ones fade out of."""
    kept, rest = pictures[:-_SEAM], pictures[-_SEAM:]
    for number, picture in enumerate(rest):
        share = (number + 1) / (_SEAM + 1)
        kept[number] = np.asarray(cv2.addWeighted(picture, 1 - share, kept[number], share, 0), np.uint8)
    return kept


def _bgr(picture: Picture) -> Bgr:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_I420), np.uint8)


def _webp(picture: Bgr) -> bytes:
    done, webp = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, _STILL_QUALITY])
    if not done:
        raise FaceError("the picture could not be encoded")
    return bytes(webp)


def _png(picture: Bgr) -> bytes:
    done, png = cv2.imencode(".png", picture)
    if not done:
        raise FaceError("the picture could not be encoded")
    return bytes(png)
