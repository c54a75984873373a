"""Messages of the xiaozhi protocol, against bytes and JSON written out by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dialogue.xiaozhi import protocol
from core.dialogue.xiaozhi.framing import VERSIONS, Frame, FrameError, Kind, decode, encode
from core.dialogue.xiaozhi.messages import (
    Abort,
    Alert,
    AudioParams,
    ClientHello,
    Custom,
    Goodbye,
    Iot,
    ListenDetect,
    ListenStart,
    ListenStop,
    Llm,
    Malformed,
    Mcp,
    Mode,
    Ping,
    Pong,
    ServerHello,
    Stt,
    System,
    TtsSentence,
    TtsStart,
    TtsStop,
    Unknown,
)
from core.dialogue.xiaozhi.protocol import read_from_client, read_from_server

EXAMPLES = {
    1: (Frame(b"\xaa\xbb\xcc"), "aabbcc"),
    2: (Frame(b"\xaa\xbb\xcc", timestamp_ms=1000), "0002 0000 00000000 000003e8 00000003 aabbcc"),
    3: (Frame(b"\xaa\xbb\xcc"), "00 00 0003 aabbcc"),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_h1_frames_as_written(version: int) -> None:
    frame, written = EXAMPLES[version]
    assert encode(frame, version) == bytes.fromhex(written)
    assert decode(bytes.fromhex(written), version) == frame


def test_h1_json_in_a_frame_of_version_2() -> None:
    assert decode(bytes.fromhex("0002 0001 00000000 00000000 00000002") + b"{}", 2) == Frame(b"{}", Kind.JSON)


@pytest.mark.parametrize(
    ("version", "written", "fault"),
    [
        (2, "", "0 bytes"),
        (2, "0002 0000 00000000 000003e8 000000", "15 bytes"),
        (2, "0001 0000 00000000 000003e8 00000003 aabbcc", "version 1"),
        (2, "0002 0000 00000000 000003e8 00000004 aabbcc", "4 bytes are declared, 3"),
        (2, "0002 0000 00000000 000003e8 00000002 aabbcc", "2 bytes are declared, 3"),
        (2, "0002 0000 00000000 000003e8 ffffffff aabbcc", "4294967295 bytes"),
        (2, "0002 0007 00000000 000003e8 00000003 aabbcc", "type 7"),
        (3, "00 00 00", "3 bytes"),
        (3, "00 00 0004 aabbcc", "4 bytes are declared"),
        (3, "00 00 ffff aabbcc", "65535 bytes"),
        (3, "05 00 0003 aabbcc", "type 5"),
        (4, "", "version 4"),
    ],
)
def test_h1_frames_that_are_refused(version: int, written: str, fault: str) -> None:
    with pytest.raises(FrameError, match=fault):
        decode(bytes.fromhex(written), version)


def test_h1_what_a_frame_can_not_carry() -> None:
    for frame, version in [(Frame(b"{}", Kind.JSON), 1), (Frame(bytes(2**16)), 3), (Frame(b"", timestamp_ms=-1), 2)]:
        with pytest.raises(FrameError):
            encode(frame, version)


@settings(deadline=None)
@given(st.binary(max_size=64), st.sampled_from(VERSIONS))
def test_h1_any_bytes_are_a_frame_or_refused(data: bytes, version: int) -> None:
    try:
        frame = decode(data, version)
    except FrameError:
        return
    assert len(frame.payload) == len(data) - {1: 0, 2: 16, 3: 4}[version]


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from(VERSIONS), st.integers(0, 2**32 - 1))
def test_h1_frames_there_and_back(payload: bytes, version: int, timestamp: int) -> None:
    frame = Frame(payload, timestamp_ms=timestamp if version == 2 else 0)
    assert decode(encode(frame, version), version) == frame


BUILT = [
    (
        protocol.hello(3),
        '{"type":"hello","version":3,"features":{"mcp":true},"transport":"websocket",'
        '"audio_params":{"format":"opus","sample_rate":16000,"channels":1,"frame_duration":60}}',
        ClientHello(3, AudioParams(16000, 60), mcp=True),
    ),
    (
        protocol.hello(1, frame_ms=20, aec=True),
        '{"type":"hello","version":1,"features":{"mcp":true,"aec":true},"transport":"websocket",'
        '"audio_params":{"format":"opus","sample_rate":16000,"channels":1,"frame_duration":20}}',
        ClientHello(1, AudioParams(16000, 20), mcp=True, aec=True),
    ),
    (
        protocol.listen_start("s", Mode.MANUAL),
        '{"session_id":"s","type":"listen","state":"start","mode":"manual"}',
        ListenStart(Mode.MANUAL),
    ),
    (protocol.listen_stop("s"), '{"session_id":"s","type":"listen","state":"stop"}', ListenStop()),
    (
        protocol.listen_detect("", "你好"),
        '{"session_id":"","type":"listen","state":"detect","text":"你好"}',
        ListenDetect("你好"),
    ),
    (protocol.abort("s"), '{"session_id":"s","type":"abort"}', Abort()),
    (
        protocol.abort("s", "wake_word_detected"),
        '{"session_id":"s","type":"abort","reason":"wake_word_detected"}',
        Abort("wake_word_detected"),
    ),
    (protocol.mcp("s", {"id": 1}), '{"session_id":"s","type":"mcp","payload":{"id":1}}', Mcp({"id": 1})),
    (protocol.goodbye("s"), '{"session_id":"s","type":"goodbye"}', Goodbye()),
    (protocol.ping("s"), '{"session_id":"s","type":"ping"}', Ping()),
]


@pytest.mark.parametrize(("built", "written", "value"), BUILT)
def test_h1_messages_of_a_client_as_written(built: Any, written: str, value: object) -> None:
    assert protocol.encode(built) == written
    assert read_from_client(written) == value


FROM_SERVER = [
    ('{"type":"hello","transport":"websocket"}', ServerHello("", AudioParams(24000, 60))),
    (
        '{"type":"hello","transport":"websocket","session_id":"a","audio_params":'
        '{"format":"opus","sample_rate":16000,"channels":1,"frame_duration":20}}',
        ServerHello("a", AudioParams(16000, 20)),
    ),
    ('{"type":"hello","transport":"websocket","session_id":7,"audio_params":[]}', ServerHello()),
    (
        '{"type":"hello","transport":"websocket","audio_params":{"sample_rate":44100,"frame_duration":-1}}',
        ServerHello(),
    ),
    ('{"type":"hello","transport":"udp"}', Malformed("hello: transport is not websocket")),
    (
        '{"type":"hello","transport":"websocket","audio_params":{"format":"pcm"}}',
        Malformed("hello: audio_params.format is not opus"),
    ),
    ('{"session_id":"a","type":"stt","text":"hi"}', Stt("hi")),
    ('{"type":"stt","text":null}', Malformed("stt: text is missing")),
    ('{"type":"stt","text":"\\ud83d"}', Stt("?")),
    ('{"type":"llm","emotion":"happy","text":"🙂"}', Llm("happy", "🙂")),
    ('{"type":"llm","emotion":"happy"}', Llm("happy")),
    ('{"type":"llm","emotion":1}', Malformed("llm: emotion is missing")),
    ('{"type":"tts","state":"start","sample_rate":16000}', TtsStart()),
    ('{"type":"tts","state":"sentence_start","text":"Hi."}', TtsSentence("Hi.")),
    ('{"type":"tts","state":"sentence_end","text":"Hi."}', TtsSentence("Hi.", ends=True)),
    ('{"type":"tts","state":"sentence_start"}', TtsSentence("")),
    ('{"type":"tts","state":"stop"}', TtsStop()),
    ('{"type":"tts","state":"pause"}', Malformed("tts: state is unknown")),
    ('{"type":"tts","state":["start"]}', Malformed("tts: state is unknown")),
    ('{"type":"mcp","payload":{"jsonrpc":"2.0"}}', Mcp({"jsonrpc": "2.0"})),
    ('{"type":"mcp","payload":"x"}', Malformed("mcp: payload is no object")),
    ('{"type":"iot","session_id":"a","commands":[]}', Iot({"commands": []})),
    ('{"type":"system","command":"reboot"}', System("reboot")),
    ('{"type":"system"}', Malformed("system: command is missing")),
    ('{"type":"alert","status":"a","message":"b","emotion":"sad"}', Alert("a", "b", "sad")),
    ('{"type":"alert","status":"a","message":"b"}', Malformed("alert: status, message or emotion is missing")),
    ('{"type":"custom","payload":{"a":1}}', Custom({"a": 1})),
    ('{"type":"custom"}', Malformed("custom: payload is no object")),
    ('{"type":"goodbye"}', Goodbye()),
    ('{"type":"pong","timestamp":1}', Pong()),
    ('{"type":"weather"}', Unknown("weather")),
    ('{"type":1}', Malformed("no type")),
    ("[]", Malformed("no JSON object")),
    ("authentication failed", Malformed("no JSON")),
    ("[" * 100_000, Malformed("no JSON")),
    ("1" * 10_000, Malformed("no JSON")),
]


@pytest.mark.parametrize(("written", "value"), FROM_SERVER, ids=lambda value: repr(value)[:60])
def test_h1_messages_of_a_server(written: str, value: object) -> None:
    assert read_from_server(written) == value


FROM_CLIENT = [
    ('{"type":"hello","device_id":"a","device_name":"b","token":"c","features":{"mcp":true}}', ClientHello(mcp=True)),
    ('{"type":"hello","version":9,"features":null,"audio_params":{"sample_rate":true}}', ClientHello()),
    ('{"type":"listen","state":"start"}', ListenStart()),
    ('{"type":"listen","state":"start","mode":"loud"}', Malformed("listen: mode is unknown")),
    ('{"type":"listen","state":"start","mode":{}}', Malformed("listen: mode is unknown")),
    ('{"type":"listen"}', Malformed("listen: state is unknown")),
    ('{"type":"abort","reason":3}', Abort()),
    ('{"type":"iot","update":true,"states":[]}', Iot({"update": True, "states": []})),
]


@pytest.mark.parametrize(("written", "value"), FROM_CLIENT)
def test_h1_messages_of_other_clients(written: str, value: object) -> None:
    assert read_from_client(written) == value


def test_h1_what_is_no_json_is_not_sent() -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    for wrong in ({"a": object()}, {"a": float("nan")}, {"a": b""}, loop):
        assert protocol.encode(wrong) is None
    assert protocol.encode({"text": "\ud83d"}) == '{"text":"?"}'


_FIELDS = st.sampled_from(
    ["type", "state", "mode", "text", "payload", "session_id", "audio_params", "version", "features"]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5)
    | st.sampled_from(["hello", "listen", "tts", "stt", "llm", "mcp", "start", "stop", "abort", "alert", "iot"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_FIELDS, inner, max_size=4),
    max_leaves=6,
)  # fmt: skip


@settings(deadline=None)
@given(st.dictionaries(_FIELDS, _VALUES, max_size=6).map(json.dumps) | st.text(max_size=60))
def test_h1_anything_is_a_value(text: str) -> None:
    for read in (read_from_client, read_from_server):
        repr(read(text)).encode()
