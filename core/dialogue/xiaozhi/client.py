"""A remote voice: a client of a xiaozhi server that stays connected.

`connect` once, read `events` in one task, call the `send_…` methods from wherever; all on one event loop. Each takes
effect at once, in the order of the calls; none raises, and what it returns, when awaited, says whether the message is
with the server. What belongs to a recording (start, sound, stop) is kept while there is no connection and sent as soon
as there is one, though that said False.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from avatar.opus import packets
from avatar.opus.packets import PacketEncoder, PacketError
from core.dialogue.xiaozhi import framing, protocol
from core.dialogue.xiaozhi.connection import Connection, Message
from core.dialogue.xiaozhi.downlink import Downlink
from core.dialogue.xiaozhi.endpoint import NAME, Endpoint, Options
from core.dialogue.xiaozhi.event_queue import EventQueue
from core.dialogue.xiaozhi.events import Connected, Disconnected, Event, Failed, SpeakingStarted, UserText
from core.dialogue.xiaozhi.failure import Backoff, Complaints, Failure, Reason
from core.dialogue.xiaozhi.framing import Frame, FrameError, Kind
from core.dialogue.xiaozhi.messages import UPLINK_RATE, Goodbye, Malformed, Mcp, Mode, Unknown
from core.dialogue.xiaozhi.protocol import read_from_server
from core.dialogue.xiaozhi.recording import Recording
from core.dialogue.xiaozhi.sent import Sent, all_sent, not_sent
from core.dialogue.xiaozhi.session import Session, State
from core.dialogue.xiaozhi.tools import ToolCalls, Tools
from core.errors import DialogueError
from core.frames import Samples

log = logging.getLogger(__name__)

Finder = Callable[[], Awaitable[Endpoint]]
"""Asked before each attempt. Raises `DialogueError`."""


class XiaozhiClient:
    """See above. `endpoint`: where the server is, or how to find it. `tools` are offered to the server's mind.
    `backoff` and `tls` may be replaced."""

    def __init__(
        self,
        endpoint: Endpoint | Finder,
        options: Options | None = None,
        *,
        tools: Tools | None = None,
        backoff: Backoff | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._find = None if isinstance(endpoint, Endpoint) else endpoint
        self._endpoint = endpoint if isinstance(endpoint, Endpoint) else None
        self._options = options or Options()
        self._tools = tools or Tools(self._options.tool_timeout_s)
        self._backoff = backoff or Backoff()
        self._tls = tls
        self._queue = EventQueue(self._options.queued_s)
        self._encoder: PacketEncoder | None = None
        self._recording: Recording | None = None
        self._connection: Connection | None = None
        self._session: Session | None = None
        self._without = State.DISCONNECTED
        self._replies = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._hurry = asyncio.Event()
        self._told: str | None = None
        self._complaints = Complaints()
        self.sessions = 0
        """Sessions that were opened."""

    # -- life

    async def connect(self) -> None:
        """Begin: returns at once, `Connected` or `Failed` is told. After a final failure it begins again, after `close`
        it doesn't.

        Raises `DialogueError` for wrong settings, `AdapterError` where there is no libopus.
        """
        if self._find is None and self._endpoint is not None:
            self._endpoint.check()
        if self._encoder is None:
            self._encoder = await asyncio.to_thread(PacketEncoder, UPLINK_RATE, self._options.frame_ms)
        if self._task is None or self._task.done():
            self._told = None
            self._task = asyncio.create_task(self._run(), name="xiaozhi client")

    async def close(self) -> None:
        """End the session and free everything; what was told so far can still be read. Idempotent."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._recording = None
        self._queue.close()

    async def events(self) -> AsyncIterator[Event]:
        """What happens, in order, for one listener at a time; ends after `close`.

        While the listener is slow the server has to wait. Nothing of an aborted reply is told after the abort.
        """
        while (event := await self._queue.get()) is not None:
            yield event

    @property
    def state(self) -> State:
        """What the client is doing."""
        return self._session.state if self._session else self._without

    @property
    def owes_reply(self) -> bool:
        """Whether the server speaks, or may begin to: it has something to be aborted."""
        if self._session is None or self.state is State.READY:
            return False
        return self.state is not State.LISTENING or self._session.mode is not Mode.MANUAL

    @property
    def session_id(self) -> str:
        """The server's name for the session; "" without one."""
        return self._connection.hello.session_id if self._connection else ""

    @property
    def waiting_s(self) -> float:
        """Seconds of sound that wait for the listener."""
        return self._queue.seconds

    # -- what the user does

    def send_start_listening(self, mode: str = "auto") -> Sent:
        """A recording begins, in mode "auto", "manual" or "realtime" (see `Mode`). A reply that sounds or is awaited
        is aborted (not in realtime mode). After a reply in auto mode the next recording begins with this again.
        """
        if mode not in tuple(Mode):
            log.warning("xiaozhi: no such listening mode")
            return not_sent()
        if self.state in (State.SPEAKING, State.PROCESSING) and mode != Mode.REALTIME:
            self.send_abort()
        if self._encoder is not None:
            self._encoder.drop()
        self._recording = Recording(Mode(mode), self._options.kept_s, self._now())
        if self._session is None or self._connection is None:
            self._hurry.set()
            return not_sent()
        self._session.listen(Mode(mode))
        return self._send_json(protocol.listen_start(self.session_id, Mode(mode)))

    def send_stop_listening(self) -> Sent:
        """The user's turn is over (manual mode; in the others it turns the microphone off). False without a recording,
        too."""
        recording = self._recording
        if recording is None or recording.stopped:
            return not_sent()
        if self._encoder is not None:
            for packet in self._encoder.finish():
                self._offer(packet)
        recording.stopped = True
        if self._session is None:
            return not_sent()
        self._session.stop()
        return self._send_json(protocol.listen_stop(self.session_id))

    def drop_recording(self) -> None:
        """What is being recorded, or was not understood yet, is not wanted. The protocol has no word for it: the next
        recording begins anew, and in manual mode the server does nothing with one that was not stopped."""
        self._recording = None
        if self._encoder is not None:
            self._encoder.drop()
        if self._session is not None:
            self._session.drop()

    def send_audio(self, data: bytes) -> Sent:
        """One Opus packet of 16 kHz sound. False, too, when none is wanted: no recording, it was stopped, or the
        server speaks (but in realtime mode)."""
        return self._offer(data) or not_sent()

    def send_pcm(self, samples: Samples) -> Sent:
        """As `send_audio`, for sound that is still to be encoded: int16, 16 kHz, any length. True for less than a
        packet, which waits for more."""
        if self._encoder is None or self._recording is None or self._recording.stopped:
            return not_sent()
        return all_sent(self._offer(packet) or not_sent() for packet in self._encoder.encode(samples))

    def send_detect(self, text: str) -> Sent:
        """A wake word, or what the user typed."""
        if self._session is not None:
            self._session.detect()
        return self._send_json(protocol.listen_detect(self.session_id, text))

    def send_abort(self, reason: str = "") -> Sent:
        """Stop the reply; `reason` "" is the user's interruption, else "wake_word_detected". Nothing of the reply is
        told any more, and the server is asked to be silent. A recording that ended but was not understood yet is
        forgotten."""
        if self._recording is not None and self._recording.stopped:
            self._recording = None
        self._queue.drop_reply(self._session.reply if self._session else self._replies)
        if self._session is None:
            return not_sent()
        self._tell(self._session.abort(self._now()))
        return self._send_json(protocol.abort(self.session_id, reason))

    def send_message(self, message: Mapping[str, Any]) -> Sent:
        """Any JSON object, as it is."""
        return self._send_json(message)

    # -- sending

    def _offer(self, packet: bytes) -> Sent | None:
        """Keep a packet of the recording and have it sent if that can be. None if it is not wanted."""
        recording = self._recording
        if recording is None or recording.stopped or (self._session is not None and not self._session.takes_audio):
            return None
        try:
            recording.add(packet, packets.seconds(packet), self._now())
        except PacketError as error:
            log.debug("xiaozhi: not sent: %s", str(error))
            return None
        return self._connection.send(self._framed(packet)) if self._connection else None

    def _send_json(self, message: Mapping[str, Any]) -> Sent:
        text = protocol.encode(message)
        if text is None:
            log.warning("xiaozhi: not sent: no JSON")
            return not_sent()
        return self._connection.send(text) if self._connection else not_sent()

    def _framed(self, packet: bytes) -> Message:
        return framing.encode(Frame(packet), self._version)

    @property
    def _version(self) -> int:
        assert self._endpoint is not None, "there is a connection"
        return self._endpoint.version

    def _resume(self, connection: Connection, session: Session) -> None:
        """A new session: it gets the recording that the last one did not understand."""
        recording = self._recording
        if recording is None:
            return
        if self._now() - recording.at > self._options.stale_s:
            recording.understood()  # nobody waits for an answer to it
            if recording.stopped:
                self._recording = None
                return
        session.listen(recording.mode)
        start = protocol.listen_start(connection.hello.session_id, recording.mode)
        connection.send(protocol.encode(start) or "")
        for packet in recording.packets:
            connection.send(self._framed(packet))
        if recording.stopped:
            session.stop()
            connection.send(protocol.encode(protocol.listen_stop(connection.hello.session_id)) or "")

    # -- staying connected

    async def _run(self) -> None:
        try:
            while not self._closed:  # a task group that fails at that moment swallows the cancellation
                await self._queue.room()
                self._hurry.clear()
                failure = await self._attempt()
                # as text: the log leaves the words of unknown exceptions out, and a record would keep all they hold
                self._log(self._complaints.failed(failure, self._now()))
                if failure.final:
                    self._without = State.ERROR
                    return
                self._without = State.DISCONNECTED
                await self._rest(self._backoff.pause())
                del failure  # its traceback would keep the connection and its decoder
        except Exception:  # a fault of ours: the owner is told, and may connect again
            log.exception("the xiaozhi client stopped")
            self._queue.put(Failed(DialogueError("xiaozhi voice service: an internal error", adapter=NAME)))
            self._without = State.ERROR
        except asyncio.CancelledError:
            self._without = State.DISCONNECTED
            raise

    async def _attempt(self) -> Failure:
        """One connection, from its opening to its end."""
        self._without = State.CONNECTING
        try:
            endpoint = self._endpoint = await self._found()
            connection = await Connection.open(endpoint, self._options, tls=self._tls)
        except Failure as failure:
            self._failed(failure)
            return failure
        self._told = None
        end = Failure(Reason.CLOSED)
        try:
            end = await self._serve(connection)
        finally:
            self._forget(end)
            await connection.close()
        if end.final:
            self._failed(end)
        return end

    async def _found(self) -> Endpoint:
        if self._find is None:
            assert self._endpoint is not None
            return self._endpoint
        try:
            endpoint = await self._find()
            endpoint.check()
        except DialogueError as error:
            raise Failure(Reason.NOT_FOUND, error.code, error) from None
        return endpoint

    async def _serve(self, connection: Connection) -> Failure:
        self.sessions += 1
        opened = self._now()
        session = self._session = Session(self._replies)
        self._connection = connection
        self._queue.put(Connected(connection.hello.session_id))
        self._log(self._complaints.connected(opened))
        self._resume(connection, session)
        end = Failure(Reason.CLOSED)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(connection.write(), name="xiaozhi writer")
                tasks.create_task(connection.beat(), name="xiaozhi heartbeat")
                calls = ToolCalls(self._tools, tasks, self._answer_call)
                tasks.create_task(self._read(connection, session, calls), name="xiaozhi reader")
        except* Failure as group:
            end = next(error for error in group.exceptions if isinstance(error, Failure))
        if session.reply > self._replies or self._now() - opened >= self._options.useful_s:
            self._backoff.succeeded()
            self._complaints.succeeded()
        return end

    def _failed(self, failure: Failure) -> None:
        """Told once, however often it is tried again."""
        error = failure.error()
        if error.code != self._told:
            self._told = error.code
            self._queue.put(Failed(error))

    def _forget(self, failure: Failure) -> None:
        """The session is over: its state goes, the owner is told."""
        session, self._session, self._connection = self._session, None, None
        if session is not None:
            self._replies = session.reply
            self._tell(session.end())
        self._queue.put(Disconnected(failure.reason, failure.normal))

    async def _rest(self, pause: float) -> None:
        """Until the next attempt; who begins to speak does not wait."""
        try:
            async with asyncio.timeout(pause):
                await self._hurry.wait()
        except TimeoutError:
            return

    # -- reading

    async def _read(self, connection: Connection, session: Session, calls: ToolCalls) -> None:
        downlink = Downlink(connection.hello.audio.sample_rate)
        while True:
            connection.paused = True
            await self._queue.room()
            connection.paused = False
            message = await connection.receive()
            arrived = time.monotonic()
            if isinstance(message, bytes):
                try:
                    frame = framing.decode(message, self._version)
                except FrameError as error:
                    log.debug("xiaozhi: a message was left out: %s", str(error))
                    continue
                if frame.kind is Kind.OPUS:
                    if session.gives_audio:
                        self._tell(session.sound(downlink.sound(frame), arrived))
                    continue
                message = frame.payload.decode("utf-8", "replace")
            await self._take(message, session, calls)

    async def _take(self, text: str, session: Session, calls: ToolCalls) -> None:
        message = read_from_server(text)
        match message:
            case Mcp(payload):
                await calls.begin(payload)
            case Goodbye():
                raise Failure(Reason.ENDED, "goodbye")
            case Unknown() | Malformed():
                log.debug("xiaozhi: left out: %s", message)
            case _:
                events = session.take(message)
                self._tell(events)
                for event in events:
                    self._understood(event)

    def _understood(self, event: Event) -> None:
        """Whether the recording is not needed any more."""
        recording = self._recording
        if recording is None or not isinstance(event, UserText | SpeakingStarted):
            return
        recording.understood()
        if recording.stopped or (recording.mode is Mode.AUTO and isinstance(event, SpeakingStarted)):
            self._recording = None

    async def _answer_call(self, answer: dict[str, Any]) -> None:
        await self._send_json(protocol.mcp(self.session_id, answer))

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            self._queue.put(event)

    def _log(self, line: tuple[int, str]) -> None:
        level, text = line
        log.log(level, "xiaozhi: %s", text)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
