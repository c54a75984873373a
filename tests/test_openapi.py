"""The OpenAPI document says what the server does (G4)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from core import log
from core.openapi import document
from core.openapi.schemas import ERRORS
from server import Server
from tests.avatar_client import AvatarClient
from tests.browser import ARTIFACTS
from tests.conftest import Serve
from tests.feeds import error, recognition, snapshot
from tests.schema_check import problems, resolve
from tests.simulators.xiaozhi_device import XiaozhiDevice
from tests.test_uploads import wav

DOCUMENT = document("1.2.3")
METHODS = {"get", "post", "put", "delete", "patch"}
OPERATION_FIELDS = {
    "operationId", "tags", "summary", "description", "parameters", "requestBody", "responses", "security",
    "x-websocket",
}  # fmt: skip


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of the document."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)


def media_types() -> Iterator[tuple[str, dict[str, Any]]]:
    for method, path, operation in operations():
        yield from ((f"{method} {path}", one) for one in operation.get("requestBody", {}).get("content", {}).values())
        for status, response in operation["responses"].items():
            yield from ((f"{method} {path} {status}", one) for one in response.get("content", {}).values())


def test_g4_document_has_the_form_of_openapi_3_1() -> None:
    assert set(DOCUMENT) == {"openapi", "info", "servers", "tags", "paths", "components"}
    assert re.fullmatch(r"3\.1\.\d+", DOCUMENT["openapi"])
    assert DOCUMENT["info"]["title"]
    assert DOCUMENT["info"]["version"] == "1.2.3"
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT
    tags = [tag["name"] for tag in DOCUMENT["tags"]]
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names)) > 20
    for method, path, operation in operations():
        assert path.startswith("/"), path
        assert method in METHODS, path
        assert set(operation) <= OPERATION_FIELDS, path
        assert re.fullmatch(r"[a-z_]+", operation["operationId"])
        assert operation["summary"].strip(), path
        assert set(operation["tags"]) <= set(tags), path
        assert operation["responses"], path
        for status, response in operation["responses"].items():
            assert re.fullmatch(r"[1-5]\d\d", status), path
            assert response["description"].strip(), path
        if "requestBody" in operation:
            assert method == "post", path
            assert operation["requestBody"]["content"], path


def test_g4_references_and_security_resolve() -> None:
    used = {one["$ref"] for one in walk(DOCUMENT) if "$ref" in one}
    for reference in used:
        assert resolve(reference, DOCUMENT)
    assert {name.rpartition("/")[2] for name in used} | {"Snapshot"} == set(DOCUMENT["components"]["schemas"])
    schemes = set(DOCUMENT["components"]["securitySchemes"])
    named = {scheme for _, _, operation in operations() for option in operation["security"] for scheme in option}
    assert named == schemes


def test_g4_parameters_are_declared_once_and_fully() -> None:
    for method, path, operation in operations():
        parameters = operation.get("parameters", [])
        names = [(one["in"], one["name"]) for one in parameters]
        assert len(names) == len(set(names)), (method, path)
        for one in parameters:
            assert one["in"] == ("path" if f"{{{one['name']}}}" in path else "query"), path
            assert isinstance(one["required"], bool), path
            assert one["schema"], path


def test_g4_examples_fit_their_schemas() -> None:
    count = 0
    for where, media in media_types():
        if "example" in media:
            count += 1
            assert not list(problems(media["example"], media["schema"], DOCUMENT)), where
    for schema in walk(DOCUMENT["components"]["schemas"]):
        for example in schema.get("examples", ()) if isinstance(schema.get("examples"), list) else ():
            count += 1
            assert not list(problems(example, schema, DOCUMENT)), example
    assert count > 25
    for method, path, operation in operations():
        content = operation.get("requestBody", {}).get("content", {})
        assert all("example" in media for kind, media in content.items() if kind == "application/json"), (method, path)


def test_g4_every_refusal_of_the_server_has_a_meaning() -> None:
    """Codes that our sources raise on their way to a client are explained in the document."""
    sources = [path.read_text(encoding="utf-8") for path in (ARTIFACTS.parent / "core").glob("*.py")]
    raised = set(re.findall(r'(?:BadRequest|Refused|Unauthorized)\([^)]*code="(\w+)"', "\n".join(sources)))
    assert {"too_long", "stopping"} <= raised
    assert raised <= set(ERRORS)


def test_g3_the_feed_of_the_page_tests_fits_the_snapshot_schema() -> None:
    shown = snapshot(3, 8)
    shown["errors"] = [error("tts", "espeak", "tts_failed", "no voice", 1, shown["at"])]
    shown["recognitions"] = [recognition(1, shown["at"], "hello")]
    assert not list(problems(shown, DOCUMENT["components"]["schemas"]["Snapshot"], DOCUMENT))


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ({"a": "1"}, {"type": "object", "properties": {"a": {"type": "integer"}}}),
        ({}, {"type": "object", "required": ["a"]}),
        (True, {"type": "integer"}),
        (1.5, {"type": ["integer", "null"]}),
        ("c", {"enum": ["a", "b"]}),
        (0, {"const": -1}),
        ([1, "x"], {"type": "array", "items": {"type": "integer"}}),
        ({"a": 1}, {"additionalProperties": {"type": "string"}}),
        ("", {"type": "string", "minLength": 1}),
        (11, {"type": "integer", "maximum": 10}),
        (1, {"oneOf": [{"type": "integer"}, {"type": "number"}]}),
        (1, {"oneOf": [{"type": "string"}]}),
        (1, {"multipleOf": 2}),
    ],
)
def test_the_checker_finds_what_is_wrong(value: Any, schema: dict[str, Any]) -> None:
    assert list(problems(value, schema, {}))


def routes_of(server: Server) -> set[tuple[str, str]]:
    """(method, path) of everything the application answers, the files of the pages excepted."""
    found = set()
    for route in server.application.router.routes():
        if isinstance(route.resource, web.StaticResource) or route.method == "HEAD":
            continue
        assert route.resource is not None
        found.add((route.method.lower(), route.resource.canonical))
    unslashed = {(method, path) for method, path in found if (method, f"{path}/") in found}
    return found - {("get", "/")} - unslashed


async def test_g4_document_and_router_agree(serving: Serve) -> None:
    async with serving() as server:
        assert routes_of(server) == {(method, path) for method, path, _ in operations()}


class Caller:
    """Calls a server and holds each answer against the document."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.http = http
        self.called: set[tuple[str, str]] = set()

    async def __call__(self, method: str, path: str, **more: Any) -> Any:
        async with self.http.request(method, self.url + path, **more) as response:
            text = (await response.read()).decode(errors="replace")
            operation = DOCUMENT["paths"][path.replace("/grey", "/{name}")][method]
            described = operation["responses"].get(str(response.status))
            assert described, f"{method} {path} answered {response.status}: {text}"
            media = described["content"].get(response.content_type)
            assert media is not None, f"{method} {path} answered {response.content_type}"
            self.called.add((method, path.replace("/grey", "/{name}")))
            value = json.loads(text) if response.content_type == "application/json" else text
            if "schema" in media:
                assert not list(problems(value, media["schema"], DOCUMENT)), (method, path, value)
            return value


async def test_g4_real_answers_fit_the_document(serving: Serve, tmp_path: Any) -> None:
    settings = {"history__enabled": "true", "history__path": str(tmp_path / "history.sqlite3")}
    async with serving(**settings) as server, AvatarClient(server.url) as client:
        answer = await client.connect()
        call = Caller(server.url, client.http)
        offer = DOCUMENT["paths"]["/offer"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert not list(problems(answer, offer, DOCUMENT))
        own = {"sessionid": client.session, "token": answer["token"]}
        assert (await call("get", "/api/openapi.json"))["paths"] == DOCUMENT["paths"]
        for path in (
            "/api/presenters/grey.png",
            "/api/presenters/grey.webp",
            "/api/presenters",
            "/api/presenters/grey/portrait.webp",
            "/api/presenters/grey/cutout.webp",
            "/api/presenters/grey/mouths.json",
            "/api/presenters/grey/mouths.webp",
            "/api/backgrounds/grey.webp",
        ):
            await call("get", path)
        await call("get", "/xiaozhi/ota/")
        assert (await call("post", "/xiaozhi/ota/", json={"mac_address": "02:00:00:12:34:56"}))["websocket"]["url"]
        for path in ("/api/config", "/healthz", "/readyz", "/metrics", "/api/admin/config", "/api/admin/sessions"):
            await call("get", path)
        assert (await call("post", "/human", json={**own, "text": "hello", "type": "chat"}))["code"] == 0
        assert (await call("post", "/is_speaking", json=own))["code"] == 0
        form = aiohttp.FormData({"sessionid": client.session, "token": answer["token"]})
        form.add_field("file", wav(0.2), filename="a.wav")
        assert (await call("post", "/humanaudio", data=form))["code"] == 0
        assert (await call("post", "/interrupt_talk", json=own))["code"] == 0
        assert (await call("post", "/set_audiotype", json={**own, "audiotype": 1}))["code"] == 0
        assert (await call("post", "/api/admin/say", json={**own, "text": "hi", "type": "echo"}))["code"] == 0
        assert (await call("post", "/api/admin/watch", json={"sessionid": client.session}))["error"] == "no_device"
        assert (await call("post", "/api/admin/message", json={"text": "hi"}))["code"] == 0
        assert (await call("post", "/api/admin/log_level", json={"level": log.level()}))["code"] == 0
        assert (await call("get", "/api/history", params={**own, "limit": 1}))["code"] == 0
        await call("get", "/api/history/export", params=own)
        assert (await call("get", "/api/admin/conversations"))["code"] == 0
        assert (await call("delete", "/api/history", params=own))["code"] == 0
        assert (await call("delete", "/api/admin/history", params={"sessionid": client.session}))["code"] == 0
        assert (await call("post", "/api/admin/stop", json={"sessionid": client.session}))["code"] == 0
        gone = await call("post", "/api/hangup", json=own)
        assert gone["error"] == "session_not_found"
        assert (await call("post", "/offer", json={"sdp": "nonsense", "type": "offer"}))["code"] == -1
        assert (await call("get", "/sse", params={"sessionid": "1"}))["code"] == -1
        left = {(method, path) for method, path, one in operations() if "x-websocket" not in one} - call.called
        assert left == {("get", "/poster.png")}


async def test_g4_the_answer_that_lets_a_page_watch_fits_the_document(serving: Serve) -> None:
    async with serving() as server, aiohttp.ClientSession() as http:
        call = Caller(server.url, http)
        async with XiaozhiDevice(server.url.replace("http", "ws") + "/xiaozhi/v1/") as device:
            session = device.rules.session_id
            answer = await call("post", "/api/admin/watch", json={"sessionid": session})
            assert answer["data"]["sessionid"] == session
            read = await call("get", "/api/history", params=answer["data"])
            assert read["code"] == 0, "the token is the session's"
        missing = await call("post", "/api/admin/watch", json={"sessionid": "1"})
        assert missing["error"] == "session_not_found"


def test_g4_the_manual_has_every_address_of_the_document() -> None:
    manual = "\n".join(page.read_text() for page in (Path(__file__).parents[1] / "docs").glob("*.md"))
    for path in DOCUMENT["paths"]:
        if not path.startswith("/api/presenters/"):  # the answer of /api/presenters names those
            assert re.search(rf"{re.escape(path)}(?![\w/])", manual), path


async def test_g4_refusals_fit_the_document(serving: Serve) -> None:
    async with serving(auth__admin_token="a" * 32) as server, aiohttp.ClientSession() as http:
        call = Caller(server.url, http)
        for method, path, operation in operations():
            if operation["tags"] == ["admin"] and "x-websocket" not in operation:
                example = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
                query = {"sessionid": "1"} if method == "delete" else None
                answer = await call(method, path, json=example, params=query)
                assert answer["error"] == "auth_failed", path


async def test_g3_the_live_view_sends_the_snapshot_of_the_document(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url) as client:
        await client.connect()
        await client.login()
        await client.human("hello", "chat")
        await client.message("reply", state="end")
        async with client.http.ws_connect(server.url.replace("http", "ws") + "/api/admin/live") as live:
            await live.send_json({"type": "login", "token": ""})
            async with asyncio.timeout(10):
                while True:
                    shown = await live.receive_json()
                    if shown["turns"] and shown["sessions"]:
                        break
        assert not list(problems(shown, DOCUMENT["components"]["schemas"]["Snapshot"], DOCUMENT))
        assert shown["sessions"][0]["sockets"]
