"""Operations on history and for operators: paths of the document in core/openapi/specification.py."""

from __future__ import annotations

from collections.abc import Sequence

from core.openapi.build import answer, content, operation, query, said
from core.openapi.schemas import ID, Schema, many, obj, ref, text, whole, yes_no

_OWNER: list[Schema] = [{"sessionToken": []}, {"apiKey": []}, {"adminToken": []}]
_ADMIN: list[Schema] = [{"adminToken": []}]
_BY_ID = [query("sessionid", ref("SessionId"), required=True), query("token", ref("Token"))]
_PAGED = [
    query("before", whole("Only entries with a smaller id (`before` of the last answer).", minimum=1)),
    query("limit", whole("How many at most.", minimum=1, maximum=200, default=50)),
]


_LEVEL = text(enum=["debug", "info", "warning", "error"])
_DELETED = obj({"deleted": whole("How many entries.")})


def admin(
    name: str,
    summary: str,
    response: Schema,
    *,
    parameters: Sequence[Schema] = (),
    body: Schema | None = None,
    description: str = "",
    socket: Sequence[Schema] = (),
) -> Schema:
    """An operation of the admin API."""
    return operation(
        name,
        "admin",
        summary,
        response,
        security=_ADMIN,
        refusals=(401, 403, 429),
        parameters=parameters,
        body=body,
        description=description,
        socket=socket,
    )


_HISTORY: dict[str, Schema] = {
    "/api/history": {
        "get": operation(
            "history",
            "history",
            "A page of a conversation, oldest first",
            answer(
                obj({"entries": many(ref("Entry")), "before": {"type": ["integer", "null"]}}),
                example=said({"entries": [], "before": None}),
            ),
            security=_OWNER,
            parameters=[*_BY_ID, *_PAGED],
            refusals=(401,),
        ),
        "delete": operation(
            "delete_history",
            "history",
            "Delete a conversation",
            answer(_DELETED, example=said({"deleted": 12})),
            security=_OWNER,
            parameters=_BY_ID,
            refusals=(401, 403, 429),
        ),
    },
    "/api/history/export": {
        "get": operation(
            "export_history",
            "history",
            "A conversation as a JSON file",
            {
                "description": "The file, or a failure with `code` -1.",
                "content": content({"oneOf": [ref("Export"), ref("Failure")]}),
            },
            security=_OWNER,
            parameters=_BY_ID,
            refusals=(401,),
        )
    },
}

_ADMIN_PATHS: dict[str, Schema] = {
    "/api/admin/config": {
        "get": admin(
            "admin_config",
            "The settings in force, secrets masked",
            answer(obj({"config": {"type": "object"}}), example=said({"config": {"fps": 50, "model": "vector"}})),
        )
    },
    "/api/admin/sessions": {
        "get": admin(
            "admin_sessions",
            "The live sessions",
            answer(obj({"sessions": many(ref("LiveSession"))}), example=said({"sessions": []})),
        )
    },
    "/api/admin/live": {
        "get": admin(
            "admin_live",
            "Everything that the dashboard shows (WebSocket)",
            {"description": "Switching to the WebSocket protocol."},
            description="The first frame is `login` with the admin token; then a Snapshot comes every second.",
            socket=[{"type": "login", "token": ""}],
        )
    },
    "/api/admin/conversations": {
        "get": admin(
            "admin_conversations",
            "The kept conversations",
            answer(
                obj({"conversations": many(ref("Conversation")), "before": {"type": ["integer", "null"]}}),
                example=said({"conversations": [], "before": None}),
            ),
            parameters=_PAGED,
        )
    },
    "/api/admin/history": {
        "delete": admin(
            "admin_delete_history",
            "Delete a conversation",
            answer(_DELETED, example=said({"deleted": 12})),
            parameters=[query("sessionid", ref("SessionId"), required=True)],
        )
    },
    "/api/admin/stop": {
        "post": admin(
            "admin_stop",
            "End a session",
            answer(),
            body=content(obj({"sessionid": ref("SessionId")}), example={"sessionid": ID}),
        )
    },
    "/api/admin/watch": {
        "post": admin(
            "admin_watch",
            "What lets a page join a device's conversation",
            answer(
                obj({"sessionid": ref("SessionId"), "token": text("The session's token.")}),
                example=said({"sessionid": ID, "token": "eyJ…"}),
            ),
            body=content(obj({"sessionid": ref("SessionId")}), example={"sessionid": ID}),
            description=(
                "For the link /webrtcapichat.html#session=…&token=…. A session that no device leads: `no_device`; "
                "one that is not live: `session_not_found`."
            ),
        )
    },
    "/api/admin/say": {
        "post": admin(
            "admin_say",
            "Let a session's avatar speak or answer a text",
            answer(),
            body=content(
                obj(
                    {
                        "sessionid": ref("SessionId"),
                        "text": text(minLength=1),
                        "type": text("`echo` speaks it, `chat` answers it.", enum=["echo", "chat"], default="echo"),
                        "interrupt": yes_no("Drop what is spoken or waits.", default=False),
                    },
                    optional=("type", "interrupt"),
                ),
                example={"sessionid": ID, "text": "The office closes in five minutes.", "type": "echo"},
            ),
        )
    },
    "/api/admin/message": {
        "post": admin(
            "admin_message",
            "Show a message on a session's pages, or on all pages",
            answer(ref("Delivery"), example=said({"reached": 2, "sockets": 2})),
            body=content(
                obj({"sessionid": ref("SessionId"), "text": text(minLength=1)}, optional=("sessionid",)),
                example={"text": "Maintenance at noon."},
            ),
            description="Without `sessionid` it goes to everyone.",
        )
    },
    "/api/admin/log_level": {
        "post": admin(
            "admin_log_level",
            "Change how much is logged, until the server is restarted",
            answer(obj({"level": _LEVEL}), example=said({"level": "debug"})),
            body=content(obj({"level": _LEVEL}), example={"level": "debug"}),
        )
    },
}

_HEALTH: dict[str, Schema] = {
    "/metrics": {
        "get": operation(
            "metrics",
            "health",
            "Figures for Prometheus",
            {"description": "Text exposition.", "content": content({"type": "string"}, "text/plain")},
            security=[{"adminToken": []}, {"apiKey": []}],
            refusals=(401,),
        )
    },
    "/healthz": {
        "get": operation(
            "healthz",
            "health",
            "Whether the process lives",
            {"description": "It does.", "content": content(ref("Health"), example={"status": "ok"})},
        )
    },
    "/readyz": {
        "get": operation(
            "readyz",
            "health",
            "Whether new sessions can be served",
            {"description": "Ready.", "content": content(ref("Readiness"))},
            more={"503": {"description": "Starting or stopping.", "content": content(ref("Readiness"))}},
        )
    },
    "/api/openapi.json": {
        "get": operation(
            "openapi",
            "pages",
            "This document",
            {"description": "OpenAPI 3.1.", "content": content({"type": "object"})},
        )
    },
    "/poster.png": {
        "get": operation(
            "poster",
            "pages",
            "The avatar at rest",
            {"description": "A picture.", "content": {"image/png": {}}},
        )
    },
}

OPERATOR_PATHS: dict[str, Schema] = {**_HISTORY, **_ADMIN_PATHS, **_HEALTH}
