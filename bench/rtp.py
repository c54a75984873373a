"""What one received RTP stream carried, as it arrived: before the jitter buffer, before any decoder.

Nothing is decoded while it is being received; sound is decoded when it is asked for (20 µs per packet), pictures
after the measurement, so the client's own work does not delay the packets it times.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiortc import RTCRtpReceiver
from aiortc.codecs.vpx import vp8_depayload
from aiortc.rtp import AnyRtcpPacket, RtcpSrPacket, RtpPacket
from av import AudioFrame, CodecContext, Packet, VideoFrame
from numpy.typing import NDArray

CLOCKS = {"audio": 48_000, "video": 90_000}
_WRAP = 1 << 32


@dataclass(frozen=True, slots=True)
class Arrival:
    """One RTP packet. `at`: monotonic seconds; `timestamp`: RTP, unwrapped; `last`: marker bit (end of a picture)."""

    at: float
    timestamp: int
    sequence: int
    last: bool
    payload: bytes


class Recording:
    """Stands in front of an aiortc receiver. RTCP answers (reports, bit rate estimates) are still the receiver's."""

    def __init__(self, kind: str, receiver: RTCRtpReceiver, *, keep: bool = True) -> None:
        """`keep=False` drops the payloads: arrival times only."""
        self.kind = kind
        self.clock = CLOCKS[kind]
        self.arrivals: list[Arrival] = []
        self.reports: list[tuple[float, int]] = []
        """(sender's wall clock in seconds, unwrapped RTP timestamp) of every RTCP sender report."""
        self._keep = keep
        self._last = 0
        handle_rtp, handle_rtcp = receiver._handle_rtp_packet, receiver._handle_rtcp_packet

        async def rtp(packet: RtpPacket, arrival_time_ms: int) -> None:
            self._record(packet, time.monotonic())
            await handle_rtp(packet, arrival_time_ms)

        async def rtcp(packet: AnyRtcpPacket) -> None:
            if isinstance(packet, RtcpSrPacket):
                ntp = packet.sender_info.ntp_timestamp
                self.reports.append((ntp / _WRAP, self._unwrapped(packet.sender_info.rtp_timestamp)))
            await handle_rtcp(packet)

        # aiortc has no public hook before its jitter buffer
        vars(receiver).update(_handle_rtp_packet=rtp, _handle_rtcp_packet=rtcp)
        queue = "_RTCRtpReceiver__decoder_queue"
        vars(receiver)[queue] = _Discard(vars(receiver)[queue])

    def _record(self, packet: RtpPacket, at: float) -> None:
        timestamp = self._unwrapped(packet.timestamp)
        payload = packet.payload if self._keep else b""
        self.arrivals.append(Arrival(at, timestamp, packet.sequence_number, bool(packet.marker), payload))

    def _unwrapped(self, timestamp: int) -> int:
        if not self.arrivals and not self.reports:
            self._last = timestamp
        self._last += (timestamp - self._last + _WRAP // 2) % _WRAP - _WRAP // 2
        return self._last

    # -- reading

    def frames(self, since: float = 0.0, until: float = float("inf")) -> NDArray[np.float64]:
        """Arrival of each complete frame (every packet of audio, the last packet of a picture), monotonic seconds."""
        complete = (a.at for a in self.arrivals if (a.last or self.kind == "audio") and since <= a.at < until)
        return np.fromiter(complete, float)

    def gaps_ms(self, since: float = 0.0, until: float = float("inf")) -> NDArray[np.float64]:
        """Milliseconds between complete frames."""
        return np.diff(self.frames(since, until)) * 1000

    @property
    def lost(self) -> int:
        """Packets that are missing by sequence number."""
        steps = [(b.sequence - a.sequence) & 0xFFFF for a, b in zip(self.arrivals, self.arrivals[1:], strict=False)]
        return sum(step - 1 for step in steps if 1 < step < 0x8000)

    def jumps(self, step: int) -> int:
        """How often the timestamp moved by something else than `step`."""
        stamps = np.fromiter((arrival.timestamp for arrival in self.arrivals), np.int64)
        return int(np.count_nonzero(np.diff(stamps) != step))

    def wall(self, timestamp: float) -> float:
        """The sender's wall clock (s) at an RTP timestamp, by the sender reports: how a receiver aligns two streams."""
        if not self.reports:
            raise RuntimeError(f"no RTCP sender report for {self.kind} yet")
        return float(np.median([ntp + (timestamp - rtp) / self.clock for ntp, rtp in self.reports]))

    def pictures(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """(timestamp, luma plane of shape (height, width)) of every picture that decodes. VP8 only."""
        decoder = CodecContext.create("libvpx", "r")
        data = b""
        for arrival in self.arrivals:
            data += vp8_depayload(arrival.payload)
            if arrival.last:
                for frame in decoder.decode(Packet(data)):
                    assert isinstance(frame, VideoFrame)
                    yield arrival.timestamp, _luma(frame)
                data = b""


class Sound:
    """The decoded sound of an audio recording, as far as it has arrived."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._decoder: Any = CodecContext.create("libopus", "r")
        self._decoder.format, self._decoder.layout, self._decoder.sample_rate = "s16", "stereo", 48_000
        self._count = 0
        self.blocks: list[NDArray[np.int16]] = []
        self.levels: list[float] = []
        """RMS of each block as a share of full scale."""

    def update(self) -> None:
        """Decode what arrived since."""
        for arrival in self._recording.arrivals[self._count :]:
            for frame in self._decoder.decode(Packet(arrival.payload)):
                assert isinstance(frame, AudioFrame)
                samples = frame.to_ndarray().reshape(-1, 2)[:, 0].astype(np.int16)
                self.blocks.append(samples)
                self.levels.append(level(samples))
            self._count += 1

    def loud(self, since: float, threshold: float) -> list[float]:
        """Arrival of every block since `since` that is louder than `threshold`."""
        self.update()
        first = self._index(since)
        pairs = zip(self._recording.arrivals[first:], self.levels[first:], strict=False)
        return [arrival.at for arrival, rms in pairs if rms > threshold]

    def between(self, since: float, until: float) -> tuple[int, NDArray[np.int16]]:
        """RTP timestamp of the first block in that span of arrival, and the mono samples from there."""
        self.update()
        first, end = self._index(since), self._index(until)
        if first == end:
            raise RuntimeError("no sound arrived in that time")
        return self._recording.arrivals[first].timestamp, np.concatenate(self.blocks[first:end])

    def _index(self, at: float) -> int:
        """Of the first packet that arrived at or after `at`."""
        return bisect.bisect_left(self._recording.arrivals, at, key=lambda arrival: arrival.at)


class _Discard:
    """A decoder queue that passes on nothing but its end."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def get(self) -> Any:
        return self._inner.get()

    def put(self, item: Any) -> None:
        if item is None:
            self._inner.put(item)


def level(samples: NDArray[np.int16]) -> float:
    """RMS as a share of full scale."""
    wide = samples.astype(np.float32) / 32768
    return float(np.sqrt(np.mean(wide * wide))) if len(wide) else 0.0


def _luma(frame: VideoFrame) -> NDArray[np.uint8]:
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return np.array(rows[: frame.height, : frame.width])
