"""FunASR's runtime protocol from the server's side: what clients say, what they want to hear. No I/O.

Tolerant in what it takes (any message size, no `chunk_size` needed), exact in what it gives: `mode` and `wav_name` in
every answer, `is_final` true on the last message of an utterance and on no other.
Protocol: github.com/modelscope/FunASR runtime/docs/websocket_protocol.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from core.asr_pcm import RATES
from core.errors import BadRequest, EmanError
from core.frames import LISTEN_RATE, Transcript
from core.messages import json_value

MODES = ("2pass", "online", "offline")
_MAX_NAME = 256
_PIECE = re.compile(r"\s*(?:[!-~]+|\S)")
"""A word with the blanks before it; where a script has no blanks, a character."""

Answer = dict[str, Any]
"""A message to the client, as JSON."""


@dataclass(slots=True)
class ClientConfig:
    """What a client said about its utterances; what it didn't say stays as it was."""

    mode: str = "2pass"
    wav_name: str = "microphone"
    audio_fs: int = LISTEN_RATE


@dataclass(frozen=True, slots=True)
class Heard:
    """A text message of the client. `end`: the utterance is complete. `acknowledge`: it wants to be told."""

    end: bool
    acknowledge: bool


class AsrDialect:
    """One client's connection: its configuration, and the answers in its form."""

    def __init__(self) -> None:
        self.config = ClientConfig()
        self.fault: BadRequest | None = None
        """Why this utterance can't be recognised; told at once, and at its end again."""

    def receive(self, text: str) -> Heard:
        """Take a text message. Raises `BadRequest` for what is no message at all."""
        try:
            message = json_value(text)
        except ValueError:
            raise BadRequest("not valid JSON") from None
        if not isinstance(message, dict):
            raise BadRequest("expected a JSON object")
        fault = self._configure(message)
        if fault is not None or message.get("is_speaking") is True:
            self.fault = fault
        end = message.get("is_speaking") is False or message.get("is_finished") is True
        return Heard(end, end and message.get("is_end") is True)

    def partial(self, text: str) -> Answer:
        """A piece of text that follows what was sent before."""
        mode = "2pass-online" if self.config.mode == "2pass" else self.config.mode
        return self._answer(mode, text, is_final=False)

    def result(self, text: str, transcript: Transcript | None, error: EmanError | None, heard: Heard) -> list[Answer]:
        """The end of an utterance. `text`: what is still to be said of it; `transcript`: its times."""
        mode = "2pass-offline" if self.config.mode == "2pass" else self.config.mode
        answer = self._answer(mode, text, is_final=not heard.acknowledge) | {"timestamp": None}
        if transcript is not None and text:
            answer |= {"start_time": round(transcript.start * 1000), "end_time": round(transcript.end * 1000)}
        problem = {"error": str(error)} if error is not None else {}
        if not heard.acknowledge:
            return [answer | problem]
        end = {"mode": self.config.mode, "wav_name": self.config.wav_name, "is_final": error is None, "is_end": True}
        return [*([answer] if error is None or text else []), end | problem]

    def problem(self, error: EmanError) -> Answer:
        """A message that could not be used; the utterance goes on."""
        return self._answer(self.config.mode, "", is_final=False) | {"error": str(error)}

    def _answer(self, mode: str, text: str, *, is_final: bool) -> Answer:
        return {"mode": mode, "text": text, "wav_name": self.config.wav_name, "is_final": is_final}

    def _configure(self, message: dict[str, Any]) -> BadRequest | None:
        name, mode, rate, kind = (message.get(key) for key in ("wav_name", "mode", "audio_fs", "wav_format"))
        if isinstance(name, str):
            self.config.wav_name = name[:_MAX_NAME]
        if mode is not None and mode not in MODES:
            return BadRequest(f"mode must be one of {', '.join(MODES)}")
        if rate is not None and not (type(rate) is int and rate in RATES):
            return BadRequest("audio_fs must be a sample rate: 16000 or 8000 as a rule")
        if kind is not None and str(kind).lower() not in ("pcm", "wav"):
            return BadRequest("only PCM is understood here: wav_format must be pcm or wav")
        self.config.mode = mode or self.config.mode
        self.config.audio_fs = rate or self.config.audio_fs
        return None


class Growing:
    """A hypothesis that changes, told to clients that can only append.

    A word is told once two hypotheses in a row agree on it and on all before it.
    """

    def __init__(self) -> None:
        self._last: list[str] = []
        self._agreed: list[str] = []
        self._told: list[str] = []

    def update(self, text: str) -> None:
        """A newer hypothesis of the whole utterance."""
        pieces = _pieces(text)
        agreed = _common(self._last, pieces)
        if len(agreed) > len(self._agreed) and agreed[: len(self._told)] == self._told:
            self._agreed = agreed
        self._last = pieces

    def take(self) -> str:
        """What can be told now; it counts as told."""
        new, self._told = self._agreed[len(self._told) :], list(self._agreed)
        return "".join(new)

    def rest(self, text: str) -> str:
        """Of the final text what comes after what was told, as well as that can be said."""
        return "".join(_pieces(text)[len(self._told) :])


def _pieces(text: str) -> list[str]:
    return _PIECE.findall(text)


def _common(first: list[str], second: list[str]) -> list[str]:
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return second[:count]
