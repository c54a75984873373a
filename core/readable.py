"""What can be read of a file whose end is damaged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def readable(items: Iterable[Item], damage: tuple[type[Exception], ...]) -> Iterator[Item]:
    """The items up to where reading them raises one of `damage`. Raises it where there is not even a first one."""
    begun = False
    try:
        for item in items:
            begun = True
            yield item
    except damage:
        if not begun:
            raise
