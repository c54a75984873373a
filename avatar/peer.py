"""One WebRTC connection to one browser."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable

from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRemoteInboundRtpStreamStats,
    RTCRtpCodecCapability,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.jitterbuffer import JitterBuffer
from aiortc.mediastreams import MediaStreamTrack
from aiortc.sdp import SessionDescription

from avatar.encoders import FaceEncoder, VoiceEncoder, encode_as
from avatar.intake import hasten
from avatar.microphone import Microphone, OpusMicrophone
from avatar.prompt_buffer import PromptBuffer
from avatar.tracks import FaceTrack, VoiceTrack
from core.errors import AdapterError, BadRequest
from core.frames import Samples

logger = logging.getLogger(__name__)

MAX_SDP = 64_000
"""Characters of an offer, which is parsed on the event loop; browsers send 5,000 to 20,000."""
MAX_CANDIDATES = 256
"""Each is paired with each of ours and sent checks; 3,000 would hold the loop for a second."""
MAX_MEDIA = 8
"""Sections of an offer; each costs a transport with its sockets. Browsers send at most three."""
CLOSE_TIMEOUT_S = 5.0
_CLOCK_RATES = {"audio": 48_000, "video": 90_000}
"""RTP timestamps per second, in which RTCP counts jitter."""


class Peer:
    """Answers one offer with the avatar's voice and face; hands on the microphone.

    `on_audio` gets int16 16 kHz mono PCM on the event loop; `on_over` is called when the connection has failed, or the
    browser closed it.
    """

    def __init__(
        self,
        ice_servers: list[RTCIceServer],
        *,
        codec: str,
        on_audio: Callable[[Samples], None],
        on_over: Callable[[], None] = lambda: None,
    ) -> None:
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=ice_servers))
        self._codec = codec
        self._on_audio = on_audio
        self._on_over = on_over
        self._readers: set[asyncio.Task[None]] = set()
        self._senders: list[RTCRtpSender] = []
        self._opus: frozenset[int] = frozenset()
        """RTP payload types of Opus, once agreed."""
        self._packets = 0
        self._heard_at = time.monotonic()
        self._pc.on("connectionstatechange", self._state_changed)
        self._pc.on("track", self._track_arrived)

    @property
    def state(self) -> str:
        """aiortc's connection state: new, connecting, connected, failed, closed."""
        return str(self._pc.connectionState)

    async def answer(self, sdp: str, voice: MediaStreamTrack, face: MediaStreamTrack) -> str:
        """The answer to an offer. Raises `BadRequest` when it is unusable; the connection is then closed."""
        try:
            kinds = _offered_kinds(sdp)
            # transceivers made before the offer is applied are matched to it by kind
            for track, direction in ((voice, "sendrecv"), (face, "sendonly")):
                if track.kind in kinds:
                    transceiver = self._pc.addTransceiver(track, direction=direction)
                    self._senders.append(transceiver.sender)
                    if track.kind == "video":
                        transceiver.setCodecPreferences(_preferring(self._codec))
            await self._pc.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
            for transceiver in self._pc.getTransceivers():
                if transceiver.sender not in self._senders:
                    transceiver.direction = "inactive"  # a second microphone, or a camera, which nobody would read
            await self._pc.setLocalDescription(await self._pc.createAnswer())
            self._choose_codecs(voice, face)
            for transport in {transceiver.receiver.transport for transceiver in self._pc.getTransceivers()}:
                hasten(transport)
        except BadRequest:
            await self.close()
            raise
        except Exception as error:
            # aiortc raises whatever its parser stumbles over; all of it means that the offer is unusable
            logger.debug("offer refused", exc_info=True)
            await self.close()
            raise BadRequest(f"the SDP offer can't be used: {type(error).__name__}", code="bad_sdp") from error
        except asyncio.CancelledError:
            await self.close()
            raise
        return str(self._pc.localDescription.sdp)

    def _choose_codecs(self, voice: MediaStreamTrack, face: MediaStreamTrack) -> None:
        """Our encoders and decoder for the codecs that we prefer; aiortc's for the others."""
        media = {
            media.kind: media.rtp.codecs
            for media in SessionDescription.parse(self._pc.localDescription.sdp).media
            if media.kind in ("audio", "video") and media.direction != "inactive" and media.rtp.codecs
        }
        agreed = {kind: codecs[0].mimeType.lower() for kind, codecs in media.items()}
        opus = (codec for codec in media.get("audio", ()) if codec.mimeType.lower() == "audio/opus")
        self._opus = frozenset(codec.payloadType for codec in opus if codec.payloadType is not None)
        for sender in self._senders:
            if sender.kind == "video" and agreed.get("video") == "video/vp8":
                if encode_as(sender, FaceEncoder()) and isinstance(face, FaceTrack):
                    face.let_draw()
            elif sender.kind == "audio" and agreed.get("audio") == "audio/opus" and isinstance(voice, VoiceTrack):
                with contextlib.suppress(AdapterError):  # no libopus of our own: aiortc's encoder does it
                    voice.encoder = VoiceEncoder()
                    encode_as(sender, voice.encoder)

    async def last_heard(self) -> float:
        """When a packet (RTP or RTCP) last arrived, as of this call (monotonic seconds)."""
        for sender in self._senders[:1]:
            for report in (await sender.getStats()).values():
                received = getattr(report, "packetsReceived", None)
                if report.type == "transport" and received is not None and received != self._packets:
                    self._packets = received
                    self._heard_at = time.monotonic()
        return self._heard_at

    async def network(self) -> dict[str, float | None]:
        """How the browser receives us, by its RTCP reports (RFC 3550 6.4.1); the worse of voice and face.

        `rtt_ms`; `loss_percent` and `jitter_ms` of its last interval (seconds). None until it has reported.
        """
        reports = [
            report
            for sender in self._senders
            for report in (await sender.getStats()).values()
            if isinstance(report, RTCRemoteInboundRtpStreamStats)
        ]
        return {
            # measured with the wall clock: a clock that is set back must not make it negative
            "rtt_ms": _worst(max(0.0, 1000 * r.roundTripTime) for r in reports if r.roundTripTime is not None),
            "loss_percent": _worst(100 * report.fractionLost / 256 for report in reports),
            "jitter_ms": _worst(1000 * report.jitter / _CLOCK_RATES[report.kind] for report in reports),
        }

    async def close(self) -> None:
        """Close the connection and stop reading from it. Idempotent."""
        self._pc.remove_all_listeners()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._pc.close()
        except TimeoutError:
            logger.warning("peer connection did not close within %.0f s", CLOSE_TIMEOUT_S)
        except Exception:
            # aiortc stumbles over connections that an odd offer left half built; those have no sockets yet
            logger.debug("peer connection closed with an error", exc_info=True)
        for reader in self._readers:
            reader.cancel()
        if self._readers:
            await asyncio.wait(self._readers)

    def _state_changed(self) -> None:
        logger.debug("connection is %s", self.state)
        self._heard_at = time.monotonic()
        if self.state in ("failed", "closed"):
            self._on_over()

    def _track_arrived(self, track: MediaStreamTrack) -> None:
        reader = asyncio.create_task(self._read(track), name=f"{track.kind} reader")
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)

    def _hurry(self, track: MediaStreamTrack) -> None:
        """Ears want every packet at once, and Opus decoded without aiortc's thread."""
        loop, microphone = asyncio.get_running_loop(), None
        with contextlib.suppress(AdapterError):  # no libopus of our own: aiortc's decoder does it
            microphone = OpusMicrophone()

        def take(payload_type: int, data: bytes) -> bool:
            if microphone is None or payload_type not in self._opus:
                return False
            # not at once: whatever goes wrong in an ear must not end the transport that calls us
            loop.call_soon(hear, microphone, data)
            return True

        def hear(microphone: OpusMicrophone, data: bytes) -> None:
            self._on_audio(microphone.decode(data))

        for transceiver in self._pc.getTransceivers():
            receiver, buffer = transceiver.receiver, "_RTCRtpReceiver__jitter_buffer"
            if receiver.track is track and isinstance(vars(receiver).get(buffer), JitterBuffer):
                vars(receiver)[buffer] = PromptBuffer(take)  # there is no public way

    async def _read(self, track: MediaStreamTrack) -> None:
        if track.kind != "audio":
            return  # we answered sendonly: nothing is sent to us
        self._hurry(track)
        async for samples in Microphone(track):
            self._on_audio(samples)


def _worst(values: Iterable[float]) -> float | None:
    return max((round(value, 2) for value in values), default=None)


def _offered_kinds(sdp: str) -> set[str]:
    if len(sdp) > MAX_SDP or not sdp.lstrip().startswith("v=0"):
        raise BadRequest("sdp is not an SDP session description", code="bad_sdp")
    if sdp.count("a=candidate:") > MAX_CANDIDATES:
        raise BadRequest(f"the SDP offer has more than {MAX_CANDIDATES} candidates", code="bad_sdp")
    description = SessionDescription.parse(sdp)
    sections = description.media
    if len(sections) > MAX_MEDIA:
        raise BadRequest(f"the SDP offer has more than {MAX_MEDIA} media sections", code="bad_sdp")
    kinds = {media.kind for media in sections}
    if not kinds & {"audio", "video"}:
        raise BadRequest("the SDP offer asks for neither audio nor video", code="bad_sdp")
    mids = [media.rtp.muxId for media in sections]
    bundled = {str(mid) for group in description.group if group.semantic == "BUNDLE" for mid in group.items}
    if len(set(mids)) < len(mids) or not bundled <= set(mids):
        # aiortc would take it and lose the transport that the others are bundled on
        raise BadRequest("the SDP offer's mids are not unique, or bundle what is not there", code="bad_sdp")
    return kinds


def _preferring(codec: str) -> list[RTCRtpCodecCapability]:
    """Our video codecs, the preferred one first; the other serves browsers that offer nothing else."""
    codecs = RTCRtpSender.getCapabilities("video").codecs
    return sorted(codecs, key=lambda item: item.mimeType.lower() != f"video/{codec}")
