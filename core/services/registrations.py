"""Which sockets registered under which username, as what. Pure bookkeeping; may be read from any thread."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

SocketT = TypeVar("SocketT", bound=Hashable)
_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Claim:
    """One socket's registration. `proven`: the username's session is its own, or its token said so."""

    session_id: str
    proven: bool


class Registrations(Generic[SocketT]):
    """Role and username → sockets. A socket has one username per role."""

    def __init__(self) -> None:
        self._claims: dict[_Key, dict[SocketT, Claim]] = {}
        self._names: dict[SocketT, dict[str, str]] = {}
        self._lock = threading.Lock()

    def put(self, role: str, username: str, socket: SocketT, claim: Claim) -> None:
        """Register a socket that holds no other username in this role; again replaces its claim."""
        with self._lock:
            self._claims.setdefault((role, username), {})[socket] = claim
            self._names.setdefault(socket, {})[role] = username

    def drop(self, role: str, socket: SocketT) -> str | None:
        """Forget a socket's registration; the username it had."""
        with self._lock:
            names = self._names.get(socket, {})
            username = names.pop(role, None)
            if not names:
                self._names.pop(socket, None)
            if username is not None:
                sockets = self._claims[role, username]
                del sockets[socket]
                if not sockets:
                    del self._claims[role, username]
            return username

    def names(self, socket: SocketT) -> dict[str, str]:
        """Role → username of a socket."""
        with self._lock:
            return dict(self._names.get(socket, {}))

    def claims(self, role: str, username: str) -> dict[SocketT, Claim]:
        """The sockets of a username in one role, oldest first."""
        with self._lock:
            return dict(self._claims.get((role, username), {}))

    def usernames(self, role: str) -> list[str]:
        """Every username that somebody registered in this role, oldest first."""
        with self._lock:
            return [username for held, username in self._claims if held == role]
