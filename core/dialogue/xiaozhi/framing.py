"""Binary WebSocket messages of the xiaozhi protocol, one Opus packet each. Sans-I/O. Integers are big-endian.

v1   the Opus packet
v2   u16 version 2 | u16 type (0 Opus, 1 JSON) | u32 reserved 0 | u32 timestamp ms | u32 payload size | payload
v3   u8 type (0 Opus) | u8 reserved 0 | u16 payload size | payload

Source: docs/websocket.md of https://github.com/78/xiaozhi-esp32
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

VERSIONS = (1, 2, 3)

_V2 = struct.Struct(">HHIII")
_V3 = struct.Struct(">BBH")


class FrameError(ValueError):
    """The bytes are no message of this version. The message names the fault and quotes no payload."""


class Kind(IntEnum):
    """What a payload is."""

    OPUS = 0
    JSON = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One binary message. `timestamp_ms`: v2 only; of the sound that the sender was just playing, 0 for none."""

    payload: bytes
    kind: Kind = Kind.OPUS
    timestamp_ms: int = 0


def encode(frame: Frame, version: int = 1) -> bytes:
    """As a message of that version. Raises `FrameError` for what it can't carry."""
    _check(version)
    size = len(frame.payload)
    if version == 1 and frame.kind is Kind.OPUS:
        return frame.payload
    if version == 2 and size < 2**32 and 0 <= frame.timestamp_ms < 2**32:
        return _V2.pack(2, frame.kind, 0, frame.timestamp_ms, size) + frame.payload
    if version == 3 and size < 2**16:
        return _V3.pack(frame.kind, 0, size) + frame.payload
    raise FrameError(f"version {version} can't carry {size} bytes of {frame.kind.name} at {frame.timestamp_ms} ms")


def decode(data: bytes, version: int = 1) -> Frame:
    """What a message holds. The reserved field is ignored. Raises `FrameError`, and nothing else."""
    _check(version)
    if version == 1:
        return Frame(data)
    layout = _V2 if version == 2 else _V3
    if len(data) < layout.size:
        raise FrameError(f"{len(data)} bytes are no header of version {version}")
    timestamp = 0
    if version == 2:
        told, kind, _, timestamp, size = _V2.unpack_from(data)
        if told != 2:
            raise FrameError(f"version {told} in a message of version 2")
    else:
        kind, _, size = _V3.unpack_from(data)
    if size != len(data) - layout.size:
        raise FrameError(f"{size} bytes are declared, {len(data) - layout.size} are there")
    if kind not in (Kind.OPUS, Kind.JSON):
        raise FrameError(f"type {kind} is unknown")
    return Frame(data[layout.size :], Kind(kind), timestamp)


def _check(version: int) -> None:
    if version not in VERSIONS:
        raise FrameError(f"version {version} is unknown")
