"""Builders of OpenAPI 3.1 objects: parameters, media types, responses, operations (OpenAPI Specification 3.1.0)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.openapi.schemas import Schema, ok, ref

_REFUSALS = {
    401: "A token or key is missing or wrong.",
    403: "Pages of this origin may not call the API.",
    413: "The body is too large.",
    429: "Too many requests from this address.",
}


def query(name: str, schema: Schema, description: str = "", *, required: bool = False) -> Schema:
    """A parameter in the query."""
    more = {"description": description} if description else {}
    return {"name": name, "in": "query", "required": required, "schema": schema, **more}


def part(name: str, schema: Schema) -> Schema:
    """A parameter in the path."""
    return {"name": name, "in": "path", "required": True, "schema": schema}


def content(schema: Schema, kind: str = "application/json", example: Any = None) -> Schema:
    """A media type object."""
    return {kind: {"schema": schema, **({"example": example} if example is not None else {})}}


def answer(data: Schema | None = None, *, schema: Schema | None = None, example: Any = None) -> Schema:
    """The 200 response: success (in the envelope, unless `schema` says otherwise) or failure."""
    success = schema or (ok(data) if data is not None else ref("Ok"))
    if success == ref("Ok"):
        example = {"code": 0, "msg": "ok"}
    return {
        "description": "Done, or a failure with `code` -1.",
        "content": content({"oneOf": [success, ref("Failure")]}, example=example),
    }


def said(data: Any) -> Schema:
    """An example of a success that tells something."""
    return {"code": 0, "msg": "ok", "data": data}


def operation(
    name: str,
    tag: str,
    summary: str,
    response: Schema,
    *,
    security: Sequence[Schema] = (),
    parameters: Sequence[Schema] = (),
    body: Schema | None = None,
    refusals: Sequence[int] = (),
    description: str = "",
    socket: Sequence[Schema] = (),
    more: Mapping[str, Schema] | None = None,
) -> Schema:
    """One operation; `response` comes with status 200, `more` with others.

    `socket`: messages to send over this WebSocket, as examples.
    """
    status = "101" if socket else "200"
    refused = {
        str(code): {"description": _REFUSALS[code], "content": content(ref("Failure"))} for code in sorted(refusals)
    }
    return {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        **({"description": description} if description else {}),
        **({"parameters": list(parameters)} if parameters else {}),
        **({"requestBody": {"required": True, "content": body}} if body else {}),
        "responses": {status: response, **(more or {}), **refused},
        "security": list(security),
        **({"x-websocket": list(socket)} if socket else {}),
    }
