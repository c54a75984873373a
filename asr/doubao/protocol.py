"""Volcengine's binary speech protocol, version 1: one WebSocket message is one frame. Sans-I/O.

header   version(4 bits) size in words(4) | type(4) flags(4) | serialization(4) compression(4) | reserved(8)
then     extension words | sequence int32 if flags & 1 | event int32 if flags & 4 | error code uint32 of an error |
         payload size uint32 | payload

Integers are big-endian. A frame is read by its own header only: servers answer uncompressed whatever they were sent.
Source: https://www.volcengine.com/docs/6561/1354869
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import TypeVar

MAX_PAYLOAD = 8 * 1024 * 1024
"""Bytes of a payload, uncompressed; a result of hours with every word's times is smaller."""

_VERSION = 1
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS

Kind = TypeVar("Kind", bound=IntEnum)


class ProtocolError(ValueError):
    """The bytes are not a frame of this protocol. The message names the fault and quotes no payload."""


class MessageType(IntEnum):
    """High half of byte 1."""

    FULL_REQUEST = 0b0001
    AUDIO_REQUEST = 0b0010
    FULL_RESPONSE = 0b1001
    ACK = 0b1011
    ERROR = 0b1111


class Flag(IntFlag):
    """Low half of byte 1. A client's last packet that carries a sequence carries it negative."""

    NONE = 0
    SEQUENCE = 0b0001
    LAST = 0b0010
    EVENT = 0b0100


class Serialization(IntEnum):
    """High half of byte 2."""

    RAW = 0
    JSON = 1


class Compression(IntEnum):
    """Low half of byte 2."""

    NONE = 0
    GZIP = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One message. `payload` is uncompressed; `sequence`, `event`, `code` are None where the frame has none."""

    type: MessageType
    payload: bytes = b""
    last: bool = False
    sequence: int | None = None
    event: int | None = None
    code: int | None = None
    serialization: Serialization = Serialization.RAW
    compression: Compression = Compression.NONE


def encode(frame: Frame) -> bytes:
    """The frame as bytes; compresses the payload if the frame says so. `struct.error` for numbers out of range."""
    flags = Flag.LAST if frame.last else Flag.NONE
    fields = b""
    if frame.sequence is not None:
        flags |= Flag.SEQUENCE
        fields += struct.pack(">i", frame.sequence)
    if frame.event is not None:
        flags |= Flag.EVENT
        fields += struct.pack(">i", frame.event)
    if frame.type is MessageType.ERROR:
        fields += struct.pack(">I", frame.code or 0)
    payload = gzip.compress(frame.payload, mtime=0) if frame.compression is Compression.GZIP else frame.payload
    header = bytes((_VERSION << 4 | 1, frame.type << 4 | flags, frame.serialization << 4 | frame.compression, 0))
    return header + fields + struct.pack(">I", len(payload)) + payload


def decode(data: bytes) -> Frame:
    """The frame that a message holds. Bytes behind the payload are ignored, as the vendor's parser does.

    Raises `ProtocolError`, and nothing else, for whatever is not a frame or unpacks to more than `MAX_PAYLOAD`.
    """
    if len(data) < 4:
        raise ProtocolError(f"{len(data)} bytes are no header")
    if data[0] >> 4 != _VERSION:
        raise ProtocolError(f"version {data[0] >> 4} is unknown")
    message_type = _known(MessageType, data[1] >> 4, "message type")
    serialization = _known(Serialization, data[2] >> 4, "serialization")
    compression = _known(Compression, data[2] & 0xF, "compression")
    if data[1] & 0b1000:
        raise ProtocolError(f"flags {data[1] & 0xF:#06b} are unknown")
    flags = Flag(data[1] & 0xF)
    reader = _Reader(data, 4 * (data[0] & 0xF))
    sequence = reader.int32() if flags & Flag.SEQUENCE else None
    event = reader.int32() if flags & Flag.EVENT else None
    code = reader.uint32() if message_type is MessageType.ERROR else None
    bare = message_type is MessageType.ACK and reader.left == 0  # older servers acknowledge with a number only
    payload = b"" if bare else reader.block(reader.uint32())
    if compression is Compression.GZIP:
        payload = _unzipped(payload)
    return Frame(message_type, payload, bool(flags & Flag.LAST), sequence, event, code, serialization, compression)


class _Reader:
    def __init__(self, data: bytes, position: int) -> None:
        if not 4 <= position <= len(data):
            raise ProtocolError(f"a header of {position} bytes in a frame of {len(data)}")
        self._data = data
        self._position = position

    @property
    def left(self) -> int:
        return len(self._data) - self._position

    def block(self, size: int) -> bytes:
        if size > self.left:
            raise ProtocolError(f"{size} bytes are declared, {self.left} are there")
        self._position += size
        return self._data[self._position - size : self._position]

    def int32(self) -> int:
        return int.from_bytes(self.block(4), "big", signed=True)

    def uint32(self) -> int:
        return int.from_bytes(self.block(4), "big")


def _known(kind: type[Kind], value: int, name: str) -> Kind:
    try:
        return kind(value)
    except ValueError:
        raise ProtocolError(f"{name} {value:#06b} is unknown") from None


def _unzipped(payload: bytes) -> bytes:
    if not payload.startswith(_GZIP_MAGIC):
        return payload  # some servers flag gzip and send plain text
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        plain = unpacker.decompress(payload, MAX_PAYLOAD + 1)
    except zlib.error:
        raise ProtocolError("the payload is broken gzip") from None
    if len(plain) > MAX_PAYLOAD:
        raise ProtocolError(f"the payload unpacks to more than {MAX_PAYLOAD} bytes")
    if not unpacker.eof:
        raise ProtocolError("the gzip payload breaks off")
    return plain
