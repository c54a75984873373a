"""What is said to FunASR's official runtime servers and what their answers mean. No I/O.

One utterance is one `RuntimeSession`. The servers disagree about `is_final` (see `Dialect`), and some say nothing at
all when nothing was heard; so the end is recognised by what kind of server it must be, judged by its own messages.
Protocol: github.com/modelscope/FunASR runtime/docs/websocket_protocol.md, and the servers' behaviour since 2023.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from core.frames import LISTEN_RATE

UNIT_MS = 60
"""What the numbers of `chunk_size` count."""
BYTES_PER_MS = LISTEN_RATE * 2 // 1000
LEAST_PATIENCE_S = 5.0
PATIENCE_PER_S = 0.5
"""A server that says nothing after the end of S seconds of audio is given max(5 s, S/2)."""
GRACE_S = 0.5
"""After what may have been the last result, for the acknowledgement that would prove it."""
NUDGE_S = 0.4
"""Silence after which a server is asked once more (see `RuntimeSession.nudges`)."""
MAX_TEXT = 1 << 20
"""Characters that are kept of one utterance's text."""

_TAG = re.compile(r"<\|[^|<>]{0,40}\|>")
_PAIR = re.compile(r"\[\s*(\d{1,12})\s*,\s*(\d{1,12})\s*\]")
_NEW_PYTHON_KEYS = ("spk_name", "spk_score", "sentence_info", "punc_array", "is_end")
_CPP_KEYS = ("stamp_sents", "slice_type")
_NO_PCM = "ERROR."


class RuntimeProtocolError(ValueError):
    """The peer sent something that this protocol doesn't know."""


class ServerFailure(Exception):
    """The server said that it failed. Its words are `args[0]`."""


class Mode(StrEnum):
    """What is recognised when: offline the whole at its end, online while it comes, two_pass both."""

    OFFLINE = "offline"
    ONLINE = "online"
    TWO_PASS = "2pass"


class Dialect(StrEnum):
    """Which server it must be.

    | | `is_final` | after the end message |
    |---|---|---|
    | PYTHON_OLD, until February 2026 | true while the microphone is open, false at the last | nothing without words |
    | PYTHON | offline results always true, partials false | `is_end`; until July 2026 nothing before more audio comes |
    | CPP, 2pass | true on the last result only, which may have neither text nor mode | the last result |
    | CPP, offline | false | the one result |
    """

    UNKNOWN = "unknown"
    PYTHON_OLD = "python-old"
    PYTHON = "python"
    CPP = "cpp"


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """How an utterance is to be recognised: what the first message says.

    `chunk_size`: in 60 ms; the middle one is the step of the streaming model, the outer ones what it sees before and
    after. `chunk_interval`: audio messages per step; the Python server counts messages, so they must be of that size.
    `hotwords`: plain words (Python servers) or word → weight (C++ servers). `itn` writes numbers as digits,
    `svs_lang` and `svs_itn` are SenseVoice's; all three are read by C++ servers only.
    """

    mode: Mode = Mode.TWO_PASS
    wav_name: str = "microphone"
    chunk_size: tuple[int, ...] = (5, 10, 5)
    chunk_interval: int = 10
    encoder_chunk_look_back: int = 4
    decoder_chunk_look_back: int = 1
    hotwords: Sequence[str] | Mapping[str, int] = ()
    itn: bool = True
    svs_lang: str = ""
    svs_itn: bool = True

    def problem(self) -> str:
        """What is wrong with it, in words for the operator; "" if nothing is."""
        sizes = self.chunk_size
        if len(sizes) != 3 or min(sizes) < 0 or sizes[1] < 1:
            return "chunk_size must be three numbers, the middle one at least 1"
        if self.chunk_interval < 1 or UNIT_MS * sizes[1] % self.chunk_interval:
            return "chunk_interval must divide 60 times the middle number of chunk_size"
        if any(not word.strip() or word.strip().lower().endswith(".txt") for word in self.hotwords):
            # a contextual model opens a file of that name on the server
            return "hotwords must be words; none may be empty or end in .txt"
        return ""

    @property
    def frame_bytes(self) -> int:
        """Length of one audio message."""
        return UNIT_MS * self.chunk_size[1] // self.chunk_interval * BYTES_PER_MS

    def first_message(self) -> str:
        """Opens the utterance."""
        message: dict[str, Any] = {
            "mode": self.mode.value,
            "wav_name": self.wav_name,
            "wav_format": "pcm",
            "audio_fs": LISTEN_RATE,
            "is_speaking": True,
            "chunk_size": list(self.chunk_size),
            "chunk_interval": self.chunk_interval,
            "encoder_chunk_look_back": self.encoder_chunk_look_back,
            "decoder_chunk_look_back": self.decoder_chunk_look_back,
            "itn": self.itn,
        }
        if self.hotwords:
            message["hotwords"] = self._hotwords()
        if self.svs_lang:
            message |= {"svs_lang": self.svs_lang, "svs_itn": self.svs_itn}
        return json.dumps(message, ensure_ascii=False)

    def last_audio(self, audio: bytes, sent: int) -> bytes:
        """`audio`, the last and perhaps shorter frame, filled up with silence; `sent` bytes went before it.

        A message too short to be measured in milliseconds is a division by zero to the old Python server. In online
        mode it recognises whole steps only, so the step is filled up as well.
        """
        unit = self.frame_bytes * (self.chunk_interval if self.mode is Mode.ONLINE else 1)
        return audio + bytes(-(sent + len(audio)) % unit)

    @staticmethod
    def end_message() -> str:
        """Closes the utterance; servers since July 2026 acknowledge it."""
        return json.dumps({"is_speaking": False, "is_end": True})

    def _hotwords(self) -> str:
        if isinstance(self.hotwords, Mapping):
            return json.dumps(dict(self.hotwords), ensure_ascii=False)
        return " ".join(word.strip() for word in self.hotwords)


class RuntimeSession:
    """One utterance: takes the server's messages, knows the text so far and when it is complete.

    `expected`: the dialect that this server spoke last time, if known.
    """

    def __init__(self, mode: Mode, expected: Dialect = Dialect.UNKNOWN) -> None:
        self.mode = mode
        self.expected = expected
        self.dialect = Dialect.UNKNOWN
        self.done = False
        """Whether the text is complete."""
        self.settling = False
        """Whether it is complete, unless more comes within `GRACE_S`."""
        self.heard = False
        """Whether the server has said anything."""
        self.span: tuple[float, float] | None = None
        """Seconds from the first sample: the words of the final text, where the server told."""
        self._final = ""
        self._partial = ""
        self._ended = False
        self._open_partials = False  # a partial that does not claim to be final: never sent by the old Python server
        self._closed_partial = False  # the last message was a partial that does: of C++ it is the very last

    @property
    def text(self) -> str:
        """Everything recognised so far."""
        return (self._final + _gap(self._final, self._partial) + self._partial).strip()

    def receive(self, message: str | bytes) -> bool:
        """Take a message; True if the text changed. Raises `RuntimeProtocolError`, `ServerFailure`."""
        record = _record(message)
        self.heard = True
        self._identify(record)
        before = self.text
        if record.get("is_end") is True and self._ended:
            self._acknowledged(record)
        elif "text" in record:
            self._result(record)
        elif record.get("error"):
            raise ServerFailure(str(record["error"])[:200])
        return self.text != before

    def end(self) -> None:
        """The end message has been sent."""
        self._ended = True

    @property
    def ended(self) -> bool:
        """Whether the end message has been sent."""
        return self._ended

    @property
    def nudge_s(self) -> float | None:
        """Seconds after the end message when `nudges` are due, None for never."""
        if self.dialect is Dialect.CPP:  # proven now, not only remembered: at worst we would wait in vain
            return None
        return 0.0 if Dialect.PYTHON_OLD in (self.dialect, self.expected) else NUDGE_S

    def nudges(self, frame_bytes: int) -> list[str | bytes]:
        """What makes a Python server answer that has nothing to say: a frame of silence after the end.

        The old one answers with an empty result if it was silent for want of words, the one of spring 2026 answers the
        end itself only now. Of online mode neither would ever say that it is over, of offline mode they do. To all
        other servers it is the beginning of another utterance that is never ended.
        """
        silence = bytes(frame_bytes)
        if self.mode is Mode.ONLINE:
            return [json.dumps({"mode": Mode.OFFLINE.value, "is_speaking": False}), silence]
        return [silence]

    # -- inside

    def _identify(self, record: Mapping[str, Any]) -> None:
        mode, final, stamp = record.get("mode"), record.get("is_final"), record.get("timestamp")
        more_came, self._closed_partial = self._closed_partial, mode == "2pass-online" and final is True
        self._open_partials |= mode == "2pass-online" and final is False
        if any(key in record for key in _NEW_PYTHON_KEYS):
            self.dialect = Dialect.PYTHON
        elif any(key in record for key in _CPP_KEYS) or isinstance(stamp, str | int):
            self.dialect = Dialect.CPP
        elif self.dialect is not Dialect.UNKNOWN:
            return
        elif more_came or (self._closed_partial and not self._ended):
            self.dialect = Dialect.PYTHON_OLD
        elif mode == "2pass-offline" and (self._open_partials or (final is False and not self._ended)):
            self.dialect = Dialect.CPP

    def _acknowledged(self, record: Mapping[str, Any]) -> None:
        if record.get("error") and not self.text:
            raise ServerFailure(str(record["error"])[:200])
        if isinstance(record.get("text"), str) and record["text"]:
            self._result(record)
        self.done = True

    def _result(self, record: Mapping[str, Any]) -> None:
        text, mode = record["text"], record.get("mode") or ""
        if not isinstance(text, str) or not isinstance(mode, str):
            raise RuntimeProtocolError("text and mode must be strings")
        text = _TAG.sub("", text)[: max(0, MAX_TEXT - len(self._final) - len(self._partial))]
        if not mode and text.startswith(_NO_PCM):
            raise ServerFailure(text[:200])
        if mode == "2pass-online":
            self._partial += text
        elif mode == "online":
            self._final += text
        elif mode == "offline" and self.mode is Mode.ONLINE:
            self.done = self._ended  # the answer to a nudge: the words have come already
            return
        elif mode or text:  # C++ sends no mode with an empty result, which says nothing about the partial
            self._final += _gap(self._final, text) + text
            self._partial = ""
            self._extend(_span(record))
        if self._ended:
            self._judge(mode, record.get("is_final") is True)

    def _judge(self, mode: str, final: bool) -> None:
        """Whether this result, after the end message, was the last one."""
        known = self.expected if self.dialect is Dialect.UNKNOWN else self.dialect
        if mode in ("online", "2pass-online"):
            self.done = final and known is Dialect.CPP
            self.settling = final and not self.done and self.mode is Mode.ONLINE
        elif not mode:
            self.done = final
        elif known is Dialect.CPP:
            self.done = final or mode == "offline"
        elif known is Dialect.PYTHON:
            self.settling = True
        else:  # nearly all that say false are right; true may mean anything
            self.done, self.settling = not final, final

    def _extend(self, span: tuple[float, float] | None) -> None:
        if span is not None:
            old = self.span or span
            self.span = min(old[0], span[0]), max(old[1], span[1])


def patience_s(audio_s: float, least_s: float = LEAST_PATIENCE_S) -> float:
    """How long to wait for a server after the end of `audio_s` seconds of audio."""
    return max(least_s, PATIENCE_PER_S * audio_s)


def _record(message: str | bytes) -> Mapping[str, Any]:
    if not isinstance(message, str):
        raise RuntimeProtocolError("a binary message")
    try:
        record = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise RuntimeProtocolError("not JSON") from error
    if not isinstance(record, dict):
        raise RuntimeProtocolError("not a JSON object")
    return record


def _span(record: Mapping[str, Any]) -> tuple[float, float] | None:
    """Where in the audio a result lies. Python's lists count from the sentence's own beginning and don't tell."""
    stamps = record.get("timestamp")
    pairs = _PAIR.findall(stamps) if isinstance(stamps, str) else []
    if pairs:
        return int(pairs[0][0]) / 1000, max(int(end) for _, end in pairs) / 1000
    start, end = record.get("start_time"), record.get("end_time")
    if isinstance(start, int) and isinstance(end, int) and 0 <= start < end < 10**12:
        return start / 1000, end / 1000
    return None


def _gap(before: str, after: str) -> str:
    """A blank between two sentences of a script that has blanks, unless one is there."""
    if not before or not after or before[-1].isspace():
        return ""
    return " " if before[-1].isascii() and after[0].isascii() and after[0].isalnum() else ""
