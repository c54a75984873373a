"""How other parts of the program reach those who registered: from any thread, and also while no server is up."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from core.messages import Message
from core.services.wsa_message import checked, is_command

logger = logging.getLogger(__name__)

MAX_COMMANDS = 256
"""Commands that may wait; further ones are refused, so that the caller knows."""
PUSH_TIMEOUT_S = 5.0


class CommandQueue:
    """Commands on their way to the event loop: bounded, in order, one wake-up per batch.

    `deliver(message)` is called on the loop for what `get` returns.
    """

    def __init__(self, deliver: Callable[[Message], object]) -> None:
        self._deliver = deliver
        self._waiting: deque[Message] = deque()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Deliver on this loop from now on."""
        with self._lock:
            self._loop, self._woken = loop, False

    def detach(self) -> None:
        """Deliver no more; what waits is dropped."""
        with self._lock:
            self._loop = None
            self._waiting.clear()

    def put(self, message: Message) -> bool:
        """Queue a command. False when nobody delivers, or too many wait. Never blocks."""
        with self._lock:
            if self._loop is None or len(self._waiting) >= MAX_COMMANDS:
                return False
            if not self._woken:
                try:
                    self._loop.call_soon_threadsafe(self._drain)
                except RuntimeError:  # the loop was closed without a word
                    return False
                self._woken = True
            self._waiting.append(message)
            return True

    def get(self) -> Message | None:
        """Take the command that has waited longest; None when there is none."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def _drain(self) -> None:
        with self._lock:
            self._woken = False
        while (message := self.get()) is not None:
            self._deliver(message)


class Deliverer(Protocol):
    """The service, as a channel uses it from any thread."""

    def usernames(self, role: str) -> list[str]:
        """Who is registered in this role."""

    def is_connected(self, role: str, username: str) -> bool:
        """Whether somebody is registered in this role under the name."""

    def commands(self, role: str) -> CommandQueue:
        """What waits to go out on the command path."""

    def push(self, role: str, message: Message, timeout_s: float) -> int:
        """Send a checked message now; how many sockets took it."""


class WSAChannel:
    """Reaches everybody who registered in one role. While no service is up every call says so in the log and answers
    False, 0, None or an empty list; none ever raises or blocks for longer than `PUSH_TIMEOUT_S`.
    """

    def __init__(self, role: str) -> None:
        self._role = role
        self._service: Deliverer | None = None

    def attach(self, service: Deliverer) -> None:
        """Reach them through this service from now on."""
        self._service = service

    def detach(self, service: Deliverer) -> None:
        """This service ends; one that has replaced it stays."""
        if self._service is service:
            self._service = None

    def is_connected(self, username: str) -> bool:
        """Whether anybody is registered under this username (however it is spelled)."""
        service = self._service
        return service is not None and service.is_connected(self._role, username)

    def get_usernames(self) -> list[str]:
        """The usernames that are registered."""
        service = self._service
        return service.usernames(self._role) if service is not None else []

    def add_cmd(self, content: Message) -> bool:
        """Send a command: `control` or `broadcast`, to its `Username` or, without one, to everybody registered.

        It goes out as `wsa_command`, a moment later and in order. Data (a chat line, a status …) belongs on
        `send_direct_message`; it goes out unwrapped, with a warning. False: refused, nothing will be sent.
        """
        message = checked(content)
        if message is None:
            return False
        if not is_command(message):
            logger.warning("%s was handed to add_cmd: sent as data; use send_direct_message", message["type"][:64])
        service = self._running("command")
        if service is None:
            return False
        if not service.commands(self._role).put(message):
            logger.warning(
                "%s refused: %d commands wait, or the server is stopping", message["type"][:64], MAX_COMMANDS
            )
            return False
        return True

    def get_cmd(self) -> Message | None:
        """Take the next command off the queue; it is then the caller's to deliver. None when none waits."""
        service = self._service
        return service.commands(self._role).get() if service is not None else None

    def send_direct_message(self, message: Message, target: str = "web") -> int:
        """Send data unwrapped to the message's `Username` or, without one, to everybody registered.

        `target`: "web" or "human", whichever channel this is. To pages it is a message of the username's session, kept
        for those that come back, and reaches others that registered under the name. Returns how many sockets took it.
        A command belongs on `add_cmd`; it goes out wrapped all the same, with a warning.
        """
        if target not in _CHANNELS:
            logger.warning("no message can be sent to %r: web and human are known", target)
            return 0
        own = checked(message)
        if own is None:
            return 0
        if is_command(own):
            logger.warning("a command was handed to send_direct_message: sent wrapped; use add_cmd")
        service = self._running("message")
        return 0 if service is None else service.push(target, own, PUSH_TIMEOUT_S)

    def _running(self, what: str) -> Deliverer | None:
        service = self._service
        if service is None:
            logger.warning("a %s for %s sockets was dropped: no server is running", what, self._role)
        return service


_CHANNELS = {role: WSAChannel(role) for role in ("web", "human")}


def channel(role: str) -> WSAChannel:
    """The one channel of a role."""
    return _CHANNELS[role]
