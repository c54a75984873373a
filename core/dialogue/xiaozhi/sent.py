"""Whether what was given to the client is with the server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

Sent = asyncio.Future[bool]
"""Whether a message is with the server, once that is known. Never fails."""


def not_sent() -> Sent:
    """It is not, and won't be."""
    sent: Sent = asyncio.get_running_loop().create_future()
    sent.set_result(False)
    return sent


def all_sent(messages: Iterable[Sent]) -> Sent:
    """Whether all of them are."""
    waiting = list(messages)
    sent: Sent = asyncio.get_running_loop().create_future()

    def look(_: object = None) -> None:
        if not sent.done() and all(one.done() for one in waiting):
            sent.set_result(all(not one.cancelled() and one.result() for one in waiting))

    for one in waiting:
        one.add_done_callback(look)
    look()
    return sent
