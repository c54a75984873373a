"""Real speech for tests, from a synthesizer that is not ours (Debian's flite)."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


@functools.cache
def flite(text: str, voice: str = "slt", rate: int = 48_000) -> NDArray[np.int16]:
    """`text` spoken by a flite voice (slt female, rms male, kal16 …), mono int16 at `rate`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        return load(path, rate)


def load(path: Path | str, rate: int = 48_000) -> NDArray[np.int16]:
    """Any audio file as mono int16 at `rate`."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
    parts = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            parts += [part.to_ndarray().reshape(-1) for part in resampler.resample(frame)]
    parts += [part.to_ndarray().reshape(-1) for part in resampler.resample(None)]
    return np.concatenate(parts).astype(np.int16)


def resample(samples: NDArray[np.int16], source: int, target: int) -> NDArray[np.int16]:
    """Mono int16 from one rate to another."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=target)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[None, :], format="s16", layout="mono")
    frame.sample_rate = source
    parts = [part.to_ndarray().reshape(-1) for part in [*resampler.resample(frame), *resampler.resample(None)]]
    return np.concatenate(parts).astype(np.int16)
