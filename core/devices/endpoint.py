"""The WebSocket at which devices talk, and which session each of them has."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from weakref import WeakValueDictionary

from aiohttp import WSMessage, WSMsgType, web

from core.cast import Cast
from core.devices import messages
from core.devices.caller import DeviceCaller, caller_of
from core.devices.device import GOING_AWAY, NORMAL, Device
from core.devices.discovery import Discovery
from core.devices.door import Door
from core.devices.line import DeviceLine
from core.devices.options import DeviceOptions
from core.devices.tally import DeviceTally
from core.dialogue.xiaozhi.messages import ClientHello
from core.dialogue.xiaozhi.protocol import read_from_client
from core.errors import BadRequest, EmanError, Refused, Unauthorized
from core.events import Event
from core.frames import Utterance
from core.log import bound
from core.session import Session
from core.sessions import Sessions
from core.websocket_session import TRANSPORT

logger = logging.getLogger(__name__)

HELLO_TIMEOUT_S = 10.0
MAX_MESSAGE = 256 << 10
"""Bytes; a larger message closes the socket with 1009. The longest ones are lists of a device's tools."""
POLICY, TRY_LATER, INTERNAL = 1008, 1013, 1011
MOST_DEVICES = 1024
"""Devices whose conversation is known; beyond that the one that was away for the longest time begins anew."""
PAGE = "xiaozhi"
"""As `Session.page`, until a page watches."""


class DeviceEndpoint:
    """The routes; also a watcher of what happens in sessions (`record`).

    `recall(session_id)` gives the last turns of a conversation whose session is over, as far as they were kept.
    """

    def __init__(
        self,
        sessions: Sessions,
        cast: Cast,
        door: Door,
        options: DeviceOptions,
        recall: Callable[[str], Awaitable[Sequence[Utterance]]],
    ) -> None:
        self._sessions = sessions
        self._cast = cast
        self._door = door
        self._options = options
        self._recall = recall
        self._discovery = Discovery(door, options)
        self._homes: OrderedDict[tuple[str, str], str] = OrderedDict()
        """Device → id of its session, the latest last; it may be over."""
        self._devices: dict[str, Device] = {}
        """Id of a session → the device that is attached to it."""
        self.lines: set[DeviceLine] = set()
        """Open sockets."""
        self._moving_in: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        """One connection of a device after the other; those of others need not wait."""
        self._serving: set[Device] = set()
        self._gone = DeviceTally()
        """Of those that are gone."""

    def routes(self) -> list[web.RouteDef]:
        """For `Application.add_routes`."""
        routes, found = [], self._discovery
        for path in self._options.paths:
            routes += [web.get(spelling, self.talk) for spelling in _spellings(path)]
        for path in self._options.ota_paths:
            for spelling in _spellings(path):
                routes += [web.get(spelling, found.where), web.post(spelling, found.discover)]
        return routes

    # -- the WebSocket

    async def talk(self, request: web.Request) -> web.StreamResponse:
        """Serve one device until it goes."""
        websocket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE, autoping=False, compress=False)
        if not websocket.can_prepare(request):
            return await self._discovery.where(request)
        may_send = self._door.admit(request)
        refusal, caller = self._examined(request)
        await websocket.prepare(request)
        websocket[TRANSPORT] = request.transport
        line = DeviceLine(websocket, caller.device_id if caller is not None else "?")
        self.lines.add(line)
        code = INTERNAL
        try:
            if caller is None:
                logger.info("a device was refused: %s", refusal)
                line.say(messages.alert(refusal))
                code = POLICY
            else:
                code = await self._serve(request, line, caller, may_send)
        except ConnectionError as error:
            logger.info("device %s is gone: %r", line.name, error)
        finally:
            await line.close(code)
            self.lines.discard(line)
        return websocket

    def record(self, session_id: str, event: Event) -> None:
        """Watch one event of a session."""
        device = self._devices.get(session_id)
        if device is not None:
            device.on_event(event)

    def ended(self, session_id: str) -> None:
        """A session has ended: its device is let go."""
        device = self._devices.pop(session_id, None)
        if device is not None:
            device.leave(GOING_AWAY if self._sessions.stopping else NORMAL)
            device.detach()

    @property
    def connected(self) -> int:
        """Devices that have a session."""
        return len(self._devices)

    @property
    def tally(self) -> DeviceTally:
        """What was lost of all devices' sound so far."""
        total = self._gone
        for device in self._serving:
            total = total.plus(device.tally)
        return total

    async def close(self) -> None:
        """Let all devices go: the server stops."""
        for device in list(self._devices.values()):
            device.leave(GOING_AWAY)
        lines = list(self.lines)
        if lines:
            await asyncio.gather(*(line.close(GOING_AWAY) for line in lines))

    # -- inside

    def _examined(self, request: web.Request) -> tuple[str, DeviceCaller | None]:
        try:
            caller = caller_of(request.headers, request.query)
            self._door.enter(request, caller)
        except (BadRequest, Unauthorized) as error:
            return str(error), None
        return "", caller

    async def _serve(
        self, request: web.Request, line: DeviceLine, caller: DeviceCaller, may_send: Callable[[], bool]
    ) -> int:
        """Returns the code to close with."""
        hello = await self._hello(line)
        if hello is None:
            return POLICY
        try:
            device = Device(line, caller.version or hello.version, self._options.talk, may_send)
            session = await self._move_in(request, device, caller, line)
        except EmanError as error:
            logger.info("device %s: no session: %s", line.name, error.code)
            line.say(messages.alert(str(error)))
            return TRY_LATER if isinstance(error, Refused) else INTERNAL
        self._serving.add(device)
        since = time.monotonic()
        try:
            with bound(session.id):
                await device.run()
        finally:
            self._move_out(device, session)
            self._serving.discard(device)
            self._gone = self._gone.plus(device.tally)
            logger.info("device %s left session %s after %.0f s; %s",
                        line.name, session.id, time.monotonic() - since, device.tally.told())  # fmt: skip
        return NORMAL

    async def _hello(self, line: DeviceLine) -> ClientHello | None:
        """The device's hello; None when none came in time. What comes before it is not looked at."""
        until = time.monotonic() + HELLO_TIMEOUT_S
        try:
            while (message := await line.receive(until)) is not None:
                if (hello := _as_hello(message)) is not None:
                    return hello
        except TimeoutError:
            logger.info("device %s: no hello within %g s", line.name, HELLO_TIMEOUT_S)
        return None

    async def _move_in(self, request: web.Request, device: Device, caller: DeviceCaller, line: DeviceLine) -> Session:
        """Take the device's session up again, or open one. Raises `ServerFull`, `Refused`, `FaceError`."""
        moving_in = self._moving_in.setdefault(caller.key, asyncio.Lock())
        async with moving_in:
            home = self._homes.get(caller.key)
            session = self._sessions.get(home or "")
            if session is not None:
                self._turn_out(session)
                logger.info("device %s goes on with session %s", line.name, session.id)
            else:
                self._door.begin(request)
                self._sessions.check_room()
                face = await self._cast.choose(self._options.presenter, self._options.background)
                memory = await self._recall(home) if home is not None else ()
                session, _ = await self._sessions.open(None, page=PAGE, face=face, session_id=home, memory=memory)
            self._remember(caller, session)
            device.attach(session)
            self._devices[session.id] = device
        return session

    def _remember(self, caller: DeviceCaller, session: Session) -> None:
        self._homes[caller.key] = session.id
        self._homes.move_to_end(caller.key)
        while len(self._homes) > MOST_DEVICES:
            self._homes.popitem(last=False)

    def _turn_out(self, session: Session) -> None:
        """The device's earlier connection, which may not have noticed yet that it is dead."""
        earlier = self._devices.pop(session.id, None)
        if earlier is not None:
            earlier.leave(NORMAL)
            earlier.detach()

    def _move_out(self, device: Device, session: Session) -> None:
        if self._devices.get(session.id) is device:
            del self._devices[session.id]
        device.detach()


def _as_hello(message: WSMessage) -> ClientHello | None:
    parsed = read_from_client(message.data) if message.type is WSMsgType.TEXT else None
    return parsed if isinstance(parsed, ClientHello) else None


def _spellings(path: str) -> list[str]:
    """With and without the final slash."""
    bare = path.rstrip("/")
    return [bare, f"{bare}/"] if bare else ["/"]
