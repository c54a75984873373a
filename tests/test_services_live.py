"""The services in the real application: speech over a socket is answered, threads reach its pages, names need proof."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from core.services.wsa import get_instance, get_web_instance
from tests.conftest import Serve
from tests.offers import Api
from tests.service_line import Line
from tests.speech import flite

SPEECH = flite("What time is it?", rate=16_000)
CHAT = {"type": "chat_message", "sender": "回音", "content": "hello", "model_info": "Funasr"}


@contextlib.asynccontextmanager
async def talking(serving: Serve, **settings: str) -> AsyncIterator[Api]:
    async with serving(**settings) as server, Api(server) as api:
        yield api


async def line(api: Api, session_id: object, **login: Any) -> Line:
    socket = Line(await api.http.ws_connect(api.url.replace("http", "ws") + "/ws"))
    assert (await socket.ask("login", session_id=session_id, **login))["type"] == "login_success"
    return socket


async def until(socket: Line, kind: str, **fields: Any) -> dict[str, Any]:
    while True:
        message = await socket.next(20.0)
        if message["type"] == kind and fields.items() <= message.items():
            return message


async def test_e1_speech_over_the_socket_is_heard_and_answered_like_the_microphone_s(serving: Serve) -> None:
    async with talking(serving) as api:
        await api.open_session()
        socket = await line(api, api.id)
        await socket.send("start_asr_recognition", session_id=api.id, sample_rate=16000, format="pcm")
        for start in range(0, len(SPEECH), 1600):
            await socket.ws.send_bytes(SPEECH[start : start + 1600].astype("<i2").tobytes())
        await socket.send("stop_asr_recognition", session_id=api.id)
        heard = await until(socket, "asr_result", is_final=True)
        assert heard["text"].endswith("seconds")
        assert (await until(socket, "chat_message"))["content"] == heard["text"]
        await until(socket, "status_update", status="thinking")
        results = api.server.tracker.session_results(api.id)
        assert [result["text"] for result in results if result["stage"] == "final"] == [heard["text"]]


async def test_e1_silence_ends_the_turn_without_a_stop(serving: Serve) -> None:
    async with talking(serving) as api:
        await api.open_session()
        socket = await line(api, api.id)
        await socket.send("start_asr_recognition")
        sound = np.concatenate([SPEECH, np.zeros(16_000, np.int16)])
        for number, start in enumerate(range(0, len(sound), 8000)):
            audio = base64.b64encode(sound[start : start + 8000].astype("<i2").tobytes()).decode()
            await socket.send("asr_audio_data", audio=audio, sequence=number)
        assert (await until(socket, "asr_result", is_final=True))["text"].endswith("seconds")


async def test_e1_a_socket_without_a_session_is_recognised_by_the_embedded_engine(serving: Serve) -> None:
    async with talking(serving, asr__engine="pocketsphinx") as api:
        socket = await line(api, 5)
        await socket.send("start_asr_recognition")
        await socket.ws.send_bytes(SPEECH.astype("<i2").tobytes())
        await socket.send("stop_asr_recognition")
        heard = await until(socket, "asr_result", is_final=True)
        assert "time" in heard["text"]
        chat = await until(socket, "chat_message")
        assert (chat["sender"], chat["content"], chat["model_info"]) == ("回音", heard["text"], "pocketsphinx")
        (final,) = [result for result in api.server.tracker.recent(50) if result["stage"] == "final"]
        assert abs(final["end"] - len(SPEECH) / 16_000) < 0.01


async def test_a9_a_worker_thread_reaches_the_page_and_the_digital_human(serving: Serve) -> None:
    async with talking(serving) as api:
        await api.open_session()
        page, human = await line(api, api.id), await line(api, api.id)
        name = f"user_{api.id}"
        await human.ask("wsa_register_human", username=name)
        message = {**CHAT, "Username": name}
        assert await asyncio.to_thread(get_web_instance().send_direct_message, message) == 1
        assert await asyncio.to_thread(get_instance().send_direct_message, message, "human") == 1
        for socket in (page, human):
            assert await until(socket, "chat_message") == {**CHAT, "Username": f"User_{api.id}"}
    assert get_web_instance().send_direct_message(message) == 0


async def test_b8_with_authentication_a_foreign_name_needs_the_session_s_token(serving: Serve) -> None:
    async with talking(serving, auth__enabled="true") as api:
        await api.open_session()
        first, token = api.id, api.token
        await api.open_session()
        socket = await line(api, api.id, token=api.token)
        for wrong in ({}, {"token": api.token}):
            answer = await socket.ask("wsa_register_human", username=f"User_{first}", **wrong)
            assert (answer["type"], answer["code"]) == ("wsa_error", "auth_failed")
        answer = await socket.ask("wsa_register_human", username=f"User_{first}", token=token)
        assert answer["type"] == "wsa_registered"
        assert get_instance().get_usernames() == [f"User_{first}"]
        assert api.server.wsa.conflicts == 0


async def test_g2_the_storage_switch_of_a_page_reaches_its_session(serving: Serve) -> None:
    async with talking(serving) as api:
        await api.open_session()
        socket = await line(api, api.id)
        await socket.send("storage", enabled=False)
        assert await socket.quiet()
        assert api.server.sessions.find(api.id).storage is False
