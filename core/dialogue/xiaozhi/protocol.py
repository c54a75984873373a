"""The messages of the xiaozhi protocol as JSON, both directions. Sans-I/O.

Reading is tolerant: what is optional may be missing or of another type, unknown types are `Unknown`, and what can't be
used is `Malformed` and says why; nothing is raised and no content quoted. Building is exact.

Source: docs/websocket.md and docs/mcp-protocol.md of https://github.com/78/xiaozhi-esp32
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from core.dialogue.xiaozhi.framing import VERSIONS
from core.dialogue.xiaozhi.messages import (
    DOWNLINK_RATE,
    FRAME_MS,
    UPLINK_RATE,
    Abort,
    Alert,
    AudioParams,
    ClientHello,
    ClientMessage,
    Custom,
    Goodbye,
    Iot,
    Json,
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
    ServerMessage,
    Stt,
    System,
    TtsSentence,
    TtsStart,
    TtsStop,
    Unknown,
)

_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_NOT_JSON = (ValueError, RecursionError)  # the latter for nesting without end


def read_from_server(text: str) -> ServerMessage:
    """One text message as a client gets it."""
    return _read(text, _FROM_SERVER)


def read_from_client(text: str) -> ClientMessage:
    """One text message as a server gets it. The session id is not looked at: many clients send none."""
    return _read(text, _FROM_CLIENT)


# -- building


def hello(version: int = 1, *, frame_ms: int = FRAME_MS, aec: bool = False) -> Json:
    """A client's first message."""
    features = {"mcp": True} | ({"aec": True} if aec else {})
    audio = {"format": "opus", "sample_rate": UPLINK_RATE, "channels": 1, "frame_duration": frame_ms}
    return {
        "type": "hello", "version": version, "features": features, "transport": "websocket", "audio_params": audio,
    }  # fmt: skip


def listen_start(session_id: str, mode: Mode) -> Json:
    """Audio follows."""
    return {"session_id": session_id, "type": "listen", "state": "start", "mode": str(mode)}


def listen_stop(session_id: str) -> Json:
    """The user's turn is over."""
    return {"session_id": session_id, "type": "listen", "state": "stop"}


def listen_detect(session_id: str, text: str) -> Json:
    """A wake word, or what the user typed."""
    return {"session_id": session_id, "type": "listen", "state": "detect", "text": text}


def abort(session_id: str, reason: str = "") -> Json:
    """No more of this reply; without a reason the user interrupts."""
    return {"session_id": session_id, "type": "abort"} | ({"reason": reason} if reason else {})


def mcp(session_id: str, payload: Mapping[str, Any]) -> Json:
    """An answer of our tools."""
    return {"session_id": session_id, "type": "mcp", "payload": dict(payload)}


def goodbye(session_id: str) -> Json:
    """The session ends. On a WebSocket it is enough to close it."""
    return {"session_id": session_id, "type": "goodbye"}


def ping(session_id: str) -> Json:
    """Are you there? Only some servers answer."""
    return {"session_id": session_id, "type": "ping"}


def encode(message: Mapping[str, Any]) -> str | None:
    """As a text message; None for what is no JSON."""
    try:
        text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return _clean(text)
    except (TypeError, *_NOT_JSON):
        return None


# -- reading

_Value = TypeVar("_Value")
_Reader = Callable[[Json], _Value]


def _read(text: str, readers: Mapping[str, _Reader[_Value]]) -> _Value | Unknown | Malformed:
    try:
        message = json.loads(text)
    except _NOT_JSON:
        return Malformed("no JSON")
    if not isinstance(message, dict):
        return Malformed("no JSON object")
    name = message.get("type")
    if not isinstance(name, str):
        return Malformed("no type")
    reader = readers.get(name)
    return reader(message) if reader else Unknown(_clean(name[:40]))


def _client_hello(message: Json) -> ClientHello | Malformed:
    audio = _audio(message, UPLINK_RATE)
    if isinstance(audio, Malformed):
        return audio
    features = message.get("features")
    features = features if isinstance(features, dict) else {}
    version = message.get("version")
    version = version if type(version) is int and version in VERSIONS else 1
    return ClientHello(version, audio, features.get("mcp") is True, features.get("aec") is True)


def _server_hello(message: Json) -> ServerHello | Malformed:
    if message.get("transport") != "websocket":
        return Malformed("hello: transport is not websocket")
    audio = _audio(message, DOWNLINK_RATE)
    return audio if isinstance(audio, Malformed) else ServerHello(_text(message, "session_id") or "", audio)


def _audio(message: Json, rate: int) -> AudioParams | Malformed:
    """Any rate and length can be decoded, so what can't be read is as good as missing; another codec is not."""
    params = message.get("audio_params")
    params = params if isinstance(params, dict) else {}
    if params.get("format", "opus") != "opus":
        return Malformed("hello: audio_params.format is not opus")
    told, frame_ms = params.get("sample_rate"), params.get("frame_duration")
    return AudioParams(
        told if type(told) is int and told in _OPUS_RATES else rate,
        frame_ms if type(frame_ms) is int and 0 < frame_ms <= 120 else FRAME_MS,
    )


def _listen(message: Json) -> ListenStart | ListenStop | ListenDetect | Malformed:
    match message.get("state"):
        case "start":
            mode = message.get("mode", Mode.AUTO)
            known = isinstance(mode, str) and mode in tuple(Mode)
            return ListenStart(Mode(mode)) if known else Malformed("listen: mode is unknown")
        case "stop":
            return ListenStop()
        case "detect":
            return ListenDetect(_text(message, "text") or "")
    return Malformed("listen: state is unknown")


def _tts(message: Json) -> TtsStart | TtsSentence | TtsStop | Malformed:
    match message.get("state"):
        case "start":
            return TtsStart()
        case "stop":
            return TtsStop()
        case "sentence_start" | "sentence_end" as state:
            return TtsSentence(_text(message, "text") or "", state == "sentence_end")
    return Malformed("tts: state is unknown")


def _stt(message: Json) -> Stt | Malformed:
    text = _text(message, "text")
    return Malformed("stt: text is missing") if text is None else Stt(text)


def _llm(message: Json) -> Llm | Malformed:
    emotion = _text(message, "emotion")
    return Malformed("llm: emotion is missing") if emotion is None else Llm(emotion, _text(message, "text") or "")


def _alert(message: Json) -> Alert | Malformed:
    parts = [_text(message, name) for name in ("status", "message", "emotion")]
    told = [part for part in parts if part is not None]
    return Alert(*told) if len(told) == 3 else Malformed("alert: status, message or emotion is missing")


def _system(message: Json) -> System | Malformed:
    command = _text(message, "command")
    return Malformed("system: command is missing") if command is None else System(command)


def _mcp(message: Json) -> Mcp | Malformed:
    payload = message.get("payload")
    return Mcp(payload) if isinstance(payload, dict) else Malformed("mcp: payload is no object")


def _custom(message: Json) -> Custom | Malformed:
    payload = message.get("payload")
    return Custom(payload) if isinstance(payload, dict) else Malformed("custom: payload is no object")


def _iot(message: Json) -> Iot:
    return Iot({name: value for name, value in message.items() if name not in ("type", "session_id")})


def _text(message: Json, name: str) -> str | None:
    value = message.get(name)
    return _clean(value) if isinstance(value, str) else None


def _clean(text: str) -> str:
    """JSON may hold halves of surrogate pairs, which no socket and no file takes."""
    return text.encode("utf-8", "replace").decode()


_FROM_SERVER: dict[str, _Reader[ServerMessage]] = {
    "hello": _server_hello,
    "stt": _stt,
    "llm": _llm,
    "tts": _tts,
    "mcp": _mcp,
    "iot": _iot,
    "system": _system,
    "alert": _alert,
    "custom": _custom,
    "goodbye": lambda _: Goodbye(),
    "pong": lambda _: Pong(),
}
_FROM_CLIENT: dict[str, _Reader[ClientMessage]] = {
    "hello": _client_hello,
    "listen": _listen,
    "abort": lambda message: Abort(_text(message, "reason") or ""),
    "mcp": _mcp,
    "iot": _iot,
    "goodbye": lambda _: Goodbye(),
    "ping": lambda _: Ping(),
}
