"""C1, reversed: `/api/asr` speaks FunASR's runtime protocol, to FunASR's clients, LiveTalking's page and our own."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web
from aiohttp.test_utils import TestServer

from asr.funasr.runtime_recognizer import FunasrRuntimeRecognizer
from core.asr_api import MAX_PROBLEMS, AsrApi
from core.asr_dialect import Growing
from core.envelope import envelope_failures
from core.errors import RecognizerError, Unauthorized
from core.frames import LISTEN_RATE, Samples, Transcript

PARTIAL = {"mode": "2pass-online", "text": "", "wav_name": "mine", "is_final": False}
SECOND = bytes(2 * LISTEN_RATE)


class OpenAccess:
    """Everybody may, but for who shows a wrong token."""

    def admit(self, request: web.Request) -> str:
        return request.headers.get("X-Address", "1.1.1.1")

    def may_open(self, request: web.Request, token: str | None) -> None:
        if token == "wrong":
            raise Unauthorized("the token is wrong")


class Hearing:
    """A recogniser that tells the hypotheses of `script` one per push, and then its last one."""

    name = "hearing"
    languages = ("*",)

    def __init__(self, *script: str, fails: bool = False, hangs: bool = False) -> None:
        self.script = script
        self.fails, self.hangs = fails, hangs
        self.turns: list[_Turn] = []

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def open(self, on_partial: Callable[[Transcript], None]) -> _Turn:
        self.turns.append(_Turn(self, on_partial))
        return self.turns[-1]


class _Turn:
    def __init__(self, owner: Hearing, on_partial: Callable[[Transcript], None]) -> None:
        self._owner, self._on_partial = owner, on_partial
        self._left = list(owner.script)
        self.samples: list[Samples] = []
        self.cancelled = False

    @property
    def heard(self) -> Samples:
        return np.concatenate(self.samples)

    def push(self, samples: Samples) -> None:
        self.samples.append(samples)
        if self._left:
            self._on_partial(Transcript(self._left.pop(0), final=False))

    async def finish(self) -> Transcript:
        if self._owner.hangs:
            await asyncio.Event().wait()
        if self._owner.fails:
            raise RecognizerError("the recogniser is away", retryable=True)
        text = self._owner.script[-1] if self._owner.script else f"{len(self.heard)} samples"
        return Transcript(text, start=0.25, end=len(self.heard) / LISTEN_RATE)

    async def cancel(self) -> None:
        self.cancelled = True


class Client:
    """What a FunASR client does."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket

    async def begin(self, **config: Any) -> None:
        await self.socket.send_json({"mode": "2pass", "chunk_size": [5, 10, 5], "is_speaking": True, **config})

    async def end(self, **more: Any) -> dict[str, Any]:
        await self.socket.send_json({"is_speaking": False, **more})
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = await self.socket.receive_json(timeout=5)
        return answer


@contextlib.asynccontextmanager
async def api(recognizer: Any, max_turn_s: float = 20, timeout_s: float = 5, **more: Any) -> AsyncIterator[str]:
    """A server with nothing but this route; yields its URL."""
    application = web.Application(middlewares=[envelope_failures])
    service = AsrApi(recognizer, OpenAccess(), max_turn_s=max_turn_s, timeout_s=timeout_s, **more)
    application.add_routes(service.routes())
    application.on_shutdown.append(lambda _: service.close())
    async with TestServer(application, host="127.0.0.1") as server:
        yield f"ws://127.0.0.1:{server.port}/api/asr"


@contextlib.asynccontextmanager
async def connected(recognizer: Any, **more: Any) -> AsyncIterator[Client]:
    async with api(recognizer, **more) as url, ClientSession() as session, session.ws_connect(url) as socket:
        yield Client(socket)


async def test_c1_one_utterance_as_the_page_of_livetalking_sends_it() -> None:
    config = {"chunk_size": [5, 10, 5], "wav_name": "h5", "chunk_interval": 10, "itn": False, "mode": "2pass"}
    async with connected(Hearing()) as client:
        await client.socket.send_json(config | {"is_speaking": True})
        for _ in range(10):
            await client.socket.send_bytes(bytes(1920))
        answer = await client.end(**{key: value for key, value in config.items() if key != "itn"})
    assert answer == {
        "mode": "2pass-offline", "text": "9600 samples", "wav_name": "h5", "is_final": True,
        "timestamp": None, "start_time": 250, "end_time": 600,
    }  # fmt: skip


async def test_c1_audio_without_any_configuration_is_heard() -> None:
    async with connected(Hearing()) as client:
        await client.socket.send_bytes(SECOND)
        answer = await client.end()
    assert (answer["text"], answer["mode"], answer["wav_name"]) == ("16000 samples", "2pass-offline", "microphone")


@pytest.mark.parametrize("size", [1, 7, 639, 1920, 32000])
async def test_c1_messages_of_any_size_carry_the_same_sound(size: int) -> None:
    recognizer = Hearing()
    sound = np.random.default_rng(1).integers(-9000, 9000, 1601).astype("<i2")
    data = sound.tobytes()
    async with connected(recognizer) as client:
        await client.begin()
        for start in range(0, len(data), size):
            await client.socket.send_bytes(data[start : start + size])
        await client.end()
    assert (recognizer.turns[0].heard == sound).all()


@pytest.mark.parametrize("sound", [b"", bytes(638), bytes(1)])
async def test_c1_less_than_20_ms_is_empty_text_and_no_work_for_the_recogniser(sound: bytes) -> None:
    recognizer = Hearing("words")
    async with connected(recognizer) as client:
        await client.begin()
        await client.socket.send_bytes(sound)
        answer = await client.end()
    assert (answer["text"], answer["is_final"], recognizer.turns) == ("", True, [])


async def test_c1_several_utterances_on_one_connection() -> None:
    async with connected(Hearing()) as client:
        for number in range(1, 4):
            await client.begin(wav_name=f"n{number}")
            await client.socket.send_bytes(SECOND * number)
            answer = await client.end()
            assert (answer["text"], answer["wav_name"]) == (f"{16000 * number} samples", f"n{number}")


async def test_c1_partials_are_increments_that_clients_can_append() -> None:
    hypotheses = ("what", "what is", "what it seven", "what it seven times", "what is seven times six")
    async with connected(Hearing(*hypotheses)) as client:
        await client.begin(wav_name="mine")
        told = []
        for number in range(1, 6):
            await client.socket.send_bytes(SECOND)
            if number in (2, 4):  # by then two hypotheses agree on more than before
                told.append(await client.answer())
        final = await client.end()
    assert [answer["text"] for answer in told] == ["what", " it seven"]
    assert all(answer | {"text": ""} == PARTIAL for answer in told)
    assert (final["text"], final["mode"], final["is_final"]) == (hypotheses[-1], "2pass-offline", True)


def test_c1_what_was_told_is_never_taken_back() -> None:
    growing, told = Growing(), ""
    for text in ("", "one", "one two", "one to", "one two tree", "one two three", "one two three", "one", "one five"):
        growing.update(text)
        told += growing.take()
    assert told == "one two three"
    assert growing.rest("one too three four") == " four"
    assert Growing().rest("all of it") == "all of it"


async def test_c1_online_mode_says_each_word_once() -> None:
    hypotheses = ("你", "你好", "你好世", "你好世界")
    async with connected(Hearing(*hypotheses)) as client:
        await client.begin(mode="online")
        for _ in hypotheses:
            await client.socket.send_bytes(SECOND)
            await asyncio.sleep(0.01)
        answers = [await client.end()]
        while not answers[-1]["is_final"]:
            answers.append(await client.answer())
    assert "".join(answer["text"] for answer in answers) == "你好世界"
    assert {answer["mode"] for answer in answers} == {"online"}
    assert len(answers) > 2


async def test_c1_offline_mode_has_no_partials() -> None:
    async with connected(Hearing("one", "one two", "one two")) as client:
        await client.begin(mode="offline")
        for _ in range(3):
            await client.socket.send_bytes(SECOND)
        answer = await client.end()
    assert (answer["mode"], answer["text"], answer["is_final"]) == ("offline", "one two", True)


async def test_c1_is_end_is_acknowledged_after_the_result() -> None:
    async with connected(Hearing("yes")) as client:
        await client.begin()
        await client.socket.send_bytes(SECOND)
        result = await client.end(is_end=True)
        acknowledgement = await client.answer()
    assert (result["text"], result["is_final"]) == ("yes", False)
    assert acknowledgement == {"mode": "2pass", "wav_name": "microphone", "is_final": True, "is_end": True}


async def test_c1_a_failure_ends_the_utterance_and_not_the_connection() -> None:
    recognizer = Hearing(fails=True)
    async with connected(recognizer) as client:
        await client.socket.send_bytes(SECOND)
        plain = await client.end()
        await client.socket.send_bytes(SECOND)
        acknowledged = await client.end(is_end=True)
        recognizer.fails = False
        await client.socket.send_bytes(SECOND)
        assert (await client.end())["text"] == "16000 samples"
    assert (plain["text"], plain["is_final"], plain["error"]) == ("", True, "the recogniser is away")
    assert (acknowledged["is_end"], acknowledged["is_final"]) == (True, False)
    assert acknowledged["error"] == "the recogniser is away"


async def test_c1_a_recogniser_that_hangs_is_not_waited_for_for_ever() -> None:
    recognizer = Hearing(hangs=True)
    async with connected(recognizer, timeout_s=0.05) as client:
        await client.socket.send_bytes(SECOND)
        assert "in time" in (await client.end())["error"]
    assert recognizer.turns[0].cancelled


async def test_c1_too_long_an_utterance_is_cut_and_says_so() -> None:
    recognizer = Hearing()
    async with connected(recognizer, max_turn_s=2) as client:
        for _ in range(5):
            await client.socket.send_bytes(SECOND)
        answer = await client.end()
    assert len(recognizer.turns[0].heard) == 2 * LISTEN_RATE
    assert answer["text"] == "32000 samples"
    assert "first 2 seconds" in answer["error"]


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
async def test_c1_other_rates_are_resampled(rate: int) -> None:
    recognizer = Hearing()
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype("<i2").tobytes()
    async with connected(recognizer) as client:
        await client.begin(audio_fs=rate)
        for start in range(0, len(tone), 1001):
            await client.socket.send_bytes(tone[start : start + 1001])
        await client.end()
    heard = recognizer.turns[0].heard.astype(float)
    assert abs(len(heard) - LISTEN_RATE) <= 3
    expected = 8000 * np.exp(2j * np.pi * 440 * np.arange(len(heard)) / LISTEN_RATE)
    amplitude = abs((heard * expected).mean()) * 2 / 8000
    assert amplitude == pytest.approx(8000, rel=0.02)  # a click at a seam would lose some of it
    assert np.abs(np.diff(heard)).max() < 1.1 * 8000 * 2 * np.pi * 440 / LISTEN_RATE


@pytest.mark.parametrize("first", [1, 20, 44, 10_000])
async def test_c1_a_wav_header_is_no_sound(first: int) -> None:
    recognizer = Hearing()
    stereo = np.repeat(np.arange(8000, dtype="<i2"), 2).tobytes()
    header = (
        b"RIFF"
        + struct.pack("<I", 36 + len(stereo))
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 2, 16000, 64000, 4, 16)
    )
    data = header + b"data" + struct.pack("<I", len(stereo)) + stereo
    async with connected(recognizer) as client:
        await client.begin(mode="offline", wav_format="PCM")
        await client.socket.send_bytes(data[:first])
        await client.socket.send_bytes(data[first:])
        await client.end()
    assert recognizer.turns[0].heard.tolist() == list(range(8000))


@pytest.mark.parametrize(
    ("config", "word"),
    [({"wav_format": "mp3"}, "wav_format"), ({"mode": "fast"}, "mode"), ({"mode": 5}, "mode"),
     ({"audio_fs": 100}, "audio_fs"), ({"audio_fs": "many"}, "audio_fs"), ({"audio_fs": True}, "audio_fs")],
)  # fmt: skip
async def test_c1_what_cannot_be_done_is_said_at_once_and_at_the_end(config: dict[str, Any], word: str) -> None:
    recognizer = Hearing("words")
    async with connected(recognizer) as client:
        await client.begin(**config)
        at_once = await client.answer()
        await client.socket.send_bytes(SECOND)
        at_the_end = await client.end()
        await client.begin(mode="offline")
        await client.socket.send_bytes(SECOND)
        assert (await client.end())["text"] == "words"
    assert word in at_once["error"]
    assert word in at_the_end["error"]
    assert (at_once["is_final"], at_the_end["is_final"], at_the_end["text"]) == (False, True, "")


@pytest.mark.parametrize("nonsense", ["", "{", "[]", "5", "null", '"text"', '{"a": NaN}', "[" * 100_000])
async def test_c1_nonsense_is_answered_and_the_utterance_goes_on(nonsense: str) -> None:
    async with connected(Hearing()) as client:
        await client.socket.send_bytes(SECOND)
        await client.socket.send_str(nonsense)
        assert (await client.answer())["error"]
        assert (await client.end())["text"] == "16000 samples"


async def test_c1_endless_nonsense_closes_the_connection() -> None:
    async with connected(Hearing()) as client:
        for _ in range(MAX_PROBLEMS):
            await client.socket.send_str("?")
        received = [(await client.socket.receive(timeout=5)).type for _ in range(MAX_PROBLEMS + 1)]
        assert received[-1] is WSMsgType.CLOSE
        assert client.socket.close_code == 1008


async def test_c1_too_big_a_message_closes_with_1009() -> None:
    async with connected(Hearing()) as client:
        with contextlib.suppress(ConnectionError):
            await client.socket.send_bytes(bytes(5 << 20))
        assert (await client.socket.receive(timeout=5)).type in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR)


async def test_c1_who_leaves_in_mid_utterance_leaves_nothing_behind() -> None:
    recognizer = Hearing()
    async with connected(recognizer) as client:
        await client.socket.send_bytes(SECOND)
        await client.begin(mode="?")
        await client.answer()
        await client.socket.close()
        async with asyncio.timeout(5):
            while not recognizer.turns[0].cancelled:
                await asyncio.sleep(0)


async def test_c1_connections_are_bounded_in_all_and_per_address() -> None:
    async with api(Hearing(), max_connections=4) as url, ClientSession() as session:

        async def connect(address: str) -> ClientWebSocketResponse:
            return await session.ws_connect(url, headers={"X-Address": address})

        sockets = [await connect(f"1.1.1.{number}") for number in range(3)]
        with pytest.raises(Exception, match="503"):
            await connect("1.1.1.0")
        sockets.append(await connect("1.1.1.3"))
        with pytest.raises(Exception, match="503"):
            await connect("1.1.1.4")
        await sockets[0].close()
        async with asyncio.timeout(5):
            while True:
                with contextlib.suppress(Exception):
                    await connect("1.1.1.0")
                    break


async def test_c1_a_wrong_token_is_refused_before_the_socket_opens() -> None:
    async with api(Hearing()) as url, ClientSession() as session:
        with pytest.raises(Exception, match="401"):
            await session.ws_connect(url + "?token=wrong")
        async with session.ws_connect(url + "?token=right", protocols=["binary"]) as socket:
            assert socket.protocol == "binary"


@pytest.mark.parametrize("mode", ["2pass", "online", "offline"])
async def test_c1_our_own_client_at_our_own_server(mode: str) -> None:
    async with api(Hearing("good", "good morning", "good morning")) as url:
        client = FunasrRuntimeRecognizer(url=url, mode=mode)
        await client.start()
        partials: asyncio.Queue[Transcript] = asyncio.Queue()
        stream = client.open(partials.put_nowait)
        stream.push(np.zeros(LISTEN_RATE, np.int16))
        partial = await asyncio.wait_for(partials.get(), 5) if mode != "offline" else None
        transcript = await stream.finish()
        await client.close()
    assert transcript.text == "good morning"
    assert partial is None or partial.text in ("good", "good morning")
    assert mode == "online" or (transcript.start, transcript.end) == (0.25, 1.0)
