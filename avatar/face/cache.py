"""Rasterised drawings kept on disk: a presenter's blurs and strands of hair take seconds to draw, once."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

WORTH_KEEPING_S = 0.05
MOST_FILES = 100


def cache_folder() -> Path:
    """Where the user's caches belong: `$XDG_CACHE_HOME/eman`, or what the system uses instead."""
    home = Path.home()
    system = {"win32": home / "AppData" / "Local", "darwin": home / "Library" / "Caches"}
    return Path(os.environ.get("XDG_CACHE_HOME") or system.get(sys.platform, home / ".cache")) / "eman"


def remembered(text: str, width: int, height: int, draw: Callable[[], bytes], folder: Path | None = None) -> bytes:
    """The PNG of a drawing: from the cache, else by `draw()`, kept when that took long.

    The key is the drawing itself, so an edited one is drawn anew. A cache that can't be read or written is no error.
    """
    place = folder or cache_folder()
    file = place / f"{hashlib.sha256(f'{width}x{height} {text}'.encode()).hexdigest()[:32]}.png"
    try:
        return file.read_bytes()
    except OSError:
        began = time.monotonic()
        png = draw()
        if time.monotonic() - began > WORTH_KEEPING_S:
            _keep(file, png)
        return png


def _keep(file: Path, png: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as part:
            part.write(png)
        os.replace(part.name, file)  # another process may be writing the same drawing
        oldest_first = sorted(file.parent.glob("*.png"), key=lambda path: path.stat().st_mtime)
        for old in oldest_first[:-MOST_FILES]:
            old.unlink()
    except OSError:
        return
