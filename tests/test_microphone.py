"""Opus packets of a microphone, decoded on the event loop."""

from __future__ import annotations

import math

import av
import numpy as np
import pytest

from avatar.encoders import VoiceEncoder
from avatar.microphone import OpusMicrophone
from core.frames import AUDIO_FRAME, LISTEN_RATE, MEDIA_RATE, Samples


def tone(hertz: float, seconds: float = 1.0) -> Samples:
    time = np.arange(int(seconds * MEDIA_RATE)) / MEDIA_RATE
    return np.asarray(8000 * np.sin(2 * math.pi * hertz * time), np.int16)


def mono(samples: Samples) -> list[bytes]:
    encoder = VoiceEncoder()
    return [bytes(encoder.packet(samples[at : at + AUDIO_FRAME], at)) for at in range(0, len(samples), AUDIO_FRAME)]


def left_only(samples: Samples) -> list[bytes]:
    codec = av.CodecContext.create("libopus", "w")
    assert isinstance(codec, av.AudioCodecContext)
    codec.bit_rate, codec.sample_rate, codec.format, codec.layout = 128_000, MEDIA_RATE, "s16", "stereo"
    packets = []
    for at in range(0, len(samples), AUDIO_FRAME):
        both = np.zeros((AUDIO_FRAME, 2), np.int16)
        both[:, 0] = samples[at : at + AUDIO_FRAME]
        frame = av.AudioFrame.from_ndarray(both.reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate, frame.pts = MEDIA_RATE, at
        packets += [bytes(packet) for packet in codec.encode(frame)]
    return packets


def loudest(samples: Samples) -> float:
    """Hertz."""
    return float(np.argmax(np.abs(np.fft.rfft(samples)))) * LISTEN_RATE / len(samples)


def test_it_is_heard_at_the_rate_of_the_ears() -> None:
    microphone = OpusMicrophone()
    heard = np.concatenate([microphone.decode(data) for data in mono(tone(440))])
    assert heard.dtype == np.int16
    assert len(heard) == pytest.approx(LISTEN_RATE, abs=200)
    assert loudest(heard[2000:]) == pytest.approx(440, abs=3)
    assert np.abs(heard[4000:]).max() == pytest.approx(8000, rel=0.1)


def test_both_channels_are_heard_as_one() -> None:
    microphone = OpusMicrophone()
    heard = np.concatenate([microphone.decode(data) for data in left_only(tone(440))])
    assert np.abs(heard[4000:]).max() == pytest.approx(4000, rel=0.2)


def test_lost_and_damaged_packets_shift_nothing() -> None:
    microphone, packets = OpusMicrophone(), mono(tone(440))
    heard = [microphone.decode(data) for number, data in enumerate(packets) if number % 10]
    assert sum(map(len, heard)) == pytest.approx(0.9 * LISTEN_RATE, abs=200)
    assert not len(microphone.decode(b"\xff" * 3))
    assert len(microphone.decode(packets[0])) == LISTEN_RATE // 50
