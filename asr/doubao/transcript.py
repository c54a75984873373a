"""The text of a turn, put together from the answers of one or more connections. Sans-I/O.

A server tells times in milliseconds of the audio that it got on this connection; with replays and silence in between
these are not the times of the turn. `Timeline` translates them to positions: bytes since the beginning of the turn.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import Any

from asr.doubao.backlog import BYTES_PER_MS
from asr.doubao.response import Response, Utterance

_CJK = 0x2E80
"""Scripts from here on are written without spaces between words."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A finished sentence. Times in seconds since the beginning of the turn."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class RecognitionResult:
    """What a turn says so far. `text` is the whole of it and replaces every earlier one.

    `sentences` are those that became definite with this result. Times in seconds since the turn began.
    """

    text: str
    is_final: bool = False
    start: float = 0.0
    end: float = 0.0
    sentences: tuple[Sentence, ...] = ()

    def __str__(self) -> str:
        return self.text

    @property
    def payload_msg(self) -> dict[str, Any]:
        """In the form of the service's own answers: `payload_msg["result"]["text"]`."""
        utterances = [
            {"text": s.text, "start_time": round(s.start * 1000), "end_time": round(s.end * 1000), "definite": True}
            for s in self.sentences
        ]
        return {"result": {"text": self.text, "utterances": utterances}}


class Timeline:
    """What one connection was sent, from position `start` of the turn on."""

    def __init__(self, start: int = 0) -> None:
        self._server = [0]
        self._turn = [start]
        self._sent = 0
        self._end = start

    def sent(self, count: int) -> None:
        """So many bytes of the turn."""
        self._sent += count
        self._end += count

    def silence(self, count: int) -> None:
        """So many bytes that are no part of the turn."""
        self._sent += count
        self._server.append(self._sent)
        self._turn.append(self._end)

    def position(self, ms: int) -> int:
        """Of a moment on the server's clock; a moment in our silence is the one before it."""
        byte = min(ms * BYTES_PER_MS, self._sent)
        part = bisect.bisect_right(self._server, byte) - 1
        limit = self._turn[part + 1] if part + 1 < len(self._turn) else self._end
        return min(self._turn[part] + byte - self._server[part], limit)


class TurnText:
    """The newest wording of a turn."""

    def __init__(self) -> None:
        self._kept = ""
        self._kept_until = 0
        self._first: int | None = None
        self._response = Response()
        self._timeline = Timeline()
        self._definite = 0

    def begin(self, timeline: Timeline) -> None:
        """A new connection, after `carry`: its audio is laid out by `timeline`."""
        self._timeline = timeline
        self._response = Response()
        self._definite = 0

    def carry(self) -> int:
        """The connection is gone: keep its finished sentences. Returns the position from which to send again."""
        for utterance in self._finished():
            self._kept = joined(self._kept, utterance.text)
            self._kept_until = self._timeline.position(utterance.end_ms)
            if self._first is None:
                self._first = self._timeline.position(utterance.start_ms)
        self.begin(Timeline(self._kept_until))
        return self._kept_until

    def skip(self, position: int) -> None:
        """The connection is gone, and what was sent before `position` holds no further words."""
        self.carry()
        self._kept_until = max(self._kept_until, position)
        self.begin(Timeline(self._kept_until))

    def take(self, response: Response) -> tuple[Sentence, ...]:
        """A newer answer; returns the sentences that are finished by it."""
        self._response = response
        finished = self._finished()
        fresh = finished[self._definite :]
        self._definite = max(self._definite, len(finished))
        return tuple(Sentence(u.text, self._seconds(u.start_ms), self._seconds(u.end_ms)) for u in fresh)

    @property
    def text(self) -> str:
        """The whole turn."""
        return joined(self._kept, self._response.text)

    @property
    def settled(self) -> int:
        """Position up to which the audio will not be needed again."""
        finished = self._finished()
        return self._timeline.position(finished[-1].end_ms) if finished else self._kept_until

    @property
    def open(self) -> bool:
        """Whether a sentence has begun that is not finished."""
        return bool(self._response.text) and (
            not self._response.utterances or len(self._finished()) < len(self._response.utterances)
        )

    def result(self, *, final: bool, sentences: tuple[Sentence, ...] = (), heard: int = 0) -> RecognitionResult:
        """As a value. `heard`: bytes of the turn so far, its end where the server tells no times."""
        start, end = self._first, self._kept_until
        if self._response.utterances:
            if start is None:
                start = self._timeline.position(self._response.utterances[0].start_ms)
            end = self._timeline.position(self._response.utterances[-1].end_ms)
        elif self._response.text:
            end = heard
        rate = 1000 * BYTES_PER_MS
        return RecognitionResult(self.text, final, (start or 0) / rate, end / rate, sentences)

    def _finished(self) -> tuple[Utterance, ...]:
        """The definite sentences before the first one that is not."""
        utterances = self._response.utterances
        count = next((at for at, utterance in enumerate(utterances) if not utterance.definite), len(utterances))
        return utterances[:count]

    def _seconds(self, ms: int) -> float:
        return self._timeline.position(ms) / (1000 * BYTES_PER_MS)


def joined(before: str, after: str) -> str:
    """Two pieces of text as one, with a space where the script has one."""
    if not before or not after:
        return before or after
    spaced = ord(before[-1]) < _CJK and ord(after[0]) < _CJK and not before[-1].isspace() and not after[0].isspace()
    return f"{before} {after}" if spaced else before + after
