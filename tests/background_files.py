"""A folder of pictures as an operator may fill it: good ones, and what else gets into a folder."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

COLOURS = {
    "my_holiday-photo.jpg": (200, 120, 30),
    "Glass.png": (40, 180, 60),
    "wall.webp": (60, 60, 190),
    "By the sea & co.jpg": (170, 170, 40),
    "海边 日落.png": (40, 130, 230),
}
"""The good ones, with the colour (B G R) of their middle."""
BAD = {
    "broken.jpg": "can't be read",
    "text.png": "can't be read",
    "empty.bmp": "can't be read",
    "huge.png": "make it smaller",
    "IMG_1.HEIC": "save it as JPEG",
    "#1.png": "rename it",
    os.fsdecode(b"caf\xe9.png"): "not UTF-8: rename it",
}
"""What an operator is told about, and what is said."""


def scene(name: str, width: int = 900, height: int = 600) -> NDArray[np.uint8]:
    """Black at the left and the right, where a square leaves it out; the colour in the middle, a little lively."""
    picture = np.zeros((height, width, 3), np.uint8)
    part = slice((width - height) // 2, (width + height) // 2)
    noise = np.random.default_rng(len(name)).integers(-9, 10, (height, height, 1))
    picture[:, part] = np.clip(np.array(COLOURS[name]) + noise, 0, 255)
    return picture


def fill(folder: Path) -> Path:
    """Put all of it into a folder."""
    folder.mkdir(exist_ok=True)
    for name in COLOURS:
        picture = scene(name)
        if name == "Glass.png":  # red where nobody is to see it
            alpha = np.full(picture.shape[:2], 255, np.uint8)
            picture[:200], alpha[:200] = (0, 0, 255), 0
            picture = np.dstack([picture, alpha])
        assert cv2.imwrite(str(folder / name), picture)
    whole = (folder / "my_holiday-photo.jpg").read_bytes()
    (folder / "broken.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("no picture")
    (folder / "empty.bmp").touch()
    (folder / "huge.png").write_bytes(blank_png(20_000, 20_000))
    (folder / "IMG_1.HEIC").write_bytes(b"a phone's")
    for name in BAD:
        if "rename it" in BAD[name]:
            (folder / name).write_bytes((folder / "海边 日落.png").read_bytes())
    (folder / ".hidden.png").write_text("another system's")
    (folder / "notes.txt").write_text("for the operator")
    (folder / "folder.png").mkdir(exist_ok=True)
    (folder.parent / "private.png").write_bytes((folder / "Glass.png").read_bytes())
    return folder


def blank_png(width: int, height: int) -> bytes:
    """A PNG that says it is so large; black, and as small a file as that gives."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
