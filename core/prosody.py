"""Whether a voice broke off on a held sound: the "um…" and "嗯…" of somebody who still looks for words. Pure.

Pitch by normalised autocorrelation (Boersma 1993, without its path finding): good enough to tell a held note from
a falling one. Costs about a millisecond, once per pause.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.frames import LISTEN_RATE, Samples

WINDOW_S = 0.6
"""How much sound before the pause is looked at."""
_FRAME = LISTEN_RATE * 40 // 1000
_HOP = LISTEN_RATE // 100
_LOWEST_HZ, _HIGHEST_HZ = 70, 400
_VOICED = 0.55
_OCTAVE = 0.03
"""Taken off the strength per octave of lag: a period also fits twice."""
_QUIET_DB = 25.0
_HELD_S = 0.3
_FALL = -0.4
"""Semitones from the beginning to the end of a held sound below which it is an ending."""
_WOBBLE = 1.5
"""Semitones within a held sound; words move more."""
_SWELL_DB = 5.0
"""Level within a held sound may vary this much; syllables vary more."""
_CHANGE = 0.25
"""Mean change of the spectrum per 10 ms within a held sound, as a share of its size; speech changes more."""


def hesitates(samples: Samples) -> bool:
    """Whether `samples` (int16 at `LISTEN_RATE`, up to where the voice broke off) end in a held or rising sound."""
    frames, voiced = _voiced(samples[-int(WINDOW_S * LISTEN_RATE) :])
    run = _last_run(voiced)
    if (run.stop - run.start) * _HOP / LISTEN_RATE < _HELD_S:
        return False
    held = frames[run.stop - int(_HELD_S * LISTEN_RATE / _HOP) : run.stop - 3]  # the last frames fade
    level = 10 * np.log10(np.mean(held**2, axis=1) + 1e-12)
    spectrum = np.abs(np.fft.rfft(held * np.hanning(_FRAME), axis=1))
    spectrum /= np.linalg.norm(spectrum, axis=1, keepdims=True) + 1e-9
    change = float(np.mean(np.linalg.norm(np.diff(spectrum, axis=0), axis=1)))
    pitch = 12 * np.log2(_pitch(held)[0])
    fall = float(np.median(pitch[-5:]) - np.median(pitch[:5]))
    steady = np.ptp(level) < _SWELL_DB and change < _CHANGE
    return bool(steady and fall > _FALL and np.percentile(pitch, 90) - np.percentile(pitch, 10) < _WOBBLE)


def _voiced(samples: Samples) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Overlapping frames, shape (n, _FRAME), and which of them are voiced, shape (n,)."""
    if len(samples) < _FRAME:
        return np.zeros((0, _FRAME)), np.zeros(0, bool)
    wide = samples.astype(np.float64) / 32768
    frames = np.lib.stride_tricks.sliding_window_view(wide, _FRAME)[::_HOP]
    level = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)
    voiced = (_pitch(frames)[1] > _VOICED) & (level > level.max() - _QUIET_DB)
    return frames, voiced


def _pitch(frames: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pitch in Hz and how periodic it is (0..1) of each frame."""
    size = 2 * _FRAME
    window = np.hanning(_FRAME)
    shape = np.fft.irfft(np.abs(np.fft.rfft(window, size)) ** 2)[:_FRAME]
    power = np.abs(np.fft.rfft((frames - frames.mean(axis=1, keepdims=True)) * window, size, axis=1)) ** 2
    lags = np.fft.irfft(power, axis=1)[:, :_FRAME]
    lo, hi = LISTEN_RATE // _HIGHEST_HZ, LISTEN_RATE // _LOWEST_HZ
    strength = lags[:, lo:hi] / (shape[lo:hi] / shape[0]) / (lags[:, :1] + 1e-9)
    best = (strength - _OCTAVE * np.log2(np.arange(lo, hi))).argmax(axis=1)
    return LISTEN_RATE / (best + lo), strength.max(axis=1)


def _last_run(voiced: NDArray[np.bool_]) -> slice:
    """The last stretch of voiced frames, if it lasts until 150 ms before the end; a gap of one frame is bridged."""
    found = np.flatnonzero(voiced)
    if not len(found) or len(voiced) - found[-1] > 15:
        return slice(0, 0)
    breaks = np.flatnonzero(np.diff(found) > 2)
    return slice(int(found[breaks[-1] + 1]) if len(breaks) else int(found[0]), int(found[-1]) + 1)
