"""Packets of a microphone are handled where they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from fractions import Fraction
from typing import Any, cast

import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCDtlsTransport, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack, VideoStreamTrack
from av import AudioFrame

from avatar.intake import hasten
from avatar.peer import Peer
from core.frames import Samples


class Tone(MediaStreamTrack):
    """A microphone at which somebody whistles."""

    kind = "audio"
    position = 0

    async def recv(self) -> AudioFrame:
        await asyncio.sleep(0.02)
        time = np.arange(self.position, self.position + 960) / 48_000
        frame = AudioFrame.from_ndarray((8000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)[None], layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self.position, Fraction(1, 48_000)
        self.position += 960
        return frame


class Call:
    """A browser with a microphone, connected to a `Peer`."""

    def __init__(self) -> None:
        self.heard: list[Samples] = []
        self.queued: list[bytes] = []
        self.browser = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.peer = Peer([], codec="vp8", on_audio=self.heard.append)

    @property
    def transport(self) -> RTCDtlsTransport:
        return self.peer._pc.getTransceivers()[0].receiver.transport

    async def connect(self) -> None:
        self.browser.addTrack(Tone())
        await self.browser.setLocalDescription(await self.browser.createOffer())
        sdp = await self.peer.answer(self.browser.localDescription.sdp, AudioStreamTrack(), VideoStreamTrack())
        connection: Any = self.transport.transport._connection
        put = connection.data_received

        def spy(data: bytes, component: int) -> None:
            self.queued.append(data)
            put(data, component)

        connection.data_received = spy
        await self.browser.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def hear(self, count: int) -> None:
        """Wait for so many packets more."""
        goal = len(self.heard) + count
        async with asyncio.timeout(20):
            while len(self.heard) < goal:
                await asyncio.sleep(0.01)


@pytest.fixture
async def call() -> AsyncIterator[Call]:
    call = Call()
    await call.connect()
    yield call
    await call.peer.close()
    await call.browser.close()


def _is_rtp(data: bytes) -> bool:
    return 128 <= data[0] < 192 and not 192 <= data[1] < 224


async def test_sound_does_not_queue(call: Call) -> None:
    await call.hear(10)
    call.queued.clear()
    await call.hear(60)  # reports come in between
    assert not any(map(_is_rtp, call.queued))
    assert any(128 <= data[0] < 192 for data in call.queued), "RTCP goes its old way"
    assert np.abs(np.concatenate(call.heard[-10:])).max() > 4000


async def test_what_arrives_is_counted_and_reported(call: Call) -> None:
    await call.hear(1)
    before = await call.peer.last_heard()
    await call.hear(10)
    assert await call.peer.last_heard() > before
    receiver = call.peer._pc.getTransceivers()[0].receiver
    inbound = [report for report in (await receiver.getStats()).values() if report.type == "inbound-rtp"]
    assert inbound[0].packetsReceived >= 10
    assert inbound[0].packetsLost == 0


@pytest.mark.parametrize(
    "data", [b"\x80\x60", b"\x80" + bytes(40), b"\x80" + bytes(2000), b"\x80\xc8" + bytes(2000), b"\x80", b""]
)
async def test_damaged_packets_are_dropped(call: Call, data: bytes) -> None:
    await call.hear(3)
    protocol = cast(Any, call.transport.transport)._connection._protocols[0]
    for _ in range(3):
        protocol.datagram_received(data, ("127.0.0.1", 5000))
    await call.hear(5)
    assert call.peer.state == "connected"


async def test_after_the_end_nothing_is_handled(call: Call) -> None:
    await call.hear(3)
    protocol = cast(Any, call.transport.transport)._connection._protocols[0]
    packet = b"\x80\x60" + bytes(60)
    await call.peer.close()
    call.queued.clear()
    protocol.datagram_received(packet, ("127.0.0.1", 5000))
    assert call.queued == [packet]


async def test_another_aiortc_does_it_its_own_way() -> None:
    peer = Peer([], codec="vp8", on_audio=lambda samples: None)
    transport = peer._pc.addTransceiver("audio").receiver.transport
    kept = vars(transport).pop("_RTCDtlsTransport__handshake_done")
    assert not hasten(transport)
    vars(transport)["_RTCDtlsTransport__handshake_done"] = kept
    assert hasten(transport)
    await peer.close()
