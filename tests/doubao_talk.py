"""A client of the simulated Doubao, and what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from asr.doubao import Endpoint, RecognitionResult, STTClient
from asr.doubao.backlog import PACKET_BYTES
from asr.doubao.options import Options
from asr.doubao.retry import PLANS, Plan, RetryPolicy
from tests.simulators.doubao import (
    ACCESS_KEY,
    APP_KEY,
    RESOURCE,
    DoubaoServer,
)  # fmt: skip
from tests.spoken_numbers import pcm, sentence

QUICK = {action: Plan(tuple(0.0 for _ in plan.pauses)) for action, plan in PLANS.items()}
OPTIONS = Options(max_speed=0)
HURRIED = replace(OPTIONS, final_timeout_s=0.3, first_response_timeout_s=0.3, send_timeout_s=1)
"""For servers that never answer."""
WORDS = (sentence(1, 2, 3), sentence(4, 5, 6), sentence(7, 8, 9))
TEXT = "1 2 3 4 5 6 7 8 9"
COUNT = len(pcm(*WORDS)) // PACKET_BYTES + 1


def client(server: DoubaoServer, options: Options = OPTIONS, **more: Any) -> STTClient:
    endpoint = Endpoint(server.host, resource_id=RESOURCE, app_key=APP_KEY, access_key=ACCESS_KEY)
    return STTClient(endpoint, options=options, **{"retry": lambda: RetryPolicy(QUICK), **more})


async def talk(
    stt: STTClient, audio: bytes = pcm(*WORDS), on_result: Callable[[RecognitionResult], None] | None = None
) -> str:
    """All the words, in packets of 200 ms; the final text."""
    audio = pcm(*WORDS)
    try:
        await stt.start_recognition(on_result)
        for at in range(0, len(audio), PACKET_BYTES):
            await stt.send_audio(audio[at : at + PACKET_BYTES])
        async with asyncio.timeout(10):
            return (await stt.finish()).text
    finally:
        await stt.close()
