"""`/humanaudio`: what is spoken, what is refused, and that neither leaves anything behind."""

from __future__ import annotations

import asyncio
import io
import os
import wave
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.avatar_client import AvatarClient
from tests.conftest import Serve
from tests.offers import Api

MB = 1 << 20


def wav(seconds: float, rate: int = 16_000, channels: int = 1) -> bytes:
    return wav_of(9000 * np.sin(2 * np.pi * 300 * np.arange(int(seconds * rate)) / rate), rate, channels)


def wav_of(samples: NDArray[Any], rate: int = 16_000, channels: int = 1) -> bytes:
    """Mono samples in the range of int16 as a file with `channels` times the same."""
    tone = samples.astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(tone, channels).tobytes())
    return buffer.getvalue()


def encoded(container: str, codec: str, seconds: float, rate: int = 44_100, **options: str) -> bytes:
    """A stereo tone as FFmpeg writes it; `options` are the muxer's."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=rate, layout="stereo")
        assert isinstance(stream, av.AudioStream)
        resampler = av.AudioResampler(format=stream.format, layout="stereo", rate=rate, frame_size=stream.frame_size)
        tone = (9000 * np.sin(2 * np.pi * 300 * np.arange(int(seconds * rate)) / rate)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.repeat(tone, 2)[None, :], format="s16", layout="stereo")
        frame.sample_rate = rate
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            output.mux(stream.encode(part))
    return buffer.getvalue()


def silent_film() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=25, width=64, height=64, pix_fmt="yuv420p")
        for _ in range(10):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((96, 64), np.uint8), format="yuv420p")))
        output.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.fixture
async def api(serving: Serve) -> AsyncIterator[Api]:
    async with serving(limits__max_upload_mb="1", limits__max_upload_minutes="0.2") as server, Api(server) as api:
        await api.open_session()
        yield api


def form(session: str, data: bytes, *, file_first: bool = False) -> aiohttp.FormData:
    fields = aiohttp.FormData()
    if file_first:
        fields.add_field("file", data, filename="a")
    fields.add_field("sessionid", session)
    if not file_first:
        fields.add_field("file", data, filename="a")
    return fields


async def upload(api: Api, data: bytes, session: str | None = None) -> tuple[int, dict[str, object]]:
    return await api.raw("POST", "/humanaudio", data=form(api.id if session is None else session, data))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "bad_audio"),
        (b"\0" * 50_000, "bad_audio"),
        (b"this is a text, and no sound at all\n" * 50, "bad_audio"),
        (os.urandom(20_000), "bad_audio"),
        (wav(1)[:40], "bad_audio"),
        (wav(0), "bad_audio"),
        (b"RIFF\xff\xff\xff\xffWAVE", "bad_audio"),
        (b"ID3" + b"\0" * 500, "bad_audio"),
        (silent_film(), "bad_audio"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n", "bad_audio"),
        (b"ffconcat version 1.0\nfile 'app.py'\n", "bad_audio"),
        (wav(13), "too_large"),
    ],
    ids=[
        "empty",
        "nulls",
        "text",
        "noise",
        "header",
        "no-samples",
        "riff",
        "id3",
        "film",
        "list",
        "concat",
        "too-long",
    ],
)
async def test_what_is_no_audio_is_refused(api: Api, data: bytes, error: str) -> None:
    status, answer = await upload(api, data)
    assert status == (413 if error == "too_large" else 200)
    assert (answer["code"], answer["error"]) == (-1, error)
    assert (await api.is_speaking()) == {"code": 0, "msg": "ok", "data": False}


@pytest.mark.parametrize(
    "data",
    [
        wav(1, 44_100, 2),
        wav(1, 8_000),
        wav(1)[: len(wav(1)) * 2 // 3],
        encoded("mp3", "libmp3lame", 1),
        encoded("mp3", "libmp3lame", 2)[:12_000],
        encoded("ogg", "libopus", 1, 48_000),
        encoded("mp4", "aac", 1),
        encoded("webm", "libopus", 1, 48_000),
        encoded("flac", "flac", 1),
    ],
    ids=["stereo", "narrow", "cut-wav", "mp3", "cut-mp3", "ogg", "m4a", "webm", "flac"],
)
async def test_audio_is_taken_also_when_its_end_is_missing(api: Api, data: bytes) -> None:
    status, answer = await upload(api, data)
    assert (status, answer["code"]) == (200, 0), answer
    assert "once the media connection is up" in str(answer["msg"])
    assert (await api.is_speaking())["data"] is True


async def test_the_file_may_come_before_the_session(api: Api) -> None:
    status, answer = await api.raw("POST", "/humanaudio", data=form(api.id, wav(0.5), file_first=True))
    assert (status, answer["code"]) == (200, 0)


async def test_missing_parts_are_named(api: Api) -> None:
    only_file = aiohttp.FormData()
    only_file.add_field("file", wav(0.2), filename="a.wav")
    assert "sessionid" in str((await api.raw("POST", "/humanaudio", data=only_file))[1]["msg"])
    only_id = aiohttp.FormData(default_to_multipart=True)
    only_id.add_field("sessionid", api.id)
    assert "file" in str((await api.raw("POST", "/humanaudio", data=only_id))[1]["msg"])
    assert (await upload(api, wav(0.2), session="404"))[1]["error"] == "session_not_found"
    assert (await api.raw("POST", "/humanaudio", json={"sessionid": api.id}))[1]["error"] == "bad_request"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=x", b"no boundary in here"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nRIFF'),
        ("multipart/form-data; boundary=x", b"--x\r\nno headers at all\r\n\r\n--x--\r\n"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="file"\r\nContent-Transfer-Encoding: klingon\r\n\r\na'
            b"\r\n--x--\r\n",
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="_charset_"\r\n\r\n' + b"u" * 99 + b"\r\n--x--\r\n",
        ),
        (
            "multipart/mixed; boundary=x",
            b"--x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\na\r\n--y--\r\n--x--\r\n",
        ),
        (
            "multipart/form-data; boundary=x",
            b"".join(b'--x\r\nContent-Disposition: form-data; name="f%d"\r\n\r\na\r\n' % n for n in range(60))
            + b"--x--\r\n",
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="sessionid"\r\n\r\n' + b"1" * 9000 + b"\r\n--x--\r\n",
        ),
    ],
    ids=["no-boundary", "wrong-boundary", "cut", "no-headers", "encoding", "charset", "nested", "many", "long"],
)
async def test_damaged_multipart_is_refused(api: Api, kind: str, body: bytes) -> None:
    status, answer = await api.raw("POST", "/humanaudio", data=body, headers={"Content-Type": kind})
    assert (status, answer["code"]) == (200, -1)
    assert answer["error"] in ("bad_request", "bad_audio")
    assert (await api.is_speaking())["code"] == 0


async def test_a_declared_length_over_the_limit_is_refused_before_the_body_is_read(api: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rsplit(":", 1)[1]))
    writer.write(
        b"POST /humanaudio HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        b"Content-Length: 104857600\r\n\r\n"
    )
    async with asyncio.timeout(2):
        answer = await reader.readuntil(b"}")
    writer.close()
    assert b" 413 " in answer.splitlines()[0]
    assert b'"error": "too_large"' in answer


async def test_an_undeclared_length_is_refused_where_it_passes_the_limit(api: Api) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        while sent < 50 * MB:
            yield b"\0" * (MB // 4)
            sent += MB // 4
            await asyncio.sleep(0.001)

    headers = {"Content-Type": "multipart/form-data; boundary=x", "Expect": "100-continue"}
    status, answer = await api.raw("POST", "/humanaudio", data=body(), headers=headers)
    assert (status, answer["error"]) == (413, "too_large")


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    files = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        _, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rsplit(":", 1)[1]))
        writer.write(
            b"POST /humanaudio HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b'Content-Length: 1000000\r\n\r\n--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nRIFF'
        )
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.transport.abort()
    await asyncio.sleep(0.1)
    assert len(os.listdir("/proc/self/fd")) <= files
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_refused_and_dropped_uploads_hold_no_file(serving: Serve) -> None:
    async with serving(limits__max_queued_replies="2") as server, Api(server) as api:
        await api.open_session()
        big = wav(150)  # over what is kept in memory: a file of its own
        files = len(os.listdir("/proc/self/fd"))
        codes = [(await upload(api, big))[1]["code"] for _ in range(5)]
        assert codes[0] == 0
        assert codes[-1] == -1
        await api.post("/interrupt_talk", sessionid=api.id)
        await api.hangup()
        async with asyncio.timeout(3):
            while len(os.listdir("/proc/self/fd")) > files:
                await asyncio.sleep(0.02)


async def test_a_neighbours_long_upload_does_not_delay_frames(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url, video=False) as client, Api(server) as other:
        await client.connect()
        await other.open_session()
        begun = asyncio.get_running_loop().time()
        assert (await upload(other, encoded("mp3", "libmp3lame", 60)))[1]["code"] == 0
        await asyncio.sleep(0.5)
        arrivals = np.array([arrival for arrival, _, _ in client.sound if arrival >= begun])
        assert len(arrivals) > 10
        assert np.diff(arrivals).max() < 0.25
