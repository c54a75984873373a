"""Routes of the kept conversations: read, export and delete one's own; list and delete for operators."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol

from aiohttp import web

from core.envelope import ok
from core.errors import BadRequest
from core.history import History
from core.identity import session_id_of

MAX_PAGE = 200
_PAGE = 50
_NUMBER = re.compile(r"[0-9]{1,15}")
_HARMLESS = re.compile(r"[^A-Za-z0-9_-]")
_PRIVATE = {"Cache-Control": "no-store"}


class HistoryAccess(Protocol):
    """Who may read what. Both raise `Unauthorized`."""

    def may_read(self, request: web.Request, session_id: str, token: str | None) -> None:
        """The words of a session."""

    def may_admin(self, request: web.Request) -> None:
        """Every session's existence, and deleting it."""


class HistoryApi:
    """The routes. `cleared(session_id)` is called when a conversation was deleted, so that open pages empty theirs."""

    def __init__(self, history: History, access: HistoryAccess, cleared: Callable[[str], None]) -> None:
        self._history = history
        self._access = access
        self._cleared = cleared

    def routes(self) -> list[web.RouteDef]:
        """For `Application.add_routes`."""
        return [
            web.get("/api/history", self.page),
            web.delete("/api/history", self.delete),
            web.get("/api/history/export", self.export),
            web.get("/api/admin/conversations", self.conversations),
            web.delete("/api/admin/history", self.admin_delete),
        ]

    async def page(self, request: web.Request) -> web.Response:
        """A page of a conversation, oldest first; `before` of the answer leads to the one before it."""
        session_id = self._own(request)
        before, limit = _cursor(request)
        entries = await self._history.page(session_id, before=before, limit=limit + 1)
        more = len(entries) > limit
        entries = entries[-limit:]
        return _ok({"entries": [asdict(entry) for entry in entries], "before": entries[0].id if more else None})

    async def export(self, request: web.Request) -> web.Response:
        """The whole conversation as a file to save."""
        session_id = self._own(request)
        document = await self._history.export(session_id)
        text = await asyncio.to_thread(_readable, document)
        name = f"conversation-{_HARMLESS.sub('_', session_id)}.json"
        headers = {**_PRIVATE, "Content-Disposition": f'attachment; filename="{name}"'}
        return web.Response(text=text, content_type="application/json", headers=headers)

    async def delete(self, request: web.Request) -> web.Response:
        """Delete one's own conversation."""
        return await self._delete(self._own(request))

    async def conversations(self, request: web.Request) -> web.Response:
        """Which conversations are kept, latest first, without their words."""
        self._access.may_admin(request)
        before, limit = _cursor(request)
        found = await self._history.conversations(before=before, limit=limit + 1)
        more = len(found) > limit
        found = found[:limit]
        return _ok({"conversations": found, "before": found[-1]["last_id"] if more else None})

    async def admin_delete(self, request: web.Request) -> web.Response:
        """Delete anybody's conversation."""
        self._access.may_admin(request)
        return await self._delete(_session_id(request))

    # -- inside

    def _own(self, request: web.Request) -> str:
        session_id = _session_id(request)
        self._access.may_read(request, session_id, request.query.get("token"))
        return session_id

    async def _delete(self, session_id: str) -> web.Response:
        count = await self._history.delete(session_id)
        self._cleared(session_id)
        return _ok({"deleted": count})


def _session_id(request: web.Request) -> str:
    if "sessionid" not in request.query:
        raise BadRequest("sessionid is missing")
    return session_id_of(request.query["sessionid"])


def _cursor(request: web.Request) -> tuple[int | None, int]:
    before = _number(request, "before", low=1, high=10**15)
    limit = _number(request, "limit", low=1, high=MAX_PAGE)
    return before, _PAGE if limit is None else limit


def _number(request: web.Request, name: str, *, low: int, high: int) -> int | None:
    text = request.query.get(name)
    if text is None or text == "":
        return None
    if not _NUMBER.fullmatch(text) or not low <= int(text) <= high:
        raise BadRequest(f"{name} must be a whole number from {low} to {high}")
    return int(text)


def _readable(document: dict[str, Any]) -> str:
    """JSON that a person can read too: one entry per line."""
    lines = ",\n".join(f"    {_json(entry)}" for entry in document["entries"])
    head = [f"  {_json(key)}: {_json(value)}" for key, value in document.items() if key != "entries"]
    entries = f'  "entries": [\n{lines}\n  ]' if lines else '  "entries": []'
    return "{\n" + ",\n".join([*head, entries]) + "\n}\n"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _ok(data: object) -> web.Response:
    answer = ok(data)
    answer.headers.update(_PRIVATE)
    return answer
