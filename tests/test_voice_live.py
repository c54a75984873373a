"""A voice service leads the conversation: speech in over WebRTC, the service's speech out with picture and lips."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from core.voice_line import VoiceLine
from server import Server
from tests.avatar_client import AvatarClient, WavMicrophone
from tests.conftest import serve
from tests.simulators.xiaozhi import CLIENT, DEVICE, TOKEN, Drop, Sentence, Trouble, XiaozhiServer
from tests.speech import flite
from tests.xiaozhi_talk import pitch_of, poll

LONG = (Sentence("A long story.", 440.0, (60,) * 200),)
QUESTION = "what is seven times six"


@contextlib.asynccontextmanager
async def led(service: XiaozhiServer, mode: str = "manual", **more: str) -> AsyncIterator[Server]:
    """A server whose conversations are led by `service`."""
    overrides = {
        "voice__engine": "xiaozhi",
        "voice__xiaozhi__url": service.url,
        "voice__xiaozhi__token": TOKEN,
        "voice__xiaozhi__device_id": DEVICE,
        "voice__xiaozhi__client_id": CLIENT,
        "voice__xiaozhi__mode": mode,
    }
    async with serve(**overrides | more) as server:
        yield server


async def up(server: Server) -> None:
    """The session's line is there."""
    line = server.sessions.all()[0].line
    assert isinstance(line, VoiceLine)
    await poll(lambda: line.up)


async def test_h1_speech_goes_to_the_service_and_its_speech_comes_back_with_a_face() -> None:
    microphone = WavMicrophone()
    service = XiaozhiServer(
        reply=(Sentence("Forty two.", 440.0, (60,) * 20), Sentence("Anything else?", 880.0, (60,) * 20)), pace=0.05,
        said="what is seven times six",
    )  # fmt: skip
    async with service, led(service) as server, AvatarClient(server.url, microphone=microphone) as client:
        assert (await client.connect())["voice"] is True
        await client.login()
        await up(server)
        microphone.say(flite(QUESTION))
        began = await client.audible(time.monotonic())
        ended = await client.message("reply", state="end")
        quiet = await client.silence(began)
        assert ended["text"] == "Forty two. Anything else?"
        assert (await client.message("asr_result", is_final=True))["text"] == "what is seven times six"
        heard = client.heard(began)
        assert pitch_of(heard[12_000:36_000], 48_000) == pytest.approx(440, abs=5)
        assert quiet - began == pytest.approx(2.4, abs=0.3)
        bright = [float(luma.mean()) for arrival, _, luma in client.pictures if began <= arrival <= quiet]
        assert max(bright) > float(client.pictures[0][2].mean()) + 10, "the lips move"
        kinds = [m["status"] for m in client.messages if m["type"] == "status_update"]
        assert kinds[:4] == ["listening", "recognizing", "thinking", "speaking"]
        sentences = [m["text"] for m in client.messages if m.get("state") == "sentence"]
        assert sentences == ["Forty two.", "Anything else?"]
    assert [visit.refusal for visit in service.visits] == [""]
    assert len(service.visits[0].heard()) / 48_000 > 1.0


async def test_h1_speaking_over_it_aborts_the_service_and_is_answered() -> None:
    microphone = WavMicrophone()
    service = XiaozhiServer(reply=LONG, pace=0.06)
    async with service, led(service) as server, AvatarClient(server.url, microphone=microphone) as client:
        await client.connect()
        await client.login()
        await up(server)
        await client.human("tell me a story", kind="chat")
        await client.audible(time.monotonic())
        await asyncio.sleep(0.5)
        spoke = time.monotonic()
        microphone.say(flite("excuse me, could you tell me something else please"))
        await client.message("reply", state="interrupted")
        assert await client.silence(spoke) - spoke < 2.5
        await poll(lambda: len(service.visits[0].turns) == 2)
        assert service.visits[0].states() == ["hello", "detect", "abort", "start", "stop"]
        await client.message("asr_result", is_final=True)
        assert len(service.visits[0].heard()) / 48_000 > 2.5, "its beginning was kept"
        await client.audible(time.monotonic())
    assert service.visits[0].refusal == ""


async def test_h1_the_page_is_told_of_a_loss_and_the_next_recording_works() -> None:
    microphone = WavMicrophone()
    service = XiaozhiServer(reply=LONG, pace=0.06, troubles={0: Trouble("reply", Drop(), packet=8)})
    async with service, led(service) as server, AvatarClient(server.url, microphone=microphone) as client:
        await client.connect()
        await client.login()
        await up(server)
        microphone.say(flite(QUESTION))
        failed = await client.message("reply", state="error")
        assert "lost" in failed["text"]
        await client.message("voice_line", state="lost")
        service.reply = (Sentence("Yes.", 660.0, (60,) * 10),)
        await client.silence(time.monotonic())
        asked = time.monotonic()
        microphone.say(flite(QUESTION))
        began = await client.audible(asked)
        await client.message("reply", state="end", text="Yes.")
        assert pitch_of(client.heard(began)[4_800:19_200], 48_000) == pytest.approx(660, abs=10)
    assert [visit.refusal for visit in service.visits] == ["", ""]


async def test_h1_only_sessions_that_want_it_connect_and_closing_ends_it() -> None:
    service = XiaozhiServer()
    async with service, led(service, voice__sessions="asked") as server:
        async with AvatarClient(server.url) as without:
            assert (await without.connect())["voice"] is False
            await asyncio.sleep(0.3)
            assert service.visits == []
        async with AvatarClient(server.url, extra={"voice": True}) as client:
            assert (await client.connect())["voice"] is True
            await poll(lambda: service.open == 1)
            await client.post("/api/hangup", sessionid=client.session, token=client.answer["token"])
            await poll(lambda: service.open == 0)
    async with serve() as server, AvatarClient(server.url, extra={"voice": True}) as client:
        assert (await client.offer())["error"] == "no_voice_service"


async def test_h1_texts_that_are_only_read_out_need_no_service() -> None:
    service = XiaozhiServer()
    async with service, led(service) as server, AvatarClient(server.url) as client:
        await client.connect()
        await client.login()
        await up(server)
        await client.human("one two three")
        began = await client.audible(time.monotonic())
        await client.message("reply", state="end", text="one two three")
        assert pitch_of(client.heard(began)[4_800:14_400], 48_000) == pytest.approx(200, abs=10)
        assert service.visits[0].states() == ["hello"]


async def test_h1_one_eman_lends_another_its_mind_and_voice() -> None:
    """Our client and our server for devices, without a simulator between them."""
    microphone = WavMicrophone()
    async with serve() as far:
        place = {"url": far.url.replace("http", "ws") + "/xiaozhi/v1/", "device_id": DEVICE, "client_id": CLIENT}
        overrides = {f"voice__xiaozhi__{key}": value for key, value in place.items()}
        async with (
            serve(**overrides, voice__engine="xiaozhi", dialogue__engine="tests.fakes:ScriptedDialogue") as near,
            AvatarClient(near.url, microphone=microphone) as client,
        ):
            await client.connect()
            await client.login()
            await up(near)
            microphone.say(flite(QUESTION))
            assert (await client.message("asr_result", is_final=True))["text"].endswith("seconds")
            began = await client.audible(time.monotonic() - 1.0)
            end = await client.message("reply", state="end")
            assert end["text"] == "One two three. Four five six."
            await client.silence(began)
            assert pitch_of(client.heard(began)[4_800:24_000], 48_000) == pytest.approx(200, abs=10)
            await client.human("and now typed", kind="chat")
            await client.message("reply", state="end", reply_id="r2")
        await poll(lambda: not any(session.link == "connected" for session in far.sessions.all()))
