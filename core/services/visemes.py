"""Timed mouths over a socket, for clients that draw a figure of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from core.messages import Message, SubscribeVisemes, parse, visemes_subscribed
from core.services.base import WebSocketServiceBase
from core.viseme_feed import VisemeFeed
from core.visemes import NAMES, VisemeFormat, step_ms
from core.websocket_manager import Handler, UnifiedWebSocketManager, WebSocketSession


class VisemeService(WebSocketServiceBase):
    """`subscribe_visemes`: the socket is sent `visemes` of its session in this format; `off` ends it."""

    name = "visemes"

    def __init__(self, manager: UnifiedWebSocketManager, feed: VisemeFeed) -> None:
        super().__init__(manager)
        self._feed = feed
        self._ends: dict[WebSocketSession, Callable[[], None]] = {}

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """See `WebSocketServiceBase`."""
        return {"subscribe_visemes": self._subscribe}

    def closed(self, socket: WebSocketSession) -> None:
        """See `WebSocketServiceBase`."""
        if (end := self._ends.pop(socket, None)) is not None:
            end()

    async def _subscribe(self, socket: WebSocketSession, data: Message) -> None:
        asked = parse(SubscribeVisemes, data).content
        wish = asked.format
        self.closed(socket)
        if wish == "off":
            socket.send_message(visemes_subscribed(socket.session_id, wish, (), 0))
            return
        form = VisemeFormat(wish)
        socket.send_message(visemes_subscribed(socket.session_id, wish, NAMES[form], step_ms(form)))
        self._ends[socket] = self._feed.subscribe(socket.session_id, form, socket.send_message, acts=asked.acts)
