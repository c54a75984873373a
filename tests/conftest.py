"""Servers for tests: the real application on a free port, with fake or embedded stages."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest

from config.layers import load_settings
from server import Server

FAKES = {
    "server.port": "0",
    "asr.engine": "tests.fakes:EchoRecognizer",
    "dialogue.engine": "tests.fakes:ScriptedDialogue",
    "tts.engine": "tests.fakes:ToneSynthesizer",
    "face.engine": "tests.fakes:GreyFace",
    "lifecycle.reaper_interval_s": "0.1",
    "auth.secret": "the secret of a server under test",
    "history.enabled": "false",
    "limits.offers_per_minute": "0",
    "limits.uploads_per_minute": "0",
    "limits.messages_per_second": "0",
}

LOGGERS = ("", "core", "asr", "avatar", "app")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """What a test configures must not keep the next one's lines out of its log."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
    yield
    for logger, (level, handlers, propagate) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = propagate


Serve = Callable[..., AbstractAsyncContextManager[Server]]


@contextlib.asynccontextmanager
async def serve(**overrides: str) -> AsyncIterator[Server]:
    """A running server; `section__key="value"` overrides the fakes' settings."""
    settings = load_settings(overrides={**FAKES, **{k.replace("__", "."): v for k, v in overrides.items()}}, env={})
    server = Server(settings)
    try:
        await server.start()
        server.url = server.url.replace("localhost", "127.0.0.1")
        yield server
    finally:
        await server.stop()


@pytest.fixture
def serving() -> Serve:
    """`async with serving(limits__max_sessions="1") as server:`"""
    return serve
