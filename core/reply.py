"""One answer of the avatar: words → sentences → sound → stage, in one cancel scope.

A reply either runs to its end, is interrupted, or fails; each is reported exactly once. Whatever a
worker thread still delivers after that is refused by the stage, which knows the reply's id.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from core.errors import AdapterError, DialogueError, EmanError, SynthesizerError
from core.events import Event, Failed, Replying, ReplyState, Sounding
from core.frames import Expression, Progress, SpeechChunk
from core.sentences import Piece, SentenceCutter
from core.stages import SpeechWriter, Stage, Synthesizer
from core.waterfall import Mark, Waterfall

logger = logging.getLogger(__name__)
T = TypeVar("T")

LIVE_LEAD_S = 0.1
"""Head start of sound that comes live: it may be so much late without a gap."""
_SENTENCES_AHEAD = 4
_BITE = 200
"""Characters that are looked at in one go: the markup of a long text could hold the loop for half a second."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a stage may be silent, in seconds, before the reply ends with an error."""

    dialogue: float = 30.0
    synthesizer: float = 10.0


class LiveSpeech(Protocol):
    """A reply that somebody else makes and speaks (core/voice_reply.py)."""

    def items(self) -> AsyncGenerator[Piece | SpeechChunk]:
        """Sentences, each before its sound, as they come. Raises `AdapterError`. Read once."""

    def stop(self) -> None:
        """It is not wanted any more; its maker is told at once. Idempotent."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a reply is made from: exactly one of `words` (text, in pieces), `sound` (ready-made speech) and `live`."""

    words: Callable[[], AsyncIterator[str]] | None = None
    sound: Callable[[], AsyncIterator[SpeechChunk]] | None = None
    live: LiveSpeech | None = None
    prompt: str | None = None
    """The user's words that it answers; None when it answers nobody (echo, upload)."""
    asked_at: float = field(default_factory=time.monotonic)
    """When the user stopped speaking, or the request arrived (monotonic seconds)."""
    heard_at: float | None = None
    """When the final transcript of what was spoken was there (monotonic seconds)."""
    source: str = "text"
    """What it answers: "speech" or "text"; or what it is: "echo", "upload" or "push" (the voice service's own idea)."""
    voice: str | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    engine: str = ""


class Reply:
    """Runs one request. `emit` receives its events; `run` raises nothing but cancellation."""

    def __init__(
        self,
        reply_id: str,
        request: Request,
        *,
        stage: Stage,
        synthesizer: Synthesizer,
        emit: Callable[[Event], None],
        timeouts: Timeouts,
    ) -> None:
        self.reply_id = reply_id
        self.request = request
        self._stage = stage
        self._synthesizer = synthesizer
        self._emit = emit
        self._timeouts = timeouts
        self._waterfall = Waterfall(request.source, request.asked_at, request.heard_at)
        self._sentences: list[str] = []
        self._moods: list[Expression | None] = []
        self._started = False
        self.finished = False
        self.heard_text = ""
        """After the end: what the user has heard of the answer."""

    async def run(self) -> None:
        """Produce and play the answer; returns when it has been heard, or has failed."""
        try:
            length = await self._perform()
        except* EmanError as group:
            self.fail(group.exceptions[0])
        else:
            self._finish(ReplyState.END, " ".join(filter(None, self._sentences)), at_ms=round(length * 1000))

    def utterance_started(self, index: int, text: str, at: float) -> None:
        """The stage tells that utterance `index` begins to sound."""
        if self.finished:
            return
        self._waterfall.reach(Mark.ON_WIRE)
        self._start()
        mood = self._moods[index] if index < len(self._moods) else None
        self._report(ReplyState.SENTENCE, text, at_ms=round(at * 1000), mood=mood)
        self._emit(Sounding("start", text, self.request.info))

    def utterance_ended(self, text: str) -> None:
        """The stage tells that an utterance was played to its end."""
        if not self.finished:
            self._emit(Sounding("end", text, self.request.info))

    def interrupt(self, heard: Progress) -> None:
        """End it now; `heard` tells how far the stage had played it."""
        if not self.finished:
            self._stop()
            self._finish(ReplyState.INTERRUPTED, _heard_text(self._sentences, heard))

    def fail(self, error: BaseException) -> None:
        """End it with a message that the user can be shown."""
        if self.finished:
            return
        if isinstance(error, EmanError):
            logger.warning("reply %s failed: %s: %s", self.reply_id, error.code, error.loggable)
        else:
            logger.warning("reply %s failed: %s", self.reply_id, type(error).__name__)
        self._stop()
        self._emit(self._failure(error))
        self.heard_text = _heard_text(self._sentences, self._stage.clear())
        self._finish(ReplyState.ERROR, str(error), heard=self.heard_text)

    # -- inside

    async def _perform(self) -> float:
        """Returns how many seconds of it were played."""
        writer = self._stage.writer(self.reply_id, lead_s=LIVE_LEAD_S if self.request.live is not None else None)
        async with asyncio.TaskGroup() as group:
            if self.request.live is not None:
                await self._relay(self.request.live, writer)
            elif self.request.sound is not None:
                await writer.begin("")
                self._sentences.append("")
                async with aclosing(_closable(self.request.sound())) as sound:
                    async for chunk in sound:
                        self._waterfall.reach(Mark.FIRST_AUDIO)
                        await writer.write(chunk)
                await writer.end()
            elif self.request.words is not None:
                queue: asyncio.Queue[Piece | None] = asyncio.Queue(_SENTENCES_AHEAD)
                group.create_task(self._cut(self.request.words(), queue))
                while (piece := await queue.get()) is not None:
                    await self._speak(piece, writer)
        return await writer.played()

    async def _cut(self, words: AsyncIterator[str], queue: asyncio.Queue[Piece | None]) -> None:
        cutter = SentenceCutter()
        limit = self._timeouts.dialogue
        async with aclosing(_closable(words)) as pieces:
            async for piece in _patient(pieces, limit, DialogueError("the dialogue engine did not answer in time")):
                self._waterfall.reach(Mark.FIRST_TOKEN)
                for start in range(0, len(piece), _BITE):
                    for utterance in cutter.feed(piece[start : start + _BITE]):
                        await queue.put(utterance)
                    await asyncio.sleep(0)  # other sessions' frames are due
        for utterance in cutter.finish():
            await queue.put(utterance)
        await queue.put(None)

    async def _speak(self, piece: Piece, writer: SpeechWriter) -> None:
        if not piece.text:
            await writer.act(piece.acts)
            return
        await self._begin(piece, writer)
        limit = self._timeouts.synthesizer
        sound = self._synthesizer.synthesize(piece.text, voice=self.request.voice)
        async with aclosing(_closable(sound)) as chunks:
            async for chunk in _patient(chunks, limit, SynthesizerError("the voice did not answer in time")):
                self._waterfall.reach(Mark.FIRST_AUDIO)
                await writer.write(chunk)
        await writer.end()

    async def _begin(self, piece: Piece, writer: SpeechWriter) -> None:
        self._sentences.append(piece.text)
        self._moods.append(next((act.deed for act in piece.acts if isinstance(act.deed, Expression)), None))
        await writer.begin(piece.text, piece.acts)

    async def _relay(self, live: LiveSpeech, writer: SpeechWriter) -> None:
        """A sentence begins with its first sound: what comes without any is said together with the next one.

        When no more comes because something failed, what has come is played first.
        """
        waiting, speaking = Piece(""), False
        failure: EmanError | None = None
        silent = DialogueError("the voice service fell silent", adapter=self.request.engine, code="voice_silent")
        async with aclosing(_until_failure(live.items(), self._timeouts.dialogue, silent)) as items:
            async for item in items:
                if isinstance(item, EmanError):
                    failure = item
                    break
                self._waterfall.reach(Mark.FIRST_TOKEN)
                if isinstance(item, Piece):
                    if speaking:
                        await writer.end()
                    waiting = Piece(f"{waiting.text} {item.text}".strip(), waiting.acts + item.acts)
                    speaking = False
                    continue
                self._waterfall.reach(Mark.FIRST_AUDIO)
                if not speaking:
                    await self._begin(waiting, writer)
                    waiting, speaking = Piece(""), True
                await writer.write(item)
        if speaking:
            await writer.end()
        if waiting.acts:
            await writer.act(waiting.acts)
        if failure is not None:
            live.stop()
            await writer.played()
            raise failure
        if waiting.text:
            self._sentences.append(waiting.text)

    def _stop(self) -> None:
        if self.request.live is not None:
            self.request.live.stop()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            latency = round((time.monotonic() - self.request.asked_at) * 1000)
            self._report(ReplyState.START, latency_ms=latency)

    def _finish(self, state: ReplyState, text: str, heard: str | None = None, at_ms: int = 0) -> None:
        self._start()
        self.finished = True
        self.heard_text = text if heard is None else heard
        self._report(state, text, at_ms=at_ms, heard=heard or "")
        self._emit(self._waterfall.summary(self.reply_id, state, self.request.engine))

    def _failure(self, error: BaseException) -> Failed:
        if not isinstance(error, EmanError):
            return Failed("server", "", type(error).__name__, str(error))
        adapter = error.adapter if isinstance(error, AdapterError) else ""
        if not adapter and error.stage == DialogueError.stage:
            adapter = self.request.engine
        if not adapter and error.stage == SynthesizerError.stage:
            adapter = self._synthesizer.name
        return Failed(error.stage, adapter, error.code, str(error))

    def _report(
        self, state: ReplyState, text: str = "", *, at_ms: int = 0, latency_ms: int | None = None, heard: str = "",
        mood: Expression | None = None,
    ) -> None:  # fmt: skip
        self._emit(Replying(self.reply_id, state, text, at_ms, latency_ms, self.request.engine, heard, mood))


def _closable(source: AsyncIterator[T]) -> Any:
    # adapters return async generators; anything else with __anext__ is accepted and needs no closing
    return source if hasattr(source, "aclose") else _generated(source)


async def _generated(source: AsyncIterator[T]) -> AsyncIterator[T]:
    async for item in source:
        yield item


async def _patient(source: AsyncIterator[T], limit: float, error: EmanError) -> AsyncIterator[T]:
    """Pass items on; raise `error` when the next one takes longer than `limit` seconds."""
    while True:
        try:
            async with asyncio.timeout(limit):
                item = await anext(source)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise error from None
        yield item


async def _until_failure(source: AsyncGenerator[T], limit: float, error: EmanError) -> AsyncGenerator[T | EmanError]:
    """As `_patient`; a failure is the last item."""
    async with aclosing(source):
        try:
            async for item in _patient(source, limit, error):
                yield item
        except EmanError as failure:
            yield failure


def _heard_text(sentences: list[str], heard: Progress) -> str:
    """Whole sentences that were played, and the share of words of the one that was cut."""
    said = sentences[: heard.utterances]
    if heard.fraction > 0 and heard.utterances < len(sentences):
        current = sentences[heard.utterances]
        spaced = " " in current.strip()
        units = current.split() if spaced else list(current)
        part = (" " if spaced else "").join(units[: int(len(units) * heard.fraction)])
        said = [*said, part] if part else said
    return " ".join(filter(None, said))
