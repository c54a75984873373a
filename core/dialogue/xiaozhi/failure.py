"""How a connection to a xiaozhi server ends, and when to try again. Sans-I/O."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from enum import StrEnum

from core.dialogue.xiaozhi.endpoint import NAME
from core.errors import DialogueError


class Reason(StrEnum):
    """Why there is no connection (any more)."""

    ENDED = "ended"
    """The server ended the session in order (1000, 1001, 1005, goodbye)."""
    LOST = "lost"
    """The connection broke off (1006), or the server failed (1011 and others)."""
    SILENT = "silent"
    """Nothing came from the server for too long, or it takes nothing."""
    UNREACHABLE = "unreachable"
    NO_HELLO = "no_hello"
    NOT_FOUND = "not_found"
    """Nobody knows where it is (OTA)."""
    REFUSED = "refused"
    """Of the credentials, the address or the protocol (HTTP 4xx, 1008): trying again doesn't help."""
    CERTIFICATE = "certificate"
    CLOSED = "closed"
    """By us."""


_FINAL = (Reason.REFUSED, Reason.CERTIFICATE, Reason.CLOSED)
_WORDS = {
    Reason.ENDED: "the server ended the session",
    Reason.LOST: "the connection broke off; check the network",
    Reason.SILENT: "the server does not answer any more; check the network",
    Reason.UNREACHABLE: "the server can't be reached; check url and the network",
    Reason.NO_HELLO: "the server sent no hello; check url and token",
    Reason.NOT_FOUND: "the OTA address did not tell where the server is",
    Reason.REFUSED: "the server refuses the connection; check token, device_id and url",
    Reason.CERTIFICATE: "the server's certificate is not trusted; check url and the clock",
    Reason.CLOSED: "closed",
}


class Failure(Exception):
    """A connection is over, or did not come about. `detail` is for the log and quotes nothing that the server said.

    `cause`: an error that says more than the reason.
    """

    def __init__(self, reason: Reason, detail: str = "", cause: DialogueError | None = None) -> None:
        super().__init__(f"{reason}: {_WORDS[reason]}" + (f" ({detail})" if detail else ""))
        self.reason = reason
        self._cause = cause

    @property
    def normal(self) -> bool:
        """An end in order, no fault."""
        return self.reason in (Reason.ENDED, Reason.CLOSED)

    @property
    def final(self) -> bool:
        """Trying again doesn't help."""
        return self.reason in _FINAL or (self._cause is not None and not self._cause.retryable)

    def error(self) -> DialogueError:
        """Fit for the page."""
        if self._cause is not None:
            return self._cause
        message = f"xiaozhi voice service: {_WORDS[self.reason]}"
        return DialogueError(message, adapter=NAME, code=f"{NAME}_{self.reason}", retryable=not self.final)


def failure_of_close(code: int) -> Failure:
    """What a close code means; 1006 where there was no close frame."""
    if code in (1000, 1001, 1005):
        return Failure(Reason.ENDED, f"close code {code}")
    return Failure(Reason.REFUSED if code == 1008 else Reason.LOST, f"close code {code}")


class Backoff:
    """Pauses before the next attempt: 0.25, 0.5, 1 s, then 1.5 s for about a minute, then 10 s; each shortened by up to
    half of itself, so that many clients don't come at once. `chance`: a random number in [0, 1).
    """

    _QUICK = (0.25, 0.5, 1.0, *(1.5,) * 40)
    _SLOW = 10.0

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._chance = chance
        self._failures = 0

    def pause(self) -> float:
        """Seconds to wait after one more failure."""
        pause = self._QUICK[self._failures] if self._failures < len(self._QUICK) else self._SLOW
        self._failures += 1
        return pause * (1 - 0.5 * self._chance())

    def succeeded(self) -> None:
        """The next failure is the first one again."""
        self._failures = 0


class Complaints:
    """What the log says of failures: the first at once, while it goes on one line a minute, and when it is over.

    Times are monotonic seconds.
    """

    EVERY_S = 60.0

    def __init__(self) -> None:
        self._said_at: float | None = None
        self._since = 0.0
        """When the failures that are not over began."""
        self._failing = False
        self._unsaid = 0
        self._told = False
        """The log says that it fails."""

    def failed(self, failure: Failure, now: float) -> tuple[int, str]:
        """Level and text of the line: a debug line for what need not be said again."""
        if not self._failing:
            self._failing, self._since = True, now
        if self._said_at is not None and now - self._said_at < self.EVERY_S and not failure.final:
            self._unsaid += 1
            return logging.DEBUG, str(failure)
        more = f"; {self._unsaid} more since the last line" if self._unsaid else ""
        self._said_at, self._unsaid, self._told = now, 0, True
        return logging.INFO if failure.normal else logging.WARNING, f"{failure}{more}"

    def connected(self, now: float) -> tuple[int, str]:
        """It stands again. Level and text: an info line when the log says that it fails."""
        told, failing = self._told, self._failing
        self._told = self._failing = False
        after = f" again, after {now - self._since:.0f} s" if failing else ""
        return logging.INFO if told else logging.DEBUG, f"connected{after}"

    def succeeded(self) -> None:
        """The connection was of use: its end is worth a line."""
        self._said_at = None
        self._unsaid = 0
