"""One labelled piece of speech, and how it is kept on disk."""

from __future__ import annotations

import json
import wave
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np

from avatar.lipsync.labels import Segment, Timed, segments_of
from core.frames import LISTEN_RATE, Samples


@dataclass(frozen=True, slots=True)
class Speech:
    """Sound at `LISTEN_RATE` with its viseme segments. `voice` is the name of who speaks."""

    text: str
    samples: Samples
    segments: list[Segment]
    voice: str = ""
    phones: list[tuple[str, float, float]] = field(default_factory=list)

    @staticmethod
    def of(text: str, samples: Samples, phones: list[Timed], voice: str) -> Speech:
        """From phones in IPA."""
        kept = [(phone.symbol, round(phone.start, 4), round(phone.end, 4)) for phone in phones]
        return Speech(text, samples, segments_of(phones), voice, kept)

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.samples) / LISTEN_RATE

    def write(self, folder: Path, name: str) -> None:
        """As NAME.wav and NAME.json, the form that `avatar.lipsync.evaluate` reads."""
        folder.mkdir(parents=True, exist_ok=True)
        with wave.open(str(folder / f"{name}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(LISTEN_RATE)
            file.writeframes(self.samples.tobytes())
        segments = [[round(start, 4), round(end, 4), viseme] for start, end, viseme in self.segments]
        record = {"text": self.text, "voice": self.voice, "segments": segments}
        (folder / f"{name}.json").write_text(json.dumps(record, ensure_ascii=False), "utf-8")


def resampled(samples: Samples, rate: int) -> Samples:
    """`samples` at `LISTEN_RATE`."""
    if rate == LISTEN_RATE or not len(samples):
        return samples
    resampler = av.AudioResampler(format="s16", layout="mono", rate=LISTEN_RATE)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None, :]), format="s16", layout="mono")
    frame.sample_rate = rate
    parts = [out.to_ndarray()[0] for piece in (frame, None) for out in resampler.resample(piece)]
    wanted = -(-len(samples) * LISTEN_RATE // rate)
    whole = np.concatenate(parts)[:wanted]
    return np.asarray(np.pad(whole, (0, wanted - len(whole))), np.int16)


def read_wave(path: Path) -> Samples:
    """A mono 16-bit wave file at `LISTEN_RATE`."""
    with wave.open(str(path)) as file:
        rate = file.getframerate()
        return resampled(np.frombuffer(file.readframes(file.getnframes()), np.int16), rate)
