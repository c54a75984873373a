"""Opus packets: their length, decoding, concealment, encoding."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.opus.library import bundled_opus, load_opus
from avatar.opus.packets import FRAME_MS, LONGEST_MS, RATES, PacketDecoder, PacketEncoder, PacketError, seconds, ticks
from core.frames import Samples

# RFC 6716, table 2: configurations and the lengths of their frames in ms.
TABLE = [
    *[(range(first, first + 4), (10, 20, 40, 60)) for first in (0, 4, 8)],
    *[(range(first, first + 2), (10, 20)) for first in (12, 14)],
    *[(range(first, first + 4), (2.5, 5, 10, 20)) for first in (16, 20, 24, 28)],
]
CONFIGS = [(config, ms) for configs, lengths in TABLE for config, ms in zip(configs, lengths, strict=True)]


def tone(rate: int, length: float, pitch: float = 440.0) -> Samples:
    return np.asarray(8000 * np.sin(2 * np.pi * pitch * np.arange(int(rate * length)) / rate), np.int16)


def pitch_of(samples: Samples, rate: int) -> float:
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(power) * rate / len(samples))


def ffmpeg_packets(samples: Samples, rate: int, frame_ms: int) -> list[bytes]:
    """Encoded by other hands than ours."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = rate, "mono", "s16"
    encoder.options = {"frame_duration": str(frame_ms)}
    encoder.time_base = Fraction(1, rate)
    size = rate * frame_ms // 1000
    packets = []
    for at in range(0, len(samples) - size + 1, size):
        frame = av.AudioFrame.from_ndarray(samples[None, at : at + size], "s16", "mono")
        frame.sample_rate, frame.pts = rate, at
        packets += encoder.encode(frame)
    return [bytes(packet) for packet in packets]


def test_the_table_is_whole() -> None:
    assert [config for config, _ in CONFIGS] == list(range(32))


@pytest.mark.parametrize(("config", "ms"), CONFIGS)
def test_h2_length_by_the_first_byte(config: int, ms: float) -> None:
    """All configurations, codes 0 to 3, mono and stereo; libopus says the same."""
    opus = load_opus()
    decoder = opus.Decoder(24000, 1)
    for stereo in (0, 4):
        first = config << 3 | stereo
        for packet, frames in [
            (bytes([first, 0]), 1),
            (bytes([first | 1, 0, 0]), 2),
            (bytes([first | 2, 1, 0, 0]), 2),
            *[(bytes([first | 3, n]) + bytes(n), n) for n in range(1, int(LONGEST_MS / ms) + 1)],
        ]:
            assert ticks(packet) == round(48 * ms * frames)
            assert opus.api.decoder.get_nb_samples(decoder.decoder_state, packet, len(packet)) * 2 == ticks(packet)
            assert seconds(packet) * 1000 == pytest.approx(ms * frames)
        for wrong in (bytes([first | 3]), bytes([first | 3, 0]), bytes([first | 3, int(LONGEST_MS / ms) + 1])):
            with pytest.raises(PacketError):
                ticks(wrong)
    with pytest.raises(PacketError):
        ticks(b"")


@pytest.mark.parametrize("frame_ms", FRAME_MS)
@pytest.mark.parametrize("rate", RATES)
def test_h2_decodes_packets_of_others_at_any_rate(rate: int, frame_ms: int) -> None:
    packets = ffmpeg_packets(tone(24000, 1.2), 24000, frame_ms)
    assert packets
    assert {ticks(packet) for packet in packets} == {48 * frame_ms}
    decoder = PacketDecoder(rate)
    pieces = [decoder.decode(packet) for packet in packets]
    assert {(len(piece.samples), piece.rate) for piece in pieces} == {(rate * frame_ms // 1000, rate)}
    assert pitch_of(np.concatenate([piece.samples for piece in pieces]), rate) == pytest.approx(440, abs=3)


def test_h2_packets_of_mixed_lengths_in_one_stream() -> None:
    sound = tone(24000, 1.2)
    packets = [ffmpeg_packets(sound, 24000, ms)[4] for ms in (20, 60, 40, 60, 20, 20, 40)]
    decoder = PacketDecoder(24000)
    assert [len(decoder.decode(packet).samples) for packet in packets] == [480, 1440, 960, 1440, 480, 480, 960]


def test_h2_room_for_120_ms() -> None:
    frame = ffmpeg_packets(tone(24000, 0.5), 24000, 20)[3]
    packet = bytes([frame[0] | 3, 6])  # six frames of the same size, without a size each
    assert len(PacketDecoder(24000).decode(packet + frame[1:] * 6).samples) == 2880


def test_h2_what_is_missing_is_concealed() -> None:
    packets = ffmpeg_packets(tone(24000, 1.0), 24000, 60)
    decoder = PacketDecoder(24000)
    assert len(decoder.conceal().samples) == 0
    before = [decoder.decode(packet).samples for packet in packets[:6]][-1]
    gap = decoder.conceal().samples
    assert len(gap) == len(before) == 1440
    assert np.sqrt(np.mean(gap.astype(float) ** 2)) > 0.3 * np.sqrt(np.mean(before.astype(float) ** 2))
    assert pitch_of(gap, 24000) == pytest.approx(440, abs=30)
    assert len(decoder.conceal(ffmpeg_packets(tone(24000, 0.2), 24000, 20)[0]).samples) == 480
    assert sum(len(decoder.conceal().samples) for _ in range(20)) == 2880, "200 ms in all"
    assert len(decoder.decode(packets[7]).samples) == 1440
    assert len(decoder.conceal().samples) == 1440, "a good packet lets it begin again"


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_h2_garbage_is_refused_or_decoded_and_the_stream_goes_on(garbage: bytes) -> None:
    decoder = PacketDecoder(16000)
    try:
        assert len(decoder.decode(garbage).samples) * 3 == ticks(garbage)
    except PacketError:
        decoder.conceal(garbage)
    assert len(decoder.decode(GOOD).samples) == 960


GOOD = ffmpeg_packets(tone(24000, 0.5), 24000, 60)[3]


@pytest.mark.parametrize("frame_ms", FRAME_MS)
def test_h1_encodes_what_others_decode(frame_ms: int) -> None:
    encoder = PacketEncoder(16000, frame_ms)
    sound, packets = tone(16000, 1.01), []
    for at in range(0, len(sound), 333):
        packets += encoder.encode(sound[at : at + 333])
    assert len(packets) == 1010 // frame_ms
    packets += encoder.finish()
    assert len(packets) == 1010 // frame_ms + 1
    assert encoder.finish() == []
    assert {ticks(packet) for packet in packets} == {48 * frame_ms}
    assert 12_000 < sum(map(len, packets)) * 8 / (len(packets) * frame_ms / 1000) < 34_000
    decoder = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = 48000, "mono"
    frames = [frame for packet in packets for frame in decoder.decode(av.Packet(packet))]
    heard = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
    assert pitch_of(heard, 48000) == pytest.approx(440, abs=3)


def test_h1_what_waits_can_be_dropped() -> None:
    encoder = PacketEncoder(16000, 60)
    assert encoder.encode(tone(16000, 0.05)) == []
    encoder.drop()
    assert encoder.finish() == []


def test_wrong_arguments() -> None:
    for wrong in (lambda: PacketDecoder(44100), lambda: PacketEncoder(44100), lambda: PacketEncoder(16000, 30)):
        with pytest.raises(ValueError, match="rate must be"):
            wrong()


PROGRAM = """
import ctypes.util, sys
ctypes.util.find_library = lambda name: None
from avatar.opus import library
if sys.argv[1] == "bare":
    library.bundled_opus = lambda: None
from core.errors import AdapterError
try:
    from avatar.opus.packets import PacketEncoder
    print(len(PacketEncoder().encode(__import__("numpy").zeros(960, "int16"))))
    print(open("/proc/self/maps").read().count("av.libs/libopus") > 0)
except AdapterError as error:
    print(error.code, error)
"""


AGAIN = """
import ctypes.util
looked = []
ctypes.util.find_library = lambda name: looked.append(name)
from avatar.opus import library
library.bundled_opus = lambda: None
from core.errors import AdapterError
for _ in range(3):
    try:
        library.load_opus()
    except AdapterError as error:
        print(error.code, len(looked))
"""


def run(how: str) -> str:
    """In a process of its own that finds no libopus in the system."""
    result = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_system_without_libopus_uses_the_one_of_pyav() -> None:
    path = bundled_opus()
    assert path is not None
    assert Path(path).is_file()
    assert run("wheel").split() == ["1", "True"]


def test_without_any_libopus_the_error_says_what_to_do() -> None:
    assert run("bare").startswith("opus_missing")
    assert "pip install" in run("bare")


def test_it_is_looked_for_once() -> None:
    """It takes the system some 100 ms, and each connection asks."""
    result = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, timeout=60)
    first, *others = result.stdout.splitlines()
    assert first.startswith("opus_missing")
    assert others == [first, first], result.stderr
