"""A presenter's mouths, eyelids and moods as pieces of pictures, for a page that puts the face together itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.lipsync.mouth import mouth_of
from core.errors import FaceError
from core.frames import VISEMES, Expression, FaceChoice, FaceCue, MouthShape
from core.stages import Face, FaceStream
from core.visemes import arkit_of

IMPORTANCE = {
    "jawOpen": 4.0, "mouthClose": 5.0, "mouthFunnel": 1.6, "mouthPucker": 1.7, "mouthStretchLeft": 1.0,
    "mouthPressLeft": 0.8, "mouthRollLower": 1.7, "mouthUpperUpLeft": 2.0, "tongueOut": 1.5,
}  # fmt: skip
"""How much of the picture each coefficient changes, by which the nearest mouth is chosen: measured on the embedded
presenters, and more for the lips' contact, whose lack is seen at once."""
NO_MOUTHS = "no_mouths"
"""Code of the error of a face that can't be put together from pieces."""
SHUT = (0.0, 0.17, 0.34, 0.5, 0.67, 0.84, 1.0)
"""Eyelids that are drawn."""

_MOUTHS = 64
_MOOD_MOUTHS = 32
"""A mood is shown for less long, and there are five."""
_COLUMNS = 8
_STEP_S = 1e-6
"""From cue to cue: time must pass, and nothing may move by it."""
_SEEN = 10
"""A spot of `_SPOT` pixels that changes by less, of 255, is the same."""
_SPOT = 5
_MARGIN = 6
"""Around what changes, for the page to blend over; pixels."""
_LARGEST = 0.4
"""Part of the picture: a face that changes more for a mouth is not put together from pieces."""
_QUALITY = 80

Bgra = NDArray[np.uint8]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Mouths:
    """An atlas. `image` is a WebP with alpha; `places` says what is where in it, as told to pages."""

    image: bytes
    places: dict[str, Any]


def draw_mouths(face: Face, presenter: str, width: int, height: int, mood: Expression = Expression.NEUTRAL) -> Mouths:
    """The mouths of `mouths()` and the lids of `SHUT`, cut out of pictures of `width` × `height`.

    In a mood other than neutral there are fewer mouths, and the whole face ("face"), which they belong on. CPU-bound,
    some 0.5 s. Raises `FaceError`, code "no_mouths" for a face whose mouth moves the whole picture, or without moods.
    """
    strip = _Strip(face, presenter, width, height)
    calm = mood is Expression.NEUTRAL
    shapes = mouths() if calm else mouths()[:_MOOD_MOUTHS]
    neutral = strip.draw(MouthShape())
    spoken = [strip.draw(shape, mood=mood) for shape in shapes]
    blinked = [strip.draw(MouthShape(), shut, mood) for shut in SHUT]
    eyes = _apart(_changed(blinked), width, height)
    mouth = _apart(_under(_changed(spoken), eyes), width, height)
    worn = None if calm else _apart(_changed([neutral, spoken[0]]), width, height)
    if mouth is None or (worn is None and not calm):
        raise FaceError(f"this face can't be drawn in pieces ({mood}): too much moves, or nothing", code=NO_MOUTHS)
    rows = [_rows([_cut(picture, mouth) for picture in spoken], _COLUMNS)]
    places: dict[str, Any] = {
        "size": [width, height],
        "names": list(IMPORTANCE),
        "importance": list(IMPORTANCE.values()),
        "mouth": _part(mouth, _COLUMNS, 0, "at", [_coordinates(shape) for shape in shapes]),
        "eyes": None,
        "face": None,
    }
    if eyes is not None:
        columns = max(1, _COLUMNS * mouth[2] // eyes[2])
        places["eyes"] = _part(eyes, columns, _height(rows), "shut", SHUT)
        rows.append(_rows([_cut(picture, eyes) for picture in blinked], columns))
    if worn is not None:
        places["face"] = {"box": list(worn), "from": [0, _height(rows)]}
        rows.append(_cut(spoken[0], worn))
    return Mouths(_webp(_below(rows)), places)


def _part(box: Box, columns: int, top: int, name: str, values: Sequence[Any]) -> dict[str, Any]:
    """What pages are told of tiles that lie in `columns` from `top` on, with a value each."""
    _, _, width, height = box
    tiles = [
        {"from": [number % columns * width, top + number // columns * height], name: value}
        for number, value in enumerate(values)
    ]
    return {"box": list(box), "tiles": tiles}


def _apart(box: Box | None, width: int, height: int) -> Box | None:
    """The box, unless it is too large a part of the picture."""
    return box if box is not None and box[2] * box[3] <= _LARGEST * width * height else None


def _height(rows: Sequence[Bgra]) -> int:
    return sum(row.shape[0] for row in rows)


@cache
def mouths() -> tuple[MouthShape, ...]:
    """The mouths of an atlas: the visemes, rest first, and of the mixtures of two those that lie furthest apart."""
    mixtures = list(_mixtures())
    scale = np.array(list(IMPORTANCE.values()))
    places = np.array([_coordinates(shape) for shape in mixtures]) * scale
    chosen = list(range(len(VISEMES)))
    distance = np.linalg.norm(places[:, None] - places[chosen], axis=2).min(axis=1)
    while len(chosen) < _MOUTHS:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(places - places[chosen[-1]], axis=1))
    return tuple(mixtures[number] for number in chosen)


def _mixtures() -> Iterator[MouthShape]:
    pure = np.eye(len(VISEMES), dtype=np.float32)
    for row in pure:
        yield mouth_of(row)
    for one, other in combinations(pure, 2):
        for share in (0.2, 0.4, 0.6, 0.8):
            yield mouth_of(np.asarray(one * share + other * (1 - share), np.float32))


def _coordinates(shape: MouthShape) -> list[float]:
    values = arkit_of(shape)
    return [round(values[name], 3) for name in IMPORTANCE]


class _Strip:
    """One face that holds still and only does what it is told."""

    def __init__(self, face: Face, presenter: str, width: int, height: int) -> None:
        self._size = (width, height)
        self._stream = self._open(face, presenter)
        self._count = 0

    def _open(self, face: Face, presenter: str) -> FaceStream:
        """Cut out where the face can be: what is behind it shows through at the jaw."""
        try:
            return face.open(*self._size, choice=FaceChoice(presenter, "transparent"))
        except FaceError as error:
            if error.code != "unknown_background":
                raise
            return face.open(*self._size, choice=FaceChoice(presenter))

    def draw(self, mouth: MouthShape, shut: float = 0.0, mood: Expression = Expression.NEUTRAL) -> Bgra:
        """B G R A, shape (height, width, 4)."""
        self._count += 1
        worn = mood is not Expression.NEUTRAL
        cue = FaceCue(self._count * _STEP_S, mouth, expression=mood, shut=shut, worn=worn)
        picture = self._stream.draw(cue)
        bgr = cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_I420)
        width, height = self._size
        matte = bgr[:, width:, 1] if bgr.shape[1] == 2 * width else np.full((height, width), 255, np.uint8)
        return np.asarray(np.dstack([bgr[:, :width], matte]), np.uint8)


def _changed(pictures: Sequence[Bgra]) -> Box | None:
    """x, y, width, height around all pixels that are not the same in all pictures; None for none."""
    low, high = pictures[0].copy(), pictures[0].copy()
    for picture in pictures[1:]:
        np.minimum(low, picture, out=low)
        np.maximum(high, picture, out=high)
    # what is hidden by the matte does not count
    change = (high - low).max(axis=2) * (high[..., 3] / np.float32(255))
    rows, columns = np.nonzero(cv2.blur(change, (_SPOT, _SPOT)) >= _SEEN)
    if not len(rows):
        return None
    height, width = low.shape[:2]
    left, top = max(0, int(columns.min()) - _MARGIN), max(0, int(rows.min()) - _MARGIN)
    right, bottom = min(width, int(columns.max()) + 1 + _MARGIN), min(height, int(rows.max()) + 1 + _MARGIN)
    return left, top, right - left, bottom - top


def _under(mouth: Box | None, eyes: Box | None) -> Box | None:
    """The mouth without the little that moves with it between the eyes: no spot belongs to both."""
    if mouth is None or eyes is None:
        return mouth
    top = max(mouth[1], eyes[1] + eyes[3])
    return mouth[0], top, mouth[2], max(2, mouth[1] + mouth[3] - top)


def _cut(picture: Bgra, box: Box) -> Bgra:
    x, y, width, height = box
    return picture[y : y + height, x : x + width]


def _rows(tiles: Sequence[Bgra], columns: int) -> Bgra:
    blank = np.zeros_like(tiles[0])
    filled = [*tiles, *[blank] * (-len(tiles) % columns)]
    return np.vstack([np.hstack(filled[start : start + columns]) for start in range(0, len(filled), columns)])


def _below(parts: Sequence[Bgra]) -> Bgra:
    width = max(part.shape[1] for part in parts)
    return np.vstack([np.pad(part, ((0, 0), (0, width - part.shape[1]), (0, 0))) for part in parts])


def _webp(picture: Bgra) -> bytes:
    done, webp = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    if not done:
        raise FaceError("the mouths could not be encoded")
    return bytes(webp)
