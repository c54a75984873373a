"""Recognisers' stand-ins: servers and engines that know the sentences which the contract tests speak."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from asr.openai import OpenAIRecognizer
from tests.doubao_served import recognise
from tests.simulators.openai_asr import KEY, MODEL, TranscriptionServer


@contextlib.asynccontextmanager
async def openai_served() -> AsyncIterator[OpenAIRecognizer]:
    """The adapter with a simulated server; partials come twice a second."""
    async with TranscriptionServer(recognise).running() as server:
        yield OpenAIRecognizer(base_url=server.base_url, api_key=KEY, model=MODEL, partial_interval_s=0.5)
