"""The OpenAPI 3.1 document of the HTTP API, served at `/api/openapi.json`. It is written once, at start."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from core.openapi.devices import DEVICE_PATHS
from core.openapi.operators import OPERATOR_PATHS
from core.openapi.schemas import SCHEMAS
from core.openapi.talk import TALK_PATHS

_ABOUT = """\
A voice avatar: open a WebRTC session with `/offer`, then talk to it or make it speak.

**Answers.** Success is `{"code": 0, "msg": "ok"}`, with `data` where there is something to tell. A failure is
`{"code": -1, "msg": "…", "error": "…"}`: `msg` for people, `error` for programs.
**Failures come with HTTP status 200**, as clients of LiveTalking expect; the exceptions are 401 (a token or key),
403 (a foreign origin), 413 (too large) and 429 (too many requests), which carry the same body.

**Who may.** A session's token comes with the answer to `/offer`. While `auth.enabled` is off it may be left out,
but a wrong one is refused. The admin API wants the admin token; without a configured one it answers local callers only.

Events (transcripts, subtitles, states) go over the WebSocket `/ws`.
"""

_TAGS = {
    "talk": "Open a session and talk.",
    "history": "Kept conversations: needs the session's token, an API key or the admin.",
    "devices": "Devices of the xiaozhi protocol that talk to this server.",
    "admin": "For operators.",
    "health": "For monitors and load balancers.",
    "pages": "Documents and pictures.",
}

_SECURITY = {
    "sessionToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token from /offer; may also be the field `token` of the body or the query.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "One of auth.api_keys; also as `Authorization: Bearer`.",
    },
    "adminToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Admin-Token",
        "description": "auth.admin_token; also as `Authorization: Bearer`.",
    },
}


def document(version: str) -> dict[str, Any]:
    """The whole document as plain values. Source: OpenAPI Specification 3.1.0."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Eman",
            "version": version,
            "summary": "A voice avatar you can talk to.",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        # relative to the document's own address, so that it also holds below a proxy's prefix
        "servers": [{"url": "..", "description": "This server"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": {**TALK_PATHS, **DEVICE_PATHS, **OPERATOR_PATHS},
        "components": {"schemas": SCHEMAS, "securitySchemes": _SECURITY},
    }


class OpenApi:
    """Serves the document."""

    def __init__(self, version: str) -> None:
        self._body = json.dumps(document(version), ensure_ascii=False, separators=(",", ":")).encode()

    def routes(self) -> list[web.RouteDef]:
        """For `Application.add_routes`."""
        return [web.get("/api/openapi.json", self._serve)]

    async def _serve(self, request: web.Request) -> web.Response:
        return web.Response(body=self._body, content_type="application/json")
