"""Our tools for the server's mind: MCP over the xiaozhi socket (JSON-RPC 2.0).

Source: docs/mcp-protocol.md of https://github.com/78/xiaozhi-esp32
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import EmanError

log = logging.getLogger(__name__)

Json = dict[str, Any]

_MCP_VERSION = "2024-11-05"
_PAGE = 16
"""Tools in one answer to tools/list."""
_AT_ONCE = 4
"""Calls of a session that run; further requests wait in the socket."""
_INVALID, _NO_METHOD, _BAD_PARAMS = -32600, -32601, -32602


@dataclass(frozen=True, slots=True)
class Tool:
    """`call` gets the arguments as the server sent them and answers with text; `EmanError` is told to the server.

    `parameters`: a JSON schema of the arguments. `user_only`: for the user's own programs, not for the mind.
    """

    name: str
    description: str
    call: Callable[[Json], Awaitable[str]]
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    user_only: bool = False


class Tools:
    """Those that are registered, in that order. A call ends after `timeout_s`."""

    def __init__(self, timeout_s: float = 30.0) -> None:
        self._tools: dict[str, Tool] = {}
        self._timeout = timeout_s

    def register(self, tool: Tool) -> None:
        """Add, or replace one of the same name."""
        self._tools[tool.name] = tool

    async def answer(self, request: Json) -> Json | None:
        """The answer to a request; None for what wants none (notifications, answers)."""
        number, method, params = request.get("id"), request.get("method"), request.get("params")
        if isinstance(number, bool) or not isinstance(number, int | str) or "method" not in request:
            return None
        params = {} if params is None else params
        if request.get("jsonrpc") != "2.0" or not isinstance(method, str) or not isinstance(params, dict):
            return _error(number, _INVALID, "no JSON-RPC 2.0 request")
        match method:
            case "initialize":
                server = {"name": "eman", "version": "1"}
                capabilities: Json = {"tools": {}}
                result = {"protocolVersion": _MCP_VERSION, "capabilities": capabilities, "serverInfo": server}
            case "tools/list":
                result = self._list(params)
            case "tools/call":
                tool = self._tools.get(str(params.get("name")))
                arguments = params.get("arguments", {})
                if tool is None:
                    return _error(number, _BAD_PARAMS, "unknown tool")
                if not isinstance(arguments, dict):
                    return _error(number, _BAD_PARAMS, "arguments must be an object")
                result = await self._call(tool, arguments)
            case _:
                return _error(number, _NO_METHOD, "unknown method")
        return {"jsonrpc": "2.0", "id": number, "result": result}

    def _list(self, params: Json) -> Json:
        """A page that begins with the tool named by the cursor; an unknown cursor gets the first page."""
        tools = [tool for tool in self._tools.values() if params.get("withUserTools") is True or not tool.user_only]
        names = [tool.name for tool in tools]
        cursor = params.get("cursor")
        first = names.index(cursor) if isinstance(cursor, str) and cursor in names else 0
        page = tools[first : first + _PAGE]
        described = [
            {"name": tool.name, "description": tool.description, "inputSchema": dict(tool.parameters)} for tool in page
        ]
        rest = names[first + _PAGE : first + _PAGE + 1]
        return {"tools": described} | ({"nextCursor": rest[0]} if rest else {})

    async def _call(self, tool: Tool, arguments: Json) -> Json:
        try:
            async with asyncio.timeout(self._timeout):
                return _content(await tool.call(arguments))
        except TimeoutError:
            return _content("the tool takes too long", failed=True)
        except EmanError as error:
            return _content(str(error), failed=True)
        except Exception:  # a tool is not ours, and the conversation goes on without it
            log.exception("tool %s failed", tool.name)
            return _content("the tool failed", failed=True)


class ToolCalls:
    """The calls of one session, each a task of its task group; `send` has an answer sent."""

    def __init__(self, tools: Tools, tasks: asyncio.TaskGroup, send: Callable[[Json], Awaitable[None]]) -> None:
        self._tools = tools
        self._tasks = tasks
        self._send = send
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def begin(self, request: Json) -> None:
        """Have it answered; waits while too many are."""
        await self._slots.acquire()
        self._tasks.create_task(self._run(request), name="xiaozhi tool")

    async def _run(self, request: Json) -> None:
        try:
            answer = await self._tools.answer(request)
        finally:
            self._slots.release()
        if answer is not None:
            await self._send(answer)


def _content(text: str, *, failed: bool = False) -> Json:
    return {"content": [{"type": "text", "text": text}], "isError": failed}


def _error(number: int | str, code: int, message: str) -> Json:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}
