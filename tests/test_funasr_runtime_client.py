"""C1: the client of FunASR's official runtime at simulated servers, healthy ones and ones that fail in every way."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.asyncio.server import ServerConnection, serve

from asr.funasr.runtime_client import RuntimeClient, RuntimeEndpoint, RuntimeResult
from asr.funasr.runtime_protocol import Mode, RuntimeConfig
from asr.funasr.runtime_recognizer import FunasrRuntimeRecognizer
from core.errors import RecognizerError
from core.frames import Transcript
from tests.funasr_runtime_served import SERVERS
from tests.simulators.funasr_runtime import PythonServer, PythonServerOld, Word, phrase
from tests.simulators.funasr_runtime_cpp import Cpp2passServer

WORDS = ("one", "two", "three", "four")
SPEECH = phrase("one", "two") + bytes(32 * 1000) + phrase("three", "four") + bytes(32 * 500)
"""Two sentences with a second between them."""
Handler = Callable[[ServerConnection], Awaitable[None]]


def hear(pcm: bytes) -> Sequence[Word]:
    """The words in the order in which they were spoken."""
    found = sorted((pcm.find(phrase(word)[1000:1100]) // 32, word) for word in WORDS)
    return [(word, at, at + 100) for at, word in found if at >= 0]


@contextlib.asynccontextmanager
async def raw(handler: Handler, **options: Any) -> AsyncIterator[str]:
    """A server that does just that to each client; yields its URL."""
    server = await serve(handler, "127.0.0.1", 0, close_timeout=0.1, ping_interval=None, **options)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close(close_connections=True)
        await server.wait_closed()


async def recognized(url: str, mode: Mode = Mode.TWO_PASS, **options: Any) -> RuntimeResult:
    """What comes back for `SPEECH`."""
    endpoint = {key: options.pop(key) for key in list(options) if key in RuntimeEndpoint.__slots__}
    client = RuntimeClient(RuntimeEndpoint(url, **endpoint), RuntimeConfig(mode), **options)
    client.push(SPEECH)
    try:
        return await asyncio.wait_for(client.finish(), 10)
    finally:
        await client.cancel()


async def failure(url: str, **options: Any) -> RecognizerError:
    with pytest.raises(RecognizerError) as caught:
        await recognized(url, **options)
    assert caught.value.adapter == "funasr_runtime"
    return caught.value


# -- servers in good health


@pytest.mark.parametrize("delay", [0, 0.02])
@pytest.mark.parametrize("name", SERVERS)
async def test_c1_all_sentences_come_from_every_server(name: str, delay: float) -> None:
    """Also when our end is said while results of earlier sentences are still on their way."""
    make, mode = SERVERS[name]
    server = make(hear)
    server.delay_s = delay
    async with server.running() as url:
        result = await recognized(url, Mode(mode))
    # a streaming model does not tell where its words end
    assert result.text.replace("twothree", "two three" if mode == "online" else "?") == "one two three four"
    if name.startswith("cpp") and mode != "online":
        assert result.span == pytest.approx((0.03, 2.03), abs=0.1)


@pytest.mark.parametrize("piece", [2, 1920, 5000])
async def test_c1_python_servers_get_frames_of_the_size_that_they_count(piece: int) -> None:
    server = PythonServer(hear)
    async with server.running() as url:
        client = RuntimeClient(RuntimeEndpoint(url), RuntimeConfig())
        for start in range(0, 20_000, piece):
            client.push(SPEECH[start : start + piece])
        await client.finish()
        await client.cancel()
    assert set(server.frames) == {1920}


async def test_c1_partials_grow_while_the_user_speaks_and_stop_with_the_final() -> None:
    seen: list[str] = []
    async with PythonServerOld(hear).running() as url:
        result = await recognized(url, on_text=seen.append)
    assert seen[0] in ("one", "one two")
    assert seen[-1] == result.text


@pytest.mark.parametrize("mode", list(Mode))
async def test_c1_a_file_is_sent_as_these_servers_expect_it(mode: Mode) -> None:
    """Offline at once; else as fast as it sounds, so that nothing is there to send when the last frame was played."""
    server = PythonServer(hear)
    async with server.running() as url:
        client = RuntimeClient(RuntimeEndpoint(url), RuntimeConfig(mode))
        began = asyncio.get_running_loop().time()
        await client.play(SPEECH[:9600])
        took = asyncio.get_running_loop().time() - began
        await client.finish()
        await client.cancel()
    assert mode is Mode.OFFLINE or took >= 0.29
    assert sum(server.frames) >= 9600


async def test_c1_too_long_an_utterance_is_cut() -> None:
    server = PythonServer(hear)
    async with server.running() as url:
        client = RuntimeClient(RuntimeEndpoint(url), RuntimeConfig(), max_audio_s=0.6)
        client.push(SPEECH)
        assert (client.truncated, client.audio_s) == (True, 0.6)
        assert (await client.finish()).text == "one two"
        await client.cancel()


async def test_c1_the_dialect_is_remembered_for_the_next_turn() -> None:
    """The old server is asked at once then, and needs it: it says nothing when it heard a sound but no words."""
    server = PythonServerOld(hear)
    hum = np.random.default_rng(3).normal(0, 3000, 16_000).astype(np.int16)
    async with server.running() as url:
        recognizer = FunasrRuntimeRecognizer(url=url)
        for audio, text in ((np.frombuffer(SPEECH, "<i2"), "one two three four"), (hum, "")):
            stream = recognizer.open(lambda _: None)
            stream.push(audio)
            assert (await asyncio.wait_for(stream.finish(), 4)).text == text
        await recognizer.close()


# -- the connection


async def test_c1_server_down() -> None:
    error = await failure("ws://127.0.0.1:9")
    assert (error.code, error.retryable) == ("funasr_unreachable", True)


async def test_c1_a_slow_connection_loses_nothing() -> None:
    async def later(*_: Any) -> None:
        await asyncio.sleep(0.1)

    server = Cpp2passServer(hear)
    handler: Handler = server._handle
    async with raw(handler, process_request=later) as url:
        assert (await recognized(url)).text == "one two three four"


async def test_c1_a_handshake_that_never_ends() -> None:
    over = asyncio.Event()

    async def never(*_: Any) -> None:
        await over.wait()

    async with raw(_silent, process_request=never) as url:
        assert (await failure(url, connect_timeout_s=0.05)).code == "funasr_unreachable"
        over.set()


@pytest.mark.parametrize(("status", "retryable"), [(403, False), (404, False), (503, True)])
async def test_c1_a_refusal_over_http(status: int, retryable: bool) -> None:
    async with raw(_silent, process_request=lambda socket, _: socket.respond(status, "no")) as url:
        error = await failure(url)
    assert (error.code, error.retryable) == ("funasr_refused", retryable)
    assert str(status) in str(error)


@pytest.mark.parametrize("code", [1000, 1005, 1006, 1011])
async def test_c1_a_connection_that_breaks_in_mid_utterance_is_made_again_and_all_is_replayed(code: int) -> None:
    server = Cpp2passServer(hear)
    broken = 0

    async def breaks_once(socket: ServerConnection) -> None:
        nonlocal broken
        if broken:
            await server._handle(socket)
            return
        broken += 1
        for _ in range(20):
            await socket.recv()
        await _close(socket, code)

    seen: list[str] = []
    async with raw(breaks_once) as url:
        result = await recognized(url, on_text=seen.append)
    assert (result.text, broken) == ("one two three four", 1)
    assert sum(server.frames) >= len(SPEECH)


@pytest.mark.parametrize("after", [0, 1, 10, 47])
@pytest.mark.parametrize("code", [1000, 1005, 1006])
async def test_c1_a_connection_that_always_breaks_fails_and_may_be_tried_elsewhere(code: int, after: int) -> None:
    connections = 0

    async def breaks(socket: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        for _ in range(after):
            await socket.recv()
        await _close(socket, code)

    async with raw(breaks) as url:
        error = await failure(url)
    assert (error.code, error.retryable, connections) == ("funasr_closed", True, 2)
    assert str(code) in str(error)


async def test_c1_1009_is_not_tried_again() -> None:
    async def refuses(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.close(1009)

    async with raw(refuses) as url:
        error = await failure(url)
    assert (error.code, error.retryable) == ("funasr_too_big", False)


@pytest.mark.parametrize("garbage", [b"\x00\x01", "hello", "[]", "{", json.dumps({"text": 5}), "x" * (5 << 20)])
async def test_c1_who_speaks_another_protocol_is_named(garbage: str | bytes) -> None:
    async def answers(socket: ServerConnection) -> None:
        await socket.send(garbage)
        await _silent(socket)

    async with raw(answers) as url:
        error = await failure(url)
    assert (error.code, error.retryable) == ("funasr_protocol", False)


async def test_c1_no_last_result_ever() -> None:
    async with raw(_silent) as url:
        error = await failure(url, final_timeout_s=0.05)
    assert (error.code, error.retryable) == ("funasr_timeout", True)


async def test_c1_words_that_came_count_when_the_last_result_does_not_come() -> None:
    async def partial(socket: ServerConnection) -> None:
        await socket.send(json.dumps({"mode": "2pass-online", "text": "one two", "is_final": False}))
        await _silent(socket)

    async with raw(partial) as url:
        assert (await recognized(url, final_timeout_s=0.05)).text == "one two"


async def test_c1_a_server_that_does_not_even_read() -> None:
    over = asyncio.Event()

    async def deaf(socket: ServerConnection) -> None:
        socket.transport.pause_reading()  # type: ignore[attr-defined]
        await over.wait()

    async with raw(deaf) as url:
        assert (await failure(url, final_timeout_s=0.05)).code == "funasr_timeout"
        over.set()


async def test_c1_an_error_of_the_server_is_shown_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(socket: ServerConnection) -> None:
        async for message in socket:
            if isinstance(message, str) and "is_end" in message:
                await socket.send(json.dumps({"is_end": True, "is_final": False, "error": "no model for one two"}))

    async with raw(fails) as url:
        error = await failure(url)
    assert (error.code, error.retryable) == ("funasr_failed", True)
    assert "no model for one two" in str(error)
    assert "one two" not in caplog.text


async def test_c1_cancel_in_every_state_leaves_no_task() -> None:
    async with PythonServer(hear, delay_s=0.05).running() as url:
        before = asyncio.all_tasks()
        for steps in (0, 1, 3, 10, 30, 100):
            client = RuntimeClient(RuntimeEndpoint(url), RuntimeConfig())
            client.push(SPEECH)
            waiting = asyncio.create_task(client.finish()) if steps > 5 else None
            for _ in range(steps):
                await asyncio.sleep(0.001)
            await client.cancel()
            await client.cancel()
            if waiting is not None:
                await asyncio.wait({waiting})
        ours = {task for task in asyncio.all_tasks() - before if "funasr" in task.get_name()}
    assert not ours


async def test_c1_closing_the_adapter_drops_its_turns() -> None:
    async with raw(_silent) as url:
        recognizer = FunasrRuntimeRecognizer(url=url)
        await recognizer.start()
        stream = recognizer.open(lambda _: None)
        await recognizer.close()
        await recognizer.close()
        with pytest.raises(asyncio.CancelledError):
            await stream.finish()


async def test_c1_a_listener_that_fails_fails_its_own_turn_only(caplog: pytest.LogCaptureFixture) -> None:
    heard = asyncio.Event()

    def broken(_: Transcript) -> None:
        heard.set()
        raise ZeroDivisionError

    async with PythonServerOld(hear).running() as url:
        recognizer = FunasrRuntimeRecognizer(url=url)
        stream = recognizer.open(broken)
        stream.push(np.frombuffer(SPEECH, "<i2"))
        await asyncio.wait_for(heard.wait(), 5)
        with pytest.raises(RecognizerError):
            await asyncio.wait_for(stream.finish(), 5)
        await recognizer.close()
    assert "ZeroDivisionError" in caplog.text
    said = re.compile(rf"\b({'|'.join(WORDS)})\b")  # words: a traceback has the checkout's path
    assert not said.search(caplog.text)


# -- settings and TLS


@pytest.mark.parametrize(
    ("options", "word"),
    [({"url": "http://host:1"}, "url"), ({"url": "host:10095"}, "url"), ({"url": "ws://host:99999"}, "url"),
     ({"mode": "fast"}, "mode"), ({"chunk_size": [5, 10]}, "chunk_size"), ({"chunk_interval": 0}, "chunk_interval"),
     ({"hotwords": ["a.txt"]}, "hotwords"), ({"url": "wss://host", "ca_file": "/nowhere"}, "ca_file")],
)  # fmt: skip
async def test_c1_wrong_settings_are_named_at_the_start(options: dict[str, Any], word: str) -> None:
    with pytest.raises(RecognizerError, match=word) as caught:
        await FunasrRuntimeRecognizer(**options).start()
    assert caught.value.code == "funasr_settings"


async def test_c1_the_start_needs_no_server() -> None:
    recognizer = FunasrRuntimeRecognizer(url="wss://127.0.0.1:9")
    await recognizer.start()
    await recognizer.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed one for 127.0.0.1, with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "funasr")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    signed = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(key.private_bytes(*form) + signed.public_bytes(serialization.Encoding.PEM))
    return path


async def test_c1_tls_with_a_certificate_of_its_own(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with Cpp2passServer(hear).running(tls=context) as url:
        refused = await failure(url)
        assert (refused.code, refused.retryable) == ("funasr_tls", False)
        assert "verify_tls" in str(refused)
        assert (await recognized(url, verify_tls=False)).text == "one two three four"
        assert (await recognized(url, ca_file=str(certificate))).text == "one two three four"
        assert "wss://" in str(await failure(url.replace("wss", "ws")))
    async with Cpp2passServer(hear).running() as url:
        assert "ws://" in str(await failure(url.replace("ws", "wss")))


async def _silent(socket: ServerConnection) -> None:
    async for _ in socket:
        pass


async def _close(socket: ServerConnection, code: int) -> None:
    if code == 1006:
        socket.transport.abort()
    elif code == 1005:
        socket.protocol.send_close()
        socket.send_data()  # type: ignore[no-untyped-call]
        await asyncio.sleep(0.02)
        socket.transport.abort()
    else:
        await socket.close(code)
