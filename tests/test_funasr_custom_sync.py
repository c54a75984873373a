"""The custom FunASR protocol for threads, with and without a server of ours in the process (row C6); the recogniser."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from asr.funasr.recognizer import FunASRCustomRecognizer
from asr.funasr.server import FunASRServer
from asr.funasr.sync import FunASRSync
from core.errors import RecognizerError
from core.outlet import Outlet
from core.services.wsa import get_web_instance
from tests.conftest import Serve
from tests.funasr_custom_line import Counting, serving, wav
from tests.simulators.funasr_custom import ChunkServer, FayServer, InlineServer

pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")


@contextlib.contextmanager
def threaded(recognizer: Counting) -> Iterator[str]:
    """The address of a server that runs in a thread of its own."""
    loop, began, server = asyncio.new_event_loop(), threading.Event(), FunASRServer(recognizer, port=0)

    def serve() -> None:
        loop.run_until_complete(server.start())
        began.set()
        loop.run_forever()
        loop.run_until_complete(server.close())
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    assert began.wait(10)
    try:
        yield f"ws://127.0.0.1:{server.port}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def test_c6_without_a_running_server_of_ours_recognition_works_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(wav(1_500_044))
    heard: list[str] = []
    with threaded(Counting()) as url, FunASRSync(url, result_callback=heard.append, way_out=Outlet()) as client:
        assert client.recognize_file(path).startswith("2")
        assert client.recognize(wav(2044)) == "1000 samples"
        assert client.submit_file(path).result(10) == heard[0]
        assert client.send_chat_message("hello") is False
    assert heard[1] == "1000 samples"
    assert len(heard) == 3


def test_c3_a_number_is_a_result_and_silence_is_no_callback() -> None:
    for answer, expected in (("123", ["123"]), ("", [])):
        heard: list[str] = []
        with threaded(Counting(answer=answer)) as url, FunASRSync(url, result_callback=heard.append) as client:
            assert client.recognize(wav(2044)) == answer
        assert heard == expected


def test_c6_many_threads_share_one_client() -> None:
    heard: dict[int, str] = {}
    with threaded(Counting()) as url, FunASRSync(url) as client:

        def speak(n: int) -> None:
            heard[n] = client.recognize(bytes(2 * n), audio_format="pcm")

        threads = [threading.Thread(target=speak, args=(n,)) for n in range(1, 13)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert heard == {n: f"{n} samples" for n in range(1, 13)}


def test_c6_speech_in_pieces() -> None:
    with threaded(Counting()) as url, FunASRSync(url) as client:
        client.send(bytes(100))
        client.start()
        for _ in range(3):
            client.send(bytes(100))
        assert client.end() == "150 samples"
        assert client.end() == ""


def test_c6_an_error_reaches_the_thread_and_a_closed_client_says_so() -> None:
    client = FunASRSync("ws://127.0.0.1:1", retries=0)
    with pytest.raises(RecognizerError, match="can't be reached"):
        client.recognize(wav(100))
    client.close()
    client.close()
    with pytest.raises(RecognizerError, match="closed"):
        client.recognize(wav(100))
    with pytest.raises(RecognizerError):
        client.submit_file("x.wav")


def test_c6_closing_ends_who_waits() -> None:
    recognizer = Counting(hold=True)
    with threaded(recognizer) as url:
        client = FunASRSync(url)
        failed: list[str] = []

        def speak() -> None:
            try:
                client.recognize(wav(2044))
            except RecognizerError as error:
                failed.append(error.code)

        thread = threading.Thread(target=speak)
        thread.start()
        while not recognizer.at_work:
            time.sleep(0.005)
        client.close()
        thread.join(10)
    assert failed == ["cancelled"]


def test_c6_too_many_waiting_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(wav(2044))
    recognizer = Counting(hold=True)
    with threaded(recognizer) as url, FunASRSync(url, threads=1, waiting=1) as client:
        client.submit_file(path), client.submit_file(path)
        with pytest.raises(RecognizerError) as caught:
            client.submit_file(path)
        assert (caught.value.code, caught.value.retryable) == ("busy", True)


def test_c6_a_chat_message_as_the_page_knows_it() -> None:
    way_out, messages = Outlet(), list[dict[str, Any]]()

    def deliver(message: dict[str, Any]) -> int:
        messages.append(message)
        return len(messages) - 1

    way_out.attach(deliver)
    client = FunASRSync("ws://127.0.0.1:1", username="User_7", way_out=way_out)
    try:
        assert client.send_chat_message("hello") is False, "nobody took it"
        assert client.send_chat_message("again", sender="me", model_info="FunASR/ALiNls") is True
    finally:
        client.close()
    plain = {"type": "chat_message", "sender": "回音", "content": "hello", "Username": "User_7", "model_info": "Funasr"}
    assert messages == [plain, {**plain, "sender": "me", "content": "again", "model_info": "FunASR/ALiNls"}]


def test_c6_an_outlet_that_was_replaced_is_not_closed_by_the_old_server() -> None:
    way_out = Outlet()

    def old(_: dict[str, Any]) -> int:
        return 1

    def new(_: dict[str, Any]) -> int:
        return 2

    way_out.attach(old)
    way_out.attach(new)
    way_out.detach(old)
    assert (way_out.open, way_out.send({})) == (True, 2)
    way_out.detach(new)
    assert (way_out.open, way_out.send({})) == (False, 0)


async def test_c6_a_result_reaches_the_chat_page(serving: Serve) -> None:
    """A thread recognises; the page of that user shows what was said, once."""
    way_out = Outlet()
    with threaded(Counting(answer="hello from a thread")) as url:
        async with serving() as server, aiohttp.ClientSession() as http, http.ws_connect(f"{server.url}/ws") as page:
            way_out.attach(get_web_instance().send_direct_message)
            await page.send_json({"type": "login", "session_id": "4711"})
            await page.send_json({"type": "wsa_register_web", "username": "User_4711"})
            while (await page.receive_json(timeout=5))["type"] != "wsa_registered":
                pass
            with FunASRSync(url, username="User_4711", way_out=way_out) as client:
                assert await asyncio.to_thread(client.recognize, wav(2044)) == "hello from a thread"
                assert await asyncio.to_thread(client.send_chat_message, "the end") is True
                lines = []
                while "the end" not in lines:
                    message = await page.receive_json(timeout=5)
                    if message["type"] == "chat_message":
                        assert (message["Username"], message["model_info"]) == ("User_4711", "Funasr")
                        lines.append(message["content"])
            assert lines == ["hello from a thread", "the end"]


# -- the recogniser


@contextlib.asynccontextmanager
async def recognizer_of(url: str, **options: Any) -> AsyncIterator[FunASRCustomRecognizer]:
    """A recogniser, started."""
    recognizer = FunASRCustomRecognizer(url=url, **options)
    await recognizer.start()
    yield recognizer
    await recognizer.close()


async def heard(recognizer: FunASRCustomRecognizer, samples: int = 20_000) -> str:
    """The words in that much audio, pushed in packets of 20 ms."""
    stream = recognizer.open(lambda _: None)
    for start in range(0, samples, 320):
        stream.push(np.ones(min(320, samples - start), np.int16))
    said = await stream.finish()
    await stream.cancel()
    return said.text


def count(pcm: bytes) -> str:
    """What the simulators hear."""
    return f"{len(pcm) // 2} samples"


async def test_c2_each_mode_of_the_recogniser_and_its_server(tmp_path: Path) -> None:
    async with serving() as ours, InlineServer(count) as inline, FayServer(count) as fay:
        for url, mode in ((f"ws://127.0.0.1:{ours.port}", "live"), (f"ws://127.0.0.1:{ours.port}", "upload"),
                          (inline.url, "upload"), (fay.url, "path")):  # fmt: skip
            async with recognizer_of(url, mode=mode, folder=str(tmp_path)) as recognizer:
                assert await heard(recognizer) == "20000 samples"
        assert list(tmp_path.iterdir()) == []
        assert inline.violations == fay.violations == []


async def test_c2_a_turn_longer_than_allowed_is_cut() -> None:
    async with serving() as ours, recognizer_of(f"ws://127.0.0.1:{ours.port}", max_turn_s=1.0) as recognizer:
        stream = recognizer.open(lambda _: None)
        stream.push(np.ones(10_000, np.int16))
        stream.push(np.ones(10_000, np.int16))
        assert (await stream.finish()).text == "16000 samples"
        assert stream.truncated


async def test_c2_words_survive_a_connection_that_breaks_while_they_are_spoken() -> None:
    """Live audio is kept: after the break the server gets what it lacks."""
    async with serving() as ours, recognizer_of(f"ws://127.0.0.1:{ours.port}") as recognizer:
        partials = asyncio.Event()
        stream = recognizer.open(lambda _: partials.set())
        stream.push(np.ones(8000, np.int16))
        await asyncio.wait_for(partials.wait(), 5)
        for connection in ours.connections:
            connection.abort()
        stream.push(np.ones(8000, np.int16))
        assert (await stream.finish()).text == "16000 samples"


async def test_c2_a_server_that_is_down_fails_the_turn_not_the_start() -> None:
    async with recognizer_of("ws://127.0.0.1:1", retries=0) as recognizer:
        with pytest.raises(RecognizerError) as caught:
            await heard(recognizer)
        assert (caught.value.adapter, caught.value.retryable) == ("funasr_custom", True)


@pytest.mark.parametrize("options", [{"url": "http://x"}, {"mode": "telepathy"}, {"folder": "/nowhere"}])
async def test_c2_wrong_settings_are_told_at_the_start(options: Any) -> None:
    with pytest.raises(RecognizerError, match="funasr_custom"):
        await FunASRCustomRecognizer(**options).start()


async def test_c2_cancelled_turns_leave_nothing_at_the_server() -> None:
    async with serving() as ours, recognizer_of(f"ws://127.0.0.1:{ours.port}") as recognizer:
        for _ in range(10):
            partials = asyncio.Event()
            stream = recognizer.open(lambda _, partials=partials: partials.set())
            stream.push(np.ones(8000, np.int16))
            await asyncio.wait_for(partials.wait(), 5)
            await stream.cancel()
        while ours.connections:
            await asyncio.sleep(0.005)
        assert (len(ours.service.uploads), ours.service.memory.used, ours.service.jobs) == (0, 0, 0)


async def test_a_strict_chunk_server_needs_the_whole_before_it_begins() -> None:
    async with ChunkServer(count) as server, recognizer_of(server.url, mode="upload") as recognizer:
        assert await heard(recognizer, 800_000) == "800000 samples"
        assert server.violations == []
