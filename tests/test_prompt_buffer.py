"""Packets of a microphone on their way to the ears."""

from __future__ import annotations

import pytest
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtcrtpreceiver import RemoteStreamTrack
from aiortc.rtp import RtpPacket

from avatar.peer import Peer
from avatar.prompt_buffer import PromptBuffer


def handed_on(buffer: JitterBuffer, numbers: list[int], data: bytes = b"sound") -> list[int | None]:
    """Which packet came out at each one that went in."""
    out: list[int | None] = []
    for number in numbers:
        packet = RtpPacket(sequence_number=number % 65536, timestamp=number * 960)
        packet._data = data  # type: ignore[attr-defined]
        frame = buffer.add(packet)[1]
        out.append(None if frame is None else frame.timestamp // 960)
    return out


def test_every_packet_is_handed_on_at_once() -> None:
    assert handed_on(PromptBuffer(), [5, 6, 7]) == [5, 6, 7]


def test_a_lost_packet_delays_nothing() -> None:
    numbers = [n for n in range(40) if n != 10]
    assert handed_on(PromptBuffer(), numbers) == numbers
    late = handed_on(JitterBuffer(capacity=16, prefetch=1), numbers)
    assert late[-1] is not None
    assert late[-1] < 30  # which is why there is this one


def test_overtaken_and_repeated_packets_are_dropped() -> None:
    assert handed_on(PromptBuffer(), [5, 7, 6, 7, 8]) == [5, 7, None, None, 8]


@pytest.mark.parametrize("first", [65534, 32767])
def test_sequence_numbers_wrap(first: int) -> None:
    numbers = list(range(first, first + 5))
    assert handed_on(PromptBuffer(), numbers) == numbers


def test_a_packet_without_sound_is_dropped() -> None:
    assert handed_on(PromptBuffer(), [5], b"") == [None]


def test_what_is_taken_does_not_go_to_aiortcs_decoder() -> None:
    taken: list[tuple[int, bytes]] = []

    def take(kind: int, data: bytes) -> bool:
        taken.append((kind, data))
        return kind == 96

    buffer = PromptBuffer(take)
    for number, kind in enumerate((96, 0)):
        packet = RtpPacket(sequence_number=number, payload_type=kind)
        packet._data = b"sound"  # type: ignore[attr-defined]
        assert (buffer.add(packet)[1] is None) == (kind == 96)
    assert handed_on(buffer, [2], b"") == [None]
    assert taken == [(96, b"sound"), (0, b"sound")]


async def test_the_ears_get_it_in_place_of_aiortcs_own() -> None:
    peer = Peer([], codec="vp8", on_audio=lambda samples: None)
    receiver = peer._pc.addTransceiver("audio").receiver
    receiver._track = RemoteStreamTrack(kind="audio")
    own = vars(receiver)["_RTCRtpReceiver__jitter_buffer"]
    assert isinstance(own, JitterBuffer)
    peer._hurry(receiver.track)
    assert isinstance(vars(receiver)["_RTCRtpReceiver__jitter_buffer"], PromptBuffer)
    await peer.close()
