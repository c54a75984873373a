"""K2: every line carries its session; what is secret and what users said is masked, in both formats."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core import log
from core.errors import DialogueError
from tests.conftest import FAKES


def formatted(message: str, *args: object, error: BaseException | None = None) -> str:
    info = (type(error), error, error.__traceback__) if error is not None else None
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
    assert "hush-hush" not in formatted("it broke", error=OSError(line))
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


def as_json(message: str, *args: object, error: BaseException | None = None, **extra: object) -> dict[str, Any]:
    info = (type(error), error, error.__traceback__) if error is not None else None
    record = logging.LogRecord("core.x", logging.WARNING, "x.py", 1, message, args, info)
    vars(record).update(extra)
    text = log.JsonFormatter().format(record)
    assert "\n" not in text
    line: dict[str, Any] = json.loads(text)
    return line


def test_k2_a_json_line_is_one_object() -> None:
    line = as_json("two\nlines of %s", "Bücher \ud800")
    assert set(line) == {"time", "level", "session", "logger", "message"}
    assert datetime.fromisoformat(line["time"]).utcoffset() == timedelta(0)
    assert line["time"].endswith("Z")
    assert abs(datetime.fromisoformat(line["time"]).timestamp() - time.time()) < 60
    assert (line["level"], line["logger"], line["message"]) == ("warning", "core.x", "two\nlines of Bücher ?")
    assert as_json("here", session="4711")["session"] == "4711"


def test_k2_json_lines_mask_secrets_in_messages_and_extra_fields() -> None:
    line = as_json(
        "token=hush-hush",
        error=OSError("bearer hush-hush"),
        api_key="hush-hush",
        url="https://user:hush-hush@host",
        nested={"password": "hush-hush", "list": ["secret: hush-hush", {"Authorization": "hush-hush"}], "count": 3},
        plain=17,
    )
    assert "hush-hush" not in json.dumps(line)
    assert line["extra"]["plain"] == 17
    assert line["extra"]["nested"]["count"] == 3
    assert "***" in line["message"]
    assert "***" in line["exception"]


@pytest.mark.parametrize("bare", ["eyJhbGciOi.eyJzdWIiOi.Qx5-_aZ", "sk-proj-0123456789abcdefghij"])
def test_k2_signed_tokens_and_keys_are_masked_wherever_they_stand(bare: str) -> None:
    assert bare not in formatted(f"refused {bare} of somebody")
    assert bare not in as_json(f"refused {bare}")["message"]


def choke(text: str) -> None:
    raise ValueError(f"can't say {text!r}")


def chained(text: str) -> None:
    try:
        choke(text)
    except ValueError as error:
        raise RuntimeError(f"{text} broke it") from error


@pytest.mark.parametrize("crash", [choke, chained])
def test_k2_tracebacks_tell_type_and_place_but_not_what_was_said(crash: Callable[[str], None]) -> None:
    with pytest.raises((ValueError, RuntimeError)) as caught:
        crash(" ".join(["peri", "winkle"]))
    group = ExceptionGroup("peri winkle", [caught.value])
    for error in (caught.value, group):
        for text in (formatted("it broke", error=error), as_json("it broke", error=error)["exception"]):
            assert "peri winkle" not in text
            assert "ValueError: (message left out)" in text
            assert "in choke" in text
            assert ("RuntimeError: (message left out)" in text) == (crash is chained)


def test_k2_errors_of_ours_and_of_the_system_are_told_but_not_what_other_servers_quote() -> None:
    error = DialogueError("the model answered 400", quoted="prompt 'periwinkle' refused")
    assert str(error) == "the model answered 400 (prompt 'periwinkle' refused)"
    assert formatted("it broke", error=error).endswith("DialogueError: the model answered 400")
    assert "No such file" in formatted("it broke", error=OSError(2, "No such file", "/x"))
    assert "has no attribute" in formatted("it broke", error=AttributeError("'X' object has no attribute 'y'"))


def test_k2_exceptions_among_the_arguments_are_told_the_same_way() -> None:
    error = ValueError("can't say 'periwinkle'")
    assert formatted("it broke: %r", error) == "it broke: ValueError((message left out))"
    assert formatted("it broke: %s", error) == "it broke: ValueError (message left out)"
    assert as_json("it broke: %r", error)["message"] == "it broke: ValueError((message left out))"
    assert formatted("it broke: %s", OSError(2, "No such file")) == "it broke: [Errno 2] No such file"
    assert formatted("it broke: %s", sqlite3.OperationalError("disk is full")) == "it broke: disk is full"
    assert formatted("it broke: %r", TimeoutError()) == "it broke: TimeoutError()"
    assert formatted("it broke: %s", TimeoutError()) == "it broke: TimeoutError"
    quoting = DialogueError("the model refused", quoted="periwinkle")
    assert formatted("it broke: %s", quoting) == "it broke: the model refused"
    assert formatted("%(a)s and 100 %%", {"a": 1}) == "1 and 100 %"
    assert formatted("100 %") == "100 %"


def test_k2_tasks_that_nobody_awaited_do_not_quote_their_exception() -> None:
    message = "Task exception was never retrieved\nfuture: <Task finished exception=ValueError('periwinkle')>"
    record = logging.LogRecord("asyncio", logging.ERROR, "x.py", 1, message, (), None)
    for formatter in (log.RedactingFormatter("%(message)s"), log.JsonFormatter()):
        text = formatter.format(record)
        assert "periwinkle" not in text
        assert "exception=ValueError(...)" in text


def test_k2_the_level_changes_at_run_time() -> None:
    before = {name: logging.getLogger(name).level for name in log.OURS}
    try:
        for level in log.LEVELS:
            log.set_level(level)
            assert log.level() == level
            assert logging.getLogger("avatar.stage").getEffectiveLevel() == getattr(logging, level.upper())
        for wrong in ("loud", "INFO", ""):
            with pytest.raises(ValueError, match="level"):
                log.set_level(wrong)
    finally:
        for name, level_before in before.items():
            logging.getLogger(name).setLevel(level_before)


def test_redaction_is_quick_on_long_lines() -> None:
    begun = time.process_time()
    formatted("a=b " * 50_000)
    formatted("token" * 50_000)
    assert time.process_time() - begun < 2  # not quadratic


async def test_k2_a_server_with_json_logs_says_everything_in_json(tmp_path: Path) -> None:
    fakes = [
        f"--set={key}={value}"
        for key, value in {**FAKES, "log.format": "json", "history.path": tmp_path / "history.db"}.items()
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "app.py", *fakes,
        cwd=Path(__file__).parent.parent, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        async with asyncio.timeout(30):
            while "serving at http://" not in json.loads(await process.stderr.readline())["message"]:
                pass
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert (process.returncode, output) == (0, b"")
    for line in errors.decode().splitlines():
        assert json.loads(line)["level"] in ("info", "warning")
