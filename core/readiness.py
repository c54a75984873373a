"""Whether the server can serve, for load balancers and supervisors."""

from __future__ import annotations

from collections.abc import Iterable


class Readiness:
    """Ready when everything that was expected has arrived, until the server stops."""

    def __init__(self, expected: Iterable[str]) -> None:
        self._missing = dict.fromkeys(expected)
        self._stopping = False

    def arrived(self, name: str) -> None:
        """A part (an adapter, by its stage's name) has started."""
        self._missing.pop(name, None)

    def stop(self) -> None:
        """The server is shutting down: nobody should be sent here."""
        self._stopping = True

    @property
    def stopping(self) -> bool:
        """Whether the server is shutting down."""
        return self._stopping

    @property
    def missing(self) -> list[str]:
        """What has not arrived yet."""
        return list(self._missing)

    @property
    def ready(self) -> bool:
        """Whether requests can be served."""
        return not self._stopping and not self._missing
