"""A xiaozhi server as a voice service (`core.stages.VoiceService`)."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import NoReturn

from avatar.opus.packets import FRAME_MS, PacketEncoder
from core.dialogue.xiaozhi.client import XiaozhiClient
from core.dialogue.xiaozhi.endpoint import NAME, Endpoint, Options
from core.dialogue.xiaozhi.events import (
    Connected,
    Disconnected,
    Emotion,
    Event,
    Failed,
    Notice,
    ReplyAudio,
    ReplyText,
    SpeakingStarted,
    SpeakingStopped,
    UserText,
)
from core.dialogue.xiaozhi.failure import Failure, Reason
from core.dialogue.xiaozhi.messages import UPLINK_RATE, Mode
from core.dialogue.xiaozhi.ota import discover
from core.errors import AdapterError, DialogueError
from core.frames import Expression, Samples
from core.voice_events import (
    Announcement,
    LineDown,
    LineFailed,
    LineUp,
    ReplyBegan,
    ReplyEnded,
    ReplyMood,
    ReplySentence,
    ReplySound,
    Turns,
    UserSaid,
    VoiceEvent,
)

RETRY_S = 30.0
"""What was refused is tried again after so long: a token may be renewed, a device be let in meanwhile."""
_STEP = UPLINK_RATE * 60 // 1000
"""Samples that are encoded in one go: a whole turn would hold the loop for a tenth of a second."""
_TURNS = {Mode.MANUAL: Turns.OURS, Mode.AUTO: Turns.SERVICE, Mode.REALTIME: Turns.OPEN}
MOODS = {
    **dict.fromkeys(("neutral", "angry", "sleepy"), Expression.NEUTRAL),
    **dict.fromkeys(
        ("happy", "laughing", "funny", "loving", "winking", "cool", "relaxed", "delicious", "kissy", "confident",
         "silly"), Expression.HAPPY,
    ),
    **dict.fromkeys(("sad", "crying"), Expression.SAD),
    **dict.fromkeys(("surprised", "shocked"), Expression.SURPRISED),
    **dict.fromkeys(("thinking", "confused"), Expression.THINKING),
    "embarrassed": Expression.APOLOGETIC,
}  # fmt: skip
"""What the face shows for the emotions that servers tell."""


class XiaozhiVoice:
    """Where the server is: `url`, or `ota_url` which tells it. `device_id` and `client_id`: who we are there; made from
    this machine when empty. `mode`: "manual" (our turn-taking), "auto" or "realtime" (the server's).
    """

    name = NAME

    def __init__(
        self,
        *,
        url: str = "",
        ota_url: str = "",
        token: str = "",
        device_id: str = "",
        client_id: str = "",
        version: int = 1,
        mode: str = "manual",
        frame_ms: int = 60,
    ) -> None:
        device = device_id or _device()
        self._endpoint = Endpoint(url, device, client_id or str(uuid.uuid5(uuid.NAMESPACE_URL, device)), token, version)
        self._ota_url = ota_url
        self._mode = mode
        self._frame_ms = frame_ms
        self.turns = _TURNS.get(Mode(mode), Turns.OURS) if mode in tuple(Mode) else Turns.OURS

    async def start(self) -> None:
        """See `core.stages.VoiceService`."""
        if self._mode not in tuple(Mode):
            _refuse("mode must be manual, auto or realtime")
        if self._frame_ms not in FRAME_MS:
            _refuse("frame_ms must be 20, 40 or 60")
        if bool(self._endpoint.url) == bool(self._ota_url):
            _refuse("give either url (ws://…) or ota_url (http://…)")
        if self._ota_url and not self._ota_url.startswith(("http://", "https://")):
            _refuse("ota_url must begin with http:// or https://")
        if not self._ota_url:
            self._endpoint.check()
        await asyncio.to_thread(PacketEncoder, UPLINK_RATE, self._frame_ms)  # whether there is a libopus

    async def close(self) -> None:
        """Nothing to free."""

    def open(self, session_id: str) -> XiaozhiCall:
        """See `core.stages.VoiceService`."""
        where = self._find if self._ota_url else self._endpoint
        options = Options(frame_ms=self._frame_ms, aec=self.turns is Turns.OPEN)
        return XiaozhiCall(XiaozhiClient(where, options), self._mode)

    async def _find(self) -> Endpoint:
        """Ask the OTA address. Raises `DialogueError`, also while the device is not let in."""
        mine = self._endpoint
        found = await discover(self._ota_url, mine.device_id, mine.client_id)
        if found.activation is not None:
            code = found.activation.code
            message = f"xiaozhi: enter the code {code} on the server's page, for the device {mine.device_id}"
            raise DialogueError(message, adapter=NAME, code=f"{NAME}_activation", retryable=True)
        return found.endpoint


class XiaozhiCall:
    """Implements `core.stages.VoiceCall` with a client of its own."""

    def __init__(self, client: XiaozhiClient, mode: str) -> None:
        self._client = client
        self._mode = mode
        self._steps: deque[Callable[[], object]] = deque()
        """What is still to be done, one step in each round of the loop."""
        self._next: asyncio.Handle | None = None
        self._again: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None

    def listen(self, *, until_finish: bool = True) -> None:
        """See `core.stages.VoiceCall`."""
        self._do(partial(self._client.send_start_listening, Mode.MANUAL if until_finish else self._mode))

    def push(self, samples: Samples) -> None:
        """See `core.stages.VoiceCall`."""
        for start in range(0, len(samples), _STEP):
            self._do(partial(self._client.send_pcm, samples[start : start + _STEP]))

    def finish(self) -> None:
        """See `core.stages.VoiceCall`."""
        self._do(self._client.send_stop_listening)

    def ask(self, text: str) -> None:
        """See `core.stages.VoiceCall`."""
        self.abort()
        self._client.send_detect(text)

    def abort(self) -> None:
        """See `core.stages.VoiceCall`."""
        self._steps.clear()
        if self._client.owes_reply:
            self._client.send_abort()
        self._client.drop_recording()

    async def events(self) -> AsyncIterator[VoiceEvent]:
        """See `core.stages.VoiceCall`."""
        try:
            await self._client.connect()
        except AdapterError as error:
            yield LineFailed(DialogueError(str(error), adapter=NAME, code=error.code))
        async for event in self._client.events():
            if isinstance(event, Failed) and not event.error.retryable:
                self._again = asyncio.get_running_loop().call_later(RETRY_S, self._reconnect)
            if (told := _told(event)) is not None:
                yield told

    async def close(self) -> None:
        """See `core.stages.VoiceCall`."""
        self._steps.clear()
        if self._again is not None:
            self._again.cancel()
        if self._connecting is not None:
            await asyncio.wait([self._connecting])
        await self._client.close()

    def _do(self, step: Callable[[], object]) -> None:
        self._steps.append(step)
        if self._next is None:
            self._run()

    def _run(self) -> None:
        self._next = None
        if self._steps:
            self._steps.popleft()()
            self._next = asyncio.get_running_loop().call_soon(self._run)

    def _reconnect(self) -> None:
        self._connecting = asyncio.create_task(self._client.connect(), name="xiaozhi again")


def _told(event: Event) -> VoiceEvent | None:
    match event:
        case Connected():
            return LineUp()
        case Disconnected(Reason.CLOSED, _):
            return None
        case Disconnected(reason, normal):
            return LineDown(None if normal else Failure(reason).error())
        case Failed(error):
            return LineFailed(error)
        case UserText(text):
            return UserSaid(text)
        case SpeakingStarted(reply):
            return ReplyBegan(reply)
        case ReplyText(reply, text):
            return ReplySentence(reply, text)
        case ReplyAudio(reply, pcm, arrived):
            return ReplySound(reply, pcm, arrived)
        case SpeakingStopped(reply, complete):
            return ReplyEnded(reply, complete)
        case Emotion(name):
            return ReplyMood(MOODS[name.lower()]) if name.lower() in MOODS else None
        case Notice(status, message, _):
            return Announcement(": ".join(filter(None, (status.strip(), message.strip()))))
    return None


def _device() -> str:
    """A MAC address for this machine: locally administered, always the same, and nobody's hardware."""
    digest = hashlib.sha256(f"eman {uuid.getnode()}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in bytes([0x02]) + digest[:5])


def _refuse(problem: str) -> NoReturn:
    raise DialogueError(f"xiaozhi: {problem}", adapter=NAME, code=f"{NAME}_settings")
