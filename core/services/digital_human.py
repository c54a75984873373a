"""What a page asks of the avatar over its socket."""

from __future__ import annotations

from core.messages import Listen, Message, parse
from core.sessions import Sessions
from core.websocket_manager import UnifiedWebSocketManager, WebSocketSession


class DigitalHumanService:
    """Handles `listen`: microphone mode and the push-to-talk key."""

    def __init__(self, manager: UnifiedWebSocketManager, sessions: Sessions) -> None:
        self._sessions = sessions
        manager.register_message_handler("listen", self._listen)

    async def _listen(self, socket: WebSocketSession, data: Message) -> None:
        wish = parse(Listen, data)
        ears = self._sessions.find(socket.session_id).ears
        if wish.mode is not None:
            ears.set_mode(wish.mode)
        if wish.state is not None:
            ears.talk_key(wish.state == "start")
