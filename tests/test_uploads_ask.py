"""Row E3, `mode=ask` of /humanaudio: any file is heard as the user's words and answered; row F5: `speak` stays."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import aiohttp
import numpy as np
import pytest

from tests.avatar_client import AvatarClient
from tests.conftest import Serve
from tests.offers import Api
from tests.speech import flite
from tests.test_uploads import encoded, silent_film, wav, wav_of
from tests.upload_files import any_wav, film, muxed

SPEECH = flite("what is seven times six", "rms", 48_000)


def form(session: str, data: bytes, **fields: str) -> aiohttp.FormData:
    body = aiohttp.FormData()
    body.add_field("sessionid", session)
    for name, value in fields.items():
        body.add_field(name, value)
    body.add_field("file", data, filename="q.wav")
    return body


async def ask(client: AvatarClient, data: bytes, **fields: str) -> dict[str, Any]:
    async with client.http.post(
        client.url + "/humanaudio", data=form(client.session, data, **{"mode": "ask", **fields})
    ) as response:
        answer: dict[str, Any] = await response.json()
        return answer


def spooled_files() -> int:
    """Uploads that are held on disk: temporary files. Pytest has some, too."""
    found = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{number}").startswith(f"{tempfile.gettempdir()}/")
    return found


@pytest.fixture
async def client(serving: Serve) -> AsyncIterator[AvatarClient]:
    async with serving() as server, AvatarClient(server.url, video=False) as client:
        await client.connect()
        await client.login()
        yield client


async def test_e3_the_file_is_shown_as_the_users_words_and_answered(client: AvatarClient) -> None:
    answer = await ask(client, wav_of(SPEECH, 48_000))
    assert answer == {"code": 0, "msg": "ok", "data": {"upload_id": "u1"}}
    final = await client.message("asr_result", is_final=True)
    assert abs(float(final["text"].split()[0]) - len(SPEECH) / 48_000) < 0.7
    chat = await client.message("chat_message")
    assert (chat["sender"], chat["content"]) == ("回音", final["text"])
    await client.message("upload", upload_id="u1", state="final")
    await client.message("reply", state="end", text="One two three. Four five six.")
    await client.message("status_update", status="idle")
    statuses = [m["status"] for m in client.messages if m["type"] == "status_update"]
    assert [one for one, other in pairwise([*statuses, ""]) if one != other] == [
        "recognizing", "thinking", "speaking", "idle",
    ]  # fmt: skip


FILES: dict[str, Callable[[], bytes]] = {
    "wav-8-bit": lambda: any_wav(SPEECH, 48_000, "pcm_u8", 11_025),
    "wav-24-bit": lambda: any_wav(SPEECH, 48_000, "pcm_s24le", 96_000),
    "wav-float": lambda: any_wav(SPEECH, 48_000, "pcm_f32le", 44_100),
    "wav-8-khz": lambda: any_wav(SPEECH, 48_000, "pcm_s16le", 8_000),
    "wav-192-khz": lambda: any_wav(SPEECH, 48_000, "pcm_s32le", 192_000),
    "wav-stereo": lambda: any_wav(SPEECH, 48_000, "pcm_s16le", 44_100, "stereo"),
    "wav-5.1": lambda: any_wav(SPEECH, 48_000, "pcm_s16le", 48_000, "5.1"),
    "mp3": lambda: muxed(SPEECH, 48_000, "mp3", "libmp3lame", 44_100),
    "opus": lambda: muxed(SPEECH, 48_000, "ogg", "libopus", 48_000),
    "m4a": lambda: muxed(SPEECH, 48_000, "ipod", "aac", 44_100),
    "webm": lambda: muxed(SPEECH, 48_000, "webm", "libopus", 48_000),
    "flac": lambda: muxed(SPEECH, 48_000, "flac", "flac", 22_050),
    "film": lambda: film(SPEECH, 48_000),
}


@pytest.mark.parametrize("kind", FILES)
async def test_e3_any_file_is_understood(client: AvatarClient, kind: str) -> None:
    assert (await ask(client, FILES[kind]()))["code"] == 0
    final = await client.message("asr_result", is_final=True)
    assert abs(float(final["text"].split()[0]) - len(SPEECH) / 48_000) < 0.7


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "bad_audio"),
        (os.urandom(20_000), "bad_audio"),
        (silent_film(), "bad_audio"),
        (wav(0), "bad_audio"),
        (wav_of(np.zeros(32_000)), "no_speech"),
        (encoded("mp3", "libmp3lame", 3), "no_speech"),
        (wav(700, 8_000), "too_large"),
    ],
    ids=["empty", "noise", "film", "no-samples", "silent", "a-tone", "too-long"],
)
async def test_e3_what_holds_no_speech_is_refused_with_the_reason(
    client: AvatarClient, data: bytes, error: str
) -> None:
    answer = await ask(client, data)
    assert (answer["code"], answer["error"]) == (-1, error)
    assert not [m for m in client.messages if m["type"] in ("upload", "asr_result")]


async def test_f5_without_mode_the_avatar_speaks_the_file(client: AvatarClient) -> None:
    asked = time.monotonic()
    assert await client.upload(wav(1.0)) == {"code": 0, "msg": "ok"}
    await client.audible(asked)
    assert not [m for m in client.messages if m["type"] in ("upload", "asr_result")]
    assert (await ask(client, wav(0.3), mode="speak"))["code"] == 0
    assert (await ask(client, wav(0.3), mode="sing"))["error"] == "bad_request"


async def test_e3_two_files_at_once_are_answered_one_after_the_other(client: AvatarClient) -> None:
    data = wav_of(SPEECH, 48_000)
    answers = await asyncio.gather(ask(client, data), ask(client, data))
    assert sorted(answer["data"]["upload_id"] for answer in answers) == ["u1", "u2"]
    for upload in ("u1", "u2"):
        await client.message("upload", upload_id=upload, state="final")
    for reply in ("r1", "r2"):
        await client.message("reply", reply_id=reply, state="end", text="One two three. Four five six.")
    order = [str(m["upload_id"]) for m in client.messages if m["type"] == "upload"]
    assert order in (sorted(order), sorted(order, reverse=True)), "the first to be opened is finished first"


async def test_e3_interrupt_talk_stops_it_and_frees_the_file(client: AvatarClient) -> None:
    before = spooled_files()
    await ask(client, wav_of(np.tile(SPEECH, 30), 48_000))
    await client.message("asr_result", is_final=False)
    assert spooled_files() == before + 1
    assert (await client.post("/interrupt_talk", sessionid=client.session))["code"] == 0
    await client.message("upload", state="stopped")
    await client.message("asr_result", is_final=True, text="")
    async with asyncio.timeout(3):
        while spooled_files() > before:
            await asyncio.sleep(0.02)
    assert not [m for m in client.messages if m["type"] == "reply"]


async def test_e3_hanging_up_in_the_middle_frees_everything(serving: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server, Api(server) as api:
        await api.open_session()
        before, tasks = spooled_files(), len(asyncio.all_tasks())
        for _ in range(3):
            data = form(api.id, wav_of(np.tile(SPEECH, 30), 48_000), mode="ask")
            assert (await api.raw("POST", "/humanaudio", data=data))[1]["code"] == 0
        assert spooled_files() == before + 3
        await api.hangup()
        async with asyncio.timeout(3):
            while spooled_files() > before or len(asyncio.all_tasks()) >= tasks:
                await asyncio.sleep(0.02)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_e3_operators_see_what_was_understood(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url, video=False) as client:
        await client.connect()
        await client.login()
        await ask(client, wav_of(SPEECH, 48_000))
        final = await client.message("asr_result", is_final=True)
        results = server.tracker.session_results(client.session)
        assert (results[-1]["stage"], results[-1]["text"]) == ("final", final["text"])
        assert results[0]["stage"] == "partial"
        assert 0 <= results[-1]["start"] < results[-1]["end"] <= len(SPEECH) / 48_000 + 0.1


async def test_e3_a_neighbours_file_does_not_delay_frames(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url, video=False) as client, Api(server) as other:
        await client.connect()
        await other.open_session()
        data = muxed(np.tile(SPEECH, 20), 48_000, "mp3", "libmp3lame", 44_100)
        begun = time.monotonic()
        assert (await other.raw("POST", "/humanaudio", data=form(other.id, data, mode="ask")))[1]["code"] == 0
        await asyncio.sleep(1.5)
        arrivals = np.array([arrival for arrival, _, _ in client.sound if arrival >= begun])
        assert len(arrivals) > 40
        assert np.diff(arrivals).max() < 0.25
