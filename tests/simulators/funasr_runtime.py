"""FunASR's Python runtime server (`funasr_wss_server.py`) as it was until February 2026, until July 2026, and since.

Written after the real servers' behaviour, mistakes included: they count messages, not milliseconds, and tell nothing
of most failures. `hear` stands for the models: PCM (s16le, 16 kHz) → words with their times in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

Word = tuple[str, int, int]
"""A word, and where in the audio it was: from and to, milliseconds."""
Hear = Callable[[bytes], Sequence[Word]]


class Ear:
    """Knows phrases by their waveform, to the bit: a word is heard when its loudest 4 ms are in the audio."""

    def __init__(self, phrases: Iterable[tuple[str, bytes]]) -> None:
        self._marks: list[list[tuple[str, bytes, int]]] = []
        for text, pcm in phrases:
            words = text.split()
            slot = len(pcm) // len(words) & ~1
            self._marks.append([(word, *self._mark(pcm, i * slot, slot)) for i, word in enumerate(words)])

    @staticmethod
    def _mark(pcm: bytes, start: int, length: int) -> tuple[bytes, int]:
        samples = np.frombuffer(pcm[start : start + length], "<i2").astype(float)
        loudness = np.convolve(samples**2, np.ones(64), "valid")
        at = start + 2 * int(loudness.argmax())
        return pcm[at : at + 128], length // 64

    def __call__(self, pcm: bytes) -> list[Word]:
        """The words of the phrase of which most was heard."""
        heard: list[Word] = []
        for marks in self._marks:
            found = [(word, pcm.find(mark) // 32, half) for word, mark, half in marks if mark in pcm]
            words = [(word, max(0, at - half), min(at + half, len(pcm) // 32)) for word, at, half in found]
            heard = max(heard, words, key=len)
        return heard


def phrase(*words: str) -> bytes:
    """Audio of made-up words, 200 ms of noise each and 100 ms between them."""
    parts = []
    for word in words:
        noise = np.random.default_rng(list(word.encode())).normal(0, 5000, 3200)
        parts += [noise.clip(-32768, 32767).astype("<i2").tobytes(), bytes(3200)]
    return b"".join(parts)


class Streaming:
    """The streaming model: what it says are the words that are new since the last step."""

    def __init__(self, hear: Hear) -> None:
        self._hear = hear
        self.reset()

    def reset(self) -> None:
        """Another sentence begins."""
        self._audio, self._said = b"", 0

    def step(self, pcm: bytes) -> str:
        """Takes the next audio."""
        self._audio += pcm
        words = [word for word, _, _ in self._hear(self._audio)]
        new, first = words[self._said :], not self._said
        self._said = max(self._said, len(words))
        return "".join(f" {word}" for word in new)[first:]


class Vad:
    """Voice activity by loudness; a sentence ends with `PAUSE_MS` of quiet. Times count from the first message."""

    PAUSE_MS = 800

    def __init__(self) -> None:
        self._at, self._quiet, self._speaking = 0, 0, False

    def step(self, pcm: bytes) -> tuple[int, int]:
        """Start and end of a sentence, in ms; -1 for none in this message. Raises `ValueError` for half a sample."""
        samples = np.frombuffer(pcm, "<i2").astype(float)
        began, self._at = self._at, self._at + len(pcm) // 32
        loud = len(samples) > 0 and float(np.sqrt((samples**2).mean())) > 200
        self._quiet = 0 if loud else self._quiet + len(pcm) // 32
        if loud and not self._speaking:
            self._speaking = True
            return began, -1
        if self._speaking and self._quiet >= self.PAUSE_MS:
            self._speaking = False
            return -1, self._at
        return -1, -1


class Served:
    """A server on a free port of this machine. `connections`: what each client sent: texts, and lengths of audio."""

    subprotocols: Sequence[Subprotocol] | None = None

    def __init__(self, hear: Hear, *, delay_s: float = 0.0) -> None:
        self.hear = hear
        self.delay_s = delay_s
        self.url = ""
        self.connections: list[list[str | int]] = []

    @contextlib.asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        """Serve; yields the URL."""
        server = await serve(
            self._handle, "127.0.0.1", 0, subprotocols=self.subprotocols, ping_interval=None, ssl=tls, compression=None
        )
        port = server.sockets[0].getsockname()[1]
        self.url = f"{'wss' if tls else 'ws'}://127.0.0.1:{port}"
        try:
            yield self.url
        finally:
            server.close(close_connections=True)
            await server.wait_closed()

    @property
    def frames(self) -> list[int]:
        """Lengths of the audio messages of the newest connection."""
        return [item for item in self.connections[-1] if isinstance(item, int)]

    async def _handle(self, socket: ServerConnection) -> None:
        log: list[str | int] = []
        self.connections.append(log)
        with contextlib.suppress(ConnectionClosed):
            await self.converse(socket, log)

    async def converse(self, socket: ServerConnection, log: list[str | int]) -> None:
        """One connection."""
        raise NotImplementedError

    async def infer(self) -> None:
        """The time that a model takes."""
        await asyncio.sleep(self.delay_s)


class _Utterances:
    """State of one connection to a Python server."""

    def __init__(self, hear: Hear) -> None:
        self.config: dict[str, Any] = {"mode": "2pass", "wav_name": "microphone", "chunk_interval": 10}
        self.speaking: Any = None
        self.streaming = Streaming(hear)
        self.vad = Vad()
        self.all: list[bytes] = []
        self.segment: list[bytes] = []
        self.online: list[bytes] = []
        self.pending: list[bytes] = []
        self.errors: list[str] = []
        self.ms, self.in_speech, self.end_at = 0, False, -1

    @property
    def offline_mode(self) -> str:
        return "2pass-offline" if "2pass" in self.config["mode"] else self.config["mode"]

    def configure(self, message: Any) -> None:
        """Whatever is wrong with it ends the connection."""
        if "is_speaking" in message:
            self.speaking = message["is_speaking"]
        for key in ("chunk_interval", "wav_name", "mode", "hotwords"):
            if key in message:
                self.config[key] = message[key]
        if "chunk_size" in message:
            sizes = message["chunk_size"]
            self.config["chunk_size"] = [int(x) for x in (sizes.split(",") if isinstance(sizes, str) else sizes)]

    def offline_text(self, hear: Hear, pcm: bytes) -> str:
        """Raises `TypeError` for hotwords that are no text."""
        if not isinstance(self.config.get("hotwords", ""), str):
            raise TypeError("hotwords")
        return " ".join(word for word, _, _ in hear(pcm))

    def hear_start(self, start: int, length_ms: int) -> None:
        back = (self.ms - start) // length_ms
        self.in_speech, self.segment = True, self.all[-back:] if back > 0 else []


class PythonServerOld(Served):
    """Until February 2026. A mistake of the client ends the connection with 1000; a mistake of a model says nothing."""

    async def converse(self, socket: ServerConnection, log: list[str | int]) -> None:
        state = _Utterances(self.hear)
        try:
            async for message in socket:
                log.append(message if isinstance(message, str) else len(message))
                if isinstance(message, str):
                    state.configure(json.loads(message))
                step = int(state.config["chunk_size"][1] * 60 / state.config["chunk_interval"])
                assert step >= 0
                if isinstance(message, bytes):
                    await self._audio(socket, state, message)
                if state.speaking is None:
                    raise AttributeError("is_speaking")
                if state.end_at != -1 or not state.speaking:
                    await self._offline(socket, state)
        except (KeyError, IndexError, ValueError, TypeError, ZeroDivisionError, AttributeError):
            return

    async def _audio(self, socket: ServerConnection, state: _Utterances, pcm: bytes) -> None:
        state.all.append(pcm)
        length_ms = len(pcm) // 32
        state.ms += length_ms
        state.online.append(pcm)
        sentence_over = state.end_at != -1
        if len(state.online) % state.config["chunk_interval"] == 0 or sentence_over:
            if state.config["mode"] in ("2pass", "online"):
                await self._online(socket, state, sentence_over)
            state.online = []
        if state.in_speech:
            state.segment.append(pcm)
        start, state.end_at = state.vad.step(pcm)
        if start != -1:
            state.hear_start(start, length_ms)

    async def _online(self, socket: ServerConnection, state: _Utterances, sentence_over: bool) -> None:
        text = state.streaming.step(b"".join(state.online))
        if not text or (state.config["mode"] == "2pass" and sentence_over):
            return
        mode = "2pass-online" if state.config["mode"] == "2pass" else "online"
        await self._send(socket, state, mode, text)

    async def _offline(self, socket: ServerConnection, state: _Utterances) -> None:
        if state.config["mode"] in ("2pass", "offline"):
            pcm = b"".join(state.segment)
            await self.infer()
            with contextlib.suppress(TypeError):
                text = state.offline_text(self.hear, pcm)
                if text or not pcm:  # no words in a segment: not a sound
                    await self._send(socket, state, state.offline_mode, text)
        state.segment, state.in_speech, state.online = [], False, []
        state.streaming.reset()
        if state.speaking:
            state.all = state.all[-20:]
        else:
            state.ms, state.all, state.vad = 0, [], Vad()

    async def _send(self, socket: ServerConnection, state: _Utterances, mode: str, text: str) -> None:
        result = {"mode": mode, "text": text, "wav_name": state.config["wav_name"], "is_final": state.speaking}
        await socket.send(json.dumps(result))


class PythonServer(Served):
    """Since July 2026: acknowledges `is_end`, with what went wrong. `acknowledges` off: from February 2026 on, when
    the end message did nothing but change what the next audio message does."""

    subprotocols = (Subprotocol("binary"),)

    def __init__(self, hear: Hear, *, delay_s: float = 0.0, acknowledges: bool = True) -> None:
        super().__init__(hear, delay_s=delay_s)
        self._acknowledges = acknowledges

    async def converse(self, socket: ServerConnection, log: list[str | int]) -> None:
        state = _Utterances(self.hear)
        state.speaking = True
        try:
            async for message in socket:
                log.append(message if isinstance(message, str) else len(message))
                if isinstance(message, bytes):
                    await self._audio(socket, state, message)
                    continue
                try:
                    config = json.loads(message)
                except ValueError:
                    continue
                self._configure(state, config)
                if config.get("is_speaking") is False and self._acknowledges:
                    await self._end(socket, state, bool(config.get("is_end")))
        except (TypeError, ValueError, AttributeError, RuntimeError):
            return

    @staticmethod
    def _configure(state: _Utterances, config: Any) -> None:
        interval, mode = state.config["chunk_interval"], state.config["mode"]
        state.configure(config)
        if not isinstance(state.config["chunk_interval"], int):
            state.config["chunk_interval"] = interval
        if state.config["mode"] not in ("2pass", "online", "offline"):
            if state.config["mode"]:
                state.errors.append(f"unsupported mode: {state.config['mode']!r}")
            else:
                state.config["mode"] = mode

    async def _audio(self, socket: ServerConnection, state: _Utterances, pcm: bytes) -> None:
        if state.config["mode"] not in ("2pass", "online", "offline"):
            return
        try:
            int(state.config["chunk_size"][1] * 60 / state.config["chunk_interval"])
        except (KeyError, IndexError, ZeroDivisionError) as error:
            state.errors.append(f"audio frame discarded: {error!r}")
            return
        length_ms = len(pcm) // 32
        state.all.append(pcm)
        state.pending.append(pcm)
        state.online.append(pcm)
        state.ms += length_ms
        if len(state.online) % state.config["chunk_interval"] == 0:
            await self._online(socket, state, state.speaking is False)
        if state.in_speech:
            state.segment.append(pcm)
        start = state.end_at = -1
        try:
            start, state.end_at = state.vad.step(pcm)
        except ValueError as error:
            state.errors.append(f"vad inference failed: {error}")
        if start != -1:
            state.hear_start(start, max(1, length_ms))
        if state.end_at != -1 or not state.speaking:
            await self._sentence(socket, state, always=not self._acknowledges)

    async def _online(self, socket: ServerConnection, state: _Utterances, last: bool) -> None:
        pcm, state.online = b"".join(state.online), []
        mode = state.config["mode"]
        if mode == "offline":
            return
        text = state.streaming.step(pcm)
        if text and not (mode == "2pass" and last):
            name = "2pass-online" if mode == "2pass" else "online"
            await self._send(socket, state, {"mode": name, "text": text, "is_final": last})

    async def _sentence(self, socket: ServerConnection, state: _Utterances, always: bool) -> None:
        await self._online(socket, state, True)
        pcm = b"".join(state.segment)
        if state.config["mode"] != "online" and (pcm or always):
            await self._offline(socket, state, pcm)
        state.segment, state.in_speech, state.pending, state.end_at = [], False, [], -1
        state.streaming.reset()
        if not state.speaking:
            state.ms, state.all, state.vad = 0, [], Vad()

    async def _offline(self, socket: ServerConnection, state: _Utterances, pcm: bytes) -> None:
        await self.infer()
        try:
            text = state.offline_text(self.hear, pcm)
        except TypeError as error:
            state.errors.append(f"offline inference failed: {error}")
            return
        result: dict[str, Any] = {"mode": state.offline_mode, "text": text, "is_final": True}
        if pcm:
            stamps = [[start, end] for _, start, end in self.hear(pcm)]
            result |= {"spk_name": "unknown", "spk_score": 0.0, "timestamp": stamps}
        await self._send(socket, state, result)

    async def _end(self, socket: ServerConnection, state: _Utterances, acknowledge: bool) -> None:
        await self._online(socket, state, True)
        pcm = b"".join(state.segment) or b"".join(state.pending)
        if state.config["mode"] in ("2pass", "offline") and pcm:
            await self._offline(socket, state, pcm)
        errors = "; ".join(state.errors)
        config, state.streaming = state.config, Streaming(self.hear)
        state.segment, state.pending, state.in_speech = [], [], False
        state.ms, state.all, state.vad = 0, [], Vad()
        if acknowledge:
            record = {"mode": config["mode"], "is_final": not errors, "is_end": True}
            await self._send(socket, state, record | ({"error": errors} if errors else {}))
            state.errors.clear()
        elif errors:
            raise RuntimeError(errors)

    @staticmethod
    async def _send(socket: ServerConnection, state: _Utterances, result: Mapping[str, Any]) -> None:
        await socket.send(json.dumps({"wav_name": state.config["wav_name"], **result}))
