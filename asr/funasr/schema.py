"""What a client of the custom protocol may say: one checked value per message. Sans-I/O.

Chunked messages have a `type` that begins with `audio_`; the older file, inline and control forms have none. Fields,
aliases, defaults and limits are those of docs/asr-funasr-custom.md.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from asr.funasr.refusal import Refusal

MAX_CHUNKS = 4096
MAX_TEXT = 65_536
"""Characters of hotwords, a name or a path."""
FORMATS = ("wav", "pcm", "mp3", "flac", "ogg", "opus", "m4a", "webm", "aac")
RESULT_FORMATS = ("text", "json")

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")

Fields = Mapping[str, Any]


class Kind(Enum):
    """Which form a text frame has."""

    CHUNKED = "chunked"
    FILE = "file"
    INLINE = "inline"
    CONTROL = "control"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """`name` is one of `FORMATS`, None when the client did not say; the numbers matter for raw PCM only."""

    name: str | None = None
    sample_rate: int = 16_000
    channels: int = 1
    sample_width: int = 2


@dataclass(frozen=True, slots=True)
class AudioStart:
    """An upload begins. `ack`: chunks per acknowledgement, 0 for none. `live`: partials are wanted meanwhile."""

    request_id: str | None
    audio_format: AudioFormat
    total_chunks: int | None = None
    total_size: int | None = None
    sha256: str | None = None
    ack: int = 1
    result_format: str = "text"
    live: bool = False


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """A piece of an upload, in any order."""

    request_id: str | None
    index: int
    data: bytes


@dataclass(frozen=True, slots=True)
class AudioEnd:
    """Everything was sent."""

    request_id: str | None
    total_chunks: int | None = None


@dataclass(frozen=True, slots=True)
class AudioCancel:
    """The upload, or its recognition, is no longer wanted."""

    request_id: str | None


@dataclass(frozen=True, slots=True)
class AudioResume:
    """Go on with an upload, on this connection."""

    request_id: str


@dataclass(frozen=True, slots=True)
class FileRequest:
    """Recognise a file that the server can read. `status`: also tell how it goes, as JSON."""

    url: str
    request_id: str | None = None
    result_format: str = "text"
    status: bool = False


@dataclass(frozen=True, slots=True)
class InlineRequest:
    """Recognise the audio in this message."""

    audio: bytes
    audio_format: AudioFormat
    request_id: str | None = None
    result_format: str = "text"
    status: bool = False


@dataclass(frozen=True, slots=True)
class Control:
    """Live PCM in binary frames begins or ends."""

    state: str
    vad_need: bool


Chunked = AudioStart | AudioChunk | AudioEnd | AudioCancel | AudioResume


def load(frame: str) -> object:
    """The JSON value of a text frame. Raises `ValueError` when it is none."""
    try:
        return json.loads(frame)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def kind_of(message: object) -> Kind:
    """The form of a message; the first that fits."""
    if not isinstance(message, dict):
        return Kind.OTHER
    if isinstance(message.get("type"), str) and message["type"].startswith("audio_"):
        return Kind.CHUNKED
    if "url" in message:
        return Kind.FILE
    if "audio_data" in message:
        return Kind.INLINE
    return Kind.CONTROL if "vad_need" in message or "state" in message else Kind.OTHER


def chunked(message: Fields, max_chunk_bytes: int) -> Chunked:
    """A message of the chunked form. Raises `Refusal`."""
    request_id = id_of(message)
    try:
        match message["type"]:
            case "audio_start":
                return _start(message, request_id)
            case "audio_chunk":
                return _chunk(message, request_id, max_chunk_bytes)
            case "audio_end":
                return AudioEnd(request_id, _integer(message, "total_chunks", 1, MAX_CHUNKS))
            case "audio_cancel":
                return AudioCancel(request_id)
            case "audio_resume":
                if request_id is None:
                    raise Refusal("bad_request", "audio_resume needs a request_id")
                return AudioResume(request_id)
            case _:
                raise Refusal("bad_request", "this type of message is unknown")
    except Refusal as refusal:
        refusal.request_id = request_id
        raise


def file_request(message: Fields) -> FileRequest:
    """The file form. Raises `Refusal`."""
    url = _text(message, "url")
    if not url:
        raise Refusal("bad_request", "url: expected a path")
    return FileRequest(url, id_of(message), _choice(message, "result_format", RESULT_FORMATS), _flag(message, "status"))


def inline_request(message: Fields, max_bytes: int) -> InlineRequest:
    """The inline form. Raises `Refusal`."""
    audio = _base64(message["audio_data"], "audio_data")
    if len(audio) > max_bytes:
        raise Refusal("too_large", f"at most {max_bytes} bytes of audio are accepted in one message")
    result_format = _choice(message, "result_format", RESULT_FORMATS)
    return InlineRequest(audio, _format(message), id_of(message), result_format, _flag(message, "status"))


def control(message: Fields) -> Control:
    """The control form; what makes no sense counts as not said."""
    state = message.get("state")
    return Control(state if isinstance(state, str) else "", message.get("vad_need") is True)


def id_of(message: Fields) -> str | None:
    """The request's id, None if it has none. Raises `Refusal` for one that is not allowed."""
    value = _first(message, "request_id", "session_id")
    if value is None:
        return None
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise Refusal("bad_request", "request_id: expected 1 to 64 of A-Z a-z 0-9 _ -")
    return value


def _start(message: Fields, request_id: str | None) -> AudioStart:
    sha256 = _text(message, "sha256")
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise Refusal("bad_request", "sha256: expected 64 hexadecimal digits")
    for key in ("hotwords", "language", "filename", "username"):
        _text(message, key)
    _integer(message, "chunk_size", 1, 2**40)
    return AudioStart(
        request_id,
        _format(message),
        total_chunks=_integer(message, "total_chunks", 1, MAX_CHUNKS, "chunks"),
        total_size=_integer(message, "total_size", 0, 2**40),
        sha256=sha256.lower() if sha256 else None,
        ack=_ack(message.get("ack")),
        result_format=_choice(message, "result_format", RESULT_FORMATS),
        live=_flag(message, "live"),
    )


def _chunk(message: Fields, request_id: str | None, max_bytes: int) -> AudioChunk:
    index = _integer(message, "chunk_index", 0, MAX_CHUNKS)
    if index is None:
        raise Refusal("bad_request", "chunk_index is missing")
    text = _first(message, "data", "audio_data", "chunk_data", "audio")
    if isinstance(text, str) and len(text) * 3 // 4 > max_bytes + 2:
        raise Refusal("chunk_too_large", f"a chunk has at most {max_bytes} bytes")
    data = _base64(text, "data")
    if len(data) > max_bytes:
        raise Refusal("chunk_too_large", f"a chunk has at most {max_bytes} bytes")
    size = _integer(message, "size", 0, 2**40)
    if size is not None and size != len(data):
        raise Refusal("size_mismatch", f"chunk {index} has {len(data)} bytes, not {size}")
    return AudioChunk(request_id, index, data)


def _format(message: Fields) -> AudioFormat:
    name = _first(message, "audio_format", "format")
    if name is not None:
        name = name.lower() if isinstance(name, str) else name
        if name not in FORMATS:
            raise Refusal("unsupported_format", f"audio_format: expected one of {', '.join(FORMATS)}")
    return AudioFormat(
        name,
        _integer(message, "sample_rate", 1000, 384_000) or 16_000,
        _integer(message, "channels", 1, 8) or 1,
        _integer(message, "sample_width", 1, 4) or 2,
    )


def _ack(value: object) -> int:
    if value is None or value == "each":
        return 1
    if value == "none":
        return 0
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_CHUNKS:
        return value
    raise Refusal("bad_request", 'ack: expected "each", "none" or a number of chunks')


def _first(message: Fields, *names: str) -> Any:
    return next((message[name] for name in names if message.get(name) is not None), None)


def _integer(message: Fields, name: str, least: int, most: int, *aliases: str) -> int | None:
    value = _first(message, name, *aliases)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Refusal("bad_request", f"{name}: expected a whole number from {least} to {most}")
    return value


def _text(message: Fields, name: str) -> str | None:
    value = message.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise Refusal("bad_request", f"{name}: expected a string of at most {MAX_TEXT} characters")
    return value


def _choice(message: Fields, name: str, allowed: tuple[str, ...]) -> str:
    value = message.get(name)
    if value is None:
        return allowed[0]
    if value not in allowed:
        raise Refusal("bad_request", f"{name}: expected one of {', '.join(allowed)}")
    return str(value)


def _flag(message: Fields, name: str) -> bool:
    value = message.get(name)
    if value is not None and not isinstance(value, bool):
        raise Refusal("bad_request", f"{name}: expected true or false")
    return bool(value)


def _base64(text: object, name: str) -> bytes:
    if not isinstance(text, str):
        raise Refusal("bad_request", f"{name}: expected base64 in a string")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise Refusal("bad_base64", f"{name} is no base64") from None
