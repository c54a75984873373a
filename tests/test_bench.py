"""The analysis behind the benchmarks, on data whose answer is known. Nothing is timed here."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiortc import RTCRtpReceiver
from aiortc.codecs.opus import OpusEncoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.rtp import RtcpSenderInfo, RtcpSrPacket, RtpPacket
from av import AudioFrame, VideoFrame
from numpy.typing import NDArray

from avatar.opus.packets import PacketDecoder
from bench.__main__ import MEASUREMENTS, arguments
from bench.lips import AREA, RATE, calibrated, envelope, offset, place, resampled
from bench.report import load, page
from bench.result import Figure, Options, Result, described, summary, write
from bench.rtp import Recording, Sound
from bench.sounds import RATE as SOUND_RATE
from bench.sounds import hum, long_text, trimmed
from bench.turns import Turn, word_errors
from bench.voice_backend import CLIENTS_OWN, more
from bench.voice_breaks import Inside
from bench.voice_page import Listened, Reply
from bench.voice_service import BURST, DOWN, PACKET_S, Programme, timetable, voice, voice_packets


def syllables(seconds: float, shift: float = 0.0) -> NDArray[np.float64]:
    """A curve that opens and closes like speech, `shift` seconds late."""
    rng = np.random.default_rng(5)
    times = np.arange(int(seconds * RATE)) / RATE
    curve = np.zeros_like(times)
    for centre in np.cumsum(rng.uniform(0.12, 0.4, int(seconds * 4))):
        curve += np.exp(-(((times - shift - centre) / 0.05) ** 2))
    return curve


@pytest.mark.parametrize("shift", [-0.213, -0.04, 0.0, 0.0145, 0.09, 0.35])
def test_an_offset_is_found_to_the_millisecond(shift: float) -> None:
    found = offset(syllables(10, shift), syllables(10))
    assert found.seconds == pytest.approx(shift, abs=0.002)
    assert found.correlation > 0.95


def test_an_offset_survives_25_pictures_per_second_and_noise() -> None:
    rng = np.random.default_rng(1)
    times = np.arange(0, 12, 0.04)
    fine = syllables(12, 0.06) + rng.normal(0, 0.1, 12 * RATE)
    seen = np.interp(times, np.arange(12 * RATE) / RATE, fine)
    found = offset(resampled(times, seen, 0.0, 12 * RATE), syllables(12))
    assert found.seconds == pytest.approx(0.06, abs=0.006)


def test_frozen_lips_do_not_correlate() -> None:
    assert offset(np.ones(1000), syllables(10)).correlation == 0.0


def test_the_envelope_is_centred_on_its_sound() -> None:
    samples = np.zeros(48_000, np.int16)
    samples[24_000 - 480 : 24_000 + 480] = 8000
    curve = envelope(samples, 48_000)
    assert len(curve) == RATE
    assert abs(int(np.argmax(curve)) - RATE // 2) <= 1


def test_a_waveform_is_found_in_a_longer_one() -> None:
    rng = np.random.default_rng(2)
    part = rng.normal(0, 3000, 48_000).astype(np.int16)
    whole = np.concatenate([np.zeros(12_345, np.int16), part // 2, np.zeros(5000, np.int16)])
    at, correlation = place(part, whole)
    assert at == 12_345
    assert correlation > 0.99


def mouth_picture(opening: float, skin: int = 160, inside: int = 60) -> NDArray[np.uint8]:
    picture = np.full((200, 200), skin, np.uint8)
    top, left = int(AREA[0] * 200), int(AREA[2] * 200)
    picture[top : top + round(opening * 18), left + 5 : left + 20] = inside
    return picture


@pytest.mark.parametrize(("skin", "inside"), [(160, 60), (70, 40), (90, 200)], ids=["fair", "dark", "teeth"])
def test_the_opening_of_a_mouth_is_learned_and_measured(skin: int, inside: int) -> None:
    openings = [0.0, 0.2, 0.9, 0.5, 0.1, 0.7, 0.35, 0.8, 1.0, 0.15, 0.6, 0.4]
    eye = calibrated([mouth_picture(opening, skin, inside) for opening in openings], openings)
    assert eye.correlation > 0.99
    seen = [eye.of(mouth_picture(opening, skin, inside)) for opening in (0.1, 0.45, 0.85)]
    assert seen[0] < seen[1] < seen[2]


class _Receiver:
    """What a recording needs of aiortc's receiver."""

    def __init__(self) -> None:
        self.handled = 0
        vars(self)["_RTCRtpReceiver__decoder_queue"] = None

    async def _handle_rtp_packet(self, packet: Any, arrival_time_ms: int) -> None:
        self.handled += 1

    async def _handle_rtcp_packet(self, packet: Any) -> None:
        self.handled += 1


async def receive(receiver: Any, timestamp: int, sequence: int, payload: bytes = b"", last: bool = True) -> None:
    packet = RtpPacket(
        payload_type=96, marker=int(last), sequence_number=sequence, timestamp=timestamp, payload=payload
    )
    await receiver._handle_rtp_packet(packet, 0)


async def test_a_recording_unwraps_timestamps_and_maps_them_by_sender_reports() -> None:
    receiver: Any = _Receiver()
    recording = Recording("video", receiver)
    start = (1 << 32) - 3600
    for index in range(3):
        await receive(receiver, (start + 3600 * index) % (1 << 32), 65_535 + index & 0xFFFF)
    info = RtcpSenderInfo(ntp_timestamp=int(100.5 * 2**32), rtp_timestamp=0, packet_count=1, octet_count=1)
    await receiver._handle_rtcp_packet(RtcpSrPacket(ssrc=1, sender_info=info))
    assert [arrival.timestamp - start for arrival in recording.arrivals] == [0, 3600, 7200]
    assert [round(recording.wall(arrival.timestamp), 6) for arrival in recording.arrivals] == [100.46, 100.5, 100.54]
    assert recording.lost == 0
    await receive(receiver, 9000, 5)
    assert recording.lost == 3
    assert receiver.handled == 5


async def test_gaps_count_complete_pictures_only() -> None:
    receiver: Any = _Receiver()
    recording = Recording("video", receiver)
    for index, last in enumerate([False, True, False, False, True]):
        await receive(receiver, 3600 * index, index, last=last)
    assert len(recording.frames()) == 2
    assert len(recording.gaps_ms()) == 1


async def test_recorded_sound_and_pictures_decode() -> None:
    voice_receiver: Any = _Receiver()
    video_receiver: Any = _Receiver()
    voice, video = Recording("audio", voice_receiver), Recording("video", video_receiver)
    opus, vp8 = OpusEncoder(), Vp8Encoder()
    for index in range(10):
        tone = (8000 * np.sin(np.arange(960) * 0.05)).astype(np.int16) if index >= 5 else np.zeros(960, np.int16)
        sound = AudioFrame.from_ndarray(tone[None, :], format="s16", layout="mono")
        sound.sample_rate, sound.pts = 48_000, 960 * index
        payloads, timestamp = opus.encode(sound)
        for payload in payloads:
            await receive(voice_receiver, timestamp, index, payload)
        picture = VideoFrame.from_ndarray(np.full((96, 64), 20 * index, np.uint8), format="yuv420p")
        picture.pts = index
        payloads, _ = vp8.encode(picture)
        for number, payload in enumerate(payloads):
            await receive(video_receiver, 3600 * index, index, payload, last=number == len(payloads) - 1)
    loud = Sound(voice).loud(0.0, 0.01)
    assert voice.arrivals[5].at <= loud[0] <= voice.arrivals[7].at
    pictures = list(video.pictures())
    assert [timestamp for timestamp, _ in pictures] == [3600 * index for index in range(10)]
    assert pictures[9][1].shape == (64, 64)
    assert float(pictures[9][1].mean()) == pytest.approx(180, abs=6)


async def test_a_recording_fits_aiortc() -> None:
    """The private names that it relies on exist."""
    from aiortc import RTCPeerConnection

    connection = RTCPeerConnection()
    receiver: RTCRtpReceiver = connection.addTransceiver("video", direction="recvonly").receiver
    Recording("video", receiver)
    await asyncio.wait_for(connection.close(), 5)


@pytest.mark.parametrize(
    ("asked", "heard", "errors"),
    [("one two three", "one two three", 0.0), ("one two three", "one too three", 1 / 3), ("one two", "", 1.0),
     ("one two", "one and two", 0.5), ("one two", "two one", 1.0)],
)  # fmt: skip
def test_word_errors(asked: str, heard: str, errors: float) -> None:
    assert word_errors([Turn(asked, "", heard)]) == pytest.approx(errors)
    assert word_errors([Turn(asked, "", heard), Turn(asked, "", asked)]) == pytest.approx(errors / 2)


def test_speech_is_trimmed_to_what_sounds() -> None:
    speech = np.concatenate([np.zeros(4800), np.full(9600, 9000), np.full(9600, 20)]).astype(np.int16)
    assert len(trimmed(speech)) == 9600
    assert len(trimmed(np.zeros(960, np.int16))) == 960


def test_sounds_to_speak() -> None:
    assert len(hum(0.5)) == 44 + 2 * 22_050
    assert 200 < len(long_text(10)) < len(long_text(600)) <= 3900
    assert SOUND_RATE == 48_000


def test_figures_are_judged() -> None:
    assert Figure("f", "ms", [10, 20, 90], goal=20).met
    assert not Figure("f", "ms", [10, 20, 90], "max", goal=20).met
    assert not Figure("f", "ms", [-50, 20], "largest", goal=40).met
    assert Figure("f", "1/s", [25], goal=24.9, at_least=True).met
    assert Figure("f", "ms", [1.0]).met is None
    assert Figure("f", "ms", [], goal=1).met is False
    assert summary(list(range(101)))["p95"] == 95
    assert summary([]) == {"n": 0}


def test_a_result_is_kept_and_reported(tmp_path: Path) -> None:
    figure = Figure("a → b", "ms", [100, 300, 700], "max", goal=500, floor=10, floor_note="light", note="once")
    content = described(Result("latency", "Latency", [figure]), Options(), others_cpu=0.5)
    assert json.loads(write(content, tmp_path).read_text(encoding="utf-8")) == content
    write({**content, "name": "tried", "quick": True}, tmp_path)
    results = load(tmp_path)
    assert [result["name"] for result in results] == ["latency"]
    text = page(results)
    assert "| a → b | **700 ms** max **missed** | 3 | 300 · 692 · 700 | ≤ 500 | 10 |" in text
    assert "not a quiet machine" in text
    assert "a → b: once; floor: light" in text


def test_every_measurement_can_be_named() -> None:
    import importlib

    for name in MEASUREMENTS:
        assert callable(importlib.import_module(f"bench.{name}").measure)
    with pytest.raises(SystemExit):
        arguments(["nonsense"])


@pytest.mark.parametrize("jitter_s", [0.0, 0.08])
def test_a_services_packets_come_unevenly_but_in_order(jitter_s: float) -> None:
    due = timetable(2000, jitter_s, random.Random(1))
    assert due == sorted(due)
    late = np.array(due) - [max(0, number - BURST + 1) * PACKET_S for number in range(2000)]
    assert late.min() >= 0
    assert late.max() <= 2 * jitter_s
    if jitter_s:
        assert late.max() - late.min() > 1.8 * jitter_s
        assert abs(float(np.median(late)) - jitter_s) < 0.02


def test_a_service_with_a_voice_that_never_pauses() -> None:
    sound = voice(3.0)
    assert np.abs(sound[: len(sound) // 128 * 128].reshape(-1, 128)).max(axis=1).min() > 0.02 * 32768
    decoder = PacketDecoder(DOWN)
    heard = [decoder.decode(packet) for packet in voice_packets(3.0)]
    assert {pcm.seconds for pcm in heard} == {PACKET_S}
    assert 3.0 / PACKET_S - 1 <= len(heard) <= 3.0 / PACKET_S
    assert Programme(**json.loads(Programme("a", fault="drop").text())) == Programme("a", fault="drop")


def test_gaps_are_silences_within_replies_whoever_was_late() -> None:
    first = Reply(5.0, [(0.35, 0.1), (4.0, 0.02)], 1, 0, [], 3)
    heard = Listened([first, Reply(30.0, [(20.0, 0.9)], 0, 1, [0.9], 950), Reply(10.0, [(30.0, 1.3)], 0, 1, [], 20)])
    assert heard.gaps() == [(4.0, 0.02), (20.0, 0.9), (30.0, 1.3)]
    assert heard.seconds == 45.0


def test_what_was_left_behind_is_counted() -> None:
    before = Inside({"a": 2, CLIENTS_OWN[0]: 1}, {"PacketDecoder": 3}, 2, 20)
    assert more(before, before, files=True) == 0
    assert more(before, Inside({"a": 1, CLIENTS_OWN[0]: 5}, {"PacketDecoder": 3}, 2, 25), files=False) == 0
    assert more(before, Inside({"a": 3, "b": 1}, {"PacketDecoder": 4}, 4, 25), files=True) == 1 + 1 + 1 + 2 + 5
