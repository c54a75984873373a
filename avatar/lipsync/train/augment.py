"""Changes speech as rooms, devices, codecs and other speakers would; labels keep their times or are scaled with them.

Sounds are float arrays at `LISTEN_RATE`, full scale 1. What can be done to features (noise, reverberation, band
limits, vocal tract length) is done there, anew for every training sequence: see `disturb.py`.
"""

from __future__ import annotations

import fractions

import av
import numpy as np
from numpy.typing import NDArray

from core.frames import LISTEN_RATE, MEDIA_RATE

Sound = NDArray[np.float32]
_FRAME, _HOP = 512, 128
_ENVELOPE_LAG = 0.0016
"""Cepstral lags below this many seconds are the vocal tract's, those above the voice's."""


def resampled_by(sound: Sound, factor: float) -> Sound:
    """`factor` times as long: slower, deeper, with a longer vocal tract (> 1), or the contrary."""
    wanted = round(len(sound) * factor)
    size = _good_size(len(sound))
    out = _good_size(round(size * factor))
    factor = out / size
    spectrum = np.fft.rfft(sound, size)
    stretched = np.fft.irfft(spectrum[: out // 2 + 1], out) * factor
    return np.asarray(np.pad(stretched[:wanted], (0, max(0, wanted - out))), np.float32)


def reexcited(sound: Sound, rng: np.random.Generator) -> Sound:
    """The same vocal tract with another voice: spectral envelopes of `sound` imposed on a new excitation.

    Cepstral source-filter analysis; the new source is a pulse train with a wandering pitch of its own and breath
    noise, mixed by how periodic the speech is at each moment.
    """
    padded = np.pad(sound, (_FRAME, _FRAME))
    window = np.sqrt(np.hanning(_FRAME + 1)[:-1]).astype(np.float32)
    spectra = np.fft.rfft(_frames(padded) * window)
    log_power = np.log(np.abs(spectra) ** 2 + 1e-9)
    cepstra = np.fft.irfft(log_power)
    periodic = cepstra[:, LISTEN_RATE // 400 : LISTEN_RATE // 70].max(axis=1)
    voicing = np.clip((periodic - 0.15) / 0.25, 0, 1)
    lifter = np.zeros(_FRAME)
    keep = round(_ENVELOPE_LAG * LISTEN_RATE)
    lifter[: keep + 1] = 1
    lifter[-keep:] = 1
    envelope = np.exp(0.5 * np.fft.rfft(cepstra * lifter).real)
    pulses, breath = _pulse_train(len(padded), rng), rng.normal(0, 1, len(padded))
    breathiness = rng.uniform(0.05, 0.35)
    share = np.clip(voicing * (1 - breathiness), 0, 1)[:, None]
    mixed = np.sqrt(share) * _flat(pulses, window) + np.sqrt(1 - share) * _flat(breath, window)
    return np.asarray(_overlap_add(mixed * envelope, window, len(padded))[_FRAME:-_FRAME], np.float32)


def opus_round_trip(sound: Sound, bit_rate: int) -> Sound:
    """`sound` after Opus at `bit_rate`, without the codec's delay."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.format, encoder.layout = MEDIA_RATE, "s16", "mono"
    encoder.bit_rate = bit_rate
    encoder.time_base = fractions.Fraction(1, MEDIA_RATE)
    decoder = av.CodecContext.create("opus", "r")
    decoder.sample_rate, decoder.layout = MEDIA_RATE, "mono"
    wide = resampled_by(np.concatenate((sound, np.zeros(LISTEN_RATE // 5, np.float32))), 3.0)
    size = MEDIA_RATE // 50
    decoded = []
    for i in range(len(wide) // size):
        piece = np.clip(wide[i * size : (i + 1) * size] * 32767, -32768, 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(piece[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts = MEDIA_RATE, i * size
        for packet in encoder.encode(frame):
            decoded += [out.to_ndarray()[0] for out in decoder.decode(packet)]
    back = resampled_by(np.concatenate(decoded).astype(np.float32), 1 / 3)
    if decoded[0].dtype == np.int16:
        back /= 32768
    delay = _delay(sound, back)
    back = back[delay:]
    return np.asarray(np.pad(back, (0, max(0, len(sound) - len(back))))[: len(sound)], np.float32)


def music(seconds: float, rng: np.random.Generator) -> Sound:
    """Chords of plucked harmonic tones with a beat: what a radio in the background does to a spectrum."""
    t = np.arange(round(seconds * LISTEN_RATE)) / LISTEN_RATE
    out = np.zeros(len(t))
    beat = rng.uniform(0.15, 0.5)
    for start in np.arange(0, seconds, beat):
        root = 55 * 2 ** (rng.integers(0, 36) / 12)
        since = t - start
        decay = np.where(since >= 0, np.exp(-np.maximum(since, 0) / rng.uniform(0.1, 0.8)), 0)
        for interval in rng.choice([0, 3, 4, 7, 12, 16], 3, replace=False):
            pitch = root * 2 ** (interval / 12)
            for k in range(1, int(rng.integers(3, 12))):
                if k * pitch < 7500:
                    out += decay * np.sin(2 * np.pi * k * pitch * since + rng.uniform(0, 6)) / k ** rng.uniform(0.7, 2)
        if rng.random() < 0.5:
            out += np.where(since >= 0, np.exp(-np.maximum(since, 0) / 0.03), 0) * rng.normal(0, 2, len(t))
    return np.asarray(0.1 * out / (np.std(out) + 1e-9), np.float32)


def _good_size(count: int) -> int:
    """The next even multiple of 64: quick transforms with lengths that scale finely."""
    return -(-count // 64) * 64


def _frames(sound: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.lib.stride_tricks.sliding_window_view(sound, _FRAME)[::_HOP]


def _flat(source: NDArray[np.floating], window: Sound) -> NDArray[np.complex128]:
    spectra = np.fft.rfft(_frames(source) * window)
    level = np.sqrt(np.mean(np.abs(spectra) ** 2, axis=1, keepdims=True))
    return np.asarray(spectra / (level + 1e-9), np.complex128)


def _pulse_train(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Band-limited enough: each pulse is shared by the two samples around its time."""
    base = float(np.exp(rng.uniform(np.log(75), np.log(330))))
    knots = rng.normal(0, 0.12, count // 2400 + 3)
    wander = np.interp(np.arange(count) / 2400, np.arange(len(knots)), knots)
    phase = np.cumsum(base * np.exp(wander) / LISTEN_RATE)
    ticks = np.interp(np.arange(1, int(phase[-1])), phase, np.arange(count))
    pulses = np.zeros(count + 1)
    whole = ticks.astype(int)
    np.add.at(pulses, whole, 1 - (ticks - whole))
    np.add.at(pulses, whole + 1, ticks - whole)
    return pulses[:count]


def _overlap_add(spectra: NDArray[np.complex128], window: Sound, count: int) -> NDArray[np.float64]:
    pieces = np.fft.irfft(spectra) * window
    out = np.zeros(count + _FRAME)
    for k in range(_FRAME // _HOP):
        part = pieces[k :: _FRAME // _HOP].reshape(-1)
        out[k * _HOP : k * _HOP + len(part)] += part
    return out[:count] / 2


def _delay(sound: Sound, late: Sound) -> int:
    """Samples by which `late` lags, by cross-correlation; 0 to 60 ms."""
    count = min(len(sound), len(late), 4 * LISTEN_RATE)
    size = 2 * count
    product = np.fft.irfft(np.fft.rfft(late[:count], size) * np.conj(np.fft.rfft(sound[:count], size)))
    return int(product[: LISTEN_RATE * 60 // 1000].argmax())
