"""What operators ask and do: settings, sessions, a live view, commands, metrics and health.

    admin = AdminApi(
        sources,                                # core.monitor.Sources
        monitor, metrics,
        access=access,                          # core.access.Access: may_admin, may_read, check_admin_token, admit
        sockets=manager,                        # UnifiedWebSocketManager: pushes to pages
        config=lambda: {...},                   # the settings in force, secrets masked
        issue=lambda session: "…",              # a token of the session
        max_text_chars=settings.limits.max_text_chars,
    )
    application.add_routes(admin.routes());  await admin.close()   # before the application is cleaned up

All but `/healthz` and `/readyz` raise `Unauthorized` for who is no operator.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from core import log
from core.admin_live import LiveView, Pace
from core.envelope import json_body, ok, spoken_text
from core.errors import BadRequest, Unauthorized
from core.identity import session_id_of, username_of
from core.log import bound
from core.messages import Message, wsa_command
from core.metrics import Metrics
from core.monitor import Monitor, Sources
from core.session import Session

logger = logging.getLogger(__name__)


class OperatorAccess(Protocol):
    """Who may do what; each raises `Unauthorized`. See `core.access.Access`."""

    def may_admin(self, request: web.Request) -> None:
        """Operators only."""

    def may_read(self, request: web.Request, session_id: str, token: str | None) -> None:
        """Operators, programs with an API key, and who has the session's token."""

    def check_admin_token(self, request: web.Request, token: str | None) -> None:
        """Operators only, whose token came in a message."""

    def admit(self, request: web.Request) -> str:
        """A WebSocket's address; raises `OriginRefused` for a foreign Origin."""


class Pages(Protocol):
    """Pushes to the sockets of pages."""

    def deliver(self, session_id: str, message: Message) -> Any:
        """To every socket of an id; the result has `reached` and `sockets`."""

    def broadcast_to_all(self, message: Message) -> Any:
        """To every socket; the result has `reached` and `sockets`."""


class AdminApi:
    """The operators' routes."""

    def __init__(
        self,
        sources: Sources,
        monitor: Monitor,
        metrics: Metrics,
        *,
        access: OperatorAccess,
        sockets: Pages,
        config: Callable[[], Mapping[str, Any]],
        issue: Callable[[Session], str],
        max_text_chars: int,
        pace: Pace | None = None,
    ) -> None:
        self._sources = sources
        self._metrics = metrics
        self._access = access
        self._sockets = sockets
        self._config = config
        self._issue = issue
        self._max_text_chars = max_text_chars
        self.live_view = LiveView(monitor.snapshot, pace)

    def routes(self) -> list[web.RouteDef]:
        """For `Application.add_routes`."""
        return [
            web.get("/api/admin/config", self.config),
            web.get("/api/admin/sessions", self.sessions),
            web.get("/api/admin/live", self.live),
            web.post("/api/admin/stop", self.stop),
            web.post("/api/admin/watch", self.watch),
            web.post("/api/admin/say", self.say),
            web.post("/api/admin/message", self.message),
            web.post("/api/admin/log_level", self.log_level),
            web.get("/metrics", self.metrics),
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
        ]

    async def close(self) -> None:
        """Send the dashboards away."""
        await self.live_view.close()

    # -- looking

    async def config(self, request: web.Request) -> web.Response:
        """The settings in force under LiveTalking's names, and all of ours under `settings`, secrets masked."""
        self._access.may_admin(request)
        return ok({"config": self._config()})

    async def sessions(self, request: web.Request) -> web.Response:
        """The live sessions."""
        self._access.may_admin(request)
        return ok({"sessions": [self._described(session) for session in self._sources.sessions.all()]})

    async def live(self, request: web.Request) -> web.StreamResponse:
        """A WebSocket: `{"type": "login", "token"}` in, then a snapshot at once and every second."""
        self._access.admit(request)
        return await self.live_view.attend(request, lambda token: self._access.check_admin_token(request, token))

    async def metrics(self, request: web.Request) -> web.Response:
        """Prometheus' text format; for operators and API keys."""
        try:
            self._access.may_read(request, "", None)
        except Unauthorized:
            raise Unauthorized("metrics need the admin token or an API key") from None
        await self._sources.process.sample()
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(self, request: web.Request) -> web.Response:
        """200 as long as the loop turns."""
        return web.json_response({"status": "ok"})

    async def readyz(self, request: web.Request) -> web.Response:
        """200 when new sessions can be served, else 503; the body tells what is missing."""
        readiness = self._sources.readiness
        status = "ready" if readiness.ready else "stopping" if readiness.stopping else "starting"
        body = {"status": status, "missing": readiness.missing}
        return web.json_response(body, status=200 if readiness.ready else 503)

    # -- doing

    async def stop(self, request: web.Request) -> web.Response:
        """End a session; its pages are told before."""
        self._access.may_admin(request)
        session = self._session(await json_body(request))
        command = {"type": "control", "action": "hangup"}
        self._sockets.deliver(session.id, wsa_command(command, username_of(session.id)))
        await self._sources.sessions.close(session)
        logger.info("session %s was stopped by an operator", session.id)
        return ok()

    async def watch(self, request: web.Request) -> web.Response:
        """What lets a page join a device's conversation. Raises `BadRequest` where a page would lose its avatar."""
        self._access.may_admin(request)
        session = self._session(await json_body(request))
        if not session.device:
            raise BadRequest("only a device's conversation can be watched", code="no_device")
        return ok({"sessionid": session.id, "token": self._issue(session)})

    async def say(self, request: web.Request) -> web.Response:
        """Let the avatar speak a text (`type` echo) or answer it (`type` chat)."""
        self._access.may_admin(request)
        body = await json_body(request)
        session = self._session(body)
        text = spoken_text(body.get("text"), self._max_text_chars)
        interrupt = bool(body.get("interrupt"))
        with bound(session.id):
            match body.get("type", "echo"):
                case "echo":
                    session.conversation.say(text, interrupt=interrupt)
                case "chat":
                    session.conversation.chat(text, interrupt=interrupt)
                case _:
                    raise BadRequest('type must be "echo" or "chat"')
        return ok()

    async def message(self, request: web.Request) -> web.Response:
        """Show a text on the pages of a session, or of everyone when `sessionid` is absent."""
        self._access.may_admin(request)
        body = await json_body(request)
        content = {"type": "broadcast", "content": spoken_text(body.get("text"), self._max_text_chars)}
        if body.get("sessionid") is None:
            delivery = self._sockets.broadcast_to_all(wsa_command(content, ""))
        else:
            session_id = session_id_of(body["sessionid"])
            delivery = self._sockets.deliver(session_id, wsa_command(content, username_of(session_id)))
        return ok({"reached": delivery.reached, "sockets": delivery.sockets})

    async def log_level(self, request: web.Request) -> web.Response:
        """Change the log level until the server is restarted."""
        self._access.may_admin(request)
        level = (await json_body(request)).get("level")
        if not isinstance(level, str) or level not in log.LEVELS:
            raise BadRequest(f"level must be one of {', '.join(log.LEVELS)}")
        before = log.level()
        log.set_level(level)
        logger.warning("log level changed from %s to %s by an operator", before, level)
        return ok({"level": level})

    # -- inside

    def _session(self, body: Mapping[str, Any]) -> Session:
        if "sessionid" not in body:
            raise BadRequest("sessionid is missing")
        return self._sources.sessions.find(body["sessionid"])

    def _described(self, session: Session) -> dict[str, Any]:
        """LiveTalking's keys, and ours."""
        options = self._config()
        return {
            "sessionid": session.id,
            "recording": False,
            **{key: options[key] for key in ("model", "avatar_id", "REF_FILE", "transport", "batch_size", "customopt")},
            "avatar_id": session.face.presenter or options["avatar_id"],
            "link": session.link.value,
            "link_kind": session.link_kind.value,
            "activity": session.conversation.activity.value,
            **session.media.status(),
        }
