"""opuslib with a libopus that is there: the system's, else the one inside PyAV's wheel."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import logging
import threading
from functools import cache
from pathlib import Path
from typing import Any

from core.errors import AdapterError

_log = logging.getLogger(__name__)

_FOLDERS = ("../av.libs", ".dylibs")
"""Beside or inside the package `av`: where wheels of Linux and Windows, and of macOS, keep their libraries."""
_NAMES = ("libopus-*.so*", "libopus.*dylib", "libopus-*.dll", "opus-*.dll")
_lock = threading.Lock()


def load_opus() -> Any:
    """The package `opuslib`, ready to use. The first call may take some 100 ms (the system is asked where libopus is).

    Raises `AdapterError` when there is no libopus, or no opuslib; what is installed later is found at the next start.
    """
    with _lock:
        opus = _found()
    if opus is None:
        raise AdapterError(
            "Opus can't be used: run `pip install --force-reinstall opuslib av`, or install your system's libopus "
            "(Debian: libopus0, macOS: brew install opus)",
            adapter="opus",
            code="opus_missing",
        )
    return opus


@cache
def _found() -> Any | None:
    """Looked for once: where there is none each connection would have to wait as long."""
    find = ctypes.util.find_library
    path = find("opus") or bundled_opus()
    if path is None:
        _log.warning("Opus can't be used: there is no libopus")
        return None
    # opuslib asks once, while it is imported
    ctypes.util.find_library = lambda name: path if name == "opus" else find(name)
    try:
        import opuslib
        import opuslib.api.decoder
        import opuslib.api.encoder
    except (ImportError, OSError, AttributeError) as error:
        _log.warning("Opus can't be used: %s", type(error).__name__)
        return None
    finally:
        ctypes.util.find_library = find
    # its argument is variadic, which some processors pass elsewhere than others
    opuslib.api.encoder.libopus_ctl.argtypes = (opuslib.api.encoder.EncoderPointer, ctypes.c_int)
    return opuslib


def bundled_opus() -> str | None:
    """Path of the libopus that PyAV's wheel brings, None where it brings none."""
    spec = importlib.util.find_spec("av")
    if spec is None or not spec.submodule_search_locations:
        return None
    package = Path(spec.submodule_search_locations[0])
    for folder in _FOLDERS:
        for name in _NAMES:
            for path in sorted((package / folder).resolve().glob(name)):
                return str(path)
    return None
