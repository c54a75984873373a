"""WSA: pages ("web") and digital humans ("human") register under a username to receive messages."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial

from core.errors import BadRequest, Unauthorized
from core.identity import normalize_username, session_id_of, username_of
from core.messages import Message, Register, parse, wsa_error, wsa_registered, wsa_status
from core.services.base import WebSocketServiceBase
from core.services.registrations import Claim, Registrations
from core.services.wsa_channel import CommandQueue, WSAChannel, channel
from core.services.wsa_message import addressed, username_in
from core.thread_push import ThreadPush
from core.websocket_manager import Handler, UnifiedWebSocketManager, WebSocketSession

logger = logging.getLogger(__name__)

ROLES = ("web", "human")
MAX_NAME = 128
NOBODY = username_of(None)
"""The name of a page that does not know its session yet: it is nobody's, and only gets what goes to everyone."""


class WSAWebSocketService(WebSocketServiceBase):
    """`wsa_register_web/_human` and `wsa_unregister_web/_human`; delivery to those who registered.

    `may_claim(session_id, token)` is asked when a socket wants the username of a session that is not its own; it
    raises `Unauthorized`. A registration is idempotent, one username per socket and role; the others of a username
    are told who comes and goes. Between `start` and `close` it serves `get_web_instance()` and `get_instance()`.
    """

    name = "wsa"

    def __init__(self, manager: UnifiedWebSocketManager, may_claim: Callable[[str, str | None], None]) -> None:
        super().__init__(manager)
        self._may_claim = may_claim
        self._registrations: Registrations[WebSocketSession] = Registrations()
        self._threads = ThreadPush()
        self._commands = {role: CommandQueue(partial(self._deliver, role)) for role in ROLES}
        self.conflicts = 0
        """How often a socket took a username that one of another session had, without proof that both are one."""

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """See `WebSocketServiceBase`."""
        return {
            f"wsa_{verb}_{role}": partial(handler, role)
            for role in ROLES
            for verb, handler in (("register", self._register), ("unregister", self._unregister))
        }

    async def start(self) -> None:
        """Serve other parts of the program, from any thread."""
        loop = asyncio.get_running_loop()
        self._threads.attach(loop)
        for role in ROLES:
            self._commands[role].attach(loop)
            channel(role).attach(self)

    async def close(self) -> None:
        """Serve them no more; whoever waits is told that nobody was reached."""
        for role in ROLES:
            channel(role).detach(self)
            self._commands[role].detach()
        self._threads.detach()

    def closed(self, socket: WebSocketSession) -> None:
        """A socket that is closed, or belongs to another session now, is registered nowhere."""
        for role in ROLES:
            self._leave(role, socket)

    # -- for channels, from any thread

    def usernames(self, role: str) -> list[str]:
        """Who is registered in this role."""
        return self._registrations.usernames(role)

    def is_connected(self, role: str, username: str) -> bool:
        """Whether somebody is registered in this role under the name, however it is spelled."""
        return bool(self._registrations.claims(role, normalize_username(username)))

    def commands(self, role: str) -> CommandQueue:
        """What waits to go out on the command path."""
        return self._commands[role]

    def push(self, role: str, message: Message, timeout_s: float) -> int:
        """Send a checked message now; how many sockets took it. 0 when that takes longer than `timeout_s`."""
        return self._threads.push(partial(self._deliver, role, message), timeout_s)

    # -- registering

    async def _register(self, role: str, socket: WebSocketSession, data: Message) -> None:
        wish = parse(Register, data)
        try:
            username = _usable(wish.username)
            claim = self._claim(socket, username, wish.token)
        except BadRequest as error:
            socket.send_message(wsa_error("bad_username", str(error), data["type"]))
            return
        except Unauthorized as error:
            socket.send_message(wsa_error("auth_failed", str(error), data["type"]))
            return
        new = self._registrations.names(socket).get(role) != username
        if new:
            self._leave(role, socket)
            self._look_for_rivals(socket, username, claim)
        self._registrations.put(role, username, socket, claim)
        socket.registrations[role] = username
        count = self._count(role, username)
        socket.send_message(wsa_registered(role, wish.username, socket.session_id, count))
        if new:
            self._tell_others(role, username, socket)

    async def _unregister(self, role: str, socket: WebSocketSession, data: Message) -> None:
        username = normalize_username(parse(Register, data).username)
        if self._registrations.names(socket).get(role) == username:
            self._leave(role, socket)
        socket.send_message(wsa_status(role, username[:MAX_NAME], False, self._count(role, username)))

    def _claim(self, socket: WebSocketSession, username: str, token: str | None) -> Claim:
        owner = _owner(username)
        if owner is None or owner == socket.session_id:
            return Claim(socket.session_id, proven=owner is not None)
        self._may_claim(owner, token)
        return Claim(socket.session_id, proven=token is not None)

    def _look_for_rivals(self, socket: WebSocketSession, username: str, claim: Claim) -> None:
        claims: dict[WebSocketSession, Claim] = {}
        for role in ROLES:
            claims |= self._registrations.claims(role, username)
        if username == NOBODY or socket in claims:
            return
        rivals = {
            other.session_id
            for other in claims.values()
            if other.session_id != claim.session_id and not (other.proven and claim.proven)
        }
        if rivals:
            self.conflicts += 1
            names = ", ".join(sorted(rivals))
            logger.warning(
                "username %s of session(s) %s is claimed by session %s too", username, names, claim.session_id
            )

    def _leave(self, role: str, socket: WebSocketSession) -> None:
        socket.registrations.pop(role, None)
        if (username := self._registrations.drop(role, socket)) is not None:
            self._tell_others(role, username, socket)

    def _tell_others(self, role: str, username: str, socket: WebSocketSession) -> None:
        if username == NOBODY:  # its sockets have nothing to do with each other
            return
        count = self._count(role, username)
        others = dict.fromkeys(s for held in ROLES for s in self._registrations.claims(held, username) if s != socket)
        for other in others:
            other.send_message(wsa_status(role, username, count > 0, count))

    def _count(self, role: str, username: str) -> int:
        return len(self._registrations.claims(role, username))

    # -- delivering, on the event loop

    def _deliver(self, role: str, message: Message) -> int:
        username = username_in(message)
        if username == NOBODY:
            reached = 0
        elif username:
            reached = self._deliver_to(role, username, message, everybody=False)
        else:
            names = self._registrations.usernames(role)
            reached = sum(self._deliver_to(role, name, message, everybody=True) for name in names)
        logger.debug("%s for %s as %s: %d reached", message["type"], username or "everyone", role, reached)
        return reached

    def _deliver_to(self, role: str, username: str, message: Message, *, everybody: bool) -> int:
        message = addressed(message, username)
        registered = self._registrations.claims(role, username)
        if role == "human":
            return sum(socket.send_message(message) for socket in registered)
        owner, reached = _owner(username), 0
        if owner is not None:
            wants = registered.__contains__ if everybody else _shows_pages
            reached = self._manager.deliver(owner, message, wants=wants).reached
        return reached + sum(socket.send_message(message) for socket in registered if socket.session_id != owner)


def get_web_instance() -> WSAChannel:
    """The way to the pages. Always the same object, usable from any thread."""
    return channel("web")


def get_instance() -> WSAChannel:
    """The way to the digital humans. Always the same object, usable from any thread."""
    return channel("human")


def _usable(name: str) -> str:
    username = normalize_username(name)
    if not username or len(username) > MAX_NAME or not username.isprintable():
        raise BadRequest(f"username: expected User_<session id>, at most {MAX_NAME} printable characters")
    if username.lower() == "user_" or (_owner(username) or username) not in (username, username.removeprefix("User_")):
        raise BadRequest("username: expected User_<session id>")
    return username


def _owner(username: str) -> str | None:
    """The session that a username is derived from; None for a plain label and for nobody's."""
    if username == NOBODY or not username.startswith("User_"):
        return None
    return session_id_of(username.removeprefix("User_"))


def _shows_pages(socket: WebSocketSession) -> bool:
    return set(socket.registrations) != {"human"}
