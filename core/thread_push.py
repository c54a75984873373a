"""Calls from worker threads into the event loop: in order, one wake-up per batch, never a task, never for ever."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

logger = logging.getLogger(__name__)


class _Push(NamedTuple):
    deliver: Callable[[], int]
    done: Future[int]


class ThreadPush:
    """Runs `deliver` functions of any thread on the loop's thread.

    A pushing thread waits for its own delivery, so no more can wait here than there are threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._waiting: deque[_Push] = deque()
        self._woken = False

    @property
    def waiting(self) -> int:
        """Deliveries that the loop has not taken yet."""
        return len(self._waiting)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Deliver on this loop from now on. To be called on its thread."""
        with self._lock:
            self._loop, self._thread, self._woken = loop, threading.get_ident(), False

    def detach(self) -> None:
        """Deliver no more; whoever waits is told 0 at once."""
        with self._lock:
            self._loop = None
            given_up = list(self._waiting)
            self._waiting.clear()
        for push in given_up:
            if push.done.set_running_or_notify_cancel():
                push.done.set_result(0)

    def push(self, deliver: Callable[[], int], timeout_s: float) -> int:
        """Run `deliver` on the loop's thread and return its result; 0 when it can't run within `timeout_s`.

        It then never runs. Raises what `deliver` raises. On the loop's own thread it runs at once.
        """
        push = _Push(deliver, Future())
        with self._lock:
            inline = self._loop is not None and threading.get_ident() == self._thread
            waits = not inline and self._enqueue(push)
        if inline:  # to wait here would be to wait for oneself
            return deliver()
        if not waits:
            logger.warning("a message from a thread was dropped: the server is not running")
            return 0
        try:
            return push.done.result(timeout_s)
        except TimeoutError:
            if not push.done.cancel():
                return push.done.result()  # it was taken in this very moment
            logger.warning("a message from a thread was dropped: not taken for %.1f s", timeout_s)
            return 0

    def _enqueue(self, push: _Push) -> bool:
        if self._loop is None:
            return False
        if not self._woken:
            try:
                self._loop.call_soon_threadsafe(self._drain)
            except RuntimeError:  # closed without a word
                self._loop = None
                return False
            self._woken = True
        self._waiting.append(push)
        return True

    def _drain(self) -> None:
        with self._lock:
            batch = list(self._waiting)
            self._waiting.clear()
            self._woken = False
        for push in batch:
            if push.done.set_running_or_notify_cancel():
                try:
                    push.done.set_result(push.deliver())
                except Exception as error:  # noqa: BLE001  the thread that waits raises it
                    push.done.set_exception(error)
