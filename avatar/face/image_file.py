"""Pictures in files: what they are is looked at before they are decoded, and no more is decoded than is needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import FaceError

MOST_PIXELS = 64_000_000
"""Of a picture; decoded, that is 192 MB."""
_MOST_BYTES = 4 * MOST_PIXELS + 1024
"""Of a file; no picture of so many pixels needs more."""
_REDUCED = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))
_NO_FRAME = frozenset((0xC4, 0xC8, 0xCC))
"""JPEG's markers C0 to CF that begin no frame."""

Bgr = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of its picture."""

    width: int
    height: int
    alpha: bool = False
    jpeg: bool = False
    whole: bool = True
    """False for a JPEG that breaks off, which would be decoded, grey from there on."""


def read_image(path: str, width: int = 0, height: int = 0) -> Bgr:
    """An image file as B G R uint8 (h, w, 3); what is transparent in it is white.

    With `width` and `height`, a JPEG is decoded at half, a quarter or an eighth of its size where that leaves twice as
    many pixels each way: so much is decoded much faster. Raises `FaceError`, which names the file, not its place.
    """
    image = None
    try:
        if Path(path).stat().st_size <= _MOST_BYTES:
            image = _image(path, Path(path).read_bytes(), width, height)
    except (OSError, cv2.error):
        pass
    if image is None:
        raise _refusal(path, "can't be read as a picture: save it anew as JPEG, PNG or WebP")
    return image


def _image(path: str, data: bytes, width: int, height: int) -> Bgr | None:
    header = header_of(data)
    if header is None:
        return _decoded(data, cv2.IMREAD_COLOR)
    if header.width * header.height > MOST_PIXELS:
        size, most = f"{header.width} × {header.height} pixels", f"{MOST_PIXELS // 10**6} million"
        raise _refusal(path, f"has {size}: make it smaller, {most} at most")
    return _decoded(data, _way(header, width, height)) if header.whole else None


def header_of(data: bytes) -> Header | None:
    """Of a PNG, JPEG, WebP or BMP file; None for any other and for a broken one."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            alpha = data[25] in (4, 6) or b"tRNS" in data[: max(0, data.find(b"IDAT"))]
            return Header(_number(data, 16, 4, "big"), _number(data, 20, 4, "big"), alpha)
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
        if data.startswith(b"BM"):
            if _number(data, 14, 4) == 12:  # OS/2's
                return Header(_number(data, 18, 2), _number(data, 20, 2))
            height = _number(data, 22, 4)
            return Header(_number(data, 18, 4), min(height, 2**32 - height))  # negative: from the top
    except IndexError:
        pass
    return None


def _jpeg(data: bytes) -> Header | None:
    """ITU-T T.81, B.1 and B.2: segments up to the frame's."""
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # filling
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            # entropy-coded data has no FF D9 in it; what cameras append after it may be anything
            whole = data.find(b"\xff\xd9", at) >= 0
            return Header(_number(data, at + 7, 2, "big"), _number(data, at + 5, 2, "big"), jpeg=True, whole=whole)
        else:
            at += 2 + _number(data, at + 2, 2, "big")
    return None


def _webp(data: bytes) -> Header | None:
    """RFC 9649, 2.5 to 2.7 and 3.4."""
    kind = data[12:16]
    if kind == b"VP8X":
        return Header(_number(data, 24, 3) + 1, _number(data, 27, 3) + 1, bool(data[20] & 16))
    if kind == b"VP8L":
        bits = _number(data, 21, 4)
        return Header((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1))
    if kind == b"VP8 ":
        return Header(_number(data, 26, 2) & 0x3FFF, _number(data, 28, 2) & 0x3FFF)
    return None


def _number(data: bytes, at: int, size: int, order: str = "little") -> int:
    """Raises `IndexError` beyond the end."""
    if at + size > len(data):
        raise IndexError(at)
    return int.from_bytes(data[at : at + size], "big" if order == "big" else "little")


def _way(header: Header, width: int, height: int) -> int:
    """How to decode it."""
    if header.jpeg and width and height:
        # either way round: the file may say that it is to be turned
        least, wanted = min(header.width, header.height), 2 * max(width, height)
        return next((way for part, way in _REDUCED if least // part >= wanted), cv2.IMREAD_COLOR)
    return cv2.IMREAD_UNCHANGED if header.alpha else cv2.IMREAD_COLOR


def _decoded(data: bytes, way: int) -> Bgr | None:
    """None, or `cv2.error`, for what is no picture."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), way) if data else None
    return None if image is None else _opaque(np.asarray(image))


def _opaque(image: NDArray[np.generic]) -> Bgr:
    """On white, B G R uint8."""
    bits = np.right_shift(image.view(np.uint16), 8).astype(np.uint8) if image.dtype == np.uint16 else image
    picture = np.asarray(bits, np.uint8)
    if picture.ndim == 2:
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), np.uint8)
    if picture.shape[2] == 3:
        return picture
    alpha = picture[..., 3:].astype(np.uint16)
    over = picture[..., :3] * alpha + 255 * (255 - alpha) + 127
    return np.asarray(over // 255, np.uint8)


def _refusal(path: str, why: str) -> FaceError:
    return FaceError(f"{Path(path).name!r} {why}", adapter="vector", code="unknown_background")
