"""Rows E3, K1: who may not upload is told so before the file is read; the files on their way are bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from core.upload_api import MAX_AT_ONCE
from tests.conftest import Serve
from tests.offers import Api, real_offer
from tests.test_uploads import form, upload, wav

KEY = "the api key of a program"
HUGE = 50 << 20
FILE = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"\0" * 20_000
"""The beginning of one: aiohttp looks some bytes ahead for the end of the field before it."""


def field(name: str, value: str) -> bytes:
    return f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


class Slow:
    """An upload whose file never comes. `async with` ends it."""

    def __init__(self, url: str, body: bytes, *, query: str = "", **headers: str) -> None:
        self._port = int(url.rsplit(":", 1)[1])
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        head = [
            f"POST /humanaudio{query} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: multipart/form-data; boundary=x",
            f"Content-Length: {HUGE}", *lines,
        ]  # fmt: skip
        self._sent = "\r\n".join(head).encode() + b"\r\n\r\n" + body

    async def __aenter__(self) -> Slow:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.writer.write(self._sent)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.writer.transport.abort()

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """Status and body."""
        async with asyncio.timeout(2):
            head = await self.reader.readuntil(b"\r\n\r\n")
            body = await self.reader.readuntil(b"}")
        return int(head.split()[1]), json.loads(body)

    async def waits(self) -> bool:
        """Whether the server reads on instead of answering."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await self.reader.read(1)
                return False
        return True


@pytest.fixture
async def api(serving: Serve) -> AsyncIterator[Api]:
    async with serving(auth__enabled="true", auth__api_keys=json.dumps([KEY])) as server, Api(server) as api:
        await open_with_key(api)
        yield api


async def open_with_key(api: Api) -> None:
    answer = await api.offer(await real_offer(), token=KEY)
    api.id, api.token = answer["sessionid"], answer["token"]


async def test_k1_a_stranger_is_refused_by_the_head_alone(api: Api) -> None:
    for headers in ({"Authorization": "Bearer wrong"}, {"X_API_Key": "wrong"}):
        async with Slow(api.url, b"", query=f"?sessionid={api.id}", **headers) as slow:
            status, answer = await slow.answer()
            assert (status, answer["error"]) == (401, "auth_failed")
    async with Slow(api.url, b"", query=f"?sessionid={api.id}&token=wrong") as slow:
        assert (await slow.answer())[0] == 401
    async with Slow(api.url, b"", query="?sessionid=404", X_API_Key=KEY) as slow:
        assert (await slow.answer())[1]["error"] == "session_not_found"


async def test_k1_a_stranger_is_refused_where_the_file_begins(api: Api) -> None:
    bodies = {
        "nothing": FILE,
        "no token": field("sessionid", api.id) + FILE,
        "wrong token": field("sessionid", api.id) + field("token", "wrong") + FILE,
        "token without id": field("token", api.token) + FILE,
    }
    for name, body in bodies.items():
        async with Slow(api.url, body) as slow:
            status, answer = await slow.answer()
            assert (status, answer["error"]) == (401, "auth_failed"), name


async def test_k1_what_comes_after_the_file_is_too_late(api: Api) -> None:
    late = form(api.id, wav(0.3), file_first=True)
    late.add_field("token", api.token)
    status, answer = await api.raw("POST", "/humanaudio", data=late)
    assert (status, answer["error"]) == (401, "auth_failed")
    assert "before the file" in str(answer["msg"])


@pytest.mark.parametrize("way", ["fields", "query", "bearer", "api-key", "api-key-bearer", "bearer-and-query"])
async def test_e3_every_way_to_show_the_token_lets_the_file_in(api: Api, way: str) -> None:
    body = aiohttp.FormData()
    headers, query = {}, ""
    if way in ("query", "bearer-and-query"):
        query = f"?sessionid={api.id}" + (f"&token={api.token}" if way == "query" else "")
    else:
        body.add_field("sessionid", api.id)
    if way == "fields":
        body.add_field("token", api.token)
    if way.startswith("bearer"):
        headers["Authorization"] = f"Bearer {api.token}"
    if way == "api-key":
        headers["X-API-Key"] = KEY
    if way == "api-key-bearer":
        headers["Authorization"] = f"Bearer {KEY}"
    body.add_field("file", wav(0.3), filename="a.wav")
    status, answer = await api.raw("POST", "/humanaudio" + query, data=body, headers=headers)
    assert (status, answer["code"]) == (200, 0), answer


async def test_k1_another_sessions_token_is_no_good(api: Api) -> None:
    first, token = api.id, api.token
    await open_with_key(api)
    body = field("sessionid", first) + field("token", api.token) + FILE
    async with Slow(api.url, body) as slow:
        assert (await slow.answer())[0] == 401
    # a query for one's own session does not open another one's
    body = field("sessionid", first) + FILE
    async with Slow(api.url, body, query=f"?sessionid={api.id}&token={api.token}") as slow:
        assert (await slow.answer())[0] == 401
    async with Slow(api.url, field("sessionid", first) + field("token", token) + FILE) as slow:
        assert await slow.waits()


async def test_e3_a_client_that_waits_for_100_continue_sends_nothing_in_vain(api: Api) -> None:
    async with Slow(api.url, b"", query=f"?sessionid={api.id}&token=wrong", Expect="100-continue") as slow:
        assert (await slow.answer())[0] == 401
    async with Slow(api.url, b"", query=f"?sessionid={api.id}&token={api.token}", Expect="100-continue") as slow:
        async with asyncio.timeout(2):
            assert await slow.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert await slow.waits()


async def test_e3_an_unknown_session_and_mode_are_refused_before_the_file(serving: Serve) -> None:
    async with serving() as server, Api(server) as api:
        await api.open_session()
        async with Slow(api.url, field("sessionid", "404") + FILE) as slow:
            assert (await slow.answer())[1]["error"] == "session_not_found"
        async with Slow(api.url, field("sessionid", api.id) + field("mode", "sing") + FILE) as slow:
            assert (await slow.answer())[1]["error"] == "bad_request"


async def test_f5_without_auth_neither_token_nor_order_matters(serving: Serve) -> None:
    async with serving() as server, Api(server) as api:
        await api.open_session()
        for first in (True, False):
            data = form(api.id, wav(0.2), file_first=first)
            assert (await api.raw("POST", "/humanaudio", data=data))[1]["code"] == 0
        wrong = form(api.id, wav(0.2), file_first=True)
        wrong.add_field("token", "wrong")
        assert (await api.raw("POST", "/humanaudio", data=wrong))[0] == 401


async def test_e3_only_a_few_files_of_a_session_are_on_their_way_at_once(serving: Serve) -> None:
    async with serving() as server, Api(server) as api, contextlib.AsyncExitStack() as stack:
        await api.open_session()
        body = field("sessionid", api.id) + FILE
        for _ in range(MAX_AT_ONCE):
            slow = await stack.enter_async_context(Slow(api.url, body))
            assert await slow.waits()
        async with Slow(api.url, body) as slow:
            assert (await slow.answer())[1]["error"] == "busy"
        for _ in range(MAX_AT_ONCE):
            await stack.enter_async_context(Slow(api.url, FILE))
        await asyncio.sleep(0.1)
        async with Slow(api.url, FILE) as slow:
            assert (await slow.answer())[1]["error"] == "busy"
        await stack.aclose()
        await asyncio.sleep(0.2)
        assert (await upload(api, wav(0.2)))[1]["code"] == 0
