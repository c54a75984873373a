"""A turn that is lost says so while it goes on, so that a chain need not wait for its end to take it over."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import numpy as np
import pytest

from asr.doubao.recognizer import DoubaoRecognizer
from asr.funasr.recognizer import FunASRCustomRecognizer
from asr.funasr.runtime_recognizer import FunasrRuntimeRecognizer
from core.errors import RecognizerError
from tests.simulators.doubao import RESOURCE, DoubaoServer
from tests.spoken_numbers import recognise


def nobody() -> str:
    """The address of a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"ws://127.0.0.1:{server.getsockname()[1]}"


async def lost(recognizer: Any) -> RecognizerError:
    """What the stream says of a turn that the user is still speaking."""
    await recognizer.start()
    stream = recognizer.open(lambda transcript: None)
    assert stream.failure is None
    async with asyncio.timeout(10):
        while stream.failure is None:
            stream.push(np.zeros(320, np.int16))
            await asyncio.sleep(0.01)
    failure = stream.failure
    with pytest.raises(RecognizerError):
        await stream.finish()
    await recognizer.close()
    assert isinstance(failure, RecognizerError)
    return failure


async def test_doubao_with_a_wrong_key() -> None:
    async with DoubaoServer(recognise) as server:
        failure = await lost(DoubaoRecognizer(host=server.host, resource_id=RESOURCE, api_key="wrong"))
    assert not failure.retryable
    assert "wrong" not in str(failure)


async def test_funasr_servers_that_are_down() -> None:
    assert (await lost(FunasrRuntimeRecognizer(url=nobody()))).retryable
    assert (await lost(FunASRCustomRecognizer(url=nobody(), retries=1, connect_timeout_s=1))).retryable
