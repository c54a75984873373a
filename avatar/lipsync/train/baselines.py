"""What others do, to compare with: mouths by loudness, by the nearest MFCC prototype, by Gaussians over MFCCs.

`python -m avatar.lipsync.train.baselines CORPUS` fits the two that need it on the features that the lip model is
trained on, and writes `baselines.npz` beside this file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatar.lipsync.features import MEL_BANDS, LogMelStream, Mel
from avatar.lipsync.glide import Glide
from core.frames import VISEMES, Samples, VisemeFrames

PARAMETERS = Path(__file__).with_name("baselines.npz")
COEFFICIENTS = 13
"""Cepstral coefficients; the first is loudness, which the prototypes leave out."""
_DELTA = 2
"""Frames to both sides of a difference."""
_SIL, _PP, _AA = (VISEMES.index(name) for name in ("sil", "PP", "aa"))
_QUIET = 20.0
"""dB below the loudest second: the mouth is shut (loudness), or nobody speaks (prototypes)."""
_SHRINK = 0.02
"""Share of the mean variance added to every covariance."""

Baseline = Callable[[Samples], VisemeFrames]
Floats = NDArray[np.float64]


def loudness(samples: Samples) -> VisemeFrames:
    """As open as the sound is loud, in dB; lips together where it is quiet."""
    opened = np.clip(1 + (_levels(samples) - _loudest(samples)) / _QUIET, 0, 1)
    rows = np.zeros((len(opened), len(VISEMES)), np.float32)
    rows[:, _AA], rows[:, _PP] = opened, 1 - opened
    return rows


def nearest_prototype(samples: Samples) -> VisemeFrames:
    """Nearest mean of the viseme's MFCCs, in the way of wLipSync; silent below a level."""
    with np.load(PARAMETERS) as file:
        means = file["prototypes"].astype(float)
    distance = np.linalg.norm(_cepstra(samples)[:, None, 1:] - means[None], axis=2)
    distance[:, _SIL] = np.inf
    weights = np.eye(len(VISEMES))[distance.argmin(axis=1)]
    weights[_levels(samples) < _loudest(samples) - 1.5 * _QUIET] = np.eye(len(VISEMES))[_SIL]
    return _smoothed(weights)


def gaussians(samples: Samples) -> VisemeFrames:
    """Posteriors of one Gaussian per viseme over MFCCs and their differences, in the way of HeadAudio."""
    with np.load(PARAMETERS) as file:
        means, inverses = file["means"].astype(float), file["inverses"].astype(float)
        logs = file["logs"].astype(float)
    away = _with_differences(_cepstra(samples))[:, None, :] - means[None]
    scores = logs - 0.5 * np.einsum("tvi,vij,tvj->tv", away, inverses, away)
    return _smoothed(np.exp(scores - scores.max(axis=1, keepdims=True)))


BASELINES: dict[str, Baseline] = {
    "loudness": loudness,
    "MFCC, nearest prototype": nearest_prototype,
    "MFCC, Gaussians": gaussians,
}


def fit(mel: Mel, classes: NDArray[np.integer]) -> dict[str, NDArray[np.float32]]:
    """Parameters from labelled features, shapes (n, 40) and (n,)."""
    cepstra = _dct(mel.astype(float))
    features = _with_differences(cepstra)
    prototypes, means, inverses, logs = [], [], [], []
    for viseme in range(len(VISEMES)):
        mine = classes == viseme
        own = features[mine]
        covariance = np.cov(own.T)
        covariance += _SHRINK * np.diag(np.diag(covariance))
        prototypes.append(cepstra[mine][:, 1:].mean(axis=0))
        means.append(own.mean(axis=0))
        inverses.append(np.linalg.inv(covariance))
        logs.append(np.log(mine.mean()) - 0.5 * np.linalg.slogdet(covariance)[1])
    values = {"prototypes": prototypes, "means": means, "inverses": inverses, "logs": logs}
    return {name: np.array(value, np.float32) for name, value in values.items()}


def _cepstra(samples: Samples) -> Floats:
    stream = LogMelStream()
    return _dct(np.concatenate((stream.feed(samples), stream.finish())).astype(float))


def _dct(mel: Floats) -> Floats:
    """The first coefficients of the orthonormal DCT-II of log-mel bands, shape (n, COEFFICIENTS)."""
    k = np.arange(COEFFICIENTS)[:, None]
    basis = np.cos(np.pi * k * (np.arange(MEL_BANDS) + 0.5) / MEL_BANDS) * np.sqrt(2 / MEL_BANDS)
    basis[0] /= np.sqrt(2)
    return np.asarray(mel @ basis.T)


def _with_differences(cepstra: Floats) -> Floats:
    padded = np.pad(cepstra, ((_DELTA, _DELTA), (0, 0)), mode="edge") if len(cepstra) else cepstra
    difference = padded[2 * _DELTA :] - padded[: len(padded) - 2 * _DELTA]
    return np.concatenate((cepstra, difference[: len(cepstra)]), axis=1)


def _levels(samples: Samples) -> Floats:
    """Loudness in dBFS of 25 ms around each frame."""
    hop = 160
    count = -(-len(samples) // hop)
    x = np.pad(samples.astype(float) / 32768, (120, count * hop - len(samples) + 120))
    power = np.lib.stride_tricks.sliding_window_view(x**2, 400)[::hop].mean(axis=1)[:count]
    return np.asarray(10 * np.log10(power + 1e-9))


def _loudest(samples: Samples) -> float:
    """Level of the louder frames of a clip, dBFS: these baselines may look at all of it."""
    levels = _levels(samples)
    return float(np.percentile(levels, 95)) if len(levels) else 0.0


def _smoothed(weights: Floats) -> VisemeFrames:
    """Rows of sum 1, smoothed as ours are."""
    glide = Glide()
    rows = np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
    return np.concatenate((glide.feed(rows), glide.finish()))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m avatar.lipsync.train.baselines", description=__doc__)
    parser.add_argument("corpus", type=Path, help="folder that `python -m avatar.lipsync.train` made")
    given = parser.parse_args()
    mels, classes = [], []
    for path in sorted(given.corpus.glob("voice-*.npz")):
        with np.load(path) as file:
            mels.append(file["mel"][:20_000].astype(np.float32))
            classes.append(file["classes"][:20_000])
    np.savez_compressed(PARAMETERS, **fit(np.concatenate(mels), np.concatenate(classes)))  # type: ignore[arg-type]
    print(f"wrote {PARAMETERS}")


if __name__ == "__main__":
    main()
