"""Values kept within limits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NONE, _ALL = np.float32(0), np.float32(1)
"""Of the arrays' own type: others would be converted each time."""


def unit(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """`values`, which nobody else needs, cut to 0..1."""
    return np.asarray(values.clip(_NONE, _ALL, out=values), np.float32)
