"""The form of JSON answers and requests: `{"code": 0, "msg": "ok"[, "data"]}`, and bodies that are JSON objects.

Failures are `{"code": -1, "msg", "error"}` with HTTP 200, as LiveTalking's clients expect, but for a few (`_STATUS`).
"""

from __future__ import annotations

import logging
import math
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from core.errors import BadRequest, EmanError, OriginRefused, PayloadTooLarge, RateLimited, Unauthorized
from core.messages import json_value

logger = logging.getLogger(__name__)

_STATUS = {Unauthorized: 401, OriginRefused: 403, PayloadTooLarge: 413, RateLimited: 429}


def ok(data: object = None, msg: str = "ok") -> web.Response:
    """It was done; `data` is left out when it is None."""
    body: dict[str, object] = {"code": 0, "msg": msg}
    if data is not None:
        body["data"] = data
    return web.json_response(body)


def failure(error: EmanError) -> web.Response:
    """It was not done, and why."""
    headers = {}
    if isinstance(error, RateLimited) and error.retry_after_s is not None:
        headers[hdrs.RETRY_AFTER] = str(max(1, math.ceil(error.retry_after_s)))
    body = {"code": -1, "msg": str(error), "error": error.code}
    return web.json_response(body, status=_STATUS.get(type(error), 200), headers=headers)


@web.middleware
async def envelope_failures(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure as the API's envelope; nothing else leaves the server."""
    try:
        return await handler(request)
    except EmanError as error:
        return failure(error)
    except web.HTTPRequestEntityTooLarge:
        return failure(PayloadTooLarge("the request is too large"))
    except web.RequestPayloadError:
        return failure(BadRequest("the request's body is damaged"))
    except web.HTTPException:
        raise
    except Exception as error:
        if isinstance(error, ConnectionError) and request.transport is None:
            logger.info("%s %s: the client left", request.method, request.path)
            return web.Response()  # goes nowhere
        # the request ends here; the server and its sessions live on
        logger.exception("%s %s broke", request.method, request.path)
        return failure(EmanError("something went wrong inside the server", code="internal"))


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
