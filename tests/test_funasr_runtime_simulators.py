"""C1: the simulated servers are as strict as the real ones: each refuses what that server refuses, in its own way."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.simulators.funasr_runtime import Ear, Hear, PythonServer, PythonServerOld, Served, phrase
from tests.simulators.funasr_runtime_cpp import Cpp2passServer, CppOfflineServer

HELLO = phrase("hello", "world")
HEAR = Ear([("hello world", HELLO)])
FIRST = {"mode": "2pass", "wav_name": "x", "is_speaking": True, "chunk_size": [5, 10, 5], "chunk_interval": 10}
END = '{"is_speaking": false, "is_end": true}'
SOUND = [HELLO[start : start + 1920] for start in range(0, len(HELLO), 1920)]
SILENCE = "silence"
"""Nothing comes, and nothing ever will."""

Script = list[str | bytes]


def first(**changes: Any) -> str:
    """A first message; None takes a field away."""
    return json.dumps({key: value for key, value in (FIRST | changes).items() if value is not None})


def said(**changes: Any) -> Script:
    """A whole utterance with that first message."""
    return [first(**changes), *SOUND, END]


async def outcome(server: Served, script: Script) -> str:
    """How the server takes it: a close code, SILENCE, or the text or the error of its last message."""
    last: dict[str, Any] = {}
    try:
        async with server.running() as url, connect(url, subprotocols=[Subprotocol("binary")]) as socket:
            for message in script:
                await socket.send(message)
            while True:
                async with asyncio.timeout(0.1):
                    last = json.loads(await socket.recv())
    except TimeoutError:
        return str(last.get("error") or last.get("text", SILENCE)) if last else SILENCE
    except ConnectionClosed as closed:
        return str(closed.rcvd.code if closed.rcvd else 1006)


OLD: dict[str, tuple[Script, str]] = {
    "not JSON": (["{", *SOUND, END], "1000"),
    "JSON, but a number": (["5", END], "1000"),
    "no chunk_size": (said(chunk_size=None), "1000"),
    "audio first": ([*SOUND, first(), END], "1000"),
    "end first": ([END], "1000"),
    "chunk_interval 0": (said(chunk_interval=0), "1000"),
    "chunk_size of one number": (said(chunk_size=[5]), "1000"),
    "chunk_size of words": (said(chunk_size="a,b,c"), "1000"),
    "never said is_speaking": (said(is_speaking=None), "1000"),
    "sound shorter than a millisecond": ([first(), HELLO[400:420], END], "1000"),
    "half a sample": ([first(), HELLO[:1921], END], "1000"),
    "unknown mode": (said(mode="fast"), SILENCE),
    "hotwords that are no text": (said(mode="offline", hotwords={"hello": 20}), SILENCE),
    "no end": ([first(mode="offline"), *SOUND], SILENCE),
}
NEW: dict[str, tuple[Script, str]] = {
    "JSON, but a number": (["5"], "1000"),
    "JSON, but a list": (["[]"], "1000"),
    "chunk_size of words": (said(chunk_size="a,b,c"), "1000"),
    "chunk_size a number": (said(chunk_size=5), "1000"),
    "errors and no is_end": ([*said(chunk_size=None)[:-1], '{"is_speaking": false}'], "1000"),
    "no chunk_size": (said(chunk_size=None), "audio frame discarded: KeyError('chunk_size')"),
    "chunk_size of one number": (said(chunk_size=[5]), "audio frame discarded: IndexError"),
    "chunk_interval 0": (said(chunk_interval=0), "audio frame discarded: ZeroDivisionError"),
    "unknown mode": (said(mode="fast"), "unsupported mode: 'fast'"),
    "a mode that is no text": (said(mode=5), "unsupported mode: 5"),
    "hotwords that are no text": (said(hotwords={"hello": 20}), "offline inference failed: hotwords"),
    "half a sample": ([first(), HELLO[:1921], END], "vad inference failed"),
    "not JSON": (["{", "{"], SILENCE),
    "no end": ([first(mode="offline"), *SOUND], SILENCE),
}
SPRING: dict[str, tuple[Script, str]] = {
    **{name: case for name, case in NEW.items() if case[1] == "1000" and name != "errors and no is_end"},
    "an end and nothing after it": (said(mode="offline"), SILENCE),
    "unknown mode": ([*said(mode="fast"), SOUND[0]], SILENCE),
    "a mode that is no text": ([*said(mode=5), SOUND[0]], SILENCE),
    "no chunk_size": ([*said(chunk_size=None), SOUND[0]], SILENCE),
    "chunk_size of one number": ([*said(chunk_size=[5]), SOUND[0]], SILENCE),
    "chunk_interval 0": ([*said(chunk_interval=0), SOUND[0]], SILENCE),
    "hotwords that are no text": ([*said(mode="offline", hotwords={"hello": 20}), SOUND[0]], SILENCE),
    "not JSON": (["{", "{"], SILENCE),
}
CPP_OFFLINE: dict[str, tuple[Script, str]] = {
    "not JSON, then all is well": (["{", *said()], SILENCE),
    "JSON, but a list": (["[]"], "1006"),
    "hotwords that are no text": (said(hotwords={"hello": 20}), "1006"),
    "audio_fs a text": (said(audio_fs="16000"), "1006"),
    "wav_name a number": (said(wav_name=5), "1006"),
    "wav_format a number": (said(wav_format=5), "1006"),
    "itn a number": (said(itn=1), "1006"),
    "svs_lang a number": (said(svs_lang=5), "1006"),
    "svs_itn a text": (said(svs_itn="yes"), "1006"),
    "is_speaking a text": ([*said()[:-1], '{"is_speaking": "false"}'], SILENCE),
    "is_speaking a number": ([*said()[:-1], '{"is_speaking": 0}'], SILENCE),
    "the end as a binary message": ([*said()[:-1], END.encode()], SILENCE),
    "no end": (said()[:-1], SILENCE),
    "PCM declared to be mp3": (said(wav_format="mp3"), ""),
}
CPP_2PASS: dict[str, tuple[Script, str]] = {
    "not JSON, then all is well": (["{", *said()], SILENCE),
    "JSON, but a text": (['"hello"'], "1006"),
    "hotwords that are no text": (said(hotwords={"hello": 20}), "1006"),
    "chunk_size a text": (said(chunk_size="5,10,5"), "1006"),
    "no chunk_size": (said(chunk_size=None), SILENCE),
    "chunk_size of two numbers": (said(chunk_size=[5, 10]), SILENCE),
    "chunk_size with 0 in the middle": (said(chunk_size=[5, 0, 5]), SILENCE),
    "audio_fs a text": (said(audio_fs="16000"), SILENCE),
    "wav_name a number": (said(wav_name=5), SILENCE),
    "itn a number": (said(itn=1), SILENCE),
    "mode a number": (said(mode=5), SILENCE),
    "is_speaking a text": ([*said(mode="offline")[:-1], '{"is_speaking": "false"}'], SILENCE),
    "audio before the first message": ([*SOUND, first(), END], ""),
    "not PCM": (said(wav_format="wav"), "ERROR. Real-time"),
}  # fmt: skip
SERVERS: dict[str, tuple[Callable[[Hear], Served], dict[str, tuple[Script, str]]]] = {
    "python-old": (PythonServerOld, OLD),
    "python": (PythonServer, NEW),
    "python-spring-2026": (functools.partial(PythonServer, acknowledges=False), SPRING),
    "cpp-offline": (CppOfflineServer, CPP_OFFLINE),
    "cpp-2pass": (Cpp2passServer, CPP_2PASS),
}


@pytest.mark.parametrize(
    ("server", "violation"), [(name, text) for name, (_, table) in SERVERS.items() for text in table]
)
async def test_c1_each_simulator_refuses_violations_as_the_real_server(server: str, violation: str) -> None:
    make, table = SERVERS[server]
    script, expected = table[violation]
    result = await outcome(make(HEAR), script)
    assert result == expected or (expected not in ("", SILENCE) and result.startswith(expected))


@pytest.mark.parametrize("server", SERVERS)
async def test_c1_each_simulator_hears_a_correct_client(server: str) -> None:
    """Otherwise its refusals would prove nothing."""
    make, table = SERVERS[server]
    assert len(table) >= 10
    more = SOUND[:1] if server == "python-spring-2026" else []  # whose end is the audio after the end
    plain = [*said()[:-1], '{"is_speaking": false}', *more]
    assert await outcome(make(HEAR), plain) == "hello world"


async def test_c1_the_python_server_refuses_a_client_without_the_subprotocol() -> None:
    async with PythonServer(HEAR).running() as url:
        with pytest.raises(InvalidStatus, match="400"):
            await connect(url)


async def test_c1_the_python_servers_count_messages_not_milliseconds() -> None:
    """200 ms a message make its partials come every 2 s."""
    for size, partials in ((1920, True), (6400, False)):
        script = [first(), *[HELLO[start : start + size] for start in range(0, len(HELLO), size)]]
        heard = await outcome(PythonServerOld(HEAR), script)
        assert (heard != SILENCE) is partials
