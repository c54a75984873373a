"""Files of clips: pictures whose brightness is their number, videos of them, and tones."""

from __future__ import annotations

import wave
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

RATE = 48_000


def grey(level: int, width: int = 64, height: int = 48) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def folder(path: Path, levels: list[int], *, suffix: str = ".png", size: tuple[int, int] = (64, 48)) -> Path:
    """Pictures 0, 1, … of these grey levels."""
    path.mkdir(parents=True, exist_ok=True)
    for number, level in enumerate(levels):
        cv2.imwrite(str(path / f"{number}{suffix}"), grey(level, *size))
    return path


def tone(path: Path, seconds: float, *, hertz: float = 440, level: int = 9000, rate: int = RATE) -> Path:
    t = np.arange(int(seconds * rate)) / rate
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((level * np.sin(2 * np.pi * hertz * t)).astype("<i2").tobytes())
    return path


def video(
    path: Path, levels: list[int], *, fps: int = 25, sound_s: float = 0.0, size: tuple[int, int] = (64, 48)
) -> Path:
    """A film of these grey levels, with a tone if it is to sound."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=fps, options={"qscale": "1"})
        pictures.width, pictures.height, pictures.pix_fmt = *size, "yuv420p"
        audio = container.add_stream("aac", rate=RATE, layout="mono") if sound_s else None
        for level in levels:
            frame = av.VideoFrame.from_ndarray(grey(level, *size), format="bgr24")
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode())
        if audio is not None:
            count = int(sound_s * RATE) // 1024
            for number in range(count):
                t = (np.arange(1024) + 1024 * number) / RATE
                samples = (0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
                sound = av.AudioFrame.from_ndarray(samples[None, :], format="fltp", layout="mono")
                sound.sample_rate, sound.pts, sound.time_base = RATE, 1024 * number, Fraction(1, RATE)
                container.mux(audio.encode(sound))
            container.mux(audio.encode())
    return path
