"""Encoders for what we really send: a drawn face and one clean voice. aiortc's own are set for cameras and for music.

`encode_as` puts them behind an aiortc sender. There is no public way; where the private one is gone, aiortc's own
encoder does the work, and a test says so.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
from aiortc import RTCRtpSender
from aiortc.codecs.base import Encoder
from aiortc.codecs.opus import OpusEncoder
from aiortc.codecs.vpx import MAX_BITRATE, MIN_BITRATE, Vp8Encoder
from av.frame import Frame

from avatar.painter import Undrawn
from core.frames import MEDIA_RATE

_SLOT = "_RTCRtpSender__encoder"
_SHARPEST = 12
"""Lowest VP8 quantiser: 45 dB. Finer steps cost bits, and with them packets, that nobody sees."""
_OPTIONS = {
    # Drawings have no camera noise to remove; pixels that did not change need no search; speed 12 of 16.
    "noise-sensitivity": "0",
    "static-thresh": "100",
    "cpu-used": "-12",
    "deadline": "realtime",
    "lag-in-frames": "0",
    "overshoot-pct": "15",
    "undershoot-pct": "100",
}
_LESS, _MORE = 0.9, 1.4
"""A wished bit rate is followed outside these parts of the present one: each change costs a key frame."""
_VOICE_BITS = 64_000


class FaceEncoder(Vp8Encoder):
    """VP8 (RFC 7741) for drawn pictures: half the CPU and half the bits of aiortc's settings."""

    def __init__(self) -> None:
        super().__init__()
        self._rate = super().target_bitrate

    @property
    def target_bitrate(self) -> int:
        """Bits per second. Wishes that are a little higher are not followed; aiortc's own would begin anew for each."""
        return self._rate

    @target_bitrate.setter
    def target_bitrate(self, bitrate: int) -> None:
        wish = max(MIN_BITRATE, min(bitrate, MAX_BITRATE))
        if not _LESS * self._rate <= wish <= _MORE * self._rate:
            self._rate = wish

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """See `aiortc.codecs.base.Encoder`; draws what is undrawn. The base class uses the codec that it finds open."""
        if isinstance(frame, Undrawn):
            frame = frame.drawn()
        assert isinstance(frame, av.VideoFrame)
        if self._outgrown(frame):
            self.codec = self._opened(frame.width, frame.height)
        payloads, timestamp = super().encode(frame, force_keyframe)
        return payloads, timestamp

    def _outgrown(self, frame: av.VideoFrame) -> bool:
        """Whether another size or, by the base class's measure, another bit rate is wanted."""
        codec = self.codec
        if codec is None or (codec.width, codec.height) != (frame.width, frame.height):
            return True
        rate = codec.bit_rate or 0
        return bool(abs(self.target_bitrate - rate) > 0.1 * rate)

    def _opened(self, width: int, height: int) -> av.VideoCodecContext:
        codec = av.CodecContext.create("libvpx", "w")
        assert isinstance(codec, av.VideoCodecContext)
        rate = self.target_bitrate
        codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
        codec.bit_rate, codec.gop_size, codec.qmin, codec.qmax = rate, 3000, _SHARPEST, 56
        # FFmpeg: equal minrate and maxrate give CBR; a buffer of one second
        codec.options = {**_OPTIONS, "bufsize": str(rate), "minrate": str(rate), "maxrate": str(rate)}
        codec.thread_count = 1 if width * height <= 640 * 480 else 2
        return codec


class VoiceEncoder(OpusEncoder):
    """Opus (RFC 6716) for one voice: mono, without the speech mode's look-ahead, half the CPU of aiortc's settings."""

    def __init__(self) -> None:
        super().__init__()
        codec = av.CodecContext.create("libopus", "w")
        assert isinstance(codec, av.AudioCodecContext)
        codec.bit_rate, codec.sample_rate, codec.format, codec.layout = _VOICE_BITS, MEDIA_RATE, "s16", "mono"
        codec.time_base = Fraction(1, MEDIA_RATE)
        codec.options = {"application": "lowdelay", "compression_level": "5"}
        self.codec = codec

    def packet(self, frame: av.AudioFrame) -> av.Packet[Any]:
        """20 ms of mono s16 at 48 kHz as one Opus packet with the same timestamp; 0.07 ms of CPU."""
        (packet,) = self.codec.encode(frame)
        packet.pts, packet.time_base = frame.pts, Fraction(1, MEDIA_RATE)
        return packet


def encode_as(sender: RTCRtpSender, encoder: Encoder) -> bool:
    """Have `sender` use `encoder` from its first frame on. False where this aiortc keeps its encoder elsewhere."""
    if _SLOT not in vars(sender):
        return False
    vars(sender)[_SLOT] = encoder
    return True
