"""Sessions come and go: never connected, vanished, resumed, replaced, closed; nothing of them stays."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import psutil
import pytest
from aiortc import RTCPeerConnection

from server import Server
from tests.avatar_client import AvatarClient, WavMicrophone
from tests.conftest import Serve
from tests.fakes import ScriptedDialogue
from tests.offers import Api, real_offer


async def until(condition: Callable[[], bool], patience: float) -> float:
    """Seconds until `condition` held."""
    begun = time.monotonic()
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.02)
    return time.monotonic() - begun


def connections() -> int:
    gc.collect()
    return sum(isinstance(item, RTCPeerConnection) for item in gc.get_objects())


def session_threads() -> int:
    """Threads that are no members of a pool, which grows up to its size and stays."""
    pools = ("asyncio_", "media_", "speech_")
    return sum(not thread.name.startswith(pools) for thread in threading.enumerate())


@asynccontextmanager
async def lonely_client(url: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.lonely_client", url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            yield process, json.loads(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_an_offer_that_never_connects_is_freed(serving: Serve) -> None:
    async with serving(lifecycle__handshake_timeout_s="0.5", limits__max_sessions="1") as server, Api(server) as api:
        await api.open_session()
        assert (await api.is_speaking())["code"] == 0
        waited = await until(lambda: len(server.sessions) == 0, 3)
        assert 0.3 < waited < 1.5
        assert "sdp" in await api.open_session()


async def test_a_killed_client_is_noticed_and_its_session_resumed_and_at_last_freed(serving: Serve) -> None:
    limits = {"lifecycle__vanish_s": "2.5", "lifecycle__resume_s": "5", "limits__max_sessions": "1"}
    async with serving(**limits) as server, Api(server) as api:
        async with lonely_client(server.url) as (process, answer):
            session = server.sessions.find(answer["sessionid"])
            api.id, api.token = session.id, answer["token"]
            await api.human("my name is Ada", kind="chat")
            assert isinstance(server.engines.dialogue, ScriptedDialogue)
            await until(lambda: not session.conversation.busy, 5)
            await asyncio.sleep(1.5)
            assert session.detached_at is None  # a silent client that lives is no vanished one
            process.kill()
            noticed = await until(lambda: session.detached_at is not None, 5)
            assert noticed < 4
        await refuse_wrong_tokens(api)
        extra = {"sessionid": int(session.id), "token": answer["token"]}
        async with AvatarClient(server.url, extra=extra) as client:
            again = await client.connect()
            assert again["sessionid"] == session.id
            assert len(server.sessions) == 1
            await client.human("what is my name", kind="chat")
            await client.audible(client.offered_at)
            history, text = server.engines.dialogue.calls[-1]
            assert text == "what is my name"
            assert [turn.text for turn in history][:2] == ["my name is Ada", server.engines.dialogue.answer]
            assert_steady(client)
        await until(lambda: len(server.sessions) == 0, 8)
        assert (await api.is_speaking())["error"] == "session_not_found"


async def refuse_wrong_tokens(api: Api) -> None:
    forbidden, malformed = (401, "auth_failed"), (200, "bad_request")
    for token, expected in (("wrong", forbidden), (api.token[:-2], forbidden), (5, malformed)):
        body = {"sdp": await real_offer(), "type": "offer", "sessionid": api.id, "token": token}
        status, answer = await api.raw("POST", "/offer", json=body)
        assert (status, answer["error"]) == expected


def assert_steady(client: AvatarClient) -> None:
    """Sound and pictures go on with rising timestamps and at their pace: nothing was saved up and sent at once."""
    assert set(np.diff([pts for _, pts, _ in client.sound]).tolist()) == {960}
    times = np.array([at for _, at, _ in client.pictures])
    assert (np.diff(times) > 0.039).all()
    arrivals = np.array([arrival for arrival, _, _ in client.pictures])
    assert len(arrivals) <= (arrivals[-1] - arrivals[0]) * 25 + 4


async def test_a_killed_client_is_freed_when_nobody_comes_back(serving: Serve) -> None:
    limits = {"lifecycle__vanish_s": "2", "lifecycle__resume_s": "3.5"}
    async with serving(**limits) as server, lonely_client(server.url) as (process, answer):
        killed = time.monotonic()
        process.kill()
        await until(lambda: len(server.sessions) == 0, 10)
        assert time.monotonic() - killed < 6.5
        assert answer["sessionid"]


async def test_a_client_that_closes_is_freed_soon_unless_its_page_is_still_there(serving: Serve) -> None:
    async with serving(lifecycle__resume_s="6") as server, Api(server) as api:
        async with AvatarClient(server.url) as client:
            await client.connect()
            await client.login()
            session = server.sessions.find(client.session)
            await client.pc.close()
            await until(lambda: session.detached_at is not None, 3)
            await asyncio.sleep(1.5)  # longer than a page without a socket is waited for
            assert (await client.post("/is_speaking", sessionid=session.id))["code"] == 0
            extra = {"sessionid": session.id, "token": client.answer["token"]}
            async with AvatarClient(server.url, extra=extra) as reloaded:
                await reloaded.connect()
                assert session.detached_at is None
        assert await until(lambda: len(server.sessions) == 0, 5) < 3
        await api.open_session()


async def test_a_reloaded_page_takes_its_session_over(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url, microphone=WavMicrophone()) as first:
        await first.connect()
        await first.human("word " * 40)
        await first.audible(first.offered_at)
        extra = {"sessionid": first.session, "token": first.answer["token"]}
        async with AvatarClient(server.url, extra=extra) as second:
            await second.connect()
            await until(lambda: first.pc.connectionState == "closed", 3)
            await second.audible(second.offered_at)  # the answer goes on where the page is now
            await asyncio.sleep(0.5)
            assert_steady(second)
            assert len(server.sessions) == 1


async def test_nothing_of_a_session_stays(serving: Serve) -> None:
    async with serving() as server:
        await visit(server)  # what the first session starts for good: worker threads of the pools
        await asyncio.sleep(0.2)
        objects, tasks, threads = connections(), len(asyncio.all_tasks()), session_threads()
        udp = len(psutil.Process().net_connections("udp"))
        for _ in range(3):
            await visit(server)
        await until(lambda: len(asyncio.all_tasks()) <= tasks, 5)
        await until(lambda: session_threads() <= threads, 3)
        assert len(psutil.Process().net_connections("udp")) <= udp
        assert len(server.sessions) == 0
        assert server.sockets.all_ids() == []
        assert connections() <= objects


async def visit(server: Server) -> None:
    """Connect, talk, be interrupted, hang up."""
    async with AvatarClient(server.url, microphone=WavMicrophone()) as client:
        await client.connect()
        await client.login()
        await client.human("hello there " * 10)
        await client.audible(client.offered_at)
        await client.post("/api/hangup", sessionid=client.session, token=client.answer["token"])


async def test_stopping_with_everything_open_is_quick_and_quiet(
    serving: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = asyncio.all_tasks()
    async with serving() as server:
        client, api = AvatarClient(server.url, microphone=WavMicrophone()), Api(server)
        await client.connect()
        await client.login()
        await client.human("word " * 100)
        await client.audible(client.offered_at)
        await api.open_session()
        stream = await api.http.get(f"{server.url}/sse?sessionid={client.session}")
        stranger = await api.http.ws_connect(server.url.replace("http", "ws") + "/ws")
        upload = asyncio.create_task(slow_upload(server.url))
        await asyncio.sleep(0.1)
        begun = time.monotonic()
    assert time.monotonic() - begun < 3
    upload.cancel()
    await asyncio.wait({upload})
    stream.close()
    await stranger.close()
    await api.http.close()
    await client.close()
    await until(lambda: asyncio.all_tasks() <= tasks, 3)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def slow_upload(url: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
    writer.write(
        b"POST /humanaudio HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        b"Content-Length: 99999\r\n\r\n"
    )
    await reader.read()
    writer.close()


async def test_a_server_that_stops_admits_nobody(serving: Serve) -> None:
    async with serving() as server, Api(server) as api:
        await server.sessions.close_all()
        assert (await api.offer(await real_offer()))["error"] == "stopping"


@asynccontextmanager
async def application(*arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The real program as a user starts it; its process and URL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "app.py", "--port", "0", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(40):
            while b"http://" not in (line := await process.stdout.readline()):
                assert line, await process.communicate()
        yield process, line.decode().split()[-1].replace("localhost", "127.0.0.1")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "term"])
async def test_ctrl_c_ends_the_program_without_a_word(number: signal.Signals) -> None:
    async with application("--set", "log.level=warning") as (process, url):
        workers = psutil.Process(process.pid).children(recursive=True)
        assert workers  # the recogniser's
        async with AvatarClient(url, microphone=WavMicrophone()) as client:
            await client.connect()
            await client.login()
            await client.human("I am in the middle of a sentence when the program is ended.")
            await client.audible(client.offered_at)
            begun = time.monotonic()
            process.send_signal(number)
            _, errors = await process.communicate()
        assert time.monotonic() - begun < 3
        assert process.returncode == 0
        assert "Traceback" not in errors.decode()
        assert errors.decode() == ""
        await until(lambda: not any(worker.is_running() for worker in workers), 3)


async def test_the_recognisers_process_dies_with_a_killed_program() -> None:
    async with application() as (process, _):
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        await until(lambda: not any(w.is_running() and w.status() != psutil.STATUS_ZOMBIE for w in workers), 5)


async def test_a_port_in_use_is_told_in_one_line(serving: Serve) -> None:
    async with serving() as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "app.py", "--port", server.url.rsplit(":", 1)[1],
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert "Traceback" not in errors.decode()
    assert "can't start" in errors.decode()


async def test_a_round_of_housekeeping_that_fails_is_not_the_last_one(
    serving: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rounds = 0

    async def broken() -> None:
        nonlocal rounds
        rounds += 1
        raise RuntimeError("a bug")

    async with serving(lifecycle__reaper_interval_s="0.05") as server:
        monkeypatch.setattr(server.sockets, "close_expired", broken)
        async with asyncio.timeout(10):
            while rounds < 2:
                await asyncio.sleep(0.05)
    assert "the reaper stumbled" in caplog.text
