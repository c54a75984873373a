"""A bounded store of things that are slow to make and shared by threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Shelf(Generic[K, V]):
    """Keeps the `most` things used last. Each is made once, however many threads ask for it at the same time; when
    that fails the next of them tries."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: OrderedDict[K, Future[V]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The thing under `key`, made by `make` in this thread if nobody has it. Raises what `make` raises."""
        while True:
            item, mine = self._item(key)
            if mine:
                return self._make(key, item, make)
            try:
                return item.result()
            except CancelledError:
                continue  # who was making it failed

    def _item(self, key: K) -> tuple[Future[V], bool]:
        with self._lock:
            item = self._items.get(key)
            if item is not None:
                self._items.move_to_end(key)
                return item, False
            item = self._items[key] = Future()
            while len(self._items) > self._most:
                self._items.popitem(last=False)
            return item, True

    def _make(self, key: K, item: Future[V], make: Callable[[], V]) -> V:
        try:
            value = make()
            item.set_result(value)
            return value
        finally:
            if not item.done():
                with self._lock:
                    if self._items.get(key) is item:
                        del self._items[key]
                item.cancel()

    def clear(self) -> None:
        """Keep nothing; who holds something keeps it."""
        with self._lock:
            self._items.clear()

    def __len__(self) -> int:
        return len(self._items)
