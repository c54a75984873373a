"""FunASR's C++ runtime servers: `funasr-wss-server` (offline) and `funasr-wss-server-2pass`.

What they can't read as JSON makes a connection deaf for ever; a value of a wrong type ends the whole process (here:
the connection, without a closing handshake) or, where the real code catches it, is logged and answered by nothing.
"""

from __future__ import annotations

import json
from typing import Any

from websockets.asyncio.server import ServerConnection

from tests.simulators.funasr_runtime import Hear, Served, Streaming, Vad, Word

_SLICE = 1600
_KINDS = {"wav_name": str, "wav_format": str, "itn": bool, "audio_fs": int, "svs_lang": str, "svs_itn": bool}


class Crash(Exception):
    """The process would have ended."""


class _Cpp(Served):
    """What both have in common: messages, defaults, an end."""

    defaults: dict[str, Any] = {  # noqa: RUF012
        "wav_name": "wav-default-id", "wav_format": "pcm", "itn": True, "audio_fs": 16000,
        "svs_lang": "auto", "svs_itn": True, "mode": "2pass",
    }  # fmt: skip

    async def converse(self, socket: ServerConnection, log: list[str | int]) -> None:
        state = dict(self.defaults) | {"deaf": False, "hotwords_read": False}
        audio = self.begin()
        try:
            async for message in socket:
                log.append(message if isinstance(message, str) else len(message))
                if state["deaf"]:
                    continue
                if isinstance(message, bytes):
                    await self.audio(socket, state, audio, message)
                elif self.configure(state, audio, message):
                    await self.end(socket, state, audio)
        except Crash:
            socket.transport.abort()

    def configure(self, state: dict[str, Any], audio: Any, message: str) -> bool:
        """Take a text message; True if it ends the utterance."""
        try:
            config = json.loads(message)
        except ValueError:
            state["deaf"] = True
            return False
        if not isinstance(config, dict):
            raise Crash
        if config.get("hotwords") is not None and not isinstance(config["hotwords"], str):
            raise Crash
        state["hotwords_read"] = True
        for key in (*_KINDS, "mode"):
            if config.get(key) is not None:
                state[key] = config[key]
        if "chunk_size" in config and not self.chunks(audio, config["chunk_size"]):
            return False
        return config.get("is_speaking") is False or config.get("is_finished") is True

    def well_typed(self, state: dict[str, Any]) -> bool:
        """Whether a decoder can be started with these options."""
        return all(type(state[key]) is kind for key, kind in _KINDS.items())

    def begin(self) -> Any:
        """State of a connection."""
        raise NotImplementedError

    def chunks(self, audio: Any, sizes: Any) -> bool:
        """False if the message must be read no further."""
        raise NotImplementedError

    async def audio(self, socket: ServerConnection, state: dict[str, Any], audio: Any, pcm: bytes) -> None:
        """A binary message."""
        raise NotImplementedError

    async def end(self, socket: ServerConnection, state: dict[str, Any], audio: Any) -> None:
        """The end message."""
        raise NotImplementedError


class CppOfflineServer(_Cpp):
    """One result per end message, always with `is_final` false."""

    def begin(self) -> bytearray:
        return bytearray()

    def chunks(self, audio: bytearray, sizes: Any) -> bool:
        return True

    async def audio(self, socket: ServerConnection, state: dict[str, Any], audio: bytearray, pcm: bytes) -> None:
        audio += pcm

    async def end(self, socket: ServerConnection, state: dict[str, Any], audio: bytearray) -> None:
        if not self.well_typed(state):
            raise Crash
        await self.infer()
        readable = state["wav_format"].lower() == "pcm" or bytes(audio[:4]) in (b"RIFF", b"OggS", b"fLaC")
        words = self.hear(bytes(audio)) if readable else []
        audio.clear()
        result = {"text": _text(words), "mode": "offline", "is_final": False, "wav_name": state["wav_name"]}
        await socket.send(json.dumps(result | _stamps(words, 0)))


class _Online:
    """A connection's models; None of them before a good `chunk_size`."""

    def __init__(self, hear: Hear) -> None:
        self.step = 0
        self.rest = b""
        self.hear = hear
        self.streaming = Streaming(hear)
        self.reset()

    def reset(self) -> None:
        """Another utterance begins."""
        self.waiting, self.segment, self.in_speech = b"", b"", False
        self.at = self.began = 0
        self.vad = Vad()
        self.streaming.reset()


class Cpp2passServer(_Cpp):
    """Slices the audio into 50 ms by itself. `modern`: with slice types, indices and times, as since 2025."""

    def __init__(self, hear: Hear, *, delay_s: float = 0.0, modern: bool = False) -> None:
        super().__init__(hear, delay_s=delay_s)
        self._modern = modern

    def begin(self) -> _Online:
        return _Online(self.hear)

    def chunks(self, audio: _Online, sizes: Any) -> bool:
        if audio.step:
            return True  # once per connection
        if not isinstance(sizes, list) or not all(isinstance(size, int) for size in sizes):
            raise Crash
        if len(sizes) != 3 or sizes[1] == 0:
            return False
        audio.step = sizes[1] * 60 * 32
        return True

    async def audio(self, socket: ServerConnection, state: dict[str, Any], audio: _Online, pcm: bytes) -> None:
        audio.rest += pcm
        if len(audio.rest) <= _SLICE:
            return
        ready = len(audio.rest) // _SLICE * _SLICE
        taken, audio.rest = audio.rest[:ready], audio.rest[ready:]
        if not state["hotwords_read"] or not self._able(state, audio):
            return
        for start in range(0, ready, _SLICE):
            result = await self._slice(state, audio, taken[start : start + _SLICE], last=False)
            if result.get("text"):
                await self._send(socket, state, result, last=False)

    async def end(self, socket: ServerConnection, state: dict[str, Any], audio: _Online) -> None:
        if not self._able(state, audio):
            return
        rest, audio.rest = audio.rest, b""
        if state["wav_format"].lower() != "pcm":
            sentence = "ERROR. Real-time transcription service ONLY SUPPORT PCM stream."
            await self._send(socket, state, {"text": sentence}, last=True)
            return
        result = await self._slice(state, audio, rest, last=True)
        audio.reset()
        await self._send(socket, state, result, last=True)

    def _able(self, state: dict[str, Any], audio: _Online) -> bool:
        # a value of a wrong type is caught when the decoder is called, and logged
        return audio.step > 0 and self.well_typed(state) and isinstance(state["mode"], str)

    async def _slice(self, state: dict[str, Any], audio: _Online, pcm: bytes, *, last: bool) -> dict[str, Any]:
        if state["wav_format"].lower() != "pcm":
            return {}
        result: dict[str, Any] = {"text": ""}
        audio.at += len(pcm) // 32
        start, end = audio.vad.step(pcm)
        if start != -1:
            audio.in_speech, audio.segment, audio.began = True, b"", start
        if audio.in_speech:
            audio.segment += pcm
        audio.waiting += pcm
        if state["mode"] != "offline" and (len(audio.waiting) >= audio.step or last):
            partial = audio.streaming.step(audio.waiting)
            audio.waiting = b""
            if partial:
                result = {"text": partial, "mode": "2pass-online"} | self._slice_type(1)
        if end != -1 or last:
            result |= await self._sentence(state, audio)
        return result

    async def _sentence(self, state: dict[str, Any], audio: _Online) -> dict[str, Any]:
        if state["mode"] == "online":
            return {}
        await self.infer()
        words = self.hear(audio.segment)
        audio.in_speech, audio.segment, audio.waiting = False, b"", b""
        audio.streaming.reset()
        if not words:
            return {}
        times = {"start_time": audio.began, "end_time": audio.at} if self._modern else {}
        return (
            {"text": _text(words), "mode": "2pass-offline"} | self._slice_type(2) | _stamps(words, audio.began) | times
        )

    def _slice_type(self, kind: int) -> dict[str, Any]:
        return {"slice_type": kind, "index": 0, "timestamp": 1_700_000_000_000} if self._modern else {}

    @staticmethod
    async def _send(socket: ServerConnection, state: dict[str, Any], result: dict[str, Any], *, last: bool) -> None:
        await socket.send(json.dumps(result | {"wav_name": state["wav_name"], "is_final": last}))


def _text(words: list[Word] | Any) -> str:
    return " ".join(word for word, _, _ in words)


def _stamps(words: Any, began: int) -> dict[str, Any]:
    """Times of words, as text; a sentence's own are a list."""
    if not words:
        return {}
    pairs = [[began + start, began + end] for _, start, end in words]
    sentence = {"text_seg": _text(words), "punc": "", "start": pairs[0][0], "end": pairs[-1][1], "ts_list": pairs}
    return {"timestamp": json.dumps(pairs, separators=(",", ":")), "stamp_sents": [sentence]}
