"""A strict stand-in for an OpenAI-compatible server: refuses what the real one would, misbehaves on demand.

Written from the public description of `POST /chat/completions`; shares no code with our client.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

KEY = "sk-test-0123456789abcdef"
MODEL = "sim-1"

_KNOWN: dict[str, type | tuple[type, ...]] = {
    "model": str, "messages": list, "stream": bool, "stream_options": dict, "temperature": (int, float),
    "max_tokens": int, "max_completion_tokens": int, "stop": (str, list), "user": str, "top_p": (int, float),
}  # fmt: skip


@dataclass(frozen=True)
class Scenario:
    """How one request is answered."""

    words: tuple[str, ...] = ("Hello", " there", ".")
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    reasoning: tuple[str, ...] = ()
    role_chunk: bool = True
    null_content: bool = False
    usage_chunk: bool = False
    comments: bool = False
    crlf: bool = False
    space: bool = True
    done: bool = True
    write_size: int = 0
    """Bytes per write; 0 sends each event whole."""
    first_delay: float = 0.0
    stall_after: int | None = None
    """After so many words nothing more is sent until the client goes away."""
    error_after: int | None = None
    error: dict[str, Any] = field(default_factory=lambda: {"message": "it broke", "type": "server_error", "code": None})
    drop_after: int | None = None
    """After so many words the connection is cut."""
    raw: bytes | None = None
    """Sent as the whole body in the place of chunks."""


class OpenAIServer:
    """`scenarios` are used up one per request, the last one repeats. `bodies` are the requests accepted so far."""

    def __init__(self, *scenarios: Scenario, key: str | None = KEY) -> None:
        self.scenarios = list(scenarios) or [Scenario()]
        self.key = key
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.attempts = 0
        self.refused: list[str] = []
        self.gone = asyncio.Event()
        """Set when a client closed its connection before its answer was complete."""
        self.streaming = asyncio.Event()
        self._site: TestServer | None = None

    @property
    def base_url(self) -> str:
        assert self._site is not None
        return str(self._site.make_url("/v1"))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[OpenAIServer]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._site = TestServer(app)
        await self._site.start_server()
        try:
            yield self
        finally:
            await self._site.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.attempts += 1
        if request.path != "/v1/chat/completions":
            return self._refuse(404, f"unknown path {request.path}")
        if request.method != "POST":
            return self._refuse(405, f"method {request.method}")
        if request.content_type != "application/json":
            return self._refuse(415, f"content type {request.content_type}")
        if problem := self._wrong_key(request.headers.get("Authorization")):
            return self._refuse(401, problem)
        try:
            body = json.loads(await request.text())
        except ValueError:
            return self._refuse(400, "body is not JSON")
        if problem := _wrong_body(body):
            return self._refuse(400, problem)
        self.bodies.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        scenario = self.scenarios.pop(0) if len(self.scenarios) > 1 else self.scenarios[0]
        if scenario.status != 200:
            content = scenario.body or json.dumps({"error": {"message": f"status {scenario.status}", "type": "sim"}})
            return web.Response(
                status=scenario.status, headers=scenario.headers, text=content, content_type="application/json"
            )
        try:
            return await self._stream(request, scenario)
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise

    def _wrong_key(self, header: str | None) -> str:
        if self.key is None:
            return "no Authorization header expected" if header is not None else ""
        return "" if header == f"Bearer {self.key}" else f"Incorrect API key provided: {header}"

    def _refuse(self, status: int, problem: str) -> web.Response:
        self.refused.append(problem)
        return web.json_response({"error": {"message": problem, "type": "invalid_request_error"}}, status=status)

    async def _stream(self, request: web.Request, scenario: Scenario) -> web.StreamResponse:
        await asyncio.sleep(scenario.first_delay)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        if scenario.raw is not None:
            await response.write(scenario.raw)
            return response
        if scenario.role_chunk:
            await _send(
                response, scenario, _chunk({"role": "assistant", "content": None if scenario.null_content else ""})
            )
        for thought in scenario.reasoning:
            await _send(response, scenario, _chunk({"reasoning_content": thought, "content": None}))
        for count in range(len(scenario.words) + 1):
            if count == scenario.error_after:
                await _send(response, scenario, {"error": scenario.error})
                return response
            if count == scenario.drop_after and request.transport is not None:
                request.transport.abort()
                return response
            if count == scenario.stall_after:
                self.streaming.set()
                await asyncio.Event().wait()
            if count < len(scenario.words):
                await _send(response, scenario, _chunk({"content": scenario.words[count]}))
        await _send(response, scenario, _chunk({}, "stop"))
        if scenario.usage_chunk:
            usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
            await _send(response, scenario, {**_chunk({}), "choices": [], "usage": usage})
        if scenario.done:
            await _write(response, scenario, _event(scenario, "[DONE]"))
        return response


def _wrong_body(body: Any) -> str:
    """What is wrong with a request, "" if nothing."""
    if not isinstance(body, dict):
        return "body is no object"
    for name, value in body.items():
        if name not in _KNOWN or not isinstance(value, _KNOWN[name]) or (name != "stream" and isinstance(value, bool)):
            return f"unknown or mistyped field {name}"
    if body.get("model") != MODEL:
        return f"the model {body.get('model')!r} does not exist"
    if body.get("stream") is not True:
        return "stream must be true"
    if not 0 <= body.get("temperature", 1) <= 2 or body.get("max_tokens", 1) < 1:
        return "temperature or max_tokens out of range"
    messages = body.get("messages") or [None]
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or set(message) != {"role", "content"}:
            return f"messages[{index}] needs role and content"
        if message["role"] not in ("system", "user", "assistant") or not isinstance(message["content"], str):
            return f"messages[{index}] is mistyped"
        if message["role"] == "system" and index:
            return "system message not first"
    return "" if messages[-1]["role"] == "user" else "the last message must be the user's"


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [choice]}


def _event(scenario: Scenario, data: str) -> bytes:
    end = "\r\n" if scenario.crlf else "\n"
    comment = f": keep-alive{end}{end}" if scenario.comments else ""
    return f"{comment}data:{' ' if scenario.space else ''}{data}{end}{end}".encode()


async def _send(response: web.StreamResponse, scenario: Scenario, data: dict[str, Any]) -> None:
    await _write(response, scenario, _event(scenario, json.dumps(data, ensure_ascii=False)))


async def _write(response: web.StreamResponse, scenario: Scenario, data: bytes) -> None:
    size = scenario.write_size or len(data)
    for start in range(0, len(data), size):
        await response.write(data[start : start + size])
        if scenario.write_size:
            await asyncio.sleep(0)
