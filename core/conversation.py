"""One session's conversation: it hears, decides and speaks.

Everything of one session that runs in the background lives in this object's task group. Inputs are
plain calls on the event loop; outputs are `core.events`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from core.errors import Refused
from core.events import Doing, Event, Typed
from core.frames import Activity, Progress, SpeechChunk, Utterance
from core.reply import LiveSpeech, Reply, Request, Timeouts
from core.stages import Dialogue, Stage, Synthesizer

logger = logging.getLogger(__name__)

_CANCEL_PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class ConversationLimits:
    """Bounds of one conversation."""

    queued_replies: int = 16
    history_turns: int = 20
    timeouts: Timeouts = field(default_factory=Timeouts)


class RemoteVoice(Protocol):
    """A voice service in the place of dialogue engine and synthesizer (core/voice_line.py)."""

    name: str

    def answer(self, text: str, *, typed: bool) -> LiveSpeech:
        """Its answer to `text`, which was typed, or which it, or somebody else, has just understood."""


class Conversation:
    """The turns of one session. Also the `StageListener` of its stage.

    `emit` is called on the event loop with every event; `show` tells the face what the avatar is doing. With a
    `remote` voice the user is answered by that one; texts that are only to be spoken still go to the synthesizer.
    """

    def __init__(
        self,
        *,
        dialogue: Dialogue,
        synthesizer: Synthesizer,
        emit: Callable[[Event], None],
        show: Callable[[Activity], None],
        limits: ConversationLimits | None = None,
        remote: RemoteVoice | None = None,
    ) -> None:
        self._remote = remote
        self._dialogue = dialogue
        self._synthesizer = synthesizer
        self._emit = emit
        self._show = show
        self._limits = limits or ConversationLimits()
        self._stage: Stage | None = None
        self._history: deque[Utterance] = deque(maxlen=max(1, 2 * self._limits.history_turns))
        self._pending: deque[Request] = deque()
        self._wake = asyncio.Event()
        self._reply: Reply | None = None
        self._task: asyncio.Task[None] | None = None
        self._stray: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)
        self.activity = Activity.IDLE
        self.usual_voice: str | None = None
        """Of the synthesizer, for texts that come without one; None for that of its settings."""

    def use_stage(self, stage: Stage) -> None:
        """The stage it speaks on; set once, before `run`."""
        self._stage = stage

    # -- inputs

    def say(self, text: str, *, interrupt: bool = False, info: Mapping[str, Any] | None = None) -> None:
        """Speak `text` as it is (LiveTalking's "echo"). Raises `Refused` when too much is waiting."""

        async def words() -> AsyncIterator[str]:
            yield text

        self._submit(
            Request(words=words, info=info or {}, source="echo", voice=_voice(info) or self.usual_voice, engine="echo"),
            interrupt,
        )

    def chat(
        self, text: str, *, interrupt: bool = False, info: Mapping[str, Any] | None = None, typed: bool = True,
        asked_at: float | None = None,
    ) -> None:  # fmt: skip
        """Answer `text`, which was typed, or spoken until `asked_at`. Raises `Refused` when too much is waiting."""

        def words() -> AsyncIterator[str]:
            return self._dialogue.reply(self.history, text)

        remote = self._remote
        request = Request(
            words=words if remote is None else None,
            live=remote.answer(text, typed=typed) if remote is not None else None,
            prompt=text, info=info or {}, voice=_voice(info) or self.usual_voice,
            engine=self._dialogue.name if remote is None else remote.name,
            asked_at=time.monotonic() if asked_at is None else asked_at,
            source="text" if typed else "speech", heard_at=None if typed else time.monotonic(),
        )  # fmt: skip
        self._submit(request, interrupt)
        if typed:
            self._emit(Typed(text))

    def play(self, sound: Callable[[], AsyncIterator[SpeechChunk]], *, interrupt: bool = False) -> None:
        """Speak ready-made sound (an upload). Raises `Refused` when too much is waiting."""
        self._submit(Request(sound=sound, source="upload", engine="upload"), interrupt)

    def tell(self, live: LiveSpeech, engine: str, *, source: str = "push") -> None:
        """Speak what the voice service says unasked. Raises `Refused` when too much is waiting."""
        self._submit(Request(live=live, source=source, engine=engine), interrupt=False)

    def interrupt(self) -> bool:
        """Silence now: the current answer and everything waiting are dropped. False when there was nothing."""
        busy = bool(self._pending) or self._reply is not None
        self._drop_pending()
        if self._reply is not None:
            heard = self._stage.clear() if self._stage is not None else Progress()
            self._reply.interrupt(heard)
            if self._task is not None:
                self._task.cancel()
            self.do(Activity.INTERRUPTED)
        return busy

    def hold(self) -> None:
        """The user may want to interrupt: pause the answer that sounds until `resume`, or `interrupt`."""
        if self._reply is not None and self._stage is not None and self._stage.hold():
            self.do(Activity.LISTENING)

    def resume(self) -> None:
        """They did not: go on where the answer was held. Nothing happens when none is."""
        if self._stage is not None and self._stage.resume():
            self.do(Activity.SPEAKING)

    def do(self, activity: Activity, detail: str = "") -> None:
        """Report a change of what the avatar is doing."""
        if activity != self.activity or detail:
            self.activity = activity
            self._show(activity)
            self._emit(Doing(activity, detail))

    @property
    def busy(self) -> bool:
        """Whether an answer is being made or played."""
        return self._reply is not None or bool(self._pending)

    @property
    def held(self) -> bool:
        """Whether the answer that sounds is held."""
        return self._stage is not None and self._stage.held

    @property
    def waiting(self) -> int:
        """Answers that wait for their turn."""
        return len(self._pending)

    @property
    def history(self) -> Sequence[Utterance]:
        """The turns that the dialogue engine is shown, oldest first."""
        return tuple(self._history)

    def remember(self, turns: Sequence[Utterance]) -> None:
        """Earlier turns of this conversation, oldest first, from before the server was restarted."""
        self._history.extendleft(reversed(turns))

    def forget(self) -> None:
        """Drop all earlier turns: the user had the history cleared."""
        self._history.clear()

    # -- StageListener

    def utterance_started(self, reply_id: str, index: int, text: str, at: float) -> None:
        """See `core.stages.StageListener`."""
        if self._reply is not None and self._reply.reply_id == reply_id:
            self.do(Activity.SPEAKING)
            self._reply.utterance_started(index, text, at)

    def utterance_ended(self, reply_id: str, index: int, text: str) -> None:
        """See `core.stages.StageListener`."""
        if self._reply is not None and self._reply.reply_id == reply_id:
            self._reply.utterance_ended(text)

    # -- running

    async def run(self) -> None:
        """Answer requests one after the other, until cancelled."""
        while True:
            await self._wake.wait()
            if not self._pending:
                self._wake.clear()
                continue
            await self._answer(self._pending.popleft())

    async def _answer(self, request: Request) -> None:
        assert self._stage is not None
        reply = self._reply = Reply(
            f"r{next(self._numbers)}", request, stage=self._stage, synthesizer=self._synthesizer,
            emit=self._emit, timeouts=self._limits.timeouts,
        )  # fmt: skip
        if request.prompt is not None:
            self.do(Activity.THINKING)
        task = self._task = asyncio.create_task(reply.run(), name=f"reply {reply.reply_id}")
        try:
            await self._until_over(task)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_PATIENCE_S)
            raise
        finally:
            self._reply = self._task = None
        self._conclude(reply, task)

    async def _until_over(self, task: asyncio.Task[None]) -> None:
        """Wait for a reply; one that was interrupted and holds on is left behind, so that the next can begin."""
        patience = 2
        while not task.done() and patience:
            await asyncio.wait({task}, timeout=_CANCEL_PATIENCE_S)
            patience -= bool(task.cancelling())
        if not task.done():
            logger.error("%s does not let itself be cancelled: left behind", task.get_name())
            self._stray.add(task)
            task.add_done_callback(self._stray.discard)

    def _conclude(self, reply: Reply, task: asyncio.Task[None]) -> None:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            logger.error("reply %s broke", reply.reply_id, exc_info=error)
            reply.fail(RuntimeError("something went wrong inside the server"))
        if reply.request.prompt is not None:
            self._history.append(Utterance("user", reply.request.prompt))
            if reply.heard_text:
                self._history.append(Utterance("assistant", reply.heard_text))
        if not self._pending and self.activity in (Activity.SPEAKING, Activity.THINKING, Activity.INTERRUPTED):
            self.do(Activity.IDLE)

    def _drop_pending(self) -> None:
        dropped = [request.live for request in self._pending if request.live is not None]
        self._pending.clear()
        for live in dropped:
            live.stop()

    def _submit(self, request: Request, interrupt: bool) -> None:
        if interrupt:
            self.interrupt()
        if len(self._pending) >= self._limits.queued_replies:
            if request.live is not None:
                request.live.stop()
            raise Refused(f"{len(self._pending)} answers are waiting already", code="busy", retryable=True)
        self._pending.append(request)
        self._wake.set()


def _voice(info: Mapping[str, Any] | None) -> str | None:
    voice = (info or {}).get("voice")
    return voice if isinstance(voice, str) and voice else None
