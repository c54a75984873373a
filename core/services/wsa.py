"""WSA: pages and digital humans register under a username to receive messages."""

from __future__ import annotations

from core.identity import normalize_username
from core.messages import Message, Register, now_ms, parse
from core.websocket_manager import UnifiedWebSocketManager, WebSocketSession


class WSAWebSocketService:
    """Handles `wsa_register_web/_human` and `wsa_unregister_web/_human`. Idempotent per socket."""

    def __init__(self, manager: UnifiedWebSocketManager) -> None:
        self._manager = manager
        for role in ("web", "human"):
            manager.register_message_handler(f"wsa_register_{role}", self._register)
            manager.register_message_handler(f"wsa_unregister_{role}", self._unregister)

    async def _register(self, session: WebSocketSession, data: Message) -> None:
        username = parse(Register, data).username
        role = data["type"].rsplit("_", 1)[1]
        session.registrations[role] = normalize_username(username)
        session.send_message(
            {
                "type": "wsa_registered",
                "role": role,
                "username": username,
                "session_id": session.session_id,
                "connections": len(self._manager.get_sessions_by_id(session.session_id)),
                "timestamp": now_ms(),
            }
        )

    async def _unregister(self, session: WebSocketSession, data: Message) -> None:
        role = data["type"].rsplit("_", 1)[1]
        username = session.registrations.pop(role, normalize_username(parse(Register, data).username))
        session.send_message(
            {
                "type": "wsa_status",
                "role": role,
                "username": username,
                "connected": False,
                "connections": len(self._manager.get_sessions_by_id(session.session_id)),
                "timestamp": now_ms(),
            }
        )
