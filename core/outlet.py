"""Where worker threads hand in messages for the pages, whether or not a server is running.

The composition root attaches the server's way out (`get_web_instance().send_direct_message`) while it serves; code that
also works by itself, as a recognition client does, needs to know nothing else of the server.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

Deliver = Callable[[dict[str, Any]], int]
"""Sends a message, from any thread, and returns how many sockets took it. Does not raise."""


class Outlet:
    """A way out that may be closed."""

    def __init__(self) -> None:
        self._deliver: Deliver | None = None

    @property
    def open(self) -> bool:
        """Whether a server is running."""
        return self._deliver is not None

    def attach(self, deliver: Deliver) -> None:
        """Messages go out through `deliver` from now on."""
        self._deliver = deliver

    def detach(self, deliver: Deliver) -> None:
        """This way out ends; one that has replaced it stays."""
        if self._deliver == deliver:
            self._deliver = None

    def send(self, message: dict[str, Any]) -> int:
        """How many sockets took the message; 0, and a line in the log, while no server is running."""
        deliver = self._deliver
        if deliver is None:
            log.info("a message for the pages was dropped: no server is running")
            return 0
        return deliver(message)


outlet = Outlet()
"""The one of this process."""
