"""Whether a session's remote voice service is there, and telling of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from core.errors import DialogueError, EmanError
from core.events import Event, Failed, LineChanged, LineState


class VoiceLink:
    """`name` of the service. `timeout_s`: how long it may take to be reached."""

    def __init__(self, name: str, emit: Callable[[Event], None], timeout_s: float) -> None:
        self.failure: DialogueError | None = None
        """Why it is not up, where that is known and final."""
        self._name = name
        self._emit = emit
        self._timeout = timeout_s
        self._up = False
        self._changed = asyncio.Event()
        self._told: tuple[LineState, str] | None = None

    @property
    def up(self) -> bool:
        """Whether the service is there."""
        return self._up

    def came(self) -> None:
        """It is there."""
        self.failure = None
        self._change(up=True)
        self._tell(LineState.UP)

    def went(self) -> None:
        """It is gone; `lost` tells of it."""
        self._change(up=False)

    def lost(self, error: DialogueError | None) -> None:
        """Tell that it went; `error`: why, where that is a failure."""
        if error is not None:
            self._emit(Failed(error.stage, self._name, error.code, str(error)))
        self._tell(LineState.LOST, error)

    def failed(self, error: DialogueError) -> bool:
        """It can't be reached. Told once, however often it is tried again; False when it was told already."""
        self.failure = None if error.retryable else error
        self._change(up=False)
        if self._told == (LineState.FAILED, error.code):
            return False
        self._emit(Failed(error.stage, self._name, error.code, str(error)))
        self._tell(LineState.FAILED, error)
        return True

    def announce(self, text: str) -> None:
        """The service has something to say to whoever watches."""
        self._emit(LineChanged(LineState.NOTICE, self._name, message=text))

    async def connected(self) -> None:
        """Wait for the service. Raises `DialogueError`."""
        try:
            async with asyncio.timeout(self._timeout):
                while not self._up:
                    if self.failure is not None:
                        raise self.failure
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise DialogueError(
                "there is no connection to the voice service", adapter=self._name, code="voice_down", retryable=True
            ) from None

    def _change(self, *, up: bool) -> None:
        self._up = up
        self._changed.set()

    def _tell(self, state: LineState, error: EmanError | None = None) -> None:
        code, message = (error.code, str(error)) if error is not None else ("", "")
        self._told = state, code
        self._emit(LineChanged(state, self._name, code, message))
