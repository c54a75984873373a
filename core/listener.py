"""The ears of one session: microphone → voice activity → turns → recogniser → conversation.

Everything runs on the event loop and only moves data, but for the voice activity and a look at the pitch of a
pause, which cost less than a hand-over to a thread would; recognition is done by the recogniser's own process.
Time is the listening clock: samples received so far.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from core.conversation import Conversation
from core.errors import EmanError, RecognizerError
from core.events import Event, Failed, Heard
from core.frames import Activity, Samples, Transcript
from core.overhearing import AvatarSound, Overhearing, VoiceFrame
from core.prosody import WINDOW_S, hesitates
from core.recent_audio import RecentAudio
from core.stages import Recognizer, RecognizerStream
from core.turn import TurnDetector, means_to_interrupt
from core.turn_events import (
    BargeIn,
    EndOfTurn,
    ListenMode,
    PossibleBargeIn,
    SpeechDiscarded,
    SpeechStarted,
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


class VoiceActivity(Protocol):
    """Voice activity of one session: about 0.1 ms of computing per 32 ms of speech, next to none in silence."""

    def push(self, samples: Samples, /) -> Sequence[VoiceFrame]:
        """Add int16 audio at `LISTEN_RATE`; the decisions that are now made."""


class EndOfTurnModel(Protocol):
    """A semantic end-of-turn model: from how somebody spoke, whether they have finished."""

    seconds: float
    """How much sound before the pause it wants, at most."""

    async def probability(self, samples: Samples, /) -> float | None:
        """That the speaker of int16 audio at `LISTEN_RATE`, shape (n,), has finished: 0..1; None when it can't tell."""


@dataclass(frozen=True, slots=True)
class _Finished:
    stream: RecognizerStream
    ended_at: float
    """When the user stopped speaking (monotonic seconds)."""
    undecided: bool
    """Said over the avatar, which is held until the words are known."""


class Listener:
    """Implements `core.parts.Ears`."""

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
        model: EndOfTurnModel | None = None,
    ) -> None:
        self._recognizer = recognizer
        self._conversation = conversation
        self._avatar = avatar
        self._emit = emit
        self._timeout = timeout_s
        self._settings = settings
        self._detector = TurnDetector(settings)
        self._activity = voice_activity
        self._model = model
        self._recent = RecentAudio(max(KEEP_S, model.seconds + 1 if model is not None else 0.0))
        self._overhearing = Overhearing(self._detector, avatar, self._recent)
        self._avatar_spoke = False
        self._looked_at: float | None = None
        self._asking = False
        self._stream: RecognizerStream | None = None
        self._turn = 0
        self._finished: asyncio.Queue[_Finished] = asyncio.Queue(MAX_UNFINISHED)
        self._unanswered = 0
        self._undecided = 0
        self._asides: set[asyncio.Task[None]] = set()
        self._key_timer: asyncio.TimerHandle | None = None

    # -- core.parts.Ears

    def hear(self, samples: Samples) -> None:
        """Audio from the microphone: int16, shape (n,), 16 kHz."""
        if not len(samples) or self._detector.mode is ListenMode.OFF:
            return
        self._recent.add(samples)
        if self._stream is not None:
            self._stream.push(samples)
        self._judge(self._activity.push(samples))

    def set_mode(self, mode: str) -> None:
        """open, push_to_talk or off."""
        self._handle(self._told().set_mode(ListenMode(mode), self._now))

    def talk_key(self, down: bool) -> None:
        """The push-to-talk key went down or up."""
        if self._key_timer is not None:
            self._key_timer.cancel()
            self._key_timer = None
        if down:
            self._handle(self._told().force_start(self._now))
        else:
            self._key_timer = asyncio.get_running_loop().call_later(KEY_TAIL_S, self._release_key)

    def rest(self) -> None:
        """The microphone went away: what it was saying is dropped."""
        mode = self._detector.mode
        self._handle(self._told().set_mode(ListenMode.OFF, self._now))
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

    # -- hearing

    @property
    def _now(self) -> float:
        return self._recent.now

    def _release_key(self) -> None:
        self._key_timer = None
        self._handle(self._told().force_end(self._now))

    def _judge(self, frames: Sequence[VoiceFrame]) -> None:
        for frame in frames:
            speaking = self._avatar.speaking
            self._handle(self._overhearing.take(frame, speaking))
            if self._avatar_spoke and not speaking and self._stream is not None:
                self._conversation.do(Activity.LISTENING)  # it fell silent while the user spoke
            self._avatar_spoke = speaking
        self._look_at_pause()

    def _told(self) -> TurnDetector:
        """The detector, once it knows all that was heard."""
        self._handle(self._overhearing.catch_up())
        return self._detector

    def _look_at_pause(self) -> None:
        paused = self._detector.paused_at
        if paused is None or paused == self._looked_at:
            return
        self._looked_at = paused
        held = hesitates(self._recent.between(paused - WINDOW_S, paused))
        self._detector.on_pause(paused, hesitating=held)
        if self._model is not None and not self._asking:
            self._asking = True
            sound = self._recent.between(paused - self._model.seconds)
            self._aside(self._ask(self._model, sound, paused), "end of turn")

    async def _ask(self, model: EndOfTurnModel, sound: Samples, paused: float) -> None:
        try:
            self._detector.on_pause(paused, model=await model.probability(sound))
        finally:
            self._asking = False

    def _on_partial(self, turn: int, transcript: Transcript) -> None:
        if transcript.text:
            self._emit(Heard(transcript))
            if turn == self._turn and self._stream is not None:
                self._handle(self._told().on_words(self._now, transcript.text))

    # -- turns

    def _handle(self, events: Sequence[TurnEvent]) -> None:
        for event in events:
            match event:
                case SpeechStarted(preroll_start=start):
                    self._begin(start)
                case PossibleBargeIn():
                    self._conversation.hold()
                case BargeIn():
                    self._conversation.interrupt()
                    self._conversation.do(Activity.LISTENING)
                case SpeechDiscarded():
                    self._discard()
                case EndOfTurn(end=end, undecided=undecided):
                    self._end(end, undecided)

    def _begin(self, start: float) -> None:
        self._turn += 1
        try:
            self._stream = self._recognizer.open(partial(self._on_partial, self._turn))
        except RecognizerError as error:
            self._complain(error)
            return
        self._stream.push(self._recent.between(start))
        if not self._avatar.speaking:
            self._conversation.do(Activity.LISTENING)

    def _discard(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            self._drop(stream)
            self._withdraw()
        self._let_go()

    def _end(self, end: float, undecided: bool) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            self._let_go()
            return
        ended_at = time.monotonic() - max(0.0, self._now - end)
        try:
            self._finished.put_nowait(_Finished(stream, ended_at, undecided))
        except asyncio.QueueFull:
            self._drop(stream)
            self._complain(RecognizerError("the recogniser can't keep up", retryable=True))
            return
        self._unanswered += 1
        self._undecided += undecided
        self._conversation.do(Activity.RECOGNIZING)

    async def _answer(self, turn: _Finished) -> None:
        try:
            transcript = await self._transcript(turn)
        except RecognizerError as error:
            self._concluded(turn)
            self._complain(error)
            return
        self._concluded(turn)
        if turn.undecided and not means_to_interrupt(transcript.text, self._settings.barge_in_words):
            self._drop(turn.stream)  # a recogniser that answers, too, is not to
            self._withdraw()
            self._let_go()
            return
        self._emit(Heard(transcript))
        if not transcript.text:
            self._let_go()
            return
        try:
            self._conversation.chat(transcript.text, interrupt=True, typed=False, asked_at=turn.ended_at)
        except EmanError as error:
            self._complain(error)

    async def _transcript(self, turn: _Finished) -> Transcript:
        try:
            async with asyncio.timeout(self._timeout):
                return await turn.stream.finish()
        except TimeoutError:
            await turn.stream.cancel()
            raise RecognizerError("the recogniser did not answer in time", retryable=True) from None

    def _concluded(self, turn: _Finished) -> None:
        self._unanswered -= 1
        self._undecided -= turn.undecided

    def _complain(self, error: EmanError) -> None:
        logger.warning("listening failed: %s: %s", error.code, error.loggable)
        culprit = self._recognizer.name if isinstance(error, RecognizerError) else ""
        self._emit(Failed(error.stage, culprit, error.code, str(error)))
        self._withdraw()
        self._conversation.do(Activity.ERROR, str(error))
        self._let_go()

    def _withdraw(self) -> None:
        """What was shown of the user's words so far was nothing."""
        self._emit(Heard(Transcript("", final=True, engine=self._recognizer.name)))

    def _let_go(self) -> None:
        """Nothing came of a turn: the avatar goes on where it was held, and the page shows what goes on now."""
        if not self._detector.holding and not self._undecided:
            self._conversation.resume()
        self._conversation.do(self._doing())

    def _doing(self) -> Activity:
        held = self._conversation.held
        if self._stream is not None and (held or not self._avatar.speaking):
            return Activity.LISTENING
        if self._unanswered and (held or not self._avatar.speaking):
            return Activity.RECOGNIZING
        if self._conversation.busy:
            return Activity.SPEAKING if self._avatar.speaking else Activity.THINKING
        return Activity.IDLE

    # -- tasks

    def _drop(self, stream: RecognizerStream) -> None:
        self._aside(stream.cancel(), "drop recognition")

    def _aside(self, work: Coroutine[object, object, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)

    async def _abandon(self) -> None:
        if self._stream is not None:
            self._drop(self._stream)
        while not self._finished.empty():
            self._drop(self._finished.get_nowait().stream)
        if self._asides:
            await asyncio.wait(self._asides, timeout=1.0)
