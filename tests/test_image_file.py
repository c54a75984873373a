"""Pictures in files: their size is known before they are decoded, and they are decoded as they are meant."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar.face.image_file import MOST_PIXELS, header_of, read_image
from core.errors import FaceError
from tests.background_files import blank_png

EXIF_TURNED = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
"""Orientation 6: a quarter to the right."""


def encoded(kind: str, picture: np.ndarray, *options: int) -> bytes:
    done, data = cv2.imencode(f".{kind}", picture, list(options))
    assert done
    return data.tobytes()


def picture(*shape: int) -> np.ndarray:
    """Smooth, the left half darker."""
    seen = np.full(shape, 180, np.uint8)
    seen[:, : shape[1] // 2] = 60
    return seen


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("png", ()),
        ("jpg", ()),
        ("jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
        ("webp", (cv2.IMWRITE_WEBP_QUALITY, 80)),
        ("webp", (cv2.IMWRITE_WEBP_QUALITY, 101)),  # lossless
        ("bmp", ()),
    ],
)
def test_the_size_is_that_of_the_decoded_picture(kind: str, options: tuple[int, ...], channels: int) -> None:
    shape = (37, 150) if channels == 1 else (37, 150, channels)
    data = encoded(kind, picture(*shape), *options)
    header = header_of(data)
    assert header is not None
    assert (header.width, header.height) == (150, 37)
    assert header.jpeg == (kind == "jpg")
    assert header.whole


def test_bitmaps_of_every_age_have_a_size(tmp_path: Path) -> None:
    seen = picture(37, 150, 3)
    new = encoded("bmp", seen)
    pixels = new[int.from_bytes(new[10:14], "little") :]
    upside_down = new[:22] + (-37).to_bytes(4, "little", signed=True) + new[26:]
    old = struct.pack("<2sIHHIIHHHH", b"BM", 26 + len(pixels), 0, 0, 26, 12, 150, 37, 1, 24) + pixels
    for data in (new, upside_down, old):
        header = header_of(data)
        assert header is not None
        assert (header.width, header.height) == (150, 37)
        assert np.array_equal(read_image(place(tmp_path, data)), seen)


def place(tmp_path: Path, data: bytes) -> str:
    (tmp_path / "file.png").write_bytes(data)
    return str(tmp_path / "file.png")


def with_exif(jpeg: bytes, exif: bytes) -> bytes:
    return jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:]


def test_a_large_jpeg_is_decoded_small_and_the_right_way_up(tmp_path: Path) -> None:
    jpeg = with_exif(encoded("jpg", picture(1200, 1600, 3)), EXIF_TURNED)
    whole = read_image(place(tmp_path, jpeg))
    assert whole.shape == (1600, 1200, 3)
    assert whole[100, 600, 0] < 80 < 160 < whole[1500, 600, 0], "the dark half is above"
    for wanted, rows in ((700, 1600), (300, 800), (96, 400), (1, 200)):
        small = read_image(place(tmp_path, jpeg), wanted, wanted)
        assert small.shape == (rows, rows * 3 // 4, 3)
        assert np.abs(small[rows // 8, 40].astype(int) - 60).max() < 6


@pytest.mark.parametrize(("kind", "depth"), [("png", np.uint8), ("png", np.uint16), ("webp", np.uint8)])
def test_what_is_transparent_is_white(tmp_path: Path, kind: str, depth: type) -> None:
    one = 65535 if depth is np.uint16 else 255
    seen = np.zeros((30, 40, 4), depth)
    seen[..., 2] = one
    seen[10:20, :, 3], seen[20:, :, 3] = one // 2, one
    shown = read_image(place(tmp_path, encoded(kind, seen)))
    assert (shown[[2, 15, 25], 20] // 4).tolist() == [[63, 63, 63], [32, 32, 63], [0, 0, 63]]


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_grey_and_deep_pictures_are_shown(tmp_path: Path, depth: type) -> None:
    seen = np.full((30, 40), 65535 if depth is np.uint16 else 255, depth)
    seen[:15] //= 2
    shown = read_image(place(tmp_path, encoded("png", seen)))
    assert shown.shape == (30, 40, 3)
    assert (shown[[2, 25], 20] // 4).tolist() == [[31, 31, 31], [63, 63, 63]]


def test_a_jpeg_that_breaks_off_is_refused_though_it_holds_a_whole_small_one(tmp_path: Path) -> None:
    inner = encoded("jpg", picture(30, 40, 3))
    jpeg = with_exif(encoded("jpg", picture(300, 400, 3)), b"Exif\0\0" + inner)
    assert read_image(place(tmp_path, jpeg + b"a film that a phone appends")).shape == (300, 400, 3)
    for part in (len(jpeg) - 2, len(jpeg) // 2, 400):
        with pytest.raises(FaceError, match="save it anew"):
            read_image(place(tmp_path, jpeg[:part]))


def test_a_picture_that_is_too_large_is_not_decoded(tmp_path: Path) -> None:
    side = round(MOST_PIXELS**0.5)
    with pytest.raises(
        FaceError, match=r"'file\.png' has 8001 × 8001 pixels: make it smaller, 64 million at most"
    ) as told:
        read_image(place(tmp_path, blank_png(side + 1, side + 1)))
    assert str(tmp_path) not in str(told.value)
    assert read_image(place(tmp_path, blank_png(100, 7))).shape == (7, 100, 3)


@given(
    st.sampled_from((b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"RIFF\0\0\0\0WEBPVP8X", b"RIFF\0\0\0\0WEBPVP8 ", b"BM")),
    st.binary(max_size=60),
)
def test_any_bytes_have_a_size_or_none(begin: bytes, rest: bytes) -> None:
    header = header_of(begin + rest)
    assert header is None or header.width * header.height >= 0
