"""What is said and what is secret never reaches a log, at any level."""

from __future__ import annotations

import asyncio
import io
import logging
import time

import pytest

from asr.pocketsphinx import PocketsphinxRecognizer
from core import log
from tests.avatar_client import AvatarClient, WavMicrophone
from tests.conftest import Serve
from tests.fakes import ScriptedDialogue
from tests.offers import Api, real_offer
from tests.speech import flite


def formatted(message: str, *args: object, error: Exception | None = None) -> str:
    info = (type(error), error, None) if error is not None else None
    record = logging.LogRecord("core.x", logging.INFO, "x.py", 1, message, args, info)
    return log.RedactingFormatter("%(message)s").format(record)


@pytest.mark.parametrize(
    "line",
    [
        "api_key=hush-hush",
        "api-key: hush-hush",
        "API_KEY='hush-hush'",
        '{"api_key": "hush-hush"}',
        "{'password': 'hush-hush'}",
        '{"token":"hush-hush","a":1}',
        "GET /x?token=hush-hush&a=1",
        "GET /x?access_token=hush-hush",
        "Authorization: Bearer hush-hush",
        "authorization: bearer   hush-hush",
        "X-Api-Access-Key: hush-hush",
        "X-Api-Key: hush-hush",
        "client_secret=hush-hush",
        "password=a@hush-hush",
        "credential=hush-hush",
        "a=ice-pwd:hush-hush",
        "https://user:hush-hush@host/path",
    ],
)
def test_what_looks_like_a_secret_is_masked(line: str) -> None:
    assert "hush-hush" not in formatted(line)
    assert "hush-hush" not in formatted("%s", line)
    assert "hush-hush" not in formatted("it broke", error=RuntimeError(line))
    assert "***" in formatted(line)


@pytest.mark.parametrize(
    "line",
    [
        "session 17 opened (1 of 8)",
        "400 max_tokens asked",
        "the session's token is missing or wrong",
        "3 tokens: fine",
        "http://127.0.0.1:8010/ws",
    ],
)
def test_what_is_no_secret_stays(line: str) -> None:
    assert formatted(line) == line


async def test_lines_carry_the_session_also_from_tasks_started_inside() -> None:
    root, output = logging.getLogger(), io.StringIO()
    before = root.handlers[:], root.level
    try:
        log.configure("debug")
        handler = root.handlers[0]
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(output)

        async def inside() -> None:
            logging.getLogger("core.x").info("inside")

        with log.bound("4711"):
            task = asyncio.create_task(inside())
        await task
        logging.getLogger("core.x").info("outside")
        logging.getLogger("aiohttp.access").info("a library")
    finally:
        root.handlers[:], level = before
        root.setLevel(level)
        for name in ("core", "asr", "avatar", "app"):
            logging.getLogger(name).setLevel(logging.NOTSET)
    lines = output.getvalue().splitlines()
    assert len(lines) == 2
    assert "[4711]" in lines[0]
    assert "[-]" in lines[1]


TYPED = "xylophone marmalade"
ANSWERED = "Quicksilver umbrella. Another sentence."


async def test_a_whole_conversation_leaves_no_word_of_it_in_the_log(
    serving: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("core", "asr", "avatar", "app"):  # as `log.configure("debug")`: libraries stay at warning
        caplog.set_level(logging.DEBUG, logger=name)
    microphone = WavMicrophone()
    async with (
        serving(asr__engine="pocketsphinx") as server,
        Api(server) as api,
        AvatarClient(server.url, microphone=microphone, video=False) as client,
    ):
        assert isinstance(server.recognizer, PocketsphinxRecognizer)
        assert isinstance(server.dialogue, ScriptedDialogue)
        server.dialogue.answer = ANSWERED
        await client.connect()
        await client.login()
        await client.human(TYPED, kind="chat", tts={"voice": "nightingale"})
        await client.message("reply", state="end")
        microphone.say(flite("what is seven times six"))
        heard = await client.message("asr_result", is_final=True)
        await client.message("reply", state="end", reply_id="r2")
        await client.human("broken vermilion", kind="echo")  # the voice fails on it
        await client.message("reply", state="error")
        await client.human("mute chrysanthemum", kind="echo")
        await client.post("/interrupt_talk", sessionid=client.session)
        await refused(client, api)
        await client.post("/api/hangup", sessionid=client.session, token=client.answer["token"])
    assert heard["text"]
    written = " ".join(f"{record.name} {record.getMessage()} {record.exc_text}" for record in caplog.records).lower()
    assert "opened" in written  # something was logged
    secret = [client.answer["token"], "wrong-token", "sk-typed"]
    words = [*TYPED.split(), *ANSWERED.lower().replace(".", "").split(), *heard["text"].split(), "vermilion"]
    for word in [*secret, *(word for word in words if len(word) > 4), "chrysanthemum", "nightingale", "periwinkle"]:
        assert word.lower() not in written, word


async def refused(client: AvatarClient, api: Api) -> None:
    """Requests that fail on the way in, each with a word that must not be logged."""
    await client.human("periwinkle" * 1000)
    await client.send(type="periwinkle", api_key="sk-typed")
    await client.send(type="wsa_register_web", username=["periwinkle"])
    await client.message("wsa_error", code="bad_message")
    await api.raw("POST", "/human", data=b'{"text": "periwinkle"')
    await api.offer("v=0\r\nperiwinkle")
    body = {"sdp": await real_offer(), "sessionid": client.session, "token": "wrong-token"}
    await api.raw("POST", "/offer", json=body)
    await asyncio.sleep(0.05)


def test_redaction_is_quick_on_long_lines() -> None:
    begun = time.process_time()
    formatted("a=b " * 50_000)
    formatted("token" * 50_000)
    assert time.process_time() - begun < 2  # not quadratic
