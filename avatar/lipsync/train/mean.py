"""The mean of two trainings' weights: `python -m avatar.lipsync.train.mean A.npz B.npz`.

Good where B went on from A: then the mean is often better than both (Wortsman et al. 2022, "Model soups").
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from avatar.lipsync.network import WEIGHTS
from avatar.lipsync.train.export import Arrays, read, save


def mean_of(first: Arrays, second: Arrays) -> Arrays:
    """Halfway between weights of the same shapes. Raises `ValueError` when they differ in shape."""
    if {name: a.shape for name, a in first.items()} != {name: a.shape for name, a in second.items()}:
        raise ValueError("the two models have different shapes")
    return {name: np.asarray((a + second[name]) / 2, np.float32) for name, a in first.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m avatar.lipsync.train.mean", description=__doc__)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="file of the weights (default: the program's own)")
    given = parser.parse_args()
    save(mean_of(read(given.first), read(given.second)), given.out)


if __name__ == "__main__":
    main()
