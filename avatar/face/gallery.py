"""The folder of pictures that a session may choose as its background."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from avatar.face.backdrop import covering
from avatar.face.image_file import read_image
from core.errors import FaceError

_PICTURES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp"))
_OTHER_PICTURES = frozenset((".heic", ".heif", ".avif", ".gif", ".tif", ".tiff", ".svg"))
"""What an operator may take for pictures, too."""
_MOST = 200
"""More than anybody looks through."""
_THREADS = 4
_QUALITY = 80

logger = logging.getLogger(__name__)


class Gallery:
    """`folder` and what is in it. A session names a picture by its file's name; its place is told to nobody."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, name: str) -> str | None:
        """The path of a picture; None where there is none of that name."""
        file = self.folder / name
        try:
            return str(file) if Path(name).name == name and file.is_file() else None
        except (OSError, ValueError):  # no name that a file can have
            return None

    def thumbnails(self, side: int) -> dict[str, bytes]:
        """Each picture that can be shown, by its name, as WebP of `side` × `side` pixels, cut as behind a presenter.

        Decodes them all, in threads of its own, and takes as long. One that can't be shown is left out; a line of the
        log names it and says what to do. Raises `FaceError` for a folder that can't be read.
        """

        def draw(file: Path) -> bytes | None:
            try:
                return _thumbnail(file, side)
            except FaceError as error:
                logger.warning("not offered as a background: %s, or remove it", error)
                return None

        files = list(self._files())
        if len(files) > _MOST:
            logger.warning(
                "only the first %d of %d backgrounds are offered: a folder of fewer is better", _MOST, len(files)
            )
        with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1), "backgrounds") as pool:
            drawn = zip(files[:_MOST], pool.map(draw, files[:_MOST]), strict=True)
            return {file.name: picture for file, picture in drawn if picture is not None}

    def _files(self) -> Iterator[Path]:
        """The pictures by name, without those that nobody could choose."""
        try:
            files = sorted(self.folder.iterdir(), key=lambda file: (file.name.casefold(), file.name))
        except OSError as error:
            raise FaceError(
                f"{self.folder} can't be read ({error.strerror}): correct face.vector.backgrounds", adapter="vector"
            ) from error
        for file in files:
            kind = file.suffix.lower()
            if file.name.startswith(".") or kind not in _PICTURES | _OTHER_PICTURES or not file.is_file():
                continue
            if kind in _OTHER_PICTURES:
                why = "save it as JPEG, PNG or WebP"
            elif file.name.startswith("#"):
                why = "its name begins with # as a colour's does: rename it"
            elif not _readable(file.name):
                why = "its name is not UTF-8: rename it"
            else:
                yield file
                continue
            logger.warning("not offered as a background: %r: %s, or remove it", file.name, why)


def _readable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _thumbnail(file: Path, side: int) -> bytes:
    cut = covering(read_image(str(file), side, side), side, side)
    done, webp = cv2.imencode(".webp", np.rint(cut).astype(np.uint8), [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    if not done:
        raise FaceError(f"{file.name!r}: its thumbnail could not be encoded", adapter="vector")
    return bytes(webp)
