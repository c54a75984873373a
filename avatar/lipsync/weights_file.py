"""Weights of the lips' networks, as .npz files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import LipSyncError


def read_weights(path: Path, what: str, made_by: str) -> dict[str, NDArray[np.generic]]:
    """All arrays of an .npz file, by name.

    Raises `LipSyncError` where it can't be read: that of `what` could not be, and that `made_by` makes it anew.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise LipSyncError(
            f"the {what} could not be read from {path}: {error}. Reinstall, or run `python -m {made_by}`.",
            adapter="audio",
        ) from error
