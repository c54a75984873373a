"""What a page asks of the avatar over its socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from core.messages import Listen, Message, Storage, parse
from core.services.base import WebSocketServiceBase
from core.sessions import Sessions
from core.websocket_manager import Handler, UnifiedWebSocketManager, WebSocketSession


class DigitalHumanService(WebSocketServiceBase):
    """`listen`: microphone mode and the push-to-talk key. `storage`: whether the conversation is kept.

    `keep_history(session_id, enabled)` is the history's switch.
    """

    name = "digital human"

    def __init__(
        self, manager: UnifiedWebSocketManager, sessions: Sessions, keep_history: Callable[[str, bool], None]
    ) -> None:
        super().__init__(manager)
        self._sessions = sessions
        self._keep_history = keep_history

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """See `WebSocketServiceBase`."""
        return {"listen": self._listen, "storage": self._storage}

    async def _listen(self, socket: WebSocketSession, data: Message) -> None:
        wish = parse(Listen, data)
        session = self._sessions.find(socket.session_id)
        if session.device:
            return  # its microphone is the device's
        ears = session.ears
        if wish.mode is not None:
            ears.set_mode(wish.mode)
        if wish.state is not None:
            ears.talk_key(wish.state == "start")

    async def _storage(self, socket: WebSocketSession, data: Message) -> None:
        self._keep_history(socket.session_id, parse(Storage, data).enabled)
