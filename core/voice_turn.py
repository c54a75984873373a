"""One turn of the user on its way to a voice service."""

from __future__ import annotations

import asyncio
from typing import Protocol

import numpy as np

from core.errors import RecognizerError
from core.frames import Samples, Transcript
from core.stages import VoiceCall
from core.voice_reply import VoiceReply


class TurnOwner(Protocol):
    """The line (core/voice_line.py)."""

    name: str

    def send(self, turn: VoiceTurn) -> None:
        """The turn is over: have it understood."""

    def patience(self) -> float:
        """How long that may take, seconds."""

    def give_up(self, turn: VoiceTurn) -> RecognizerError | None:
        """It took longer. What to complain of; None: nothing was said."""

    def understood(self, turn: VoiceTurn, text: str) -> None:
        """The transcript is handed over."""

    def drop(self, turn: VoiceTurn) -> None:
        """Nothing comes of the turn."""


class VoiceTurn:
    """Implements `core.stages.RecognizerStream`. Keeps its sound, at most a longest turn's, until it is over."""

    def __init__(self, owner: TurnOwner) -> None:
        self.live = False
        """The service gets the sound as it comes."""
        self.reply: VoiceReply | None = None
        """The service's reply to it."""
        self._owner = owner
        self._call: VoiceCall | None = None
        self._pieces: list[Samples] = []
        self._said: asyncio.Future[str] | None = None
        self._over = asyncio.Event()

    def go_live(self, call: VoiceCall) -> None:
        """The service listens: it gets what was said so far, and what follows."""
        self.live, self._call = True, call
        call.listen()
        if self._pieces:
            call.push(np.concatenate(self._pieces))

    def resolve(self, text: str) -> None:
        """The service understood this; "" for nothing."""
        if self._said is not None and not self._said.done():
            self._said.set_result(text)

    def fail(self, error: RecognizerError) -> None:
        """It will not be understood."""
        if self._said is not None and not self._said.done():
            self._said.set_exception(error)

    async def handed_over(self) -> None:
        """Wait until whoever awaits the transcript has it."""
        await self._over.wait()

    # -- core.stages.RecognizerStream

    def push(self, samples: Samples) -> None:
        """See `core.stages.RecognizerStream`."""
        self._pieces.append(samples)
        if self.live and self._call is not None:
            self._call.push(samples)

    async def finish(self) -> Transcript:
        """See `core.stages.RecognizerStream`."""
        self._said = asyncio.get_running_loop().create_future()
        patience = self._owner.patience()
        self._owner.send(self)
        self._pieces = []
        try:
            async with asyncio.timeout(patience):
                text = await self._said
        except TimeoutError:
            error = self._owner.give_up(self)
            if error is not None:
                raise error from None
            return Transcript("", engine=self._owner.name)
        finally:
            self._over.set()
        self._owner.understood(self, text)
        return Transcript(text, engine=self._owner.name)

    async def cancel(self) -> None:
        """See `core.stages.RecognizerStream`; after `finish`: no reply to it is wanted, unless it was taken."""
        self._pieces = []
        self._owner.drop(self)
