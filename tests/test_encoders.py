"""What is sent: encoded for a drawn face and one voice, in whatever the browser can decode."""

from __future__ import annotations

import asyncio
import math
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
import pytest
from aiortc import RTCRtpReceiver, RTCSessionDescription
from aiortc.codecs.vpx import Vp8Encoder, vp8_depayload
from av import AudioFrame
from numpy.typing import NDArray

from avatar.avatar import Avatar
from avatar.encoders import FaceEncoder, VoiceEncoder
from avatar.face.vector import VectorFace
from avatar.guard import audio_frame
from core.errors import AdapterError
from core.frames import AUDIO_FRAME, MEDIA_RATE, Activity, FaceCue, MouthShape, Picture, Samples
from core.listener import Listener
from tests.avatar_client import AvatarClient, WavMicrophone, loudness
from tests.conftest import Serve

TICK = Fraction(1, 90_000)


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    """Two seconds of a speaking face."""
    face = VectorFace()
    face._load()
    stream = face.open(256, 256, seed=3)
    return [
        stream.draw(FaceCue(i / 25, MouthShape(jaw_open=0.3 + 0.3 * math.sin(i)), Activity.SPEAKING, 0.1))
        for i in range(50)
    ]


def video_frame(picture: Picture, index: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
    frame.pts, frame.time_base = index * 3600, TICK
    return frame


def encoded(encoder: Vp8Encoder, pictures: list[Picture], start: int = 0) -> list[bytes]:
    """Each picture's data, taken out of the RTP payloads again."""
    out = []
    for number, picture in enumerate(pictures, start):
        payloads, timestamp = encoder.encode(video_frame(picture, number))
        assert timestamp == number * 3600
        assert all(len(payload) <= 1300 for payload in payloads)
        out.append(b"".join(vp8_depayload(payload) for payload in payloads))
    return out


def decoded(data: list[bytes]) -> list[NDArray[np.uint8]]:
    decoder = av.CodecContext.create("libvpx", "r")
    frames: list[Any] = [frame for item in data for frame in decoder.decode(av.Packet(item))]
    return [frame.to_ndarray() for frame in frames]


def psnr(seen: NDArray[np.uint8], meant: NDArray[np.uint8]) -> float:
    return 10 * math.log10(255**2 / float(np.mean((seen.astype(float) - meant) ** 2)))


def is_key(data: bytes) -> bool:
    return not data[0] & 1  # RFC 6386, 9.1


def test_pictures_arrive_as_they_were_drawn_with_fewer_bits(pictures: list[Picture]) -> None:
    ours, theirs = encoded(FaceEncoder(), pictures), encoded(Vp8Encoder(), pictures)
    seen = decoded(ours)
    assert len(seen) == len(pictures)
    assert min(psnr(a, b) for a, b in zip(seen, pictures, strict=True)) > 40
    assert sum(map(len, ours)) < 0.8 * sum(map(len, theirs))


def test_the_mouth_is_as_sharp_as_the_rest(pictures: list[Picture]) -> None:
    mouth = slice(138, 164), slice(107, 149)
    seen = decoded(encoded(FaceEncoder(), pictures))
    assert min(psnr(a[mouth], b[mouth]) for a, b in zip(seen[5:], pictures[5:], strict=True)) > 34


def test_a_key_frame_comes_when_it_is_asked_for_and_only_then(pictures: list[Picture]) -> None:
    encoder = FaceEncoder()
    data = encoded(encoder, pictures[:5])
    assert [is_key(item) for item in data] == [True, False, False, False, False]
    payloads, _ = encoder.encode(video_frame(pictures[5], 5), force_keyframe=True)
    assert is_key(vp8_depayload(payloads[0]))


@pytest.mark.parametrize("rate", [500_000, 250_000])
def test_a_key_frame_is_nearly_as_sharp_as_the_pictures_around_it(rate: int) -> None:
    """Each lost packet costs one, and each lower estimate of a bad connection: a face that is blurred then looks
    broken."""
    face = VectorFace()
    face._load()
    stream = face.open(512, 512, seed=3)
    drawn = [stream.draw(FaceCue(i / 25, MouthShape(jaw_open=0.3 + 0.3 * math.sin(i)))) for i in range(40)]
    encoder = FaceEncoder()
    encoder.target_bitrate = rate
    data = encoded(encoder, drawn[:-1])
    payloads, _ = encoder.encode(video_frame(drawn[-1], 39), force_keyframe=True)
    seen = decoded([*data, b"".join(vp8_depayload(payload) for payload in payloads)])
    assert psnr(seen[-1], drawn[-1]) > 40
    assert psnr(seen[0], drawn[0]) > 40
    assert sum(map(len, payloads)) < 16_000


def test_another_size_or_bit_rate_begins_anew(pictures: list[Picture]) -> None:
    encoder = FaceEncoder()
    encoded(encoder, pictures[:2])
    encoder.target_bitrate = 400_000
    assert [is_key(item) for item in encoded(encoder, pictures[2:4], 2)] == [True, False]
    assert encoder.codec is not None
    assert encoder.codec.bit_rate == 400_000
    small = [np.full((192, 128), 90, np.uint8)] * 2
    assert [is_key(item) for item in encoded(encoder, small, 4)] == [True, False]


def test_small_changes_of_the_bit_rate_cost_no_key_frame(pictures: list[Picture]) -> None:
    """A browser's estimate rises by some percent a second, from its first report on."""
    encoder = FaceEncoder()
    encoded(encoder, pictures[:1])
    keys = []
    for number, picture in enumerate(pictures[1:], 1):
        encoder.target_bitrate = round(500_000 * 1.03**number)
        keys += [is_key(item) for item in encoded(encoder, [picture], number)]
    assert sum(keys) <= 3
    assert encoder.target_bitrate > 1_000_000


def test_a_lower_bit_rate_is_kept(pictures: list[Picture]) -> None:
    encoder = FaceEncoder()
    encoder.target_bitrate = 250_000
    data = encoded(encoder, pictures * 3)[25:]
    assert sum(map(len, data)) * 8 * 25 / len(data) < 300_000


def test_a_bit_rate_that_is_low_for_its_size_is_kept() -> None:
    face = VectorFace()
    face._load()
    stream = face.open(720, 720, seed=3)
    drawn = [stream.draw(FaceCue(i / 25, MouthShape(jaw_open=0.3 + 0.3 * math.sin(i)))) for i in range(75)]
    encoder = FaceEncoder()
    encoder.target_bitrate = 250_000
    data = encoded(encoder, drawn)[25:]
    assert sum(map(len, data)) * 8 * 25 / len(data) < 290_000


def test_the_voice_arrives_as_it_was_spoken() -> None:
    time = np.arange(MEDIA_RATE) / MEDIA_RATE
    sound = (8000 * np.sin(2 * np.pi * 220 * time) * (1 + np.sin(2 * np.pi * 3 * time)) / 2).astype(np.int16)
    encoder, decoder = VoiceEncoder(), av.CodecContext.create("libopus", "r")
    heard: list[NDArray[np.int16]] = []
    for start in range(0, len(sound), AUDIO_FRAME):
        packet = encoder.packet(sound[start : start + AUDIO_FRAME], 7 * AUDIO_FRAME + start)
        payloads, timestamp = encoder.pack(packet)
        assert (len(payloads), timestamp) == (1, 7 * AUDIO_FRAME + start)
        decoded_frames: list[Any] = decoder.decode(av.Packet(payloads[0]))
        heard += [f.to_ndarray().reshape(-1, f.layout.nb_channels)[:, 0] for f in decoded_frames]
    whole = np.concatenate(heard).astype(float)
    whole *= 32768 if np.abs(whole).max() <= 1 else 1
    lag = 120  # 2.5 ms: Opus in its mode without look-ahead
    part = whole[lag : lag + len(sound) - 2000]
    assert np.corrcoef(part, sound[: len(part)])[0, 1] > 0.98


def test_a_frame_is_encoded_like_its_samples() -> None:
    sound = (3000 * np.sin(np.arange(AUDIO_FRAME) / 9)).astype(np.int16)
    assert VoiceEncoder().encode(audio_frame(sound, 960)) == VoiceEncoder().pack(VoiceEncoder().packet(sound, 960))


async def test_a_browser_gets_our_encoders(serving: Serve) -> None:
    """Fails when aiortc keeps its encoders elsewhere: `avatar.encoders.encode_as` is then without effect."""
    async with serving() as server, AvatarClient(server.url) as client:
        await client.connect()
        session = server.sessions.find(client.session)
        link = cast(Avatar, session.media)._link
        assert link is not None
        kinds = {s.kind: type(vars(s)["_RTCRtpSender__encoder"]) for s in link.peer._senders}
        assert kinds == {"video": FaceEncoder, "audio": VoiceEncoder}


async def test_without_libopus_aiortc_encodes_and_decodes(serving: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise AdapterError("there is no libopus")

    def hear(ears: Listener, samples: Samples) -> None:
        received.append(loudness(samples))

    received: list[float] = []
    monkeypatch.setattr("avatar.peer.VoiceEncoder", missing)
    monkeypatch.setattr("avatar.peer.OpusMicrophone", missing)
    monkeypatch.setattr(Listener, "hear", hear)
    tone = (8000 * np.sin(2 * np.pi * 220 * np.arange(20 * MEDIA_RATE) / MEDIA_RATE)).astype(np.int16)
    async with serving() as server, AvatarClient(server.url, microphone=WavMicrophone(tone)) as client:
        await client.connect()
        await client.human("hello there")
        async with asyncio.timeout(20):
            while (
                not any(loudness(samples) > 0.01 for _, _, samples in client.sound) or max(received, default=0) < 0.05
            ):
                await asyncio.sleep(0.05)


async def test_who_knows_no_opus_hears_the_voice_all_the_same(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url, video=False) as client:
        transceiver = client.pc.addTransceiver("audio", direction="recvonly")
        codecs = RTCRtpReceiver.getCapabilities("audio").codecs
        transceiver.setCodecPreferences([codec for codec in codecs if codec.mimeType == "audio/PCMU"])
        await client.pc.setLocalDescription(await client.pc.createOffer())
        client.answer = await client.post("/offer", sdp=client.pc.localDescription.sdp, type="offer")
        await client.pc.setRemoteDescription(RTCSessionDescription(client.answer["sdp"], "answer"))
        await client.human("hello there")
        async with asyncio.timeout(10):
            while True:
                frame = cast(AudioFrame, await transceiver.receiver.track.recv())
                if loudness(frame.to_ndarray().reshape(-1)) > 0.01:
                    break
