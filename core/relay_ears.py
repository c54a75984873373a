"""The ears of a session whose voice service tells by itself when the user has spoken.

The microphone goes to the service; what it understood is answered. Voice activity only tells the page that somebody
speaks. With push-to-talk the key decides, as always.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from core.conversation import Conversation
from core.errors import EmanError
from core.events import Event, Failed, Heard
from core.frames import LISTEN_RATE, Activity, Samples, Transcript
from core.listener import KEY_TAIL_S, VoiceActivity
from core.overhearing import AvatarSound
from core.turn_events import ListenMode
from core.voice_events import Turns
from core.voice_line import VoiceLine
from core.voice_turn import VoiceTurn

logger = logging.getLogger(__name__)

_VOICE = 0.5
"""Probability from which a frame is taken for speech."""
_QUIET_S = 0.8
"""After so much silence nobody is said to be speaking any more."""


class RelayEars:
    """Implements `core.parts.Ears` and `core.voice_line.Relay`.

    With `Turns.SERVICE` nothing is sent while the avatar sounds, and `tail_s` longer, as the service can't be spoken
    over; with `Turns.OPEN` everything is: the service must not hear the avatar. `max_turn_s`: a longer turn by the talk
    key is cut.
    """

    def __init__(
        self,
        *,
        line: VoiceLine,
        turns: Turns,
        voice_activity: VoiceActivity,
        conversation: Conversation,
        avatar: AvatarSound,
        emit: Callable[[Event], None],
        tail_s: float,
        max_turn_s: float,
    ) -> None:
        self._line = line
        self._turns = turns
        self._activity = voice_activity
        self._conversation = conversation
        self._avatar = avatar
        self._emit = emit
        self._tail = round(tail_s * LISTEN_RATE)
        self._longest = round(max_turn_s * LISTEN_RATE)
        self._mode = ListenMode.OPEN
        self._turn: VoiceTurn | None = None
        self._spoken = 0
        """Samples of the turn by the talk key."""
        self._deaf = 0
        """Samples in which the avatar may still be heard."""
        self._heard = 0
        self._voice_at = 0.0
        self._key_timer: asyncio.TimerHandle | None = None
        self._finished: asyncio.Queue[tuple[VoiceTurn, float]] = asyncio.Queue(1)
        line.use_relay(self)

    # -- core.parts.Ears

    def hear(self, samples: Samples) -> None:
        """Audio from the microphone: int16, shape (n,), 16 kHz."""
        if not len(samples) or self._mode is ListenMode.OFF:
            return
        self._heard += len(samples)
        if self._turn is not None:
            self._turn.push(samples)
            self._spoken += len(samples)
            if self._spoken >= self._longest:
                self._release()
        elif self._mode is ListenMode.OPEN and self._may_relay(len(samples)):
            if not self._line.relaying:
                self._line.relay()
            self._line.push(samples)
        self._show(samples)

    def set_mode(self, mode: str) -> None:
        """open, push_to_talk or off."""
        if mode != self._mode:
            self._mode = ListenMode(mode)
            self.rest()

    def talk_key(self, down: bool) -> None:
        """The push-to-talk key: what plays is interrupted, and the turn is what is said until it is released."""
        self._cancel_timer()
        if not down:
            self._key_timer = asyncio.get_running_loop().call_later(KEY_TAIL_S, self._release)
        elif self._mode is not ListenMode.OFF and self._turn is None:
            self._line.hush()
            self._conversation.interrupt()
            self._turn, self._spoken = self._line.open(_ignore), 0
            self._conversation.do(Activity.LISTENING)

    def rest(self) -> None:
        """The microphone went away: what it was saying is dropped."""
        self._cancel_timer()
        turn, self._turn = self._turn, None
        if turn is not None:
            self._line.drop(turn)
        self._line.hush()
        self._settle()

    async def run(self) -> None:
        """Have turns by the talk key understood, until cancelled."""
        try:
            while True:
                await self._answer(*await self._finished.get())
        finally:
            self._cancel_timer()

    # -- core.voice_line.Relay

    def understood(self, text: str) -> None:
        """The service heard this."""
        self._chat(text, time.monotonic())

    # -- inside

    def _may_relay(self, count: int) -> bool:
        if self._line.in_turn:  # by the talk key, released and about to be sent
            return False
        if self._turns is Turns.OPEN:
            return True
        if self._avatar.speaking:
            self._deaf = self._tail
            return False
        self._deaf = max(0, self._deaf - count)
        return not self._deaf and (self._line.relaying or not self._line.busy)

    def _show(self, samples: Samples) -> None:
        for frame in self._activity.push(samples):
            if frame.probability >= _VOICE:
                self._voice_at = frame.time
                if self._conversation.activity is Activity.IDLE and (self._turn is not None or self._line.relaying):
                    self._conversation.do(Activity.LISTENING)
        if self._turn is None and self._heard / LISTEN_RATE - self._voice_at > _QUIET_S:
            self._settle()

    def _settle(self) -> None:
        if self._conversation.activity is Activity.LISTENING and not self._conversation.busy:
            self._conversation.do(Activity.IDLE)

    def _release(self) -> None:
        self._cancel_timer()
        turn, self._turn = self._turn, None
        if turn is None:
            return
        self._conversation.do(Activity.RECOGNIZING)
        try:
            self._finished.put_nowait((turn, time.monotonic()))
        except asyncio.QueueFull:
            self._line.drop(turn)
            self._settle_after(None)

    async def _answer(self, turn: VoiceTurn, ended_at: float) -> None:
        try:
            said = await turn.finish()
        except EmanError as error:
            self._settle_after(error)
            return
        self._emit(Heard(said))
        if said.text:
            self._chat(said.text, ended_at)
        else:
            self._settle_after(None)

    def _chat(self, text: str, asked_at: float) -> None:
        try:
            self._conversation.chat(text, interrupt=True, typed=False, asked_at=asked_at)
        except EmanError as error:
            self._settle_after(error)

    def _settle_after(self, error: EmanError | None) -> None:
        """Nothing comes of a turn: say so, and show what goes on."""
        if error is not None:
            logger.warning("listening failed: %s: %s", error.code, error.loggable)
            self._emit(Failed(error.stage, self._line.name, error.code, str(error)))
            self._emit(Heard(Transcript("", engine=self._line.name)))
            self._conversation.do(Activity.ERROR, str(error))
        busy = self._conversation.busy
        speaking = Activity.SPEAKING if self._avatar.speaking else Activity.THINKING
        self._conversation.do(speaking if busy else Activity.IDLE)

    def _cancel_timer(self) -> None:
        if self._key_timer is not None:
            self._key_timer.cancel()
            self._key_timer = None


def _ignore(transcript: Transcript) -> None:
    """No partial transcripts come."""
