"""Row D1: the binary frames of Doubao, every combination of the header, and whatever else may arrive."""

from __future__ import annotations

import gzip
import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr.doubao.protocol import (
    MAX_PAYLOAD,
    Compression,
    Frame,
    MessageType,
    ProtocolError,
    Serialization,
    decode,
    encode,
)
from asr.doubao.request import RequestBuilder

CONFIG = {
    "user": {"uid": "u1"},
    "audio": {"format": "pcm", "rate": 16000, "bits": 16, "channel": 1},
    "request": {"model_name": "bigmodel"},
}
HI = b'{"result":{"text":"hi"}}'


def octets(text: str) -> bytes:
    return bytes.fromhex(text.replace("|", ""))


def test_d1_vector_full_request() -> None:
    message = RequestBuilder.new_full_client_request(1, CONFIG, compression=Compression.NONE)
    assert message[:12] == octets("11 11 10 00 | 00 00 00 01 | 00 00 00 75")
    assert len(message) == 12 + 117
    assert json.loads(message[12:]) == CONFIG


def test_d1_vector_full_request_zipped() -> None:
    message = RequestBuilder.new_full_client_request(1, CONFIG)
    assert message[:8] == octets("11 11 11 00 | 00 00 00 01")
    assert int.from_bytes(message[8:12], "big") == len(message) - 12
    assert json.loads(gzip.decompress(message[12:])) == CONFIG


@pytest.mark.parametrize(
    ("seq", "data", "last", "expected"),
    [
        (2, b"\x01\x02\x03\x04", False, "11 21 00 00 | 00 00 00 02 | 00 00 00 04 | 01 02 03 04"),
        (3, b"", True, "11 23 00 00 | ff ff ff fd | 00 00 00 00"),
        (None, b"", True, "11 22 00 00 | 00 00 00 00"),
        (None, b"\x01\x02", False, "11 20 00 00 | 00 00 00 02 | 01 02"),
    ],
)
def test_d1_vectors_audio(seq: int | None, data: bytes, last: bool, expected: str) -> None:
    assert RequestBuilder.new_audio_only_request(seq, data, last) == octets(expected)


def test_d1_an_empty_tail_that_is_zipped_is_the_zipped_empty_string() -> None:
    message = RequestBuilder.new_audio_only_request(5, b"", True, compression=Compression.GZIP)
    assert message[2] == 0x01
    assert int.from_bytes(message[8:12], "big") == 20
    assert gzip.decompress(message[12:]) == b""


@pytest.mark.parametrize(
    ("head", "sequence", "last"),
    [
        ("11 91 10 00 | 00 00 00 02 | 00 00 00 18", 2, False),
        ("11 90 10 00 | 00 00 00 18", None, False),
        ("11 93 10 00 | ff ff ff fd | 00 00 00 18", -3, True),
        ("11 92 10 00 | 00 00 00 18", None, True),
        ("11 95 10 00 | 00 00 00 02 | 00 00 01 c8 | 00 00 00 18", 2, False),
        ("11 94 10 00 | 00 00 01 c8 | 00 00 00 18", None, False),
        ("13 91 10 00 | aa bb cc dd | 11 22 33 44 | 00 00 00 02 | 00 00 00 18", 2, False),
    ],
)
def test_d1_vectors_responses(head: str, sequence: int | None, last: bool) -> None:
    frame = decode(octets(head) + HI)
    assert (frame.type, frame.payload) == (MessageType.FULL_RESPONSE, HI)
    assert (frame.sequence, frame.last) == (sequence, last)


def test_d1_the_event_of_the_sibling_dialect_is_skipped() -> None:
    frame = decode(octets("11 97 10 00 | ff ff ff fd | 00 00 01 c8 | 00 00 00 18") + HI)
    assert (frame.sequence, frame.event, frame.last, frame.payload) == (-3, 456, True, HI)


def test_d1_vector_error() -> None:
    frame = decode(octets("11 f0 10 00 | 02 ae a5 40 | 00 00 00 0d") + b'{"error":"x"}')
    assert (frame.type, frame.code, frame.payload) == (MessageType.ERROR, 45000000, b'{"error":"x"}')


@pytest.mark.parametrize("message", ["11 b1 00 00 | 00 00 00 07", "11 b1 00 00 | 00 00 00 07 | 00 00 00 00"])
def test_d1_an_acknowledgement_with_or_without_a_payload(message: str) -> None:
    frame = decode(octets(message))
    assert (frame.type, frame.sequence, frame.payload) == (MessageType.ACK, 7, b"")


def test_d1_the_received_header_alone_says_what_is_zipped() -> None:
    zipped = gzip.compress(HI)
    size = struct.pack(">I", len(zipped))
    assert decode(octets("11 90 11 00") + size + zipped).payload == HI
    assert decode(octets("11 90 10 00") + size + zipped).payload == zipped


def test_d1_flagged_gzip_that_is_plain_is_taken_as_it_is() -> None:
    assert decode(octets("11 90 11 00 | 00 00 00 18") + HI).payload == HI
    assert decode(octets("11 90 11 00 | 00 00 00 00")).payload == b""


@pytest.mark.parametrize("kind", list(MessageType))
@pytest.mark.parametrize("flags", range(8))
@pytest.mark.parametrize("serialization", list(Serialization))
@pytest.mark.parametrize("compression", list(Compression))
def test_d1_every_combination_of_the_header(
    kind: MessageType, flags: int, serialization: Serialization, compression: Compression
) -> None:
    frame = Frame(
        kind, b"payload", bool(flags & 2), -9 if flags & 1 else None, 456 if flags & 4 else None,
        45000081 if kind is MessageType.ERROR else None, serialization, compression,
    )  # fmt: skip
    message = encode(frame)
    assert message[1] == kind << 4 | flags
    assert decode(message) == frame
    bare = 4 + 4 * bool(flags & 1) + 4 * bool(flags & 4)
    for size in range(len(message)):
        if kind is not MessageType.ACK or size != bare:
            with pytest.raises(ProtocolError):
                decode(message[:size])


@pytest.mark.parametrize(
    "message",
    [
        "",
        "11 91",
        "21 90 10 00 | 00 00 00 00",
        "10 90 10 00 | 00 00 00 00",
        "1f 90 10 00 | 00 00 00 00",
        "11 30 10 00 | 00 00 00 00",
        "11 98 10 00 | 00 00 00 00",
        "11 90 30 00 | 00 00 00 00",
        "11 90 f0 00 | 00 00 00 00",
        "11 90 12 00 | 00 00 00 00",
        "11 90 10 00 | ff ff ff ff",
        "11 90 10 00 | 7f ff ff ff | 00",
        "11 91 10 00 | 00 00 00 02",
        "11 f0 10 00 | 02 ae a5 40",
        "11 90 11 00 | 00 00 00 04 | 1f 8b 08 00",
        "11 90 11 00 | 00 00 00 06 | 1f 8b ff ff ff ff",
    ],
)
def test_d1_what_is_no_frame_is_refused(message: str) -> None:
    with pytest.raises(ProtocolError):
        decode(octets(message))


def test_d1_a_small_frame_does_not_unpack_to_a_huge_one() -> None:
    bomb = gzip.compress(bytes(MAX_PAYLOAD + 1))
    with pytest.raises(ProtocolError, match="unpacks to more"):
        decode(octets("11 90 11 00") + struct.pack(">I", len(bomb)) + bomb)
    fits = gzip.compress(bytes(MAX_PAYLOAD))
    assert len(decode(octets("11 90 11 00") + struct.pack(">I", len(fits)) + fits).payload) == MAX_PAYLOAD


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=64))
def test_d1_fuzz_any_bytes(data: bytes) -> None:
    try:
        decode(data)
    except ProtocolError:
        pass


@settings(max_examples=300, deadline=None)
@given(
    head=st.tuples(st.integers(1, 3), st.sampled_from(list(MessageType)), st.integers(0, 7), st.integers(0, 1)),
    body=st.binary(max_size=40),
    size=st.integers(0, 2**32 - 1),
)
def test_d1_fuzz_behind_a_good_header(head: tuple[int, MessageType, int, int], body: bytes, size: int) -> None:
    words, kind, flags, compression = head
    message = (
        bytes((0x10 | words, kind << 4 | flags, 0x10 | compression, 0)) + body[:8] + struct.pack(">I", size) + body
    )
    try:
        assert len(decode(message).payload) <= len(message)
    except ProtocolError:
        pass


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_d1_fuzz_a_damaged_frame(data: st.DataObject) -> None:
    message = bytearray(encode(Frame(MessageType.FULL_RESPONSE, HI, sequence=3, compression=Compression.GZIP)))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(message))
    except ProtocolError:
        pass
