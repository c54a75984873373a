"""The ears of one session: microphone → voice activity → turns → recogniser → conversation.

Everything runs on the event loop and only moves data, but for the voice activity, which costs less than a
hand-over to a thread would; recognition is done by the recogniser's own process. Time is the listening clock:
samples received so far.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from core.conversation import Conversation
from core.errors import EmanError, RecognizerError
from core.events import Event, Failed, Heard
from core.frames import LISTEN_RATE, Activity, Samples, Transcript
from core.stages import Recognizer, RecognizerStream
from core.turn import (
    BargeIn,
    EndOfTurn,
    ListenMode,
    SpeechDiscarded,
    SpeechStarted,
    TurnDetector,
    TurnEvent,
    TurnSettings,
)

logger = logging.getLogger(__name__)

KEEP_S = 2.0
"""Audio kept for the beginning of a turn: the pre-roll."""
KEY_TAIL_S = 0.2
"""A released talk key ends the turn this much later: the last words are still on their way."""
MAX_UNFINISHED = 4
"""Turns that may wait for their transcript; the recogniser is hopelessly slow beyond that."""


class VoiceFrame(Protocol):
    """One decision of the voice activity."""

    @property
    def time(self) -> float:
        """End of the frame on the listening clock, seconds."""

    @property
    def probability(self) -> float:
        """Of speech, 0..1."""

    @property
    def level_db(self) -> float:
        """RMS in dBFS."""


class VoiceActivity(Protocol):
    """Voice activity of one session: about 0.1 ms of computing per 32 ms of speech, next to none in silence."""

    def push(self, samples: Samples, /) -> Sequence[VoiceFrame]:
        """Add int16 audio at `LISTEN_RATE`; the decisions that are now made."""


class AvatarSound(Protocol):
    """What the echo guard needs to know of the avatar's own voice."""

    @property
    def speaking(self) -> bool:
        """Whether it is audible."""

    def recent_level_db(self) -> float:
        """Its level just now, dBFS."""


@dataclass(frozen=True, slots=True)
class _Finished:
    stream: RecognizerStream
    ended_at: float
    """When the user stopped speaking (monotonic seconds)."""


class Listener:
    """Implements `core.sessions.Ears`."""

    def __init__(
        self,
        *,
        recognizer: Recognizer,
        voice_activity: VoiceActivity,
        settings: TurnSettings,
        conversation: Conversation,
        avatar: AvatarSound,
        emit: Callable[[Event], None],
        timeout_s: float,
    ) -> None:
        self._recognizer = recognizer
        self._conversation = conversation
        self._avatar = avatar
        self._emit = emit
        self._timeout = timeout_s
        self._detector = TurnDetector(settings)
        self._activity = voice_activity
        self._recent: deque[Samples] = deque()
        self._recent_count = 0
        self._position = 0
        self._frame_end = 0.0
        self._stream: RecognizerStream | None = None
        self._finished: asyncio.Queue[_Finished] = asyncio.Queue(MAX_UNFINISHED)
        self._dropped: set[asyncio.Task[None]] = set()
        self._key_timer: asyncio.TimerHandle | None = None

    # -- core.sessions.Ears

    def hear(self, samples: Samples) -> None:
        """Audio from the microphone: int16, shape (n,), 16 kHz."""
        if not len(samples) or self._detector.mode is ListenMode.OFF:
            return
        self._position += len(samples)
        self._recent.append(samples)
        self._recent_count += len(samples)
        while self._recent_count - len(self._recent[0]) >= KEEP_S * LISTEN_RATE:
            self._recent_count -= len(self._recent.popleft())
        if self._stream is not None:
            self._stream.push(samples)
        self._judge(self._activity.push(samples))

    def set_mode(self, mode: str) -> None:
        """open, push_to_talk or off."""
        self._handle(self._detector.set_mode(ListenMode(mode), self._now))

    def talk_key(self, down: bool) -> None:
        """The push-to-talk key went down or up."""
        if self._key_timer is not None:
            self._key_timer.cancel()
            self._key_timer = None
        if down:
            self._handle(self._detector.force_start(self._now))
        else:
            self._key_timer = asyncio.get_running_loop().call_later(KEY_TAIL_S, self._release_key)

    def rest(self) -> None:
        """The microphone went away: what it was saying is dropped."""
        mode = self._detector.mode
        self._handle(self._detector.set_mode(ListenMode.OFF, self._now))
        self._detector.set_mode(mode, self._now)

    async def run(self) -> None:
        """Turn finished listening periods into answers, one after the other, until cancelled."""
        try:
            while True:
                await self._answer(await self._finished.get())
        finally:
            if self._key_timer is not None:
                self._key_timer.cancel()
            await self._abandon()

    # -- inside

    @property
    def _now(self) -> float:
        return self._position / LISTEN_RATE

    def _release_key(self) -> None:
        self._key_timer = None
        self._handle(self._detector.force_end(self._now))

    def _judge(self, frames: Sequence[VoiceFrame]) -> None:
        for frame in frames:
            # the avatar's state counts from the frame's beginning: the detector takes a frame's length from its clock
            speaking = self._avatar.speaking
            self._detector.avatar_speaking(speaking, self._frame_end)
            if speaking:
                self._detector.on_avatar_level(self._frame_end, self._avatar.recent_level_db())
            self._frame_end = frame.time
            self._handle(self._detector.on_frame(frame.time, frame.probability, frame.level_db))

    def _handle(self, events: Sequence[TurnEvent]) -> None:
        for event in events:
            match event:
                case SpeechStarted(preroll_start=start):
                    self._begin(start)
                case BargeIn():
                    self._conversation.interrupt()
                    self._conversation.do(Activity.LISTENING)
                case SpeechDiscarded():
                    self._discard()
                case EndOfTurn(end=end):
                    self._end(end)

    def _begin(self, start: float) -> None:
        try:
            self._stream = self._recognizer.open(self._on_partial)
        except RecognizerError as error:
            self._complain(error)
            return
        kept = np.concatenate(self._recent) if self._recent else np.zeros(0, np.int16)
        wanted = max(0, self._position - int(start * LISTEN_RATE))
        self._stream.push(kept[max(0, len(kept) - wanted) :])
        if not self._avatar.speaking:
            self._conversation.do(Activity.LISTENING)

    def _discard(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            self._drop(stream)
            self._emit(Heard(Transcript("", final=True, engine=self._recognizer.name)))
        if self._conversation.activity is Activity.LISTENING:
            self._conversation.do(Activity.IDLE)

    def _end(self, end: float) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return
        ended_at = time.monotonic() - max(0.0, self._now - end)
        try:
            self._finished.put_nowait(_Finished(stream, ended_at))
        except asyncio.QueueFull:
            self._drop(stream)
            self._complain(RecognizerError("the recogniser can't keep up", retryable=True))
            return
        self._conversation.do(Activity.RECOGNIZING)

    def _on_partial(self, transcript: Transcript) -> None:
        if transcript.text:
            self._emit(Heard(transcript))

    async def _answer(self, turn: _Finished) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                transcript = await turn.stream.finish()
        except TimeoutError:
            await turn.stream.cancel()
            self._complain(RecognizerError("the recogniser did not answer in time", retryable=True))
            return
        except RecognizerError as error:
            self._complain(error)
            return
        self._emit(Heard(transcript))
        if not transcript.text:
            self._settle()
            return
        try:
            self._conversation.chat(transcript.text, interrupt=True, typed=False, asked_at=turn.ended_at)
        except EmanError as error:
            self._complain(error)

    def _complain(self, error: EmanError) -> None:
        logger.warning("listening failed: %s: %s", error.code, error.loggable)
        culprit = self._recognizer.name if isinstance(error, RecognizerError) else ""
        self._emit(Failed(error.stage, culprit, error.code, str(error)))
        self._emit(Heard(Transcript("", final=True, engine=self._recognizer.name)))
        self._conversation.do(Activity.ERROR, str(error))
        self._settle()

    def _settle(self) -> None:
        if not self._conversation.busy:
            self._conversation.do(Activity.IDLE)

    def _drop(self, stream: RecognizerStream) -> None:
        task = asyncio.create_task(stream.cancel(), name="drop recognition")
        self._dropped.add(task)
        task.add_done_callback(self._dropped.discard)

    async def _abandon(self) -> None:
        if self._stream is not None:
            self._drop(self._stream)
        while not self._finished.empty():
            self._drop(self._finished.get_nowait().stream)
        if self._dropped:
            await asyncio.wait(self._dropped, timeout=1.0)
