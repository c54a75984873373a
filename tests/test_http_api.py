"""LiveTalking's HTTP API: the envelope on every path, ids, texts, events, admin, CORS and the static pages."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.avatar_client import AvatarClient
from tests.conftest import Serve
from tests.offers import WRONG_IDS, Api, real_offer


@pytest.fixture
async def api(serving: Serve) -> AsyncIterator[Api]:
    """One server that has one session, whose media never connects."""
    async with serving(limits__max_sessions="1") as server, Api(server) as api:
        await api.open_session()
        yield api


def refused(answer: dict[str, Any], error: str) -> None:
    assert answer["code"] == -1
    assert answer["error"] == error
    assert answer["msg"]
    assert set(answer) == {"code", "msg", "error"}


# -- the envelope


@pytest.mark.parametrize("path", ["/offer", "/human", "/interrupt_talk", "/is_speaking", "/api/hangup"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b"17",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"sessionid": NaN}',
        b"1" * 9000,
    ],
    ids=["empty", "words", "list", "number", "null", "string", "bytes", "nested", "nan", "digits"],
)
async def test_a_body_that_is_no_json_object_is_refused(api: Api, path: str, body: bytes) -> None:
    status, answer = await api.raw("POST", path, data=body, headers={"Content-Type": "application/json"})
    assert status == 200
    refused(answer, "bad_request")
    assert (await api.is_speaking())["code"] == 0  # the session is alive


async def test_content_type_and_charset_do_not_matter_unless_they_are_nonsense(api: Api) -> None:
    body = json.dumps({"sessionid": api.id}).encode()
    for kind in ("text/plain", "application/json; charset=utf-8", "application/x-www-form-urlencoded"):
        assert (await api.raw("POST", "/is_speaking", data=body, headers={"Content-Type": kind}))[1]["code"] == 0
    kind = "application/json; charset=klingon"
    refused((await api.raw("POST", "/is_speaking", data=body, headers={"Content-Type": kind}))[1], "bad_request")


async def test_compressed_bodies_are_not_unpacked(api: Api) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    for body in (b"this is no gzip", gzip.compress(b"{}")):
        refused((await api.raw("POST", "/human", data=body, headers=headers))[1], "bad_request")
    assert (await api.is_speaking())["code"] == 0


async def test_a_body_over_the_limit_carries_the_envelope_with_413(api: Api) -> None:
    status, answer = await api.raw("POST", "/human", data=b"x" * (5 << 20))
    assert status == 413
    refused(answer, "too_large")


@pytest.mark.parametrize("path", ["/human", "/interrupt_talk", "/is_speaking", "/api/hangup"])
@pytest.mark.parametrize("wrong", WRONG_IDS, ids=repr)
async def test_unknown_and_impossible_ids_are_refused(api: Api, path: str, wrong: object) -> None:
    answer = await api.post(path, sessionid=wrong, text="hello", type="echo", token=api.token)
    refused(answer, "session_not_found" if answer["error"] == "session_not_found" else "bad_request")


async def test_a_missing_id_is_named(api: Api) -> None:
    for path in ("/human", "/interrupt_talk", "/is_speaking", "/api/hangup"):
        answer = await api.post(path, text="hello", type="echo")
        refused(answer, "bad_request")
        assert "sessionid" in answer["msg"]


async def test_the_message_for_an_unknown_session_is_livetalkings(api: Api) -> None:
    assert await api.post("/human", sessionid="404", text="hello") == {
        "code": -1,
        "msg": "session not found",
        "error": "session_not_found",
    }


async def test_ids_are_decimal_strings_below_2_to_the_53_and_integers_are_taken(api: Api) -> None:
    assert isinstance(api.id, str)
    assert 0 < int(api.id) < 2**53
    assert (await api.post("/is_speaking", sessionid=int(api.id))) == {"code": 0, "msg": "ok", "data": False}
    assert (await api.post("/is_speaking", sessionid=api.id)) == {"code": 0, "msg": "ok", "data": False}
    assert (await api.post("/interrupt_talk", sessionid=int(api.id)))["code"] == 0


# -- texts


@pytest.mark.parametrize("text", ["", " \n\t ", "\0\x07\x1b", "\ud800", "\u200b\u2028"], ids=repr)
async def test_a_text_without_a_word_is_refused(api: Api, text: str) -> None:
    refused(await api.human(text), "empty_text")


@pytest.mark.parametrize("text", [None, 17, ["a"], {"a": 1}, True], ids=repr)
async def test_a_text_that_is_none_is_refused(api: Api, text: object) -> None:
    refused(await api.post("/human", sessionid=api.id, text=text, type="echo"), "bad_request")


async def test_a_text_of_100k_characters_is_refused_and_nothing_is_spoken(api: Api) -> None:
    refused(await api.human("a " * 50_000), "too_long")
    assert (await api.is_speaking())["data"] is False


@pytest.mark.parametrize("kind", [None, 1, "sing", [], {}], ids=repr)
async def test_a_type_that_is_neither_echo_nor_chat_is_refused(api: Api, kind: object) -> None:
    refused(await api.post("/human", sessionid=api.id, text="hello", type=kind), "bad_request")
    assert (await api.is_speaking())["data"] is False


async def test_more_waiting_texts_than_the_limit_are_refused(serving: Serve) -> None:
    async with serving(limits__max_queued_replies="3") as server, Api(server) as api:
        await api.open_session()
        answers = [await api.human("one after the other") for _ in range(6)]
        assert [a["code"] for a in answers][:3] == [0, 0, 0]
        refused(answers[-1], "busy")
        assert (await api.human("now", interrupt=True))["code"] == 0


async def test_a_text_before_the_media_is_connected_is_spoken_then(serving: Serve) -> None:
    async with serving() as server, Api(server) as api:
        early = AvatarClient(server.url)
        offered = await early.offer()
        answer = await early.human("this came too early")
        assert answer["code"] == 0
        assert "once the media connection is up" in answer["msg"]
        assert (await api.post("/is_speaking", sessionid=early.session))["data"] is True
        async with early:
            await early.accept(offered)
            await early.audible(early.offered_at)
            assert (await early.human("and this in time"))["msg"] == "ok"


async def test_what_a_text_carries_besides_words_is_cleaned(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url, video=False) as client:
        await client.connect()
        await client.login()
        await client.human("bell\x07 and\ud800 null\0 end")
        await client.message("reply", state="end", text="bell and null end")


@pytest.mark.parametrize("text", ["...", "!?", "```", "😀😀", "https://example.org/a/b", "**", "-", "<b></b>"])
async def test_a_text_without_anything_to_speak_ends_at_once(serving: Serve, text: str) -> None:
    async with serving() as server, AvatarClient(server.url, video=False) as client:
        await client.connect()
        await client.login()
        await client.human(text)
        await client.message("reply", state="end", timeout=3)
        async with asyncio.timeout(3):
            while (await client.post("/is_speaking", sessionid=client.session))["data"]:
                await asyncio.sleep(0.02)


async def test_an_interrupting_text_replaces_the_one_that_is_spoken(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url, video=False) as client:
        await client.connect()
        await client.login()
        await client.human("long " * 100)
        await client.message("reply", state="sentence")
        await client.human("short", interrupt=True)
        await client.message("reply", state="interrupted")
        await client.message("reply", state="end", text="short")


# -- events


async def events(response: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    body = (await response.read()).decode()
    assert body == "" or body.endswith("\n\n")
    return [json.loads(block.removeprefix("data: ")) for block in body.split("\n\n") if block]


async def test_event_stream_tells_start_and_end_and_copies_what_tts_carried(serving: Serve) -> None:
    async with serving() as server, AvatarClient(server.url, video=False) as client:
        await client.connect()
        stream = await client.http.get(f"{server.url}/sse?sessionid={client.session}")
        assert stream.content_type == "text/event-stream"
        odd = {"mood": "calm", "status": "mine", "lone": "\ud800"}
        asked = asyncio.get_running_loop().time()
        await client.human("one two", tts=odd)
        await client.silence(await client.audible(asked))
        await client.post("/api/hangup", sessionid=client.session, token=client.answer["token"])
        told = await events(stream)
    assert [event["status"] for event in told] == ["start", "end"]
    assert [event["text"] for event in told] == ["one two", "one two"]
    assert [event["mood"] for event in told] == ["calm", "calm"]


async def test_event_stream_of_an_unknown_session_is_the_envelope(api: Api) -> None:
    for query in ("?sessionid=404", "?sessionid=", ""):
        status, answer = await api.raw("GET", "/sse" + query)
        assert (status, answer["code"]) == (200, -1)


async def test_a_reader_that_leaves_is_forgotten_while_nothing_is_said(api: Api) -> None:
    stream = await api.http.get(f"{api.url}/sse?sessionid={api.id}")
    assert api.server.streams.listeners == 1
    stream.close()
    async with asyncio.timeout(5):
        while api.server.streams.listeners:
            await asyncio.sleep(0.05)


# -- operators


async def test_admin_config_masks_secrets(serving: Serve) -> None:
    secrets = {
        "dialogue__openai__api_key": "sk-very-secret",
        "ice__servers": '[{urls: "turn:127.0.0.1:9", username: u, credential: turn-secret}]',
        "ice__probe_timeout_s": "0.01",
    }
    async with serving(**secrets) as server, Api(server) as api:
        text = json.dumps((await api.raw("GET", "/api/admin/config"))[1])
        assert "sk-very-secret" not in text
        assert "turn-secret" not in text
        assert '"api_key": "***"' in text
        config = json.loads(text)["data"]["config"]
        assert config["settings"]["server"]["host"] == "127.0.0.1"
        assert {"fps", "model", "avatar_id", "tts", "transport", "max_session", "listenport"} <= set(config)


async def test_admin_sessions_lists_without_tokens(api: Api) -> None:
    answer = (await api.raw("GET", "/api/admin/sessions"))[1]
    (session,) = answer["data"]["sessions"]
    assert session["sessionid"] == api.id
    livetalking = {"speaking", "recording", "model", "avatar_id", "REF_FILE", "transport", "batch_size", "customopt"}
    assert livetalking | {"link", "activity"} <= set(session)
    assert api.token not in json.dumps(answer)


async def test_hangup_takes_no_wrong_token(api: Api) -> None:
    for token in ("wrong", api.token + "x"):
        status, answer = await api.raw("POST", "/api/hangup", json={"sessionid": api.id, "token": token})
        assert status == 401
        refused(answer, "auth_failed")
    status, answer = await api.raw("POST", "/api/hangup", json={"sessionid": api.id, "token": 17})
    refused(answer, "bad_request")
    assert (await api.is_speaking())["code"] == 0
    beacon = json.dumps({"sessionid": api.id, "token": api.token})
    assert (await api.raw("POST", "/api/hangup", data=beacon))[1] == {"code": 0, "msg": "ok"}
    refused(await api.is_speaking(), "session_not_found")


async def test_a_full_server_says_so_as_livetalking_does(api: Api) -> None:
    status, answer = await api.raw("POST", "/offer", json={"sdp": await real_offer(), "type": "offer"})
    assert status == 200
    assert answer == {"code": -1, "msg": "Maximum session limit reached (1/1)", "error": "server_full"}


# -- origins and pages


async def test_other_origins_get_no_permission_by_default(api: Api) -> None:
    origin = {"Origin": "https://evil.example"}
    async with api.http.post(api.url + "/is_speaking", json={"sessionid": api.id}, headers=origin) as response:
        assert not [name for name in response.headers if name.startswith("Access-Control")]
    asked = {**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    async with api.http.options(api.url + "/offer", headers=asked) as response:
        assert response.status >= 400
        assert not [name for name in response.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    "setting", [{"compat__livetalking": "true"}, {"server__allowed_origins": '["https://page.example"]'}], ids=str
)
async def test_allowed_origins_may_call_everything(serving: Serve, setting: dict[str, str]) -> None:
    origin = {"Origin": "https://page.example"}
    allowed = {"Access-Control-Allow-Origin": "https://page.example", "Access-Control-Allow-Credentials": "true"}
    async with serving(**setting) as server, Api(server) as api:
        await api.open_session()
        asked = {
            **origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,x-a",
        }
        async with api.http.options(server.url + "/offer", headers=asked) as response:
            assert response.status == 204
            assert allowed.items() <= dict(response.headers).items()
            assert response.headers["Access-Control-Allow-Headers"] == "content-type,x-a"
            assert "POST" in response.headers["Access-Control-Allow-Methods"]
        for path in ("/api/config", f"/sse?sessionid={api.id}", "/sse?sessionid=404", "/webrtcapichat.html"):
            async with api.http.get(server.url + path, headers=origin) as response:
                assert allowed.items() <= dict(response.headers).items(), path
                assert response.headers["Vary"] == "Origin"


async def test_the_root_leads_to_the_page_and_pages_carry_safe_headers(api: Api) -> None:
    async with api.http.get(api.url + "/") as response:
        assert response.url.path == "/webrtcapichat.html"
        assert response.content_type == "text/html"
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-cache"
    async with api.http.get(api.url + "/nothing-here") as response:
        assert response.status == 404


@pytest.mark.parametrize(
    "path",
    ["/../app.py", "/%2e%2e/app.py", "/js/..%2f..%2fapp.py", "/..%5capp.py", "//etc/passwd", "/%2fetc/passwd", "/js/"],
)
async def test_nothing_outside_the_pages_is_served(api: Api, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rsplit(":", 1)[1]))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = (await reader.read()).decode(errors="replace")
    writer.close()
    assert answer.split(" ", 2)[1] in ("400", "403", "404")
    assert "Composition root" not in answer
    assert "root:" not in answer


async def test_the_poster_is_a_picture(api: Api) -> None:
    async with api.http.get(api.url + "/poster.png") as response:
        assert response.content_type == "image/png"
        assert (await response.read()).startswith(b"\x89PNG\r\n\x1a\n")


async def test_config_for_the_page(serving: Serve, api: Api) -> None:
    data = (await api.raw("GET", "/api/config"))[1]["data"]
    assert {"name", "version", "avatar_name", "ice_servers", "asr", "dialogue", "max_upload_mb"} <= set(data)
