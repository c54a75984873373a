"""The user's microphone as it arrives over WebRTC."""

from __future__ import annotations

import logging

import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame, AudioResampler

from avatar.opus.packets import PacketDecoder, PacketError
from avatar.resampler import mono_samples
from core.frames import LISTEN_RATE, Samples

logger = logging.getLogger(__name__)


class Microphone:
    """Reads a received audio track until it ends and yields 16 kHz mono PCM.

    The track must be read for as long as it lives: aiortc queues what nobody reads without bound.
    """

    def __init__(self, track: MediaStreamTrack) -> None:
        self._track = track
        self._resampler = AudioResampler(format="s16", layout="mono", rate=LISTEN_RATE)

    def __aiter__(self) -> Microphone:
        return self

    async def __anext__(self) -> Samples:
        """The next samples, int16, shape (n,), typically 20 ms."""
        try:
            frame = await self._track.recv()
        except MediaStreamError:
            raise StopAsyncIteration from None
        if not isinstance(frame, AudioFrame):
            raise StopAsyncIteration
        # decoded packets carry the sender's timestamps, which may jump after loss; the resampler must not stretch
        frame.pts = None
        parts = mono_samples(self._resampler.resample(frame))
        return np.concatenate(parts) if parts else np.zeros(0, np.int16)


class OpusMicrophone:
    """Opus packets (RFC 6716) of one microphone as 16 kHz mono PCM, decoded where it is called.

    0.03 ms of CPU per packet: less than what handing it to aiortc's thread and back costs. Raises `AdapterError` where
    there is no libopus.
    """

    def __init__(self) -> None:
        self._decoder = PacketDecoder(LISTEN_RATE)

    def decode(self, data: bytes) -> Samples:
        """The sound of a packet, int16, shape (n,), typically 20 ms; none for one that is damaged."""
        try:
            return self._decoder.decode(data).samples
        except PacketError as error:
            logger.debug("a packet of the microphone can't be decoded: %s", error)
            return np.zeros(0, np.int16)
