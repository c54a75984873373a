"""What all services of `/ws` have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from core.errors import BadRequest
from core.websocket_manager import Handler, UnifiedWebSocketManager, WebSocketSession


class WebSocketServiceBase(ABC):
    """A group of message types and what they do. Services know the manager, never each other.

    Everything is called on the event loop. A handler that raises `EmanError` has the socket told so by the
    router (`wsa_error`); anything else that it raises is a defect.
    """

    name: str
    """For logs."""

    def __init__(self, manager: UnifiedWebSocketManager) -> None:
        self._manager = manager
        for message_type, handler in self.handlers.items():
            manager.register_message_handler(message_type, handler)

    @property
    @abstractmethod
    def handlers(self) -> Mapping[str, Handler]:
        """Message type → handler; asked once, when the service is made."""

    def closed(self, socket: WebSocketSession) -> None:
        """The socket is gone, whoever closed it, or belongs to another session now: forget it. Idempotent."""
        return

    async def binary(self, socket: WebSocketSession, data: bytes) -> None:
        """A binary frame of a socket whose `binary_to` is this service."""
        raise BadRequest("binary frames are not expected here")

    async def start(self) -> None:
        """The server starts, on this loop."""
        return

    async def close(self) -> None:
        """The server stops: end what is running. Idempotent."""
        return
