"""The form of JSON answers and requests: `{"code": 0, "msg": "ok"[, "data"]}`, and bodies that are JSON objects."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from core.errors import BadRequest
from core.messages import json_value


def ok(data: object = None, msg: str = "ok") -> web.Response:
    """It was done; `data` is left out when it is None."""
    body: dict[str, object] = {"code": 0, "msg": msg}
    if data is not None:
        body["data"] = data
    return web.json_response(body)


async def json_body(request: web.Request) -> dict[str, Any]:
    """The body of a request. Raises `BadRequest` when it is no JSON object."""
    try:
        body = json_value(await request.text())
    except (ValueError, LookupError):
        raise BadRequest("the body is not valid JSON") from None
    if not isinstance(body, dict):
        raise BadRequest("expected a JSON object")
    return body


def spoken_text(value: object, limit: int) -> str:
    """A text from the wire without control characters. Raises `BadRequest` (also `too_long`, `empty_text`)."""
    if not isinstance(value, str):
        raise BadRequest("text must be a string")
    if len(value) > limit:
        raise BadRequest(f"text is longer than {limit} characters", code="too_long")
    cleaned = "".join(char if char.isprintable() or char in "\n\t" else " " for char in value).strip()
    if not cleaned:
        raise BadRequest("text is empty", code="empty_text")
    return cleaned
