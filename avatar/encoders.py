"""Encoders for what we really send: a drawn face and one clean voice. aiortc's own are set for cameras and for music.

`encode_as` puts them behind an aiortc sender. There is no public way; where the private one is gone, aiortc's own
encoder does the work, and a test says so.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
from aiortc import RTCRtpSender
from aiortc.codecs.base import Encoder
from aiortc.codecs.vpx import MAX_BITRATE, MIN_BITRATE, Vp8Encoder
from av.frame import Frame

from avatar.opus.packets import BlockEncoder
from avatar.painter import Undrawn
from avatar.resampler import mono_samples
from core.frames import AUDIO_FRAME, MEDIA_RATE, Samples

_SLOT = "_RTCRtpSender__encoder"
_SHARPEST = 12
"""Lowest VP8 quantiser: 45 dB. Finer steps cost bits, and with them packets, that nobody sees."""
_BITS, _COARSEST = (0.2, 0.4, 0.9), (56.0, 44.0, 28.0)
"""Highest quantiser by bits per second and pixel. A key frame begins with it, and with 56, at 34 dB, the face would be
blurred for 0.8 s at each loss and at each lower bit rate. As coarse as here, speaking presenters keep to their bit rate
within a tenth: at 512×512 28 is fine down to 250 kbit/s, with key frames of 10 kB instead of 3."""
_OPTIONS = {
    # Drawings have no camera noise to remove; what differs by less than anyone sees (some 46 dB) is not coded; speed 12
    # of 16.
    "noise-sensitivity": "0",
    "static-thresh": "400",
    "cpu-used": "-12",
    "deadline": "realtime",
    "lag-in-frames": "0",
    "overshoot-pct": "15",
    "undershoot-pct": "100",
}
_LESS, _MORE = 0.9, 1.4
"""A wished bit rate is followed outside these parts of the present one: each change costs a key frame."""
_VOICE_BITS = 64_000
_VOICE_TIME_BASE = Fraction(1, MEDIA_RATE)


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
        codec.bit_rate, codec.gop_size = rate, 3000
        codec.qmin, codec.qmax = _SHARPEST, round(float(np.interp(rate / (width * height), _BITS, _COARSEST)))
        # FFmpeg: equal minrate and maxrate give CBR; a buffer of one second
        codec.options = {**_OPTIONS, "bufsize": str(rate), "minrate": str(rate), "maxrate": str(rate)}
        codec.thread_count = 1 if width * height <= 640 * 480 else 2
        return codec


class VoiceEncoder(Encoder):
    """Opus (RFC 6716) for one voice: mono, without the speech mode's look-ahead, half the CPU of aiortc's settings.

    Raises `AdapterError` where there is no libopus.
    """

    def __init__(self) -> None:
        self._blocks = BlockEncoder(MEDIA_RATE, AUDIO_FRAME, "restricted_lowdelay", bits=_VOICE_BITS, complexity=5)

    def packet(self, samples: Samples, position: int) -> av.Packet[Any]:
        """20 ms of sound at `position` of the media clock as one Opus packet; 0.06 ms of CPU."""
        packet: av.Packet[Any] = av.Packet(self._blocks.encode(samples))
        packet.pts, packet.time_base = position, _VOICE_TIME_BASE
        return packet

    def pack(self, packet: av.Packet[Any]) -> tuple[list[bytes], int]:
        """See `aiortc.codecs.base.Encoder`."""
        assert packet.pts is not None
        return [bytes(packet)], packet.pts

    def encode(self, frame: Frame, force_keyframe: bool = False) -> tuple[list[bytes], int]:
        """See `aiortc.codecs.base.Encoder`: a frame of 20 ms of mono s16 at 48 kHz."""
        assert isinstance(frame, av.AudioFrame)
        assert frame.pts is not None
        return self.pack(self.packet(mono_samples([frame])[0], frame.pts))


def encode_as(sender: RTCRtpSender, encoder: Encoder) -> bool:
    """Have `sender` use `encoder` from its first frame on. False where this aiortc keeps its encoder elsewhere."""
    if _SLOT not in vars(sender):
        return False
    vars(sender)[_SLOT] = encoder
    return True
