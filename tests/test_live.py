"""The live checks themselves: they pass on a good server, and tell what is wrong with a bad one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from core.frames import LISTEN_RATE, VISEME_RATE, SpeechChunk, VisemeFrames
from core.identity import visitor_link
from core.stages import LipStream
from tests.conftest import Serve

pytestmark = pytest.mark.alone

ADMIN = "the-admins-own-token"
EMBEDDED = {
    "asr__engine": "pocketsphinx",
    "dialogue__engine": "demo",
    "tts__engine": "espeak",
    "face__engine": "vector",
    "lifecycle__reaper_interval_s": "1",
}


async def live(*arguments: str) -> tuple[int, str]:
    """Exit status and output of a run of the live checks."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "tests/live", "-p", "no:cacheprovider", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_a_good_server_passes(serving: Serve) -> None:
    async with serving(**EMBEDDED) as server:
        status, output = await live("--server", server.url)
        assert status == 0, output
        assert " passed" in output or "100%" in output
        assert len(server.sessions) == 0  # every visitor hung up


async def test_k5_a_server_that_asks_for_tokens_passes_with_a_visitors_link(serving: Serve, tmp_path: Path) -> None:
    closed = {
        "auth__enabled": "true", "auth__api_keys": '["a-key-that-nobody-guesses"]', "auth__admin_token": ADMIN,
        "history__enabled": "true", "history__path": str(tmp_path / "history.db"),
    }  # fmt: skip
    chosen = ("-k", "not media and not lips", "-rs")
    async with serving(**EMBEDDED | closed) as server:
        link = visitor_link(server.url, server.tokens.issue_visitor(600))
        status, output = await live("--server", server.url, "--token", link, "--admin-token", ADMIN, *chosen)
        assert status == 0, output
        assert "SKIPPED" not in output
        assert len(server.sessions) == 0
        status, output = await live("--server", server.url, "-k", "ready")
        assert (status, "give --token" in output) == (1, True)
        status, output = await live("--server", server.url, "--token", link, *chosen, "-k", "operator")
        assert (status, "give --admin-token" in output) == (0, True)


async def test_without_a_server_nothing_is_checked_and_the_option_is_named() -> None:
    status, output = await live()
    assert status == 5  # pytest's word for "no tests"
    assert "--server URL" in output


async def test_a_server_that_is_away_is_named() -> None:
    status, output = await live("--server", "http://127.0.0.1:1", "-k", "page")
    assert status == 1
    assert "is it running" in output
    assert "Traceback" not in output


class FrozenLips:
    """A lip-sync adapter whose mouth never opens."""

    name = "frozen"

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to free."""

    def open(self) -> LipStream:
        return _Frozen()


class _Frozen:
    def feed(self, chunk: SpeechChunk) -> VisemeFrames:
        silence = np.zeros((len(chunk.pcm.samples) * VISEME_RATE // LISTEN_RATE, 15), np.float32)
        silence[:, 0] = 1
        return silence

    def finish(self) -> VisemeFrames:
        return np.zeros((0, 15), np.float32)


async def test_frozen_lips_are_noticed(serving: Serve) -> None:
    async with serving(**EMBEDDED | {"lipsync__engine": "tests.test_live:FrozenLips"}) as server:
        status, output = await live("--server", server.url, "-k", "lips")
        assert status == 1
        assert "look at the lip-sync adapter" in output


@asynccontextmanager
async def blocked_server() -> AsyncIterator[str]:
    """Answers offers, but its media never come through."""
    peers = []

    async def config(request: web.Request) -> web.Response:
        return web.json_response({"code": 0, "data": {}})

    async def offer(request: web.Request) -> web.Response:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peers.append(peer)
        await peer.setRemoteDescription(RTCSessionDescription((await request.json())["sdp"], "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        sdp = peer.localDescription.sdp
        await peer.close()
        return web.json_response({"sdp": sdp, "type": "answer", "sessionid": "1"})

    application = web.Application()
    application.add_routes([web.get("/api/config", config), web.post("/offer", offer)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_blocked_media_are_explained() -> None:
    async with blocked_server() as url:
        status, output = await live("--server", url, "-k", "pace", "--patience", "2")
    assert status == 1
    assert "is UDP blocked" in output
    assert "udp 1" in output or "UDP" in output
