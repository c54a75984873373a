"""The small parts of the server for devices: who calls, tokens, discovery, sound up and down."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from multidict import CIMultiDict

from core.devices import messages, ota
from core.devices.caller import DeviceCaller, caller_of
from core.devices.moods import MOODS
from core.devices.tokens import LIFETIME_S, DeviceTokens
from core.devices.uplink import AHEAD_S, Uplink
from core.devices.voice import Voice
from core.devices.wake_words import WakeWords
from core.dialogue.xiaozhi.messages import ServerHello, Stt, TtsStop, Unknown
from core.dialogue.xiaozhi.ota import read
from core.dialogue.xiaozhi.protocol import read_from_server
from core.errors import BadRequest
from core.frames import AUDIO_FRAME, Expression, SoundPiece
from tests.simulators.xiaozhi_device import (
    CLIENT,
    DEVICE,
    DOWN,
    EMOTIONS,
    UP,
    decoded,
    framed,
    opus_decoder,
    tone_packets,
)

SECRET = "the secret of a server under test"


# -- who calls


def test_h1_headers_win_and_browsers_use_the_query() -> None:
    query = {"device-id": "02:00:00:00:00:01", "client-id": "web", "authorization": "Bearer t", "protocol-version": "3"}
    headers = CIMultiDict({"device-id": DEVICE.upper(), "Client-Id": CLIENT, "Authorization": "bearer  tok"})
    assert caller_of(headers, query) == DeviceCaller(DEVICE, CLIENT, "tok", 3)
    assert caller_of({}, query) == DeviceCaller("02:00:00:00:00:01", "web", "t", 3)
    assert caller_of({}, {}, "AA") == DeviceCaller("aa")
    assert "tok" not in repr(caller_of(headers, query))


@pytest.mark.parametrize("version", ["", "0", "4", "two", "-1", "1.0"])
def test_h1_an_odd_version_is_none(version: str) -> None:
    assert caller_of({"Device-Id": "a", "Protocol-Version": version}, {}).version is None


@pytest.mark.parametrize("device", ["", "   ", "a" * 129, "a\tb", "a|b", "\x00"])
def test_h1_what_can_be_no_device(device: str) -> None:
    with pytest.raises(BadRequest):
        caller_of({"Device-Id": device}, {})


# -- tokens


def test_h1_a_token_is_good_for_its_device_and_for_a_month() -> None:
    now = [1_700_000_000.0]
    tokens = DeviceTokens(SECRET, clock=lambda: now[0])
    token = tokens.issue(CLIENT, DEVICE)
    assert token.endswith(".1700000000")
    assert tokens.good(token, CLIENT, DEVICE)
    assert not tokens.good(token, CLIENT, "02:00:00:00:00:01")
    assert not tokens.good(token, "somebody else", DEVICE)
    assert not DeviceTokens(SECRET + "x").good(token, CLIENT, DEVICE)
    signature, _, issued = token.partition(".")
    assert not tokens.good(f"{signature}.{int(issued) + 1}", CLIENT, DEVICE)
    now[0] += LIFETIME_S
    assert tokens.good(token, CLIENT, DEVICE)
    now[0] += 1
    assert not tokens.good(token, CLIENT, DEVICE)


def test_h1_the_format_is_that_of_other_servers() -> None:
    import base64
    import hashlib
    import hmac

    key = hashlib.sha256(b"eman devices\0" + SECRET.encode()).digest()
    digest = hmac.new(key, b"c|d|5", hashlib.sha256).digest()
    assert DeviceTokens(SECRET, clock=lambda: 5).issue("c", "d") == (
        base64.urlsafe_b64encode(digest).decode().rstrip("=") + ".5"
    )


@pytest.mark.parametrize("token", ["", ".", "a.b", "x" * 5000, "é" * 43 + ".1", "A" * 43 + ".", "A" * 43 + ".9" * 20])
def test_h1_odd_tokens(token: str) -> None:
    assert not DeviceTokens(SECRET).good(token, CLIENT, DEVICE)


# -- discovery


def test_h1_our_own_client_reads_our_answer() -> None:
    answer = ota.answer({"application": {"version": "2.0.3"}}, "ws://a/xiaozhi/v1/", "tok", 1.5)
    assert answer["firmware"] == {"version": "2.0.3", "url": ""}
    assert answer["server_time"]["timestamp"] == 1500
    found = read(json.dumps(answer).encode(), DEVICE, CLIENT)
    assert (found.endpoint.url, found.endpoint.token, found.endpoint.version) == ("ws://a/xiaozhi/v1/", "tok", 1)


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"application": 5, "mac_address": 7}'])
def test_h1_a_report_that_cant_be_read_is_none(body: bytes) -> None:
    report = ota.report_of(body)
    assert ota.device_of(report) == ""
    assert ota.answer(report, "u", "", 0)["firmware"]["version"] == "0.0.0"


def test_h1_our_own_client_reads_our_messages() -> None:
    def heard(message: messages.Json) -> object:
        return read_from_server(json.dumps(message))

    assert heard(messages.hello("7")) == ServerHello("7")
    assert heard(messages.stt("hi")) == Stt("hi")
    assert heard(messages.tts_stop()) == TtsStop()
    for message in (messages.tts_start(), messages.sentence_start("a"), messages.llm("happy", "x"),
                    messages.alert("m"), messages.pong(1), messages.goodbye()):  # fmt: skip
        assert not isinstance(heard(message), Unknown), message


def test_h1_every_mood_has_a_name_that_devices_know() -> None:
    assert set(MOODS) == set(Expression)
    assert {name for name, _ in MOODS.values()} <= EMOTIONS


def test_h1_wake_words() -> None:
    words = WakeWords(["hi esp", "你好小智", ""])
    assert all(text in words for text in ("Hi ESP", "hi, esp!", "你好，小智。"))
    assert not any(text in words for text in ("", "…", "hi", "hi esp what time is it"))


# -- sound up


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("frame_ms", [20, 40, 60])
def test_h1_packets_of_any_length_and_version(version: int, frame_ms: int) -> None:
    uplink = Uplink(version)
    sound = [uplink.samples(framed(packet, version), 0.0) for packet in tone_packets(UP, frame_ms, 20)]
    assert {len(piece) for piece in sound} == {16 * frame_ms}
    assert np.abs(np.concatenate(sound)[-1000:]).max() > 4000
    assert uplink.unusable == 0


def test_h1_garbage_is_concealed() -> None:
    uplink = Uplink(1)
    packets = tone_packets(UP, 60, 12)
    assert len(uplink.samples(b"", 0.0)) == 0  # nothing before it to go on from
    for packet in packets[:6]:
        uplink.samples(packet, 0.0)
    concealed = uplink.samples(b"\xff" * 30, 0.0)
    assert len(concealed) == 960
    assert np.abs(concealed).max() > 500
    assert uplink.unusable == 2
    assert len(uplink.samples(packets[7], 0.0)) == 960


@pytest.mark.parametrize("version", [2, 3])
def test_h1_what_is_no_frame_is_nothing(version: int) -> None:
    uplink = Uplink(version)
    for data in (b"", b"\0", framed(b"x", 5 - version), framed(b"abc", version) + b"more"):
        assert len(uplink.samples(data, 0.0)) == 0
    assert uplink.unusable == 4


def test_h1_nobody_speaks_faster_than_time_passes() -> None:
    uplink = Uplink(1)
    packets = tone_packets(UP, 60, 520)
    taken = sum(len(uplink.samples(packet, 7.0)) for packet in packets) / UP
    assert AHEAD_S <= taken < AHEAD_S + 0.1
    assert uplink.dropped == 520 - round(taken / 0.06)
    assert len(uplink.samples(packets[0], 7.2)) == 960


# -- sound down


def pieces(seconds: float, *, pitch: float = 440.0, reply: str = "r1", at: float = 0.0) -> list[SoundPiece]:
    wave = 9000 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * 48_000)) / 48_000)
    rows = wave.astype(np.int16).reshape(-1, AUDIO_FRAME)
    return [SoundPiece(reply, at + 0.02 * number, row) for number, row in enumerate(rows)]


def heard(packets: list[bytes]) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    decoder = opus_decoder()
    return np.concatenate([decoded(decoder, packet) for packet in packets])


def test_h2_a_tone_comes_out_as_it_went_in() -> None:
    voice = Voice()
    packets = [packet for piece in pieces(1.2) for packet in voice.packets(piece, playing=True)]
    assert len(packets) == 20
    assert voice.flush() == []
    sound = heard(packets)[4800:]
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    assert abs(np.argmax(spectrum) * 48_000 / len(sound) - 440) < 2
    assert 0.7 < np.sqrt(np.mean(sound.astype(float) ** 2)) / (9000 / 2**0.5) < 1.3


def test_h2_what_fills_no_packet_waits_or_is_flushed_or_dropped() -> None:
    voice = Voice()
    assert [packet for piece in pieces(0.04) for packet in voice.packets(piece, playing=False)] == []
    assert len(voice.flush()) == 1
    for piece in pieces(0.04, at=0.04):
        voice.packets(piece, playing=True)
    voice.drop()
    assert voice.flush() == []


def test_h2_a_gap_is_silence_only_while_the_device_plays() -> None:
    for playing, seconds in ((True, 0.6), (False, 0.48)):
        voice = Voice()
        packets = [packet for piece in pieces(0.24) for packet in voice.packets(piece, playing=playing)]
        for piece in pieces(0.24, at=0.36):  # 120 ms later than it would follow
            packets += voice.packets(piece, playing=playing)
        assert len([*packets, *voice.flush()]) * 0.06 == pytest.approx(seconds)


def test_h2_another_reply_or_what_was_held_leaves_no_gap() -> None:
    voice = Voice()
    first = [packet for piece in pieces(0.12) for packet in voice.packets(piece, playing=True)]
    other = [p for piece in pieces(0.12, reply="r2", at=9.0) for p in voice.packets(piece, playing=True)]
    voice.drop()
    again = [p for piece in pieces(0.12, reply="r2", at=20.0) for p in voice.packets(piece, playing=True)]
    assert [len(first), len(other), len(again)] == [2, 2, 2]


def test_h2_packets_stay_small() -> None:
    voice = Voice()
    rng = np.random.default_rng(3)
    noise = [
        SoundPiece("r1", 0.02 * n, rng.normal(0, 5000, AUDIO_FRAME).astype(np.int16)) for n in range(150)
    ]  # the hardest sound to encode
    packets = [packet for piece in noise for packet in voice.packets(piece, playing=True)]
    assert sum(map(len, packets)) * 8 / 3.0 < 40_000
    assert DOWN == 24_000


def test_k2_no_secret_is_in_a_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        tokens = DeviceTokens(SECRET)
        assert tokens.good(tokens.issue("c", "d"), "c", "d")
    assert SECRET not in caplog.text
